"""The training interactions of a fitted model: the rated items and ratings of each user."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import NDArray

from ..data.columns import blocks, count, room_like, rows_by_code
from ..utils.arrays import Float32Array, Int32Array

AT_ONCE = 2**21  # number of ratings sorted at a time: memory holds only these twice


@dataclass(frozen=True, eq=False)
class Interactions:
    """Ratings by user: the ratings of user u are at offsets[u]:offsets[u + 1], ascending by item."""

    items: Int32Array
    ratings: Float32Array
    offsets: NDArray[np.int64]
    n_items: int

    @classmethod
    def of(
        cls, users: Int32Array, items: Int32Array, ratings: Float32Array, n_users: int, n_items: int
    ) -> Self:
        """Make interactions from columns of distinct pairs; rows with -1, an unknown id, are left out."""
        counts = np.zeros(n_users, np.int64)
        for block in blocks(len(users)):
            known = (users[block] >= 0) & (items[block] >= 0)
            counts += np.bincount(users[block][known], minlength=n_users)
        offsets = np.append(0, np.cumsum(counts))
        n = int(offsets[-1])
        by_user = cls(room_like(items, n, np.int32), room_like(ratings, n, np.float32), offsets, n_items)
        for first, end, rows in rows_by_code(users, counts, AT_ONCE):
            rows = rows[items[rows] >= 0]
            pairs = (users[rows] - first).astype(np.int64) * n_items + items[rows]
            rows = rows[np.argsort(pairs)]
            by_user.items[offsets[first] : offsets[end]] = items[rows]
            by_user.ratings[offsets[first] : offsets[end]] = ratings[rows]
        return by_user

    @property
    def user_counts(self) -> NDArray[np.int64]:
        """Number of ratings of each user."""
        return np.diff(self.offsets)

    @cached_property
    def item_counts(self) -> NDArray[np.int64]:
        """Number of ratings of each item."""
        return count(self.items, self.n_items)

    @cached_property
    def deviation(self) -> float:
        """Standard deviation of the ratings."""
        mean = self.ratings.mean(dtype=np.float64)
        squares = (np.square(self.ratings[b] - mean).sum() for b in blocks(len(self.ratings)))
        return float(np.sqrt(sum(squares) / max(len(self.ratings), 1)))

    @property
    def users(self) -> Int32Array:
        """User of each rating."""
        users = room_like(self.items, len(self.items), np.int32)
        for block in blocks(len(users)):
            first, last = np.searchsorted(self.offsets, [block.start, block.stop - 1], side="right") - 1
            ends = np.clip(self.offsets[first : last + 2], block.start, block.stop)
            users[block] = np.repeat(np.arange(first, last + 1, dtype=np.int32), np.diff(ends))
        return users

    def by_item(self) -> Interactions:
        """Return the interactions with the sides exchanged: for each item the users who rated it."""
        return Interactions.of(self.items, self.users, self.ratings, self.n_items, len(self.offsets) - 1)

    def of_row(self, user: int) -> tuple[Int32Array, Float32Array]:
        """Return items and ratings of one user; -1 has no ratings."""
        own = slice(self.offsets[user], self.offsets[user + 1]) if user >= 0 else slice(0)
        return self.items[own], self.ratings[own]

    def pairs(self, users: Int32Array) -> tuple[NDArray[np.intp], Int32Array]:
        """Return position in `users` and item of each rating of these users; -1 has no ratings."""
        starts = self.offsets[:-1][users] if len(self.offsets) > 1 else np.zeros(len(users), np.int64)
        counts = np.where(users < 0, 0, self.offsets[users + 1] - starts)
        position = np.repeat(np.arange(len(users)), counts)
        within = np.arange(len(position)) - np.repeat(np.cumsum(counts) - counts, counts)
        return position, self.items[starts[position] + within]
