"""Ratings in: read, simulated, split; this part knows nothing of models."""

from .columns import RatingsError
from .ratings import Ratings
from .readers import read_ratings
from .simulate import simulate_ratings
from .splits import k_fold, random_split

__all__ = ["Ratings", "RatingsError", "k_fold", "random_split", "read_ratings", "simulate_ratings"]
