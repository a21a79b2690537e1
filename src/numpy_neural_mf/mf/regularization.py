"""How strongly a row is shrunk towards its prior."""

from dataclasses import dataclass

from ..utils.arrays import FloatArray
from .parameters import Side


@dataclass(frozen=True, slots=True)
class RowPenalty:
    """λ in Σ λ (θ - prior)², which is added for a user's or item's row to the sum of its ratings' losses.

    It is one number, or one for each column of the row: the embedding's columns, then the bias.
    """

    user: float | FloatArray
    item: float | FloatArray

    def of(self, side: Side) -> float | FloatArray:
        """Return λ for a row of this side."""
        return self.user if side == "user" else self.item
