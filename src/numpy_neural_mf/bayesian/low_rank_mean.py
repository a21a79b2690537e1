"""The mean of many products P Qᵀ, held as one product of few columns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.floating[Any]]

# Columns held beyond those asked for: what is cut off while collecting is then cut off twice over in the end.
SPARE = 2


class MeanProduct:
    """Collects products of factors, (n_users, k) and (n_items, k), whose rotation is of no importance.

    Samples of a posterior may be rotated against each other, so their factors have no mean, but their
    products do. Side by side, the factors of all samples are factors of the sum; a singular value
    decomposition keeps the best few columns of them (Eckart and Young, 1936).

    Parameters
    ----------
    n_users, n_items : int
    rank : int
        Columns to keep, of which no more than n_users or n_items can matter.
    """

    def __init__(self, n_users: int, n_items: int, rank: int) -> None:
        self.rank = rank
        self._P: list[Matrix] = [np.zeros((n_users, 0), np.float32)]
        self._Q: list[Matrix] = [np.zeros((n_items, 0), np.float32)]
        self._n = 0

    def add(self, P: Matrix, Q: Matrix) -> None:
        """One more product."""
        self._P.append(P.astype(np.float32))
        self._Q.append(Q.astype(np.float32))
        self._n += 1
        if sum(part.shape[1] for part in self._P) > 2 * SPARE * self.rank + P.shape[1]:
            P, values, Q = self._decomposed(SPARE * self.rank)
            self._P, self._Q = [P * values], [Q]

    def state(self) -> dict[str, Matrix]:
        """The factors collected, by name."""
        return {"P": np.hstack(self._P), "Q": np.hstack(self._Q), "n": np.array(self._n)}

    def restore(self, state: Mapping[str, Matrix]) -> None:
        """Go on from what `state` returned."""
        self._P, self._Q, self._n = [state["P"]], [state["Q"]], int(state["n"])

    def centred(self) -> tuple[Matrix, Matrix, Matrix, Matrix]:
        """The mean as u_b + i_b + p · q for each pair, with p of mean zero over users and q over items.

        Returns
        -------
        user_part, item_part : float32 arrays of shape (n_users,), (n_items,)
        P : float32 array of shape (n_users, rank)
            Columns of mean square 1, or zero where the mean has fewer; largest products first.
        Q : float32 array of shape (n_items, rank)
        """
        P, values, Q = self._decomposed(SPARE * self.rank)
        P *= values / max(self._n, 1)
        item_part = Q @ P.mean(axis=0)
        P -= P.mean(axis=0)
        user_part = P @ Q.mean(axis=0)
        Q -= Q.mean(axis=0)
        P, values, Q = _decomposed(P, Q, self.rank)
        scale = np.sqrt(np.float32(len(P)))
        missing = ((0, 0), (0, self.rank - len(values)))
        return user_part, item_part, np.pad(P * scale, missing), np.pad(Q * (values / scale), missing)

    def mean(self) -> tuple[Matrix, Matrix]:
        """Factors of the mean, float32 arrays of shape (n_users, rank) and (n_items, rank)."""
        P, values, Q = self._decomposed(self.rank)
        missing = ((0, 0), (0, self.rank - len(values)))
        return np.pad(P * (values / max(self._n, 1)), missing), np.pad(Q, missing)

    def _decomposed(self, rank: int) -> tuple[Matrix, Matrix, Matrix]:
        return _decomposed(np.hstack(self._P), np.hstack(self._Q), rank)


def _decomposed(P: Matrix, Q: Matrix, rank: int) -> tuple[Matrix, Matrix, Matrix]:
    """P Qᵀ as U diag(values) Vᵀ, U and V orthonormal, the `rank` largest values."""
    P, R_p = np.linalg.qr(P)
    Q, R_q = np.linalg.qr(Q)
    U, values, Vt = np.linalg.svd(R_p @ R_q.T)
    keep = min(rank, len(values))
    return P @ U[:, :keep], values[:keep], Q @ Vt[:keep].T
