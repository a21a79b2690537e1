"""The mean of many products P Qᵀ as one product of low rank."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.floating[Any]]

# Columns kept while collecting, as a multiple of the rank: the error of truncating twice stays small.
OVERSAMPLING = 2


class LowRankMean:
    """Averages products P Qᵀ of factors of shape (n_users, k) and (n_items, k), as one of `rank` columns.

    Posterior samples are determined only up to a rotation, so the mean of their factors has no meaning, but
    the mean of their products has. The factors of all samples, stacked column by column, are factors of the
    sum; a truncated singular value decomposition is its best approximation (Eckart and Young, 1936).
    """

    def __init__(self, n_users: int, n_items: int, rank: int) -> None:
        self.rank = rank
        self._P: list[Matrix] = [np.zeros((n_users, 0), np.float32)]
        self._Q: list[Matrix] = [np.zeros((n_items, 0), np.float32)]
        self._n = 0

    def add(self, P: Matrix, Q: Matrix) -> None:
        """Include one more product in the mean."""
        self._P.append(P.astype(np.float32))
        self._Q.append(Q.astype(np.float32))
        self._n += 1
        if sum(part.shape[1] for part in self._P) > 2 * OVERSAMPLING * self.rank + P.shape[1]:
            P, values, Q = _decomposed(self._P, self._Q, OVERSAMPLING * self.rank)
            self._P, self._Q = [P * values], [Q]

    def state(self) -> dict[str, Matrix]:
        """The collected factors, by name."""
        return {"P": np.hstack(self._P), "Q": np.hstack(self._Q), "n": np.array(self._n)}

    def restore(self, state: Mapping[str, Matrix]) -> None:
        """Continue from what `state` returned."""
        self._P, self._Q, self._n = [state["P"]], [state["Q"]], int(state["n"])

    def centred(self) -> tuple[Matrix, Matrix, Matrix, Matrix]:
        """The mean as b_u + b_i + p_u · q_i, float32, where p has mean zero over users and q over items.

        Returns the biases of users and items, P with columns of mean square 1 in descending order of the
        singular values, then zeros, and Q.
        """
        P, values, Q = _decomposed(self._P, self._Q, OVERSAMPLING * self.rank)
        P *= values / max(self._n, 1)
        item_bias = Q @ P.mean(axis=0)
        P -= P.mean(axis=0)
        user_bias = P @ Q.mean(axis=0)
        Q -= Q.mean(axis=0)
        P, values, Q = _decomposed([P], [Q], self.rank)
        scale = np.sqrt(np.float32(len(P)))
        return user_bias, item_bias, self._padded(P * scale), self._padded(Q * (values / scale))

    def factors(self) -> tuple[Matrix, Matrix]:
        """Factors of the mean, float32 arrays of shape (n_users, rank) and (n_items, rank)."""
        P, values, Q = _decomposed(self._P, self._Q, self.rank)
        return self._padded(P * (values / max(self._n, 1))), self._padded(Q)

    def _padded(self, factors: Matrix) -> Matrix:
        return np.pad(factors, ((0, 0), (0, self.rank - factors.shape[1])))


def _decomposed(columns_P: list[Matrix], columns_Q: list[Matrix], rank: int) -> tuple[Matrix, Matrix, Matrix]:
    """P Qᵀ as U diag(values) Vᵀ with orthonormal U and V and the `rank` largest singular values."""
    P, R_p = np.linalg.qr(np.hstack(columns_P))
    Q, R_q = np.linalg.qr(np.hstack(columns_Q))
    U, values, Vt = np.linalg.svd(R_p @ R_q.T)
    keep = min(rank, len(values))
    return P @ U[:, :keep], values[:keep], Q @ Vt[:keep].T
