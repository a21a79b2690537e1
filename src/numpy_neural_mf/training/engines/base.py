"""The base class of engines: all engines compute the same step, to rounding."""

import os
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...data.batches import Batch, cut
from ...mf.architecture import Architecture
from ...mf.parameters import Parameters
from ...nn import Optimizer
from ...nn.parameter import Array, IntArray
from ..distributed import Communicator
from ..objective import Objective

# The time bins of ratings, for an architecture with periods, or the items that users rated just before.
Bins = IntArray | None


class Engine:
    """Learns from batches with an optimiser and an objective, and predicts; `parameters` change in place.

    `rng` draws random signs. With many processes, each has its shard of every table and of its state.
    """

    communicator: Communicator = Communicator()
    name: str = ""

    def __init__(
        self,
        architecture: Architecture,
        parameters: Parameters,
        optimizer: Optimizer,
        objective: Objective,
        rng: np.random.Generator | None = None,
    ) -> None:
        self.architecture, self.parameters = architecture, parameters
        self.optimizer, self.objective = optimizer, objective
        self._rng = np.random.default_rng() if rng is None else rng
        self._dtype = dtype = parameters["intercept"].dtype
        self._share = {entity: share.astype(dtype, copy=False) for entity, share in objective.share.items()}
        self._prepare()

    def _prepare(self) -> None:
        """Prepare the engine's own data."""

    def step(
        self, users: IntArray, items: IntArray, ratings: Array, time_bins: Bins = None, previous: Bins = None
    ) -> float:
        """Learn from one batch of n ratings, with `time_bins` and `previous` if the architecture uses them.

        Returns the batch's mean squared error, or mean -log P, before the step, without weights and priors.
        """
        raise NotImplementedError

    def step_per_sample(self, *batch: Any) -> float:
        """Take a `step` for each rating of a batch, in order (per-sample SGD); return the mean loss."""
        columns = [column for column in batch if column is not None]
        losses = [self.step(*(column[r : r + 1] for column in columns)) for r in range(len(columns[0]))]
        return sum(losses) / len(losses)

    def predict(
        self, users: IntArray, items: IntArray, time_bins: Bins = None, previous: Bins = None
    ) -> Array:
        """Return r̂ of pairs, shape (n,), not clipped."""
        raise NotImplementedError

    def cut(self, columns: Batch, rows: NDArray[np.int64], size: int) -> Iterator[Batch]:
        """Yield batches of `size` ratings in the order of `rows`, in the memory that `step` reads."""
        return cut(columns, rows, size)

    def all_reduce(self, number: float) -> float:
        """Return the sum over all processes, which serve each other's predictions until all call this."""
        return number

    def fetch(self) -> None:
        """Update parameters, the optimiser's state, `squares` and `data` from copies, if there are any."""

    def send(self) -> None:
        """Copy `parameters` and the arrays of the objective again, if the engine has copies."""


def require_context(architecture: Architecture, time_bins: Any, previous: Any) -> None:
    """Raise ValueError unless time bins and previous items are given if, and only if, they are needed."""
    if (time_bins is not None) != bool(architecture.periods):
        raise ValueError("expected the time bins of ratings if the architecture has periods, and only then")
    if (previous is not None) != architecture.previous_item:
        raise ValueError("expected previous items if the architecture has previous_item, and only then")


# The process in which each engine first started threads; a forked process inherits this dict.
_started_in: dict[str, int] = {}


def require_same_process(engine: str) -> None:
    """Record that an engine has threads here; raise RuntimeError in a process forked from such a process."""
    if _started_in.setdefault(engine, os.getpid()) != os.getpid():
        raise RuntimeError(
            f'engine "{engine}" has trained in the process from which this one was forked, and its threads '
            'do not survive a fork: start processes with multiprocessing.get_context("spawn"), or use '
            'engine="numpy"'
        )


def keep_freed_memory() -> None:
    """Keep arrays that one step frees for the next; new pages took up to half of the time with large batches.

    Linux's C library returns large blocks to the system until a large one has been freed. From then on it
    keeps up to twice its size (mallopt(3), M_MMAP_THRESHOLD), which counts up to 32 MB. The block allocated
    here is never written.
    """
    np.empty(2**25 - 2**13, np.uint8)
