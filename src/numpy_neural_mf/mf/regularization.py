"""How strongly a row is shrunk towards zero, or its prior, by its number of ratings."""

from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray


def frequency_scaled(
    regularization: float, counts: NDArray[np.integer[Any] | np.floating[Any]]
) -> NDArray[np.float32]:
    """Penalty λ_r of each row for each of its ratings: λ / √n_r, scaled to a mean of λ over the ratings.

    With n_r ratings, possibly fractional, a row is penalised by √n_r λ in all: between a Gaussian prior,
    whose penalty is constant, and Koren's, which grows with n_r (Rendle, Krichene, Zhang and Koren, 2022,
    "Revisiting the performance of iALS on item recommendation benchmarks", frequency-scaled with ν = 1/2).
    """
    scaled = 1 / np.sqrt(np.where(counts > 0, counts, 1))
    mean_of_ratings = (scaled @ counts) / max(counts.sum(), np.finfo(np.float64).tiny)
    return np.asarray(scaled * (regularization / mean_of_ratings if mean_of_ratings else 0), np.float32)


@dataclass(frozen=True, slots=True)
class RowPenalty:
    """λ of λ ‖θ - prior‖² of the row of a user or an item, next to the sum of the losses of its n ratings."""

    user: float  # of a row with one rating
    item: float
    exponent: float = 0.0  # λ grows with n to this power

    def of(self, side: Literal["user", "item"], n_ratings: int) -> float:
        """λ of a row with this number of ratings."""
        return float((self.user if side == "user" else self.item) * n_ratings**self.exponent)

    @classmethod
    def frequency_scaled(
        cls, regularization: float, user_counts: NDArray[np.int64], item_counts: NDArray[np.int64]
    ) -> Self:
        """As `frequency_scaled` penalises rows next to rows with these counts: λ √n Σ n_r / Σ √n_r."""
        user, item = (float(regularization * n.sum() / np.sqrt(n).sum()) for n in (user_counts, item_counts))
        return cls(user, item, 0.5)
