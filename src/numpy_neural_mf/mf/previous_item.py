"""The item that a user rated just before a rating, and its effect on the rating."""

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
    """Return the last item that each user (-1: unknown) rated before a time, shape (n,); n_items for none.

    `items` are in the order of the timeline, which has the users' ratings. Ratings of the same time have no
    known order, so none of them precedes another.
    """
    user = np.maximum(users, 0)
    first, end = timeline.starts[user], timeline.starts[user + 1]
    position = timeline.first_after(first, end, times - 1) - 1
    exists = (users >= 0) & (position >= first)
    return np.where(exists, items[np.where(exists, position, 0)], n_items).astype(np.int32)


def effect_of(rows: FloatArray, q: FloatArray) -> FloatArray:
    """Return y · q + w, shape (n,), given rows of y and w, shape (n, k + 1), and item vectors, (n, k)."""
    return np.asarray(np.einsum("nk,nk->n", rows[:, :-1], q) + rows[:, -1])


@dataclass(frozen=True, slots=True, eq=False)
class PreviousItemEffect:
    """y_j · q_i + w_j for a rating of item i whose user rated item j just before.

    Attributes
    ----------
    timeline : Timeline of each user's ratings
    items : int32 array of shape (n_ratings,), in the order of the timeline
    vectors : array of shape (n_items + 1, k + 1)
        y and w; the last row is for ratings without an earlier one.
    """

    timeline: Timeline
    items: NDArray[np.int32]
    vectors: NDArray[np.floating[Any]]

    def at(self, users: IntArray, times: NDArray[np.int64], q: FloatArray) -> FloatArray:
        """Return the effect, shape (n,), for users (-1: unknown), times, and items with vectors q, (n, k)."""
        previous = previous_items(self.timeline, self.items, len(self.vectors) - 1, users, times)
        return effect_of(self.vectors[previous], q)

    def inserted(self, users: IntArray, n_users: int, items: IntArray, n_items: int) -> PreviousItemEffect:
        """Return it with user u moved to row users[u] of n_users, items likewise; others have no effect."""
        vectors = np.zeros((n_items + 1, self.vectors.shape[1]), self.vectors.dtype)
        vectors[items], vectors[-1] = self.vectors[:-1], self.vectors[-1]
        rated = np.asarray(items)[self.items].astype(np.int32)
        return PreviousItemEffect(self.timeline.inserted(users, n_users), rated, vectors)
