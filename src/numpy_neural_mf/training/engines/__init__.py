"""Ways to run the same optimisation step, by name."""

from ..distributed import OneProcess
from .base import Engine, NewEngine
from .choice import choose_engine, new_torch_engine, processes_of, states_of
from .numba_engine import NumbaEngine
from .numpy_engine import NumpyEngine

ENGINES: dict[str, NewEngine] = {"numpy": NumpyEngine, "numba": NumbaEngine, "torch": new_torch_engine}
ENGINE_NAMES = ("auto", *ENGINES)

__all__ = [
    "ENGINES",
    "ENGINE_NAMES",
    "Engine",
    "NewEngine",
    "NumbaEngine",
    "NumpyEngine",
    "OneProcess",
    "choose_engine",
    "new_torch_engine",
    "processes_of",
    "states_of",
]  # fmt: skip
