"""The command line: numpy-neural-mf, or python -m numpy_neural_mf."""

from .entry import app, main

__all__ = ["app", "main"]
