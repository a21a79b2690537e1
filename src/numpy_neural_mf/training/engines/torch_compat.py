"""All that the package needs of PyTorch's internals."""

from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist

# Its functions have the default group as it is at their import, which optimisers do later: a group that
# exists by then would be held beyond its end, and its threads run into the end of Python, which then
# sometimes aborts.
import torch.distributed.nn
from torch import Tensor
from torch.distributed._functional_collectives import all_to_all_single, all_to_all_single_autograd
from torch.distributed.distributed_c10d import PrefixStore as PrefixStore


def all_to_all(
    values: Tensor, received: list[int] | None = None, sent: list[int] | None = None, autograd: bool = False
) -> Tensor:
    """Blocks of rows to and from each process, in sizes received and sent, by default all equal.

    Autograd sends gradients back, if that is wanted.
    """
    group: Any = dist.group.WORLD
    result: Tensor = (all_to_all_single_autograd if autograd else all_to_all_single)(
        values, received, sent, group
    )
    return result


def sum_by_position(values: Tensor, positions: Tensor, n: int) -> Tensor:
    """Σ of the values, (m,), at each of n positions, as gradients of `embedding` are summed.

    On CUDA, unlike `index_add_`, this adds in the same order each time, and unlike with `index_put_`, the
    host does not wait.
    """
    sums: Tensor = torch.ops.aten.embedding_dense_backward(values[:, None], positions, n, -1, False)
    return sums[:, 0]


def allow_uncaptured_steps(optimizer: torch.optim.Optimizer) -> None:
    """Let an optimiser whose steps are to be captured take its first ones uncaptured, without a warning."""
    optimizer.param_groups[0]["capturable"] = True
    optimizer._warned_capturable_if_run_uncaptured = True


class CommonGradScaler(torch.amp.GradScaler):
    """A scale of the loss that is one for all processes: a step in which any overflows is left out by all.

    `reduce_max` makes a tensor its maximum over the processes, in place.
    """

    def __init__(self, device: str, enabled: bool, reduce_max: Callable[[Tensor], Any]) -> None:
        super().__init__(device, enabled=enabled)
        self._reduce_max = reduce_max

    def unscale_(self, optimizer: torch.optim.Optimizer) -> None:
        """Divide gradients by the scale, and note in which process any is not finite."""
        super().unscale_(optimizer)
        for found in self._found_inf_per_device(optimizer).values() if self.is_enabled() else ():
            self._reduce_max(found)
