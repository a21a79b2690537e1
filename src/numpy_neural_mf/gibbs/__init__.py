"""Bayesian factorisation: samples from the posterior instead of one best value (extra "fast")."""

from .design import Design
from .drift import Drift, Levels, Timeline
from .mean_product import MeanProduct
from .occasions import Context, Occasions, sizes_of
from .sampler import Sampler

__all__ = [
    "Context",
    "Design",
    "Drift",
    "Levels",
    "MeanProduct",
    "Occasions",
    "Sampler",
    "Timeline",
    "sizes_of",
]
