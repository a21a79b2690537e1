"""The engines by name: each computes the same optimisation step."""

from ..distributed import Communicator
from .base import Engine, NewEngine
from .choice import choose_engine, communicator_of, new_torch_engine
from .numba_engine import NumbaEngine
from .numpy_engine import NumpyEngine

ENGINES: dict[str, NewEngine] = {"numpy": NumpyEngine, "numba": NumbaEngine, "torch": new_torch_engine}
ENGINE_NAMES = ("auto", *ENGINES)

__all__ = [
    "ENGINES",
    "ENGINE_NAMES",
    "Communicator",
    "Engine",
    "NewEngine",
    "NumbaEngine",
    "NumpyEngine",
    "choose_engine",
    "communicator_of",
    "new_torch_engine",
]
