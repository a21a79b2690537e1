"""The model in PyTorch: r̂ = μ + b_u + b_i + p_u · q_i + f([p_u, q_i]), differentiated by autograd."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from ...mf.architecture import Architecture
from ...mf.parameters import KINDS, Side, table_name, tables_in

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "identity": lambda x: x,
    "relu": torch.relu,
    "leaky_relu": functional.leaky_relu,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "gelu": lambda x: functional.gelu(x, approximate="tanh"),
}

Drop = Callable[[Tensor], Tensor]


class NeuralMFModule(nn.Module):
    """An architecture with its parameters; the names of its `state_dict` are those of the package.

    Parameters
    ----------
    architecture : Architecture
    parameters : mapping of str to tensor
        As `Architecture.parameter_shapes` names them; held, not copied.
    """

    intercept: nn.Parameter
    user_embedding: nn.Embedding
    item_embedding: nn.Embedding
    user_bias: nn.Embedding
    item_bias: nn.Embedding

    def __init__(self, architecture: Architecture, parameters: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.architecture = architecture
        with torch.device("meta"):  # modules without memory: their parameters are given
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
        """Ratings of pairs, shape (n,), not clipped; without features and time."""
        return self.rate(self._rows("user", users), self._rows("item", items))

    def _rows(self, side: Side, ids: Tensor) -> Tensor:
        names = (table_name(side, kind).removesuffix(".weight") for kind in KINDS)
        tables = (self._modules.get(name) for name in names)
        return torch.cat([table(ids) for table in tables if table is not None], dim=1)

    def rate(self, users: Tensor, items: Tensor, drop: Drop | None = None) -> Tensor:
        """Ratings of pairs whose vectors are given, shape (n, d): factors, then the bias.

        In training, `drop` is called on the inputs of layers.
        """
        form, y = self.architecture, cast("Tensor", self.intercept)
        k = form.embedding_dim if form.has_embeddings else 0
        (p, b_u), (q, b_i) = (torch.split(rows, [k, rows.shape[1] - k], dim=1) for rows in (users, items))
        if form.biases:
            y = y + b_u[:, 0] + b_i[:, 0]
        if form.has_embeddings and form.product:
            y = y + (p * q).sum(dim=1)
        if form.has_embeddings and form.n_layers:
            y = y + self._mlp(torch.cat([p, q], dim=1), drop)
        return y

    def _mlp(self, x: Tensor, drop: Drop | None) -> Tensor:
        for n, layer in enumerate(self.mlp):
            if n:
                x = ACTIVATIONS[self.architecture.activation](x)
            if drop is not None:
                x = drop(x)
            x = layer(x)
        return x[:, 0]


class InUnits(nn.Module):
    """Ratings, from scores that are counted in a unit."""

    def __init__(self, scores: nn.Module, unit: float) -> None:
        super().__init__()
        self.scores = scores
        self.unit = unit

    def forward(self, users: Tensor, items: Tensor) -> Tensor:
        return cast("Tensor", self.scores(users, items) * self.unit)
