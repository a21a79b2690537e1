"""One model in many processes: each has some rows of every table, and they come and go by all-to-all."""

from __future__ import annotations

import atexit
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed._functional_collectives import all_to_all_single, all_to_all_single_autograd
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous
from torch.nn.functional import embedding

from ..nn.parameter import Array


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


class OneProcess:
    """Nobody to share with."""

    rank, size = 0, 1

    def part(self, n: int) -> slice:
        """Which of n ratings this process reads."""
        return slice(n * self.rank // self.size, n * (self.rank + 1) // self.size)

    def exchange(self, rows: Tensor) -> Exchange:
        """How the distinct `rows` of a table come here."""
        return Exchange(rows, lambda values: values)

    def sum(self, tensors: Iterable[Tensor]) -> None:
        """Let each tensor be the sum over the processes, in place."""

    def scaler(self, device: torch.device, enabled: bool) -> torch.amp.GradScaler:
        """The scale of the loss, one for all; a step in which any process overflows is left out by all."""
        return torch.amp.GradScaler(device.type, enabled=enabled)

    def complete(self, table: Array) -> None:
        """Let a table, of which each process knows its own rows, be whole in all of them."""

    def require_same(self, arrays: Iterable[Array]) -> None:
        """Raise a ValueError in all processes if they have not the same arrays, judged by their sums."""


class Processes(OneProcess):
    """Those that torchrun started: row i is with process i mod size, as row i // size of its shard."""

    def __init__(self, device: torch.device) -> None:
        if not dist.is_initialized():
            store, rank, size = next(iter(rendezvous("env://")))
            # The store outlives processes that were killed: those started anew must not read their addresses.
            store = PrefixStore(f"attempt {os.environ['TORCHELASTIC_RESTART_COUNT']}", store)
            backend = "nccl" if device.type == "cuda" else "gloo"
            dist.init_process_group(backend, store=store, rank=rank, world_size=size)
            atexit.register(dist.destroy_process_group)
        self.device = device
        self._group: Any = dist.group.WORLD
        self.rank, self.size = dist.get_rank(), dist.get_world_size()

    def exchange(self, rows: Tensor) -> Exchange:
        order = torch.argsort(rows % self.size, stable=True)
        asked = torch.bincount(rows % self.size, minlength=self.size)
        told = all_to_all_single(asked, None, None, self._group)
        n_asked, n_told = asked.tolist(), told.tolist()
        wanted = all_to_all_single(rows[order] // self.size, n_told, n_asked, self._group)
        owned, position = torch.unique(wanted, return_inverse=True)
        place = torch.argsort(order)

        def fetch(values: Tensor) -> Tensor:
            sent = all_to_all_single_autograd(embedding(position, values), n_asked, n_told, self._group)
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

    def require_same(self, arrays: Iterable[Array]) -> None:
        sums = torch.tensor([float(array.sum()) for array in arrays], device=self.device)
        lowest, highest = sums.clone(), sums.clone()
        dist.all_reduce(lowest, dist.ReduceOp.MIN)
        dist.all_reduce(highest, dist.ReduceOp.MAX)
        if not torch.equal(lowest, highest):
            raise ValueError("processes differ: give all of them the same ratings and random_state")

    def scaler(self, device: torch.device, enabled: bool) -> torch.amp.GradScaler:
        return SharedScaler(device.type, enabled=enabled)

    def complete(self, table: Array) -> None:
        for rank in range(self.size):
            rows = torch.from_numpy(table[rank :: self.size])
            sent = rows.to(self.device, copy=True).contiguous()
            dist.broadcast(sent, rank)
            rows.copy_(sent)


class SharedScaler(torch.amp.GradScaler):
    """Leaves a step out where any process found a gradient that is not finite: one scale for all."""

    def unscale_(self, optimizer: torch.optim.Optimizer) -> None:
        super().unscale_(optimizer)
        for found in self._found_inf_per_device(optimizer).values() if self.is_enabled() else ():
            dist.all_reduce(found, dist.ReduceOp.MAX)


def processes(device: torch.device) -> OneProcess:
    """The processes that torchrun started, or this one alone."""
    launched = dist.is_available() and dist.is_torchelastic_launched()
    return Processes(device) if launched and int(os.environ["WORLD_SIZE"]) > 1 else OneProcess()
