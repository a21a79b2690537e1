"""Batches on a device: cut there from columns that fit, otherwise sent there one ahead of the one at work."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...data.batches import Batch, cut
from ...data.prefetch import one_ahead
from ..distributed import OneProcess

# Users, items and ratings and, in many processes, which of the whole batch these are: see `cut_share`.
TensorBatch = tuple[Tensor, ...]
SharedBatch = tuple[NDArray[Any], ...]


def cut_share(columns: Batch, rows: NDArray[np.int64], size: int, share: slice) -> Iterator[SharedBatch]:
    """Of each batch that `data.batches.cut` makes, the ratings within a range of rows, and which these are.

    The columns have these ratings alone, the share of one process; `rows` count those of all. The last
    column, bool of the length of the whole batch, is true where a rating is one of these. Parts of a batch
    are as long as each other on average alone.
    """
    for first in range(0, len(rows), size):
        batch = rows[first : first + size]
        is_own = (batch >= share.start) & (batch < share.stop)
        own = batch[is_own] - share.start
        yield *(column.take(own, mode="clip") for column in columns), is_own


class DeviceBatches:
    """Cuts batches as `data.batches.cut` does, the same ones, for a device; of many processes, their share.

    Parameters
    ----------
    device : torch.device
    processes : OneProcess, optional
        Those among which a batch is divided, by default this one alone.
    """

    def __init__(self, device: torch.device, processes: OneProcess | None = None) -> None:
        self.device = device
        self._processes = OneProcess() if processes is None else processes
        self._columns: Batch | None = None
        self._resident: TensorBatch | None = None

    def cut(self, columns: Batch, rows: NDArray[np.int64], size: int) -> Iterator[TensorBatch]:
        """Batches of `size` ratings in the order of `rows`, as tensors on the device."""
        share = self._processes.place(len(columns[0]))
        if self._columns is not columns:
            self._columns = columns
            is_small = fits(sum(column.nbytes for column in columns), self.device)
            self._resident = self._sent(columns) if is_small else None
        if self._resident is not None:
            return self._cut_there(self._resident, self._sent([rows])[0], size, share)
        if self._processes.size == 1:
            return one_ahead(self._sent(batch) for batch in cut(columns, rows, size))
        return one_ahead(self._sent(batch) for batch in cut_share(columns, rows, size, share))

    def _cut_there(
        self, columns: TensorBatch, rows: Tensor, size: int, share: slice
    ) -> Iterator[TensorBatch]:
        for batch in torch.split(rows, size):
            if self._processes.size == 1:
                yield tuple(column[batch] for column in columns)
            else:
                is_own = (batch >= share.start) & (batch < share.stop)
                own = batch[is_own] - share.start
                yield *(column[own] for column in columns), is_own

    def _sent(self, columns: Sequence[NDArray[Any]]) -> TensorBatch:
        """On their way to the device; from pinned memory nobody waits for them."""
        tensors = [torch.from_numpy(np.require(column, requirements=["C", "W"])) for column in columns]
        if self.device.type == "cuda":
            tensors = [tensor.pin_memory() for tensor in tensors]
        return tuple(tensor.to(self.device, non_blocking=True) for tensor in tensors)


def fits(n_bytes: int, device: torch.device) -> bool:
    """Whether the ratings leave at least half of the device's free memory to the steps."""
    return device.type != "cuda" or 2 * n_bytes <= torch.cuda.mem_get_info(device)[0]
