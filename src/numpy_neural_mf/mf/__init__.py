"""The neural matrix factorisation model: architecture, inference formula, likelihood and side features."""

from .architecture import A_SMALL, ARCHITECTURES, B_MEDIUM, C_WIDE, Architecture
from .forward import Factorization
from .likelihood import Normal, Ordinal
from .regularization import RowPenalty

__all__ = [
    "ARCHITECTURES", "A_SMALL", "B_MEDIUM", "C_WIDE", "Architecture", "Factorization", "Normal", "Ordinal",
    "RowPenalty",
]  # fmt: skip
