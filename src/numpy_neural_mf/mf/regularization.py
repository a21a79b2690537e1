"""How strongly a row is held to zero, by how many ratings it has."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray


def frequency_scaled(
    regularization: float, counts: NDArray[np.integer[Any] | np.floating[Any]]
) -> NDArray[np.float32]:
    """Penalty λ_r of each row for each of its ratings: λ / √n_r, scaled to a mean of λ over the ratings.

    With n_r ratings a row is penalised by √n_r λ in all: between a Gaussian prior, whose penalty is constant,
    and Koren's, which grows with n_r (Rendle, Krichene, Zhang and Koren, 2022, "Revisiting the performance of
    iALS on item recommendation benchmarks", frequency-scaled regularisation with exponent ν = 1/2).

    Parameters
    ----------
    regularization : float
        λ.
    counts : array of shape (n_rows,)
        How many ratings use each row, perhaps a broken number.

    Returns
    -------
    float32 array of shape (n_rows,)
    """
    scaled = 1 / np.sqrt(np.where(counts > 0, counts, 1))
    mean_of_ratings = (scaled @ counts) / max(counts.sum(), np.finfo(np.float64).tiny)
    return np.asarray(scaled * (regularization / mean_of_ratings if mean_of_ratings else 0), np.float32)


def penalty_of_new_row(regularization: float, n_ratings: int, counts: NDArray[np.integer[Any]]) -> float:
    """What a row with so many ratings would be penalised by in all, beside rows with `counts` ratings.

    n λ / √n, scaled as `frequency_scaled` does: λ √n Σ n_r / Σ √n_r.
    """
    return float(regularization * math.sqrt(n_ratings) * counts.sum() / np.sqrt(counts).sum())
