"""The item that a user rated just before a rating, and what it adds to the rating."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..utils.arrays import FloatArray, IntArray
from .drift import Timeline


def previous_items(
    timeline: Timeline, items: NDArray[np.int32], n_items: int, users: IntArray, times: NDArray[np.int64]
) -> NDArray[np.int32]:
    """The last item that each user (-1: unknown) rated before a time, shape (n,); n_items for none.

    `items` are in the order of the timeline, which has the users' ratings. Those of the same time as another
    have no known order, and do not precede it.
    """
    user = np.maximum(users, 0)
    first, end = timeline.starts[user], timeline.starts[user + 1]
    position = timeline.first_after(first, end, times - 1) - 1
    exists = (users >= 0) & (position >= first)
    return np.where(exists, items[np.where(exists, position, 0)], n_items).astype(np.int32)


def effect_of(rows: FloatArray, q: FloatArray) -> FloatArray:
    """y · q + w of rows of y and w, shape (n, k + 1), and vectors of items, (n, k): shape (n,)."""
    return np.asarray(np.einsum("nk,nk->n", rows[:, :-1], q) + rows[:, -1])


@dataclass(frozen=True, slots=True, eq=False)
class PreviousItemEffect:
    """y_j · q_i + w_j for a rating of item i whose user rated item j just before.

    Attributes
    ----------
    timeline : Timeline, of the ratings of users
    items : int32 array of shape (n_ratings,), in the order of the timeline
    vectors : array of shape (n_items + 1, k + 1), y and w; the last row is for no earlier rating
    """

    timeline: Timeline
    items: NDArray[np.int32]
    vectors: NDArray[np.floating[Any]]

    def at(self, users: IntArray, times: NDArray[np.int64], q: FloatArray) -> FloatArray:
        """The effect for users (-1: unknown) at these times on items of vectors q, shape (n, k): (n,)."""
        previous = previous_items(self.timeline, self.items, len(self.vectors) - 1, users, times)
        return effect_of(self.vectors[previous], q)

    def inserted(self, users: IntArray, n_users: int, items: IntArray, n_items: int) -> PreviousItemEffect:
        """The same after user u has become row users[u] of n_users, items likewise; others have no effect."""
        vectors = np.zeros((n_items + 1, self.vectors.shape[1]), self.vectors.dtype)
        vectors[items], vectors[-1] = self.vectors[:-1], self.vectors[-1]
        rated = np.asarray(items)[self.items].astype(np.int32)
        return PreviousItemEffect(self.timeline.inserted(users, n_users), rated, vectors)
