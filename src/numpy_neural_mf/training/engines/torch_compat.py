"""All that the package needs of PyTorch's internals."""

from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist

# Imported here, before there is a process group: its functions keep the default group of the time of import.
# Optimisers import it later, when a group exists; that group would be kept beyond its end, and its threads
# would run into the end of Python, which then sometimes aborts.
import torch.distributed.nn
from torch import Tensor
from torch.distributed._functional_collectives import all_to_all_single, all_to_all_single_autograd
from torch.distributed.distributed_c10d import PrefixStore as PrefixStore


def all_to_all(
    values: Tensor, received: list[int] | None = None, sent: list[int] | None = None, autograd: bool = False
) -> Tensor:
    """Exchange blocks of rows with each process, of sizes `received` and `sent`, by default all equal.

    With `autograd`, gradients are sent back.
    """
    group: Any = dist.group.WORLD
    result: Tensor = (all_to_all_single_autograd if autograd else all_to_all_single)(
        values, received, sent, group
    )
    return result


def gradient_of_embedding(values: Tensor, positions: Tensor, n: int) -> Tensor:
    """Sum values, shape (m, d), at each of n positions, as the gradient of `embedding` does.

    On CUDA, this adds in the same order each time, unlike `index_add_`, and the host does not wait, unlike
    with `index_put_`.
    """
    sums: Tensor = torch.ops.aten.embedding_dense_backward(values, positions, n, -1, False)
    return sums


def allow_uncaptured_steps(optimizer: torch.optim.Optimizer) -> None:
    """Let an optimiser whose steps will be captured take its first steps uncaptured, without a warning."""
    optimizer.param_groups[0]["capturable"] = True
    optimizer._warned_capturable_if_run_uncaptured = True


class CommonGradScaler(torch.amp.GradScaler):
    """A loss scale shared by all processes: if a step overflows in one process, all of them skip it.

    `reduce_max` sets a tensor to its maximum over the processes, in place.
    """

    def __init__(self, device: str, enabled: bool, reduce_max: Callable[[Tensor], Any]) -> None:
        super().__init__(device, enabled=enabled)
        self._reduce_max = reduce_max

    def unscale_(self, optimizer: torch.optim.Optimizer) -> None:
        """Divide gradients by the scale, and record in all processes if any gradient is not finite."""
        super().unscale_(optimizer)
        for found in self._found_inf_per_device(optimizer).values() if self.is_enabled() else ():
            self._reduce_max(found)
