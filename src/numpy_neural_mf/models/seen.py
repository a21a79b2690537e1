"""What a fitted model remembers: the ratings that it learned from, by user."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array

IntArray = NDArray[np.int32]


@dataclass(frozen=True, slots=True, eq=False)
class SeenRatings:
    """Ratings by user: those of user u are at offsets[u]:offsets[u + 1], by item.

    Attributes
    ----------
    items : int32 array of shape (n_ratings,)
        Ascending within a user.
    ratings : float32 array of shape (n_ratings,)
    offsets : int64 array of shape (n_users + 1,)
    """

    items: IntArray
    ratings: NDArray[np.float32]
    offsets: NDArray[np.int64]

    @classmethod
    def of(
        cls, users: IntArray, items: IntArray, ratings: NDArray[np.float32], n_users: int, n_items: int
    ) -> Self:
        """From columns without a pair twice; rows with -1, an unknown user or item, are left out."""
        known = (users >= 0) & (items >= 0)
        columns = (ratings[known], (users[known], items[known]))
        table = coo_array(columns, shape=(n_users, n_items)).tocsr()
        table.sort_indices()
        indices, offsets = table.indices.astype(np.int32, copy=False), table.indptr.astype(np.int64)
        return cls(indices, table.data.astype(np.float32, copy=False), offsets)

    @property
    def users(self) -> IntArray:
        """User of each rating, shape (n_ratings,)."""
        return np.repeat(np.arange(len(self.offsets) - 1, dtype=np.int32), np.diff(self.offsets))

    def by_item(self, n_items: int) -> SeenRatings:
        """The same with the sides exchanged: for each item the users who rated it."""
        return SeenRatings.of(self.items, self.users, self.ratings, n_items, len(self.offsets) - 1)

    def of_row(self, user: int) -> tuple[IntArray, NDArray[np.float32]]:
        """Items and ratings of one user; -1 rated nothing."""
        own = slice(self.offsets[user], self.offsets[user + 1]) if user >= 0 else slice(0)
        return self.items[own], self.ratings[own]

    def pairs(self, users: IntArray) -> tuple[NDArray[np.intp], IntArray]:
        """Position in `users` and item of everything that these users rated; -1 rated nothing."""
        starts = self.offsets[:-1][users] if len(self.offsets) > 1 else np.zeros(len(users), np.int64)
        counts = np.where(users < 0, 0, self.offsets[users + 1] - starts)
        ends = np.cumsum(counts)
        position = np.repeat(np.arange(len(users)), counts)
        within = np.arange(len(position)) - np.repeat(ends - counts, counts)
        return position, self.items[starts[position] + within]
