"""The model and the ordinal likelihood in PyTorch, differentiated by autograd."""

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.functional import embedding, logsigmoid, pad

from ...mf.architecture import Architecture
from ...mf.parameters import KINDS, SIDES, Entity, Side, table_name, tables_in
from ...nn import CumulativeLogit
from ...nn.parameter import Array
from ..objective import LEAST_SLOPE

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
        return self.rate(*self.pair(self._rows("user", users), self._rows("item", items)))

    def _rows(self, side: Side, ids: Tensor) -> Tensor:
        tables = (self._modules.get(table_name(side, kind).removesuffix(".weight")) for kind in KINDS)
        return torch.cat([table(ids) for table in tables if table is not None], dim=1)

    def pair(self, users: Tensor, items: Tensor) -> tuple[Tensor, Tensor]:
        """Return [p, q], shape (n, 2 k), and b_u + b_i, (n,), from rows of users and of items, bias last."""
        k = self.architecture.embedding_dim if self.architecture.has_embeddings else 0
        x = torch.cat([users[:, :k], items[:, :k]], dim=1)
        return x, (users[:, k:] + items[:, k:]).sum(dim=1)  # a missing bias has no column

    def by_side(self, *pairs: tuple[Tensor, Tensor]) -> dict[Entity, Tensor]:
        """Return gradients by rows of users and of items, given gradients by the results of `pair`."""
        found: dict[Entity, Tensor] = {}
        for place, side in enumerate(SIDES):
            columns = []
            for x, biases in pairs:
                columns.append(x.chunk(2, dim=1)[place])
                if self.architecture.biases:
                    columns.append(biases[:, None])
            found[side] = torch.cat(columns, dim=1)
        return found

    def rate(
        self, x: Tensor, biases: Tensor, offset: Tensor | None = None, previous: Tensor | None = None
    ) -> Tensor:
        """Return the ratings of pairs, given the results of `pair`.

        `offset`, (n, 2 k), is added to the input of the MLP. The factors of `previous`, (n, k + 1), are added
        to those of users in the product, and its bias to the rating.
        """
        form, y = self.architecture, cast("Tensor", self.intercept) + biases
        if form.has_embeddings and form.product:
            p, q = x.view(-1, 2, form.embedding_dim).unbind(dim=1)
            y = y + ((p if previous is None else p + previous[:, :-1]) * q).sum(dim=1)
        if previous is not None:
            y = y + previous[:, -1]
        if form.has_embeddings and form.n_layers:
            y = y + self._mlp(x if offset is None else x + offset)
        return y

    def add_variance(
        self, x: Tensor, v: Tensor, gradient: Tensor, dr: Tensor, dv: Tensor, previous: Sequence[Tensor]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the gradient by x, so far dr · J, with the variance's part, then E[J²] and the variance.

        The variance is that of p · q, Σ_k p_k² v_qk + q_k² v_pk, where p and v_p include the vectors and the
        variances in `previous`; dr and dv are the derivatives by r̂ and by its variance.
        """
        form = self.architecture
        squares = (gradient * torch.where(dr.abs() > LEAST_SLOPE, 1 / dr, 0)[:, None]) ** 2
        if not (form.has_embeddings and form.product):
            return gradient, squares, torch.zeros_like(dr)
        k = form.embedding_dim
        v = v.roll(k, dims=1)  # of the other side
        if previous:
            x, v = x + pad(previous[0][:, :k], (0, k)), v + pad(previous[1], (k, 0))
        slope = x * v
        return gradient.addcmul(slope, 2 * dv[:, None]), squares + v, (x * slope).sum(dim=1)

    def _mlp(self, x: Tensor) -> Tensor:
        for n, layer in enumerate(self.mlp):
            if n:
                x = ACTIVATIONS[self.architecture.activation](x)
            x = layer(x)
        return x[:, 0]


BITS = 32  # of a drawn integer


def random_signs(n: int, d: int, generator: torch.Generator) -> Tensor:
    """Draw integers with random signs, shape (n, d); each bit of a drawn integer gives one of the signs."""
    drawn = torch.empty(n, -(-d // BITS), dtype=torch.int32, device=generator.device)
    drawn.random_(-(2**31), 2**31, generator=generator)
    shifts = torch.arange(BITS, dtype=torch.int32, device=generator.device)
    return (drawn[:, :, None] << shifts).flatten(1)[:, :d]


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
