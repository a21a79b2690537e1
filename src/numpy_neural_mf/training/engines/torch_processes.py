"""Training of one model by many processes: each has a shard of every table, and rows move by all-to-all."""

import atexit
import os
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.rendezvous import rendezvous
from torch.nn.functional import embedding

from ...mf.parameters import Parameters, is_table
from ..distributed import Array, Communicator
from .torch_compat import CommonGradScaler, PrefixStore, all_to_all

# Rows of each process that are sent to the first process at once.
AT_ONCE = 2**14


class Exchange(NamedTuple):
    """The distinct rows of its shard that a process is asked for, int64, and a way to get the rows it needs.

    `fetch` takes values of the `owned` rows, shape (m, d), and returns values of the rows that this process
    asked for; autograd sums gradients on the way back.
    """

    owned: Tensor
    fetch: Callable[[Tensor], Tensor]


class TorchCommunicator(Communicator):
    """A communicator with the operations of the PyTorch engine; this base class is a single process."""

    def exchange(self, rows: Tensor) -> Exchange:
        """Return the exchange by which this process gets the distinct `rows` of a table."""
        return Exchange(rows, lambda values: values)

    def sum(self, tensors: Iterable[Tensor]) -> None:
        """Replace each tensor, in place, by its sum over the processes."""

    def scaler(self, device: torch.device, enabled: bool) -> torch.amp.GradScaler:
        """Return the loss scale, which all processes share: see `CommonGradScaler`."""
        return torch.amp.GradScaler(device.type, enabled=enabled)

    def require_same(self, numbers: Iterable[float]) -> None:
        """Raise ValueError in all processes if their numbers differ."""


class ProcessGroup(TorchCommunicator):
    """The processes that torchrun started; tensors go from device to device, arrays between hosts by Gloo."""

    def __init__(self, device: torch.device) -> None:
        if not dist.is_initialized():
            store, rank, size = next(iter(rendezvous("env://")))
            # The store outlives killed processes; their successors must not read their addresses.
            store = PrefixStore(f"attempt {os.environ['TORCHELASTIC_RESTART_COUNT']}", store)
            backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
            if device.type == "cuda":
                torch.cuda.set_device(device)  # where NCCL allocates its buffers
            dist.init_process_group(backend, store=store, rank=rank, world_size=size)
            atexit.register(dist.destroy_process_group)
        self.device = device
        self.rank, self.size = dist.get_rank(), dist.get_world_size()

    def place(self, n: int) -> slice:
        lengths = np.zeros(self.size, np.int64)
        lengths[self.rank] = n
        end = int(np.cumsum(self.all_reduce(lengths))[self.rank])
        return slice(end - n, end)

    def all_reduce(self, numbers: Array) -> Array:
        total = torch.from_numpy(np.array(numbers))
        dist.all_reduce(total)
        return total.numpy()

    def all_gather(self, column: Array) -> Array:
        columns: list[Any] = [None] * self.size
        dist.all_gather_object(columns, column)
        return np.concatenate(columns)

    def broadcast(self, compute: Callable[[], str]) -> str:
        found = [compute() if self.rank == 0 else ""]
        dist.broadcast_object_list(found)
        return found[0]

    def whole(self, shard: Array) -> Iterator[Array]:
        n_rows, width = self.whole_shape(shard)
        for first in range(0, -(-n_rows // self.size), AT_ONCE):
            n_here = min(n_rows - first * self.size, AT_ONCE * self.size)
            sent = np.zeros((-(-n_here // self.size), width), shard.dtype)
            block = shard[first : first + AT_ONCE]
            sent[: len(block)] = block
            received = np.empty((self.size, *sent.shape), shard.dtype)
            is_first = self.rank == 0
            dist.gather(torch.from_numpy(sent), list(torch.from_numpy(received)) if is_first else None)
            if is_first:
                yield np.ascontiguousarray(received.swapaxes(0, 1)).reshape(-1, width)[:n_here]

    def whole_shape(self, shard: Array) -> tuple[int, ...]:
        return int(self.all_reduce(np.array(len(shard)))), *shard.shape[1:]

    def gathered(self, parameters: Parameters) -> Parameters:
        whole = {name: self._gathered(own) if is_table(name) else own for name, own in parameters.items()}
        return whole if self.rank == 0 else {}

    def _gathered(self, shard: Array) -> Array:
        shape, first = self.whole_shape(shard), 0
        table = np.empty(shape if self.rank == 0 else 0, shard.dtype)
        for rows in self.whole(shard):
            table[first : first + len(rows)] = rows
            first += len(rows)
        return table

    def exchange(self, rows: Tensor) -> Exchange:
        order = torch.argsort(rows % self.size, stable=True)
        asked = torch.bincount(rows % self.size, minlength=self.size)
        n_asked, n_served = asked.tolist(), all_to_all(asked).tolist()
        wanted = all_to_all(rows[order] // self.size, n_served, n_asked)
        owned, position = torch.unique(wanted, return_inverse=True)
        place = torch.argsort(order)

        def fetch(values: Tensor) -> Tensor:
            sent = all_to_all(embedding(position, values), n_asked, n_served, autograd=True)
            return embedding(place, sent)

        return Exchange(owned, fetch)

    def sum(self, tensors: Iterable[Tensor]) -> None:
        tensors = list(tensors)
        together = torch.cat([tensor.flatten() for tensor in tensors])
        dist.all_reduce(together)
        totals = torch.split(together, [tensor.numel() for tensor in tensors])
        for tensor, total in zip(tensors, totals, strict=True):
            tensor.copy_(total.view_as(tensor))

    def scaler(self, device: torch.device, enabled: bool) -> torch.amp.GradScaler:
        return CommonGradScaler(device.type, enabled, lambda found: dist.all_reduce(found, dist.ReduceOp.MAX))

    def require_same(self, numbers: Iterable[float]) -> None:
        lowest = torch.tensor(list(numbers), dtype=torch.float64)
        highest = lowest.clone()
        dist.all_reduce(lowest, dist.ReduceOp.MIN)
        dist.all_reduce(highest, dist.ReduceOp.MAX)
        if not torch.equal(lowest, highest):
            raise ValueError("processes differ: give all of them the same ratings and random_state")


def communicator_on(device: torch.device) -> TorchCommunicator:
    """Return the communicator of the processes that torchrun started, or of only this one."""
    launched = dist.is_available() and dist.is_torchelastic_launched()
    return ProcessGroup(device) if launched and int(os.environ["WORLD_SIZE"]) > 1 else TorchCommunicator()
