"""Hyper-parameter search for `NeuralMF`."""

from .search import Tuning, TuningProgress, tune

__all__ = ["Tuning", "TuningProgress", "tune"]
