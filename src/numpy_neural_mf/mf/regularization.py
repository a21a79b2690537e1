"""How strongly a row is shrunk towards its prior."""

from dataclasses import dataclass

from ..utils.arrays import FloatArray
from .parameters import Side


@dataclass(frozen=True, slots=True)
class RowPenalty:
    """λ of Σ λ (θ - prior)² of the row of a user or an item, next to the sum of the losses of its ratings.

    It is one number, or one for each column of the row: those of the embedding, then that of the bias.
    """

    user: float | FloatArray
    item: float | FloatArray

    def of(self, side: Side) -> float | FloatArray:
        """λ of a row of this side."""
        return self.user if side == "user" else self.item
