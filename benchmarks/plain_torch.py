"""NeuralMF's model and training as PyTorch's tutorials write them: embeddings, products, an MLP, autograd."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn
from torch.optim import Adam, Optimizer, SparseAdam

from numpy_neural_mf import Architecture

ACTIVATIONS = {"relu": nn.ReLU, "tanh": nn.Tanh}


class PlainModel(nn.Module):
    """A model that returns predictions of pairs and the rows that they use: p, q, b_u, b_i."""

    def __init__(self, form: Architecture, n_users: int, n_items: int, sparse: bool = False) -> None:
        super().__init__()
        self.intercept = nn.Parameter(torch.zeros(1))
        self.user_embedding = nn.Embedding(n_users, form.embedding_dim, sparse=sparse)
        self.item_embedding = nn.Embedding(n_items, form.embedding_dim, sparse=sparse)
        self.user_bias = nn.Embedding(n_users, 1, sparse=sparse)
        self.item_bias = nn.Embedding(n_items, 1, sparse=sparse)
        layers: list[nn.Module] = []
        for n, (n_in, n_out) in enumerate(pairwise(form.layer_sizes)):
            layers += [ACTIVATIONS[form.activation]()] if n else []
            layers += [nn.Linear(n_in, n_out, bias=n < form.n_layers - 1)]
        self.mlp = nn.Sequential(*layers)

    def forward(self, users: torch.Tensor, items: torch.Tensor) -> tuple[torch.Tensor, ...]:
        p, q = self.user_embedding(users), self.item_embedding(items)
        b_u, b_i = self.user_bias(users).squeeze(1), self.item_bias(items).squeeze(1)
        f = self.mlp(torch.cat([p, q], dim=1)).squeeze(1)
        return self.intercept + b_u + b_i + (p * q).sum(dim=1) + f, p, q, b_u, b_i


def optimizers_of(model: nn.Module, learning_rate: float, fused: bool = False) -> list[Optimizer]:
    """Return SparseAdam for tables with sparse gradients, and Adam for everything else."""
    tables = [module.weight for module in model.modules() if getattr(module, "sparse", False)]
    others = [p for p in model.parameters() if not any(p is table for table in tables)]
    optimizers: list[Optimizer] = [Adam(others, lr=learning_rate, fused=fused)]
    return [*optimizers, SparseAdam(tables, lr=learning_rate)] if tables else optimizers


def train_step(
    model: nn.Module,
    optimizers: Sequence[Optimizer],
    users: torch.Tensor,
    items: torch.Tensor,
    values: torch.Tensor,
    penalty: float = 0.0,
) -> torch.Tensor:
    """Make one update; return the mean squared error of the batch before it."""
    prediction, *rows = model(users, items)
    loss = objective = nn.functional.mse_loss(prediction, values)
    if penalty:
        squares = sum(row.square().sum() for row in rows)
        objective = loss + penalty / len(values) * squares
    for optimizer in optimizers:
        optimizer.zero_grad()
    objective.backward()
    for optimizer in optimizers:
        optimizer.step()
    return loss.detach()
