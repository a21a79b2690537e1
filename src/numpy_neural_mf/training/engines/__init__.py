"""The engines, which all compute the same optimisation step."""

from ..distributed import Communicator
from .base import Engine
from .choice import ENGINE_NAMES, ENGINES, choose_engine, communicator_of, new_torch_engine
from .numba_engine import NumbaEngine
from .numpy_engine import NumpyEngine

__all__ = [
    "ENGINES", "ENGINE_NAMES", "Communicator", "Engine", "NumbaEngine", "NumpyEngine", "choose_engine",
    "communicator_of", "new_torch_engine",
]  # fmt: skip
