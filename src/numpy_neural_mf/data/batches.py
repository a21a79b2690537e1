"""The order in which ratings are learned from: every epoch another one, drawn outside the engines."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from .ratings import Ratings

Batch = tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.float32]]

# Columns, row numbers in order, size of a batch -> batches.
Cut = Callable[[Batch, NDArray[np.int64], int], Iterator[Batch]]

# Ratings shuffled at a time. They fit into the processor's cache, as 25 million do not: to draw an order of
# these and gather them by it would take as long as to learn from them.
WINDOW = 2**20


def cut(columns: Batch, rows: NDArray[np.int64], size: int) -> Iterator[Batch]:
    """Batches of `size` ratings, in the order of `rows`; the last may be shorter."""
    users, items, values = columns
    for first in range(0, len(rows), size):
        batch = rows[first : first + size]
        yield users[batch], items[batch], values[batch]


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
    cut : callable, default `cut`
        Makes batches of an order: that of an engine may hold the columns elsewhere.
    """

    def __init__(self, ratings: Ratings, batch_size: int, rng: np.random.Generator, cut: Cut = cut) -> None:
        self._columns: Batch = (ratings.users, ratings.items, ratings.values)
        self.batch_size = batch_size
        self._rng = rng
        self._cut = cut
        if len(ratings) > WINDOW:
            order = rng.permutation(len(ratings))
            self._columns = (ratings.users[order], ratings.items[order], ratings.values[order])

    def epoch(self) -> Iterator[Batch]:
        """The batches of one epoch; the last may be shorter."""
        for window in self._windows():
            yield from self._cut(self._columns, self._rng.permutation(window), self.batch_size)

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
