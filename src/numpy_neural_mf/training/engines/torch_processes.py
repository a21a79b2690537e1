"""One model in many processes: each has some rows of every table, and they come and go by all-to-all."""

from __future__ import annotations

import atexit
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.distributed as dist

# Its functions have the group for a default, as it is when they are imported, which optimisers do later: a
# group that was there already would be held beyond its end, and its threads run into that of Python, which
# then aborts, now and then.
import torch.distributed.nn
from torch import Tensor
from torch.distributed._functional_collectives import all_to_all_single, all_to_all_single_autograd
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous
from torch.nn.functional import embedding

from ...mf.architecture import Parameters
from ..distributed import Array, OneProcess, is_table

# Rows of each process that are sent to the first at a time.
AT_ONCE = 2**14


@dataclass(frozen=True)
class Exchange:
    """Which rows of a process's shard a step needs, and how they come to those who need them.

    Attributes
    ----------
    owned : int64 tensor of shape (m,)
        Distinct rows of the shard that any process asked for.
    fetch : callable
        Values of `owned`, shape (m, d), to values of the rows that this process asked for. Autograd takes
        gradients the way back, and sums those of a row.
    """

    owned: Tensor
    fetch: Callable[[Tensor], Tensor]


class OneTorchProcess(OneProcess):
    """What the engine of PyTorch needs besides, of one process."""

    def exchange(self, rows: Tensor) -> Exchange:
        """How the distinct `rows` of a table come here."""
        return Exchange(rows, lambda values: values)

    def sum(self, tensors: Iterable[Tensor]) -> None:
        """Let each tensor be the sum over the processes, in place."""

    def scaler(self, device: torch.device, enabled: bool) -> torch.amp.GradScaler:
        """The scale of the loss, one for all; a step in which any process overflows is left out by all."""
        return torch.amp.GradScaler(device.type, enabled=enabled)

    def require_same(self, numbers: Iterable[float]) -> None:
        """Raise a ValueError in all processes if they have not the same numbers."""


class Processes(OneTorchProcess):
    """Those that torchrun started. Tensors go from device to device, arrays by Gloo from host to host."""

    def __init__(self, device: torch.device) -> None:
        if not dist.is_initialized():
            store, rank, size = next(iter(rendezvous("env://")))
            # The store outlives processes that were killed: those started anew must not read their addresses.
            store = PrefixStore(f"attempt {os.environ['TORCHELASTIC_RESTART_COUNT']}", store)
            backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
            if device.type == "cuda":
                torch.cuda.set_device(device)  # where NCCL puts what is its own
            dist.init_process_group(backend, store=store, rank=rank, world_size=size)
            atexit.register(dist.destroy_process_group)
        self.device = device
        self.rank, self.size = dist.get_rank(), dist.get_world_size()

    def place(self, n: int) -> slice:
        lengths = np.zeros(self.size, np.int64)
        lengths[self.rank] = n
        end = int(np.cumsum(self.total(lengths))[self.rank])
        return slice(end - n, end)

    def total(self, numbers: Array) -> Array:
        total = torch.from_numpy(np.array(numbers))
        dist.all_reduce(total)
        return total.numpy()

    def joined(self, column: Array) -> Array:
        columns: list[Any] = [None] * self.size
        dist.all_gather_object(columns, column)
        return np.concatenate(columns)

    def told(self, find_out: Callable[[], str]) -> str:
        found = [find_out() if self.rank == 0 else ""]
        dist.broadcast_object_list(found)
        return found[0]

    def whole(self, name: str, own: Array) -> Iterator[Array]:
        if not is_table(name, own.ndim):
            if self.rank == 0:
                yield own
            return
        n_rows, width = self.shape(name, own)
        for first in range(0, -(-n_rows // self.size), AT_ONCE):
            n_here = min(n_rows - first * self.size, AT_ONCE * self.size)
            sent = np.zeros((-(-n_here // self.size), width), own.dtype)
            block = own[first : first + AT_ONCE]
            sent[: len(block)] = block
            received = np.empty((self.size, *sent.shape), own.dtype) if self.rank == 0 else None
            dist.gather(
                torch.from_numpy(sent), None if received is None else list(torch.from_numpy(received))
            )
            if received is not None:
                yield np.ascontiguousarray(received.swapaxes(0, 1)).reshape(-1, width)[:n_here]

    def shape(self, name: str, own: Array) -> tuple[int, ...]:
        if not is_table(name, own.ndim):
            return own.shape
        return int(self.total(np.array(len(own)))), *own.shape[1:]

    def gathered(self, parameters: Parameters) -> Parameters:
        whole: Parameters = {}
        for name, own in parameters.items():
            shape, first = self.shape(name, own), 0
            table = np.empty(shape if self.rank == 0 else 0, own.dtype)
            for rows in self.whole(name, own):
                table[first : first + len(rows)] = rows
                first += len(rows)
            if self.rank == 0:
                whole[name] = table
        return whole

    def exchange(self, rows: Tensor) -> Exchange:
        order = torch.argsort(rows % self.size, stable=True)
        asked = torch.bincount(rows % self.size, minlength=self.size)
        group: Any = dist.group.WORLD
        told = all_to_all_single(asked, None, None, group)
        n_asked, n_told = asked.tolist(), told.tolist()
        wanted = all_to_all_single(rows[order] // self.size, n_told, n_asked, group)
        owned, position = torch.unique(wanted, return_inverse=True)
        place = torch.argsort(order)

        def fetch(values: Tensor) -> Tensor:
            sent = all_to_all_single_autograd(embedding(position, values), n_asked, n_told, group)
            return embedding(place, sent)

        return Exchange(owned, fetch)

    def sum(self, tensors: Iterable[Tensor]) -> None:
        tensors = list(tensors)
        together = torch.cat([tensor.flatten() for tensor in tensors])
        dist.all_reduce(together)
        for tensor, total in zip(
            tensors, torch.split(together, [tensor.numel() for tensor in tensors]), strict=True
        ):
            tensor.copy_(total.view_as(tensor))

    def scaler(self, device: torch.device, enabled: bool) -> torch.amp.GradScaler:
        return SharedScaler(device.type, enabled=enabled)

    def require_same(self, numbers: Iterable[float]) -> None:
        lowest = torch.tensor(list(numbers), dtype=torch.float64)
        highest = lowest.clone()
        dist.all_reduce(lowest, dist.ReduceOp.MIN)
        dist.all_reduce(highest, dist.ReduceOp.MAX)
        if not torch.equal(lowest, highest):
            raise ValueError("processes differ: give all of them the same ratings and random_state")


class SharedScaler(torch.amp.GradScaler):
    """Leaves a step out where any process found a gradient that is not finite: one scale for all."""

    def unscale_(self, optimizer: torch.optim.Optimizer) -> None:
        super().unscale_(optimizer)
        for found in self._found_inf_per_device(optimizer).values() if self.is_enabled() else ():
            dist.all_reduce(found, dist.ReduceOp.MAX)


def processes(device: torch.device) -> OneTorchProcess:
    """The processes that torchrun started, or this one alone."""
    launched = dist.is_available() and dist.is_torchelastic_launched()
    return Processes(device) if launched and int(os.environ["WORLD_SIZE"]) > 1 else OneTorchProcess()
