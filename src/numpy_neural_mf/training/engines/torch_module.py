"""The model and the ordinal likelihood in PyTorch, differentiated by autograd."""

from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.functional import embedding, logsigmoid

from ...mf.architecture import Architecture
from ...mf.parameters import KINDS, Side, table_name, tables_in
from ...nn import CumulativeLogit
from ...nn.parameter import Array

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "identity": lambda x: x,
    "relu": torch.relu,
    "leaky_relu": functional.leaky_relu,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "gelu": lambda x: functional.gelu(x, approximate="tanh"),
}


class NeuralMFModule(nn.Module):
    """r̂ = μ + b_u + b_i + p_u · q_i + f([p_u, q_i]) with given parameters, by the package's names."""

    intercept: nn.Parameter
    user_embedding: nn.Embedding
    item_embedding: nn.Embedding
    user_bias: nn.Embedding
    item_bias: nn.Embedding

    def __init__(self, architecture: Architecture, parameters: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.architecture = architecture
        with torch.device("meta"):  # modules without memory, as their parameters are given
            for table in tables_in(parameters):
                self.add_module(table.name.removesuffix(".weight"), nn.Embedding(*table.shape))
            self.mlp = nn.ModuleList(
                nn.Linear(n_in, n_out, bias=f"mlp.{n}.bias" in parameters)
                for n, (n_in, n_out) in enumerate(pairwise(architecture.layer_sizes))
            )
        for name, value in parameters.items():
            of_module, _, last = name.rpartition(".")
            setattr(self.get_submodule(of_module), last, nn.Parameter(value))

    def forward(self, users: Tensor, items: Tensor) -> Tensor:
        """Return the ratings of pairs, shape (n,), not clipped and without time."""
        return self.rate(self._rows("user", users), self._rows("item", items))

    def _rows(self, side: Side, ids: Tensor) -> Tensor:
        tables = (self._modules.get(table_name(side, kind).removesuffix(".weight")) for kind in KINDS)
        return torch.cat([table(ids) for table in tables if table is not None], dim=1)

    def rate(
        self, users: Tensor, items: Tensor, offset: Tensor | None = None, previous: Tensor | None = None
    ) -> Tensor:
        """Return the ratings of pairs, given their vectors, shape (n, d): factors, then the bias.

        `offset`, (n, 2 k), is added to the input of the MLP. The factors of `previous`, (n, k + 1), are added
        to those of users in the product, and its bias to the rating.
        """
        form, y = self.architecture, cast("Tensor", self.intercept)
        (p, b_u), (q, b_i) = self.split(users), self.split(items)
        if form.biases:
            y = y + b_u[:, 0] + b_i[:, 0]
        if form.has_embeddings and form.product:
            y = y + ((p if previous is None else p + previous[:, :-1]) * q).sum(dim=1)
        if previous is not None:
            y = y + previous[:, -1]
        if form.has_embeddings and form.n_layers:
            x = torch.cat([p, q], dim=1)
            y = y + self._mlp(x if offset is None else x + offset)
        return y

    def add_variance(
        self, x: Tensor, added: Tensor | float, v: Tensor, others: Tensor, dr: Tensor | None, dv: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Add the variance's part to the gradient of vectors, so far dr · J; return E[J²] and the variance.

        The variance is one side's part of the variance of p · q and the biases: Σ_k p_k² v_qk and v_b, where
        p includes `added` in the product. `others` are the variances of the other side; dr and dv are the
        derivatives by r̂ and by its variance.
        """
        assert x.grad is not None
        assert dr is not None
        # After an overflow in 16 bits the step is skipped, and no values may remain.
        squares = (x.grad / dr[:, None]).nan_to_num(0, 0, 0) ** 2
        of_factors, of_bias = self.split(squares)
        of_bias.fill_(1)
        variance = self.split(v)[1].sum(dim=1)
        if self.architecture.product:
            (factors, _), (gradient, _), (v_others, _) = map(self.split, (x + added, x.grad, others))
            gradient += 2 * dv[:, None] * factors * v_others
            of_factors += v_others
            variance = variance + (factors**2 * v_others).sum(dim=1)
        return squares, variance

    def split(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return the factors, (n, k), and the bias, (n, 1), of vectors; missing ones have no columns."""
        k = self.architecture.embedding_dim if self.architecture.has_embeddings else 0
        return rows[:, :k], rows[:, k:]

    def _mlp(self, x: Tensor) -> Tensor:
        for n, layer in enumerate(self.mlp):
            if n:
                x = ACTIVATIONS[self.architecture.activation](x)
            x = layer(x)
        return x[:, 0]


class InUnits(nn.Module):
    """Ratings, from scores in units."""

    def __init__(self, scores: nn.Module, unit: float) -> None:
        super().__init__()
        self.scores = scores
        self.unit = unit

    def forward(self, users: Tensor, items: Tensor) -> Tensor:
        return cast("Tensor", self.scores(users, items) * self.unit)


class UnknownLast(nn.Module):
    """Accepts -1 for an unknown user or item, whose row is the last."""

    def __init__(self, ratings: nn.Module, n_users: int, n_items: int) -> None:
        super().__init__()
        self.ratings = ratings
        self.n_users, self.n_items = n_users, n_items

    def forward(self, users: Tensor, items: Tensor) -> Tensor:
        users = torch.where(users == -1, self.n_users, users)
        items = torch.where(items == -1, self.n_items, items)
        return cast("Tensor", self.ratings(users, items))


class OrdinalLoss(nn.Module):
    """Σ -log P of ratings given y: see `nn.CumulativeLogit`."""

    def __init__(self, ordinal: CumulativeLogit, dtype: np.dtype[Any], device: torch.device) -> None:
        super().__init__()
        self.tau = ordinal.tau
        self.middles = torch.from_numpy(ordinal.middles.astype(dtype)).to(device)

    def forward(self, y: Tensor, ratings: Tensor, raw: Tensor) -> Tensor:
        """Return the loss; `raw` has shape (S - 1,), as in `CumulativeLogit`."""
        step, last = torch.searchsorted(self.middles, ratings), len(raw)
        gaps = raw[1:].exp()
        theta = torch.cat([raw[:1], raw[:1] + gaps.cumsum(0)])
        # If there is no cutpoint above or below, zero stands in and does not count.
        end, crowding = gaps.new_zeros(1), torch.log(-torch.expm1(-gaps / self.tau))
        of_steps = [torch.cat(parts) for parts in ([theta, end], [end, theta], [end, crowding, end])]
        # On CUDA, unlike indexing, `embedding` adds up the gradients of a few rows in parallel.
        highest, lowest, crowding = embedding(step, torch.stack(of_steps, dim=1)).unbind(dim=1)
        above = logsigmoid((highest - y) / self.tau) * (step < last)
        below = logsigmoid((y - lowest) / self.tau) * (step > 0)
        return -(above + below + crowding).sum()


class ExpectedRating(nn.Module):
    """The mean rating v_S - Σ_s (v_(s+1) - v_s) σ((θ_s - y) / τ) of pairs with position y on the scale."""

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
