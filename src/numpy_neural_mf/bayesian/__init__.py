"""Bayesian matrix factorisation by Gibbs sampling (extra "fast")."""

from ..mf.drift import Timeline, TimeVaryingBias
from .context import ContextEffects, ContextVariables
from .drift import Drift
from .factor_block import FactorBlock
from .posterior import LowRankMean
from .posterior_mean import PosteriorMean
from .sampler import Sampler

__all__ = [
    "ContextEffects",
    "ContextVariables",
    "Drift",
    "FactorBlock",
    "LowRankMean",
    "PosteriorMean",
    "Sampler",
    "TimeVaryingBias",
    "Timeline",
]
