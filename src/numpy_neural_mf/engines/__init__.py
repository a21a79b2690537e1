"""Ways to run the same optimisation step, by name."""

from .base import Engine, NewEngine
from .numba_engine import NumbaEngine
from .numpy_engine import NumpyEngine

ENGINES: dict[str, NewEngine] = {"numpy": NumpyEngine, "numba": NumbaEngine}

__all__ = ["ENGINES", "Engine", "NumbaEngine", "NumpyEngine"]
