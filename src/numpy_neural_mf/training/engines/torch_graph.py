"""Steps on CUDA as graphs: kernels that the host launched one by one are launched together from then on."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Callable

import torch
from torch import Tensor

# Steps of a length taken kernel by kernel before one is captured. In the first ones libraries set themselves
# up, and a length that comes once in an epoch is hardly worth a capture, which takes as long as hundreds.
WARM_UP = 20


class GraphedSteps:
    """Steps that are captured as a graph, for each length of a batch, and replayed from then on.

    Parameters
    ----------
    generator : torch.Generator
        What the steps draw from.
    """

    def __init__(self, generator: torch.Generator) -> None:
        self._generator = generator
        self._n_taken: Counter[int] = Counter()
        self._captured: dict[int, tuple[torch.cuda.CUDAGraph, tuple[Tensor, ...], Tensor]] = {}

    def take(self, step: Callable[..., Tensor], *batch: Tensor) -> Tensor:
        """The loss of a step, which the next one of the same length may overwrite.

        Parameters
        ----------
        step : callable
            Always the same one. It learns from tensors on the device, by kernels whose shapes follow from the
            length of the batch only, none of which the host waits for.
        *batch : tensors
        """
        n = len(batch[-1])
        self._n_taken[n] += 1
        if self._n_taken[n] <= WARM_UP:
            return step(*batch)
        if n not in self._captured:
            self._captured[n] = self._capture(step, batch)
        graph, inputs, loss = self._captured[n]
        for there, given in zip(inputs, batch, strict=True):
            there.copy_(given)
        graph.replay()
        return loss

    def _capture(
        self, step: Callable[..., Tensor], batch: tuple[Tensor, ...]
    ) -> tuple[torch.cuda.CUDAGraph, tuple[Tensor, ...], Tensor]:
        graph, inputs = torch.cuda.CUDAGraph(), tuple(column.clone() for column in batch)
        graph.register_generator_state(self._generator)
        gc.collect()  # a graph that is let go of while another is captured ends the capture
        # Another thread may be sending the next batch meanwhile.
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):
            loss = step(*inputs)
        return graph, inputs, loss


def distinct_of_fixed_shape(ids: Tensor, n_rows: int) -> tuple[Tensor, Tensor, Tensor]:
    """What `torch.unique` returns, in shapes that do not depend on the ids.

    Parameters
    ----------
    ids : integer tensor of shape (n,)
    n_rows : int
        Of the table; the last, which stands for the unknown, is none of `ids`.

    Returns
    -------
    rows : int64 tensor of shape (m,), where m is n, at most n_rows
        The distinct ids, in order; then the last row of the table as often as there is room.
    positions : int32 tensor of shape (n,)
        Of each id, which of `rows`.
    counts : int64 tensor of shape (m,)
        How many of the ids each of `rows` is: of the last row none, so it has no gradient.
    """
    ordered, source = torch.sort(ids)
    is_new = torch.ones_like(ordered, dtype=torch.bool)
    torch.ne(ordered[1:], ordered[:-1], out=is_new[1:])
    number = is_new.cumsum(0) - 1
    rows = number.new_full((min(len(ids), n_rows),), n_rows - 1)
    rows.scatter_(0, number, ordered.long())
    positions = torch.empty_like(number, dtype=torch.int32).scatter_(0, source, number.int())
    counts = torch.zeros_like(rows).scatter_add_(0, number, torch.ones_like(number))
    return rows, positions, counts
