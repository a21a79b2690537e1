"""Mini-batches of ratings in a new random order each epoch, drawn outside the engines."""

import os
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .columns import room_like
from .prefetch import made_ahead
from .ratings import Ratings

# Columns of the same length: users, items and ratings; then, for a model with context, time bins (or None)
# and the items that users rated just before.
Batch = tuple[Any, ...]

# Columns, row numbers in order, size of a batch -> batches.
Cut = Callable[[Batch, NDArray[np.int64], int], Iterator[Batch]]

# Number of ratings shuffled at a time. These fit into the processor's cache; shuffling 25 million ratings at
# once would take as long as learning from them.
WINDOW = 2**20
# Neighbouring ratings that enter a window together: a page of each column of a mapped file.
PIECE = 2**10
# Number of windows permuted ahead: a GPU learns from several windows in the time of one permutation.
AHEAD = min(16, os.cpu_count() or 1)
# Number of ratings passed to an engine at a time for per-sample SGD.
STRETCH = 2**13


def cut(columns: Batch, rows: NDArray[np.int64], size: int) -> Iterator[Batch]:
    """Yield batches of `size` ratings in the order of `rows`; the last may be shorter."""
    for first in range(0, len(rows), size):
        batch = rows[first : first + size]
        # No row is out of range: mode="clip" skips the range check, which took half of the time.
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

    With more than `WINDOW` ratings, an epoch fills windows with pieces of `PIECE` neighbouring ratings in
    random order and permutes each window: training reaches the same error as with a permutation of all
    ratings (docs/decisions/scale.md). Batches have at most `batch_size` ratings. `cut` cuts ordered rows into
    batches, perhaps of columns held elsewhere; `n_ratings` counts the ratings of all processes; `time_bins`
    and `previous`, shape (n,), are optional last columns.
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
        # The same number of batches, but of about equal size: a step on three left-over ratings would move
        # all weights as far as a step on a thousand.
        self.batch_size = -(-self._n // -(-self._n // batch_size))
        self._rng, self._cut = rng, cut

    def epoch(self) -> Iterator[Batch]:
        """Yield the batches of one epoch; the last may be shorter."""
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
        """Yield the rows of each window in random order; other threads permute the next windows."""
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

    Shuffling takes longer than a step. So ratings are shuffled once, into a copy, and each epoch takes the
    stretches of the copy in a new order, which converges about as fast (Mishchenko, Khaled and Richtárik,
    2020, "Random reshuffling: simple analysis with vast improvements").
    """

    def __init__(
        self, ratings: Ratings, rng: np.random.Generator, time_bins: NDArray[np.int32] | None = None
    ) -> None:
        self._ratings, self._time_bins, self._rng = ratings, time_bins, rng
        # Not `rng` itself: a checkpoint restores its state, and the copy must then be the same.
        self._rng_of_copy = rng.spawn(1)[0]

    def epoch(self) -> Iterator[Batch]:
        """Yield the stretches of one epoch, views of `STRETCH` ratings; one of them may be shorter."""
        columns = self._shuffled
        for first in self._rng.permutation(np.arange(0, len(columns[0]), STRETCH)):
            yield tuple(column[first : first + STRETCH] for column in columns)

    @cached_property
    def _shuffled(self) -> Batch:
        """Shuffled copy of the columns, made during the first epoch."""
        source = _columns(self._ratings, self._time_bins)
        columns = tuple(room_like(column, len(column), column.dtype.type) for column in source)
        first = 0
        for batch in Batches(self._ratings, STRETCH, self._rng_of_copy, time_bins=self._time_bins).epoch():
            last = first + len(batch[0])
            for column, part in zip(columns, batch, strict=True):
                column[first:last] = part
            first = last
        return columns
