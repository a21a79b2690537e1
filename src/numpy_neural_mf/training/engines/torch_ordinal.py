"""The ordinal likelihood in PyTorch, which autograd derives."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import embedding, logsigmoid

from ...nn import CumulativeLogit
from ...nn.parameter import Array


class OrdinalLoss(nn.Module):
    """Σ -log P of ratings given y: see `nn.CumulativeLogit`."""

    def __init__(self, ordinal: CumulativeLogit, dtype: torch.dtype, device: torch.device) -> None:
        super().__init__()
        self.tau = ordinal.tau
        self.middles = torch.tensor(ordinal.middles, dtype=dtype, device=device)

    def forward(self, y: Tensor, ratings: Tensor, raw: Tensor) -> Tensor:
        """`raw` of shape (S - 1,) as in `CumulativeLogit`."""
        step, last = torch.searchsorted(self.middles, ratings), len(raw)
        gaps = raw[1:].exp()
        theta = torch.cat([raw[:1], raw[:1] + gaps.cumsum(0)])
        # Where there is no cutpoint above, or below, zero stands in, and does not count.
        end, crowding = gaps.new_zeros(1), torch.log(-torch.expm1(-gaps / self.tau))
        of_steps = [torch.cat(parts) for parts in ([theta, end], [end, theta], [end, crowding, end])]
        # On CUDA, unlike indexing, `embedding` adds up the gradients of a few rows in parallel.
        highest, lowest, crowding = embedding(step, torch.stack(of_steps, dim=1)).unbind(dim=1)
        above = logsigmoid((highest - y) / self.tau) * (step < last)
        below = logsigmoid((y - lowest) / self.tau) * (step > 0)
        return -(above + below + crowding).sum()


class ExpectedRating(nn.Module):
    """v_S - Σ_s (v_(s+1) - v_s) σ((θ_s - y) / τ): the mean rating of pairs whose place on the scale is y."""

    theta: Tensor
    widths: Tensor

    def __init__(self, y: nn.Module, ordinal: CumulativeLogit, raw: Array) -> None:
        super().__init__()
        self.y = y
        self.tau, self.highest = ordinal.tau, float(ordinal.steps[-1])
        self.register_buffer("theta", torch.from_numpy(ordinal.cutpoints(raw)))
        self.register_buffer("widths", torch.from_numpy(np.diff(ordinal.steps).astype(raw.dtype)))

    def forward(self, users: Tensor, items: Tensor) -> Tensor:
        below = torch.sigmoid((self.theta - self.y(users, items)[:, None]) / self.tau)
        return self.highest - below @ self.widths
