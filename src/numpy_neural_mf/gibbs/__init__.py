"""Bayesian factorisation: samples from the posterior instead of one best value (extra "fast")."""

from .drift import Drift, Levels, Timeline
from .mean_product import MeanProduct
from .sampler import Design, Sampler

__all__ = ["Design", "Drift", "Levels", "MeanProduct", "Sampler", "Timeline"]
