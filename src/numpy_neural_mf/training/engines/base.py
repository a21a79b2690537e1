"""What an engine does: it computes the same step as every other engine, to rounding."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ...data.batches import Batch, cut
from ...mf.architecture import Architecture
from ...mf.parameters import Parameters
from ...nn import Optimizer
from ...nn.parameter import Array, IntArray
from ..distributed import Communicator


class Engine(Protocol):
    """One architecture, its parameters, an optimiser and an objective: it learns from batches and predicts.

    Every engine is made by ``Engine(architecture, parameters, optimizer, objective, rng)``. With many
    processes, each has its shard of every table (see `Communicator`), and of the optimiser's state.
    """

    parameters: Parameters
    optimizer: Optimizer
    communicator: Communicator = Communicator()
    name: str = ""

    def step(
        self, users: IntArray, items: IntArray, ratings: Array, time_bins: IntArray | None = None
    ) -> float:
        """Learn from one batch.

        Parameters
        ----------
        users, items : integer arrays of shape (n,)
            Rows of the tables, repeated at will.
        ratings : array of shape (n,)
        time_bins : integer array of shape (n,), optional
            For an architecture with periods.

        Returns
        -------
        float
            Mean squared error of the batch before the step, or mean -log P, without the penalty.
        """
        ...

    def step_per_sample(
        self, users: IntArray, items: IntArray, ratings: Array, time_bins: IntArray | None = None
    ) -> float:
        """Per-sample gradient descent: n times `step` with a batch of one, in order.

        Returns the mean of the n losses, each before its step.
        """
        columns: list[Any] = [column for column in (users, items, ratings, time_bins) if column is not None]
        losses = [self.step(*(column[r : r + 1] for column in columns)) for r in range(len(ratings))]
        return sum(losses) / len(losses)

    def predict(self, users: IntArray, items: IntArray, time_bins: IntArray | None = None) -> Array:
        """r̂ of pairs, shape (n,), not clipped."""
        ...

    def cut(self, columns: Batch, rows: NDArray[np.int64], size: int) -> Iterator[Batch]:
        """Batches of `size` ratings in the order of `rows`, in the memory that `step` reads."""
        return cut(columns, rows, size)

    def all_reduce(self, number: float) -> float:
        """The sum over all processes, which answer each other's predictions until all call this."""
        return number

    def fetch(self) -> None:
        """Bring the arrays of `parameters` and `optimizer.state` up to date: an engine may have copies."""
        return


def require_time_bins(architecture: Architecture, time_bins: Any) -> None:
    """Raise a ValueError unless there are time bins exactly if the architecture has periods."""
    if (time_bins is not None) != bool(architecture.periods):
        raise ValueError("expected the time bins of ratings if the architecture has periods, and only then")


# Architecture, parameters, optimizer, objective, rng: see `NumpyEngine`.
NewEngine = Callable[..., Engine]
