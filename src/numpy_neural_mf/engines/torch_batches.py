"""Batches on a device: cut there from columns that fit, otherwise sent there one ahead of the one at work."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..data.batches import Batch, cut

TensorBatch = tuple[Tensor, Tensor, Tensor]


class DeviceBatches:
    """Cuts batches as `data.batches.cut` does, the same ones, for a device.

    Parameters
    ----------
    device : torch.device
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._columns: Batch | None = None
        self._resident: TensorBatch | None = None

    def cut(self, columns: Batch, rows: NDArray[np.int64], size: int) -> Iterator[TensorBatch]:
        """Batches of `size` ratings in the order of `rows`, as tensors on the device."""
        if self._columns is not columns:
            self._columns = columns
            users, items, values = columns
            self._resident = None
            if fits(sum(column.nbytes for column in columns), self.device):
                self._resident = self._sent(users), self._sent(items), self._sent(values)
        if self._resident is None:
            return _one_ahead(
                (self._sent(users), self._sent(items), self._sent(values))
                for users, items, values in cut(columns, rows, size)
            )
        return self._cut_there(self._resident, self._sent(rows), size)

    def _cut_there(self, columns: TensorBatch, rows: Tensor, size: int) -> Iterator[TensorBatch]:
        users, items, values = columns
        for batch in torch.split(rows, size):
            yield users[batch], items[batch], values[batch]

    def _sent(self, column: NDArray[np.generic]) -> Tensor:
        """On its way to the device; from pinned memory nobody waits for it."""
        tensor = torch.from_numpy(np.require(column, requirements=["C", "W"]))
        if self.device.type != "cuda":
            return tensor.to(self.device)
        return tensor.pin_memory().to(self.device, non_blocking=True)


def fits(n_bytes: int, device: torch.device) -> bool:
    """Whether the ratings leave at least half of the device's free memory to the steps."""
    return device.type != "cuda" or 2 * n_bytes <= torch.cuda.mem_get_info(device)[0]


def _one_ahead(batches: Iterator[TensorBatch]) -> Iterator[TensorBatch]:
    """The same batches, each made in another thread while the one before is at work."""
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(next, batches, None)
        while (batch := coming.result()) is not None:
            coming = pool.submit(next, batches, None)
            yield batch
