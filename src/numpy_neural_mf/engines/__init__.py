"""Ways to run the same optimisation step, by name."""

from .base import Engine
from .numpy_engine import NumpyEngine

ENGINES = {"numpy": NumpyEngine}

__all__ = ["ENGINES", "Engine", "NumpyEngine"]
