"""What an engine promises: to compute the same step as every other engine, to rounding."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ...data.batches import Batch, cut
from ...mf.architecture import Parameters
from ...nn import Optimizer
from ...nn.parameter import Array, IntArray
from ..distributed import OneProcess


class Engine(Protocol):
    """One architecture, its parameters and an optimiser, that can learn from a batch and predict.

    Of many processes each has some rows of every table alone (see `OneProcess`), also of moments.
    """

    parameters: Parameters
    optimizer: Optimizer
    processes: OneProcess = OneProcess()
    name: str = ""

    def step(self, users: IntArray, items: IntArray, ratings: Array) -> float:
        """Learn from one batch, arrays of shape (n,); return its mean squared error before the step."""
        ...

    def one_by_one(self, users: IntArray, items: IntArray, ratings: Array) -> float:
        """Learn from each of n ratings by itself, in order: n times `step` with a batch of one.

        Returns the mean of the n squared errors, each before its step.
        """
        n = len(ratings)
        return sum(self.step(users[r : r + 1], items[r : r + 1], ratings[r : r + 1]) for r in range(n)) / n

    def predict(self, users: IntArray, items: IntArray) -> Array:
        """Ratings of pairs, shape (n,), not clipped."""
        ...

    def cut(self, columns: Batch, rows: NDArray[np.int64], size: int) -> Iterator[Batch]:
        """Batches of `size` ratings in the order of `rows`, wherever `step` likes them to be."""
        return cut(columns, rows, size)

    def total(self, number: float) -> float:
        """The sum of the numbers of all processes; until all are here, they answer those that predict."""
        return number

    def fetch(self) -> None:
        """Bring the arrays of `parameters` and `optimizer.state` up to date: an engine may hold its own."""
        return


# Architecture, parameters, optimizer, user_penalty, item_penalty, weight_decay, rng: see `NumpyEngine`.
NewEngine = Callable[..., Engine]
