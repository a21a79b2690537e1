"""Batches on a device: cut there from columns that fit, otherwise sent one batch ahead."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...data.batches import Batch, cut
from ...data.prefetch import one_ahead
from ..distributed import Communicator

# Columns; with many processes users, items, ratings, time bins or None, and `is_own`: see `cut_share`.
TensorBatch = tuple[Any, ...]
SharedBatch = tuple[Any, ...]


def cut_share(columns: Batch, rows: NDArray[np.int64], size: int, share: slice) -> Iterator[SharedBatch]:
    """The share of one process of each batch that `data.batches.cut` makes.

    The columns have only the ratings of the process, a range of rows; `rows` count those of all. A share has
    users, items, ratings, time bins or None, and `is_own`, bool of the length of the whole batch, which is
    true for the ratings of the share. Shares of a batch are equally long only on average.
    """
    no_bins = () if len(columns) == 4 else (None,)
    for first in range(0, len(rows), size):
        batch = rows[first : first + size]
        is_own = (batch >= share.start) & (batch < share.stop)
        own = batch[is_own] - share.start
        yield *(column.take(own, mode="clip") for column in columns), *no_bins, is_own


class DeviceBatches:
    """Cuts the same batches as `data.batches.cut` for a device, or the share of one of many processes.

    Parameters
    ----------
    device : torch.device
    communicator : Communicator, optional
        Of the processes that share a batch, by default only this one.
    """

    def __init__(self, device: torch.device, communicator: Communicator | None = None) -> None:
        self.device = device
        self._communicator = Communicator() if communicator is None else communicator
        self._columns: Batch | None = None
        self._resident: TensorBatch | None = None

    def cut(self, columns: Batch, rows: NDArray[np.int64], size: int) -> Iterator[TensorBatch]:
        """Batches of `size` ratings in the order of `rows`, as tensors on the device."""
        share = self._communicator.place(len(columns[0]))
        if self._columns is not columns:
            self._columns = columns
            is_small = fits(sum(column.nbytes for column in columns), self.device)
            self._resident = self._sent(columns) if is_small else None
        if self._resident is not None:
            return self._cut_there(self._resident, self._sent([rows])[0], size, share)
        if self._communicator.size == 1:
            return one_ahead(self._sent(batch) for batch in cut(columns, rows, size))
        return one_ahead(self._sent(batch) for batch in cut_share(columns, rows, size, share))

    def _cut_there(
        self, columns: TensorBatch, rows: Tensor, size: int, share: slice
    ) -> Iterator[TensorBatch]:
        for batch in torch.split(rows, size):
            if self._communicator.size == 1:
                yield tuple(column[batch] for column in columns)
            else:
                is_own = (batch >= share.start) & (batch < share.stop)
                own = batch[is_own] - share.start
                yield *(column[own] for column in columns), *((None,) * (4 - len(columns))), is_own

    def _sent(self, columns: Sequence[NDArray[Any] | None]) -> TensorBatch:
        """Columns on their way to the device; from pinned memory the host does not wait for them."""
        return tuple(None if column is None else self._send(column) for column in columns)

    def _send(self, column: NDArray[Any]) -> Tensor:
        tensor = torch.from_numpy(np.require(column, requirements=["C", "W"]))
        if self.device.type == "cuda":
            tensor = tensor.pin_memory()
        return tensor.to(self.device, non_blocking=True)


def fits(n_bytes: int, device: torch.device) -> bool:
    """Whether the ratings leave at least half of the device's free memory to the steps."""
    return device.type != "cuda" or 2 * n_bytes <= torch.cuda.mem_get_info(device)[0]
