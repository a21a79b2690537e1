"""The order in which ratings are learned from: every epoch another one, drawn outside the engines."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from .ratings import Ratings

Batch = tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.float32]]

# Ratings shuffled at a time. They fit into the processor's cache, as 25 million do not: to draw an order of
# these and gather them by it would take as long as to learn from them.
WINDOW = 2**20


class Batches:
    """Batches of ratings in random order, epoch after epoch.

    Up to `WINDOW` ratings, an epoch is one permutation. More are permuted once, at the start; an epoch then
    takes pieces of a batch's length in random order, as many at a time as fill the window, and permutes what
    is in the window. Every rating comes once in an epoch.

    Parameters
    ----------
    ratings : Ratings
    batch_size : int
    rng : numpy.random.Generator
    """

    def __init__(self, ratings: Ratings, batch_size: int, rng: np.random.Generator) -> None:
        self._columns: Batch = (ratings.users, ratings.items, ratings.values)
        self.batch_size = batch_size
        self._rng = rng
        if len(ratings) > WINDOW:
            order = rng.permutation(len(ratings))
            self._columns = (ratings.users[order], ratings.items[order], ratings.values[order])

    def epoch(self) -> Iterator[Batch]:
        """The batches of one epoch; the last may be shorter."""
        users, items, values = self._columns
        for window in self._windows():
            rows = self._rng.permutation(window)
            for first in range(0, len(rows), self.batch_size):
                batch = rows[first : first + self.batch_size]
                yield users[batch], items[batch], values[batch]

    def _windows(self) -> Iterator[NDArray[np.int64]]:
        """The rows of each window, in order."""
        n, size = len(self._columns[0]), self.batch_size
        if n <= WINDOW:
            yield np.arange(n)
            return
        pieces = np.append(
            self._rng.permutation(n // size), n // size
        )  # the one that may be shorter comes last
        n_at_once = max(1, WINDOW // size)
        for first in range(0, len(pieces), n_at_once):
            rows = (pieces[first : first + n_at_once, None] * size + np.arange(size)).ravel()
            yield rows[rows < n]
