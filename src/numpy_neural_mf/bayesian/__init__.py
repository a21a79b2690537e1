"""Bayesian factorisation: samples from the posterior instead of one best value (extra "fast")."""

from .context import Context, Occasions, sizes_of
from .drift import Drift, Levels, Timeline
from .factor_block import Design
from .low_rank_mean import MeanProduct
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
