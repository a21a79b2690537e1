"""Data sets by name, and simulated ratings with a known irreducible error."""

from .by_name import download_dataset
from .catalogue import DATASETS, DataSet
from .synthetic import simulate_ratings

__all__ = ["DATASETS", "DataSet", "download_dataset", "simulate_ratings"]
