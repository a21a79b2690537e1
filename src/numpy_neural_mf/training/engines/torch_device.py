"""The device to compute on: its choice, batches cut there or sent there, and CUDA steps as graphs."""

import gc
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...data.batches import Batch, cut
from ...data.prefetch import one_ahead
from ...utils.shortened import quoted
from ..distributed import Communicator

# Number of steps with batches of one length before a step is captured. In the first ones libraries set
# themselves up, and a length that occurs once per epoch is hardly worth a capture, which takes as long as
# hundreds of steps.
WARM_UP = 20


def find_device(name: str) -> torch.device:
    """Return the named device or raise ValueError; "auto" is the first available of cuda, mps and cpu."""
    is_there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    there = [device for device in is_there if is_there[device]]
    if name != "auto" and name not in there:
        raise ValueError(
            f"device must be one that PyTorch finds here ({', '.join(there)}), not {quoted(name)}"
        )
    device = there[0] if name == "auto" else name
    # Torchrun numbers the processes of a machine; each takes the GPU with its number.
    return torch.device(device, int(os.environ.get("LOCAL_RANK", 0)) if device == "cuda" else 0)


@contextmanager
def products_in_tf32(wanted: bool) -> Iterator[None]:
    """Within the block, if `wanted`, round the factors of float32 matrix products to 10 bits."""
    if not wanted:
        yield
        return
    products = torch.backends.cuda.matmul
    before, products.fp32_precision = products.fp32_precision, "tf32"
    try:
        yield
    finally:
        products.fp32_precision = before


def cut_share(columns: Sequence[Any], rows: Any, size: int, share: slice) -> Iterator[tuple[Any, ...]]:
    """Yield one process's share of each batch; the columns hold its ratings, `rows` count those of all.

    A share has users, items, ratings, time bins and previous items, each perhaps None, and `is_own`, which
    marks the share in the whole batch.
    """
    columns, is_tensor = [*columns, None, None][:5], isinstance(rows, Tensor)
    for first in range(0, len(rows), size):
        batch = rows[first : first + size]
        is_own = (batch >= share.start) & (batch < share.stop)
        own = batch[is_own] - share.start
        taken = [None if c is None else c[own] if is_tensor else c.take(own, mode="clip") for c in columns]
        yield *taken, is_own


class DeviceBatches:
    """Cuts batches or shares on the device if it has room for the columns, or else sends them one ahead."""

    def __init__(self, device: torch.device, communicator: Communicator | None = None) -> None:
        self.device = device
        self._communicator = Communicator() if communicator is None else communicator
        self._columns: Batch | None = None
        self._resident: tuple[Any, ...] | None = None

    def cut(self, columns: Batch, rows: NDArray[np.int64], size: int) -> Iterator[tuple[Any, ...]]:
        """Yield batches of `size` ratings in the order of `rows`, as tensors on the device."""
        share, is_alone = self._communicator.place(len(columns[0])), self._communicator.size == 1
        if self._columns is not columns:
            self._columns = columns
            is_small = fits(sum(column.nbytes for column in columns if column is not None), self.device)
            self._resident = self._sent(columns) if is_small else None
        if (resident := self._resident) is not None:
            (there,) = self._sent([rows])
            if is_alone:
                return (
                    tuple(column if column is None else column[batch] for column in resident)
                    for batch in torch.split(there, size)
                )
            return cut_share(resident, there, size, share)
        batches = cut(columns, rows, size) if is_alone else cut_share(columns, rows, size, share)
        return one_ahead(self._sent(batch) for batch in batches)

    def send(self) -> None:
        """Read the columns again at the next cut, because they have changed."""
        self._columns = None

    def _sent(self, columns: Sequence[NDArray[Any] | None]) -> tuple[Any, ...]:
        """Send columns to the device; the host does not wait for them, as they are in pinned memory."""
        return tuple(None if column is None else self._send(column) for column in columns)

    def _send(self, column: NDArray[Any]) -> Tensor:
        tensor = torch.from_numpy(np.require(column, requirements=["C", "W"]))
        if self.device.type == "cuda":
            tensor = tensor.pin_memory()
        return tensor.to(self.device, non_blocking=True)


def fits(n_bytes: int, device: torch.device) -> bool:
    """Return whether the ratings leave at least half of the device's free memory to the steps."""
    return device.type != "cuda" or 2 * n_bytes <= torch.cuda.mem_get_info(device)[0]


class GraphedSteps:
    """Steps that are captured as a graph for each batch length, then replayed; they draw from `generator`.

    After the capture, the host launches all kernels of a step together instead of separately.
    """

    def __init__(self, generator: torch.Generator) -> None:
        self._generator = generator
        self._n_taken: Counter[int] = Counter()
        # Graph, inputs and loss.
        self._captured: dict[int, tuple[torch.cuda.CUDAGraph, tuple[Tensor, ...], Tensor]] = {}

    def take(self, step: Callable[..., Tensor], *batch: Tensor) -> Tensor:
        """Take a step and return its loss, which the next step of the same length may overwrite."""
        # The step never changes, and the length of the batch decides the shapes of all its kernels.
        n = len(batch[-1])
        self._n_taken[n] += 1
        if self._n_taken[n] <= WARM_UP:
            return step(*batch)
        if n not in self._captured:
            graph, inputs = torch.cuda.CUDAGraph(), tuple(column.clone() for column in batch)
            graph.register_generator_state(self._generator)
            gc.collect()  # releasing a graph while another is captured would end the capture
            # Meanwhile, another thread may be sending the next batch.
            with torch.cuda.graph(graph, capture_error_mode="thread_local"):
                loss = step(*inputs)
            self._captured[n] = graph, inputs, loss
        graph, inputs, loss = self._captured[n]
        for there, given in zip(inputs, batch, strict=True):
            there.copy_(given)
        graph.replay()
        return loss
