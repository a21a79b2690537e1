"""Mini-batches of ratings, in another random order each epoch, drawn outside the engines."""

import os
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .columns import room_like
from .prefetch import made_ahead
from .ratings import Ratings

# Columns of the same length: users, items, ratings and, for a model that uses them, time bins, or None if it
# uses only what comes next, the items that users rated just before.
Batch = tuple[Any, ...]

# Columns, row numbers in order, size of a batch -> batches.
Cut = Callable[[Batch, NDArray[np.int64], int], Iterator[Batch]]

# Ratings shuffled at a time. They fit into the processor's cache, as 25 million do not: to draw an order of
# these and gather them by it would take as long as to learn from them.
WINDOW = 2**20
# Neighbouring ratings that enter a window together: a page of each column of a mapped file.
PIECE = 2**10
# Windows permuted ahead of the one in use: a GPU learns from several in the time of one permutation.
AHEAD = min(16, os.cpu_count() or 1)
# Ratings that an engine is given together for per-sample gradient descent.
STRETCH = 2**13


def cut(columns: Batch, rows: NDArray[np.int64], size: int) -> Iterator[Batch]:
    """Batches of `size` ratings, in the order of `rows`; the last may be shorter."""
    for first in range(0, len(rows), size):
        batch = rows[first : first + size]
        # No row is out of range: "clip" leaves out the check for it, which took half of the time.
        yield tuple(None if column is None else column.take(batch, mode="clip") for column in columns)


def _columns(
    ratings: Ratings, time_bins: NDArray[np.int32] | None, previous: NDArray[np.int32] | None = None
) -> Batch:
    columns = ratings.users, ratings.items, ratings.values
    if previous is not None:
        return *columns, time_bins, previous
    return columns if time_bins is None else (*columns, time_bins)


class Batches:
    """Batches of ratings in random order, epoch after epoch.

    With more than `WINDOW` ratings, an epoch takes pieces of `PIECE` neighbours in random order, as many at a
    time as fill the window, and permutes the window: training reaches the same error as with a permutation of
    all (docs/decisions/scale.md). Batches have at most `batch_size` ratings. `cut` makes batches of an
    order, perhaps of columns held elsewhere; `n_ratings` are those of all processes; `time_bins` and
    `previous`, shape (n,), are the last columns, if there are any.
    """

    def __init__(
        self,
        ratings: Ratings,
        batch_size: int,
        rng: np.random.Generator,
        cut: Cut = cut,
        n_ratings: int | None = None,
        time_bins: NDArray[np.int32] | None = None,
        previous: NDArray[np.int32] | None = None,
    ) -> None:
        self._n = len(ratings) if n_ratings is None else n_ratings
        self._columns = _columns(ratings, time_bins, previous)
        # As few batches as with this size, but of about one size: a step on the three ratings that are left
        # over moves all weights as far as one on a thousand.
        self.batch_size = -(-self._n // -(-self._n // batch_size))
        self._rng, self._cut = rng, cut

    def epoch(self) -> Iterator[Batch]:
        """The batches of one epoch; the last may be shorter."""
        if self._n <= WINDOW:
            yield from self._cut(self._columns, self._rng.permutation(self._n), self.batch_size)
            return
        n_left, left_over = self._n, np.empty(0, np.int64)
        for window in self._windows():
            rows = np.concatenate([left_over, window])
            n_left -= len(window)
            end = len(rows) - len(rows) % self.batch_size if n_left else len(rows)
            yield from self._cut(self._columns, rows[:end], self.batch_size)
            left_over = rows[end:]

    def _windows(self) -> Iterator[NDArray[np.int64]]:
        """The rows of each window in random order; those of the next are permuted in other threads."""
        pieces = self._rng.permutation(np.arange(-(-self._n // PIECE), dtype=np.int32))
        n_at_once = max(1, WINDOW // PIECE)
        starts = range(0, len(pieces), n_at_once)
        keys = self._rng.integers(2**63, size=len(starts))

        def permuted(n: int) -> NDArray[np.int64]:
            firsts = PIECE * pieces[starts[n] : starts[n] + n_at_once, None].astype(np.int64)
            rows = (firsts + np.arange(PIECE)).ravel()
            return np.random.default_rng(keys[n]).permutation(rows[rows < self._n])

        return made_ahead(permuted, range(len(starts)), AHEAD)


class Stretches:
    """Stretches of ratings for per-sample gradient descent, epoch after epoch.

    To shuffle takes longer than a step. So ratings are shuffled once, into a copy, and each epoch takes its
    stretches in another order, which converges about as fast (Mishchenko, Khaled and Richtárik, 2020, "Random
    reshuffling: simple analysis with vast improvements").
    """

    def __init__(
        self, ratings: Ratings, rng: np.random.Generator, time_bins: NDArray[np.int32] | None = None
    ) -> None:
        self._ratings, self._time_bins, self._rng = ratings, time_bins, rng
        # Not `rng` itself, whose state a checkpoint restores: the copy must be the same again.
        self._rng_of_copy = rng.spawn(1)[0]

    def epoch(self) -> Iterator[Batch]:
        """The stretches of one epoch, views of `STRETCH` ratings; one of them may be shorter."""
        columns = self._shuffled
        for first in self._rng.permutation(np.arange(0, len(columns[0]), STRETCH)):
            yield tuple(column[first : first + STRETCH] for column in columns)

    @cached_property
    def _shuffled(self) -> Batch:
        """Made in the first epoch, and part of its time."""
        source = _columns(self._ratings, self._time_bins)
        columns = tuple(room_like(column, len(column), column.dtype.type) for column in source)
        first = 0
        for batch in Batches(self._ratings, STRETCH, self._rng_of_copy, time_bins=self._time_bins).epoch():
            last = first + len(batch[0])
            for column, part in zip(columns, batch, strict=True):
                column[first:last] = part
            first = last
        return columns
