"""Bayesian factorisation: samples from the posterior instead of one best value (extra "fast")."""

from .drift import Drift, Levels, Timeline
from .mean_product import MeanProduct
from .occasions import PERIODS, Context, Occasions
from .sampler import Design, Sampler

__all__ = [
    "PERIODS",
    "Context",
    "Design",
    "Drift",
    "Levels",
    "MeanProduct",
    "Occasions",
    "Sampler",
    "Timeline",
]
