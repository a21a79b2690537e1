"""NeuralMF's model as PyTorch's tutorials write it: embeddings, their products, and an MLP."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import nn

from numpy_neural_mf import Architecture

ACTIVATIONS = {"relu": nn.ReLU, "tanh": nn.Tanh}


class PlainModel(nn.Module):
    """Predictions of pairs, and the rows that they use: p, q, b_u, b_i."""

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
            layers += [nn.Dropout(form.dropout)] if form.dropout else []
            layers += [nn.Linear(n_in, n_out, bias=n < form.n_layers - 1)]
        self.mlp = nn.Sequential(*layers)

    def forward(self, users: torch.Tensor, items: torch.Tensor) -> tuple[torch.Tensor, ...]:
        p, q = self.user_embedding(users), self.item_embedding(items)
        b_u, b_i = self.user_bias(users).squeeze(1), self.item_bias(items).squeeze(1)
        f = self.mlp(torch.cat([p, q], dim=1)).squeeze(1)
        return self.intercept + b_u + b_i + (p * q).sum(dim=1) + f, p, q, b_u, b_i
