"""Bags of features on a device: those of the rows of a batch are gathered, and summed by PyTorch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

from .bags import Bags


@dataclass(frozen=True, slots=True, eq=False)
class TorchBag:
    """The bags of the rows of a batch.

    Attributes
    ----------
    columns : int64 tensor of shape (n_touched,)
        Rows of the feature tables that are in any bag, distinct.
    uses : tensor of shape (n_touched,)
        Σ x² over the ratings of the batch, by which the penalty of each counts.
    positions, weights : tensors of shape (n_entries,)
        Bag after bag: which of `columns`, and x.
    offsets : int64 tensor of shape (m,)
        Where each bag begins.
    """

    columns: Tensor
    uses: Tensor
    positions: Tensor
    weights: Tensor
    offsets: Tensor

    def sum(self, shared: Tensor) -> Tensor:
        """X E of the rows of the batch, shape (m, d), from the rows of E in `columns`."""
        return embedding_bag(
            self.positions, shared, self.offsets, mode="sum", per_sample_weights=self.weights
        )


class TorchBags:
    """`Bags` on a device."""

    def __init__(self, bags: Bags, dtype: np.dtype[Any], device: torch.device) -> None:
        X = bags.matrix
        self.penalty = torch.from_numpy(bags.penalty.astype(dtype)).to(device)
        self._starts = torch.from_numpy(X.indptr.astype(np.int64)).to(device)
        self._columns = torch.from_numpy(X.indices.astype(np.int64)).to(device)
        self._weights = torch.from_numpy(X.data.astype(dtype)).to(device)

    def of(self, rows: Tensor, counts: Tensor) -> TorchBag:
        """The bags of some rows, each of which so many ratings use."""
        sizes = self._starts[rows + 1] - self._starts[rows]
        offsets = sizes.cumsum(0) - sizes
        entries = (self._starts[rows] - offsets).repeat_interleave(sizes)
        entries += torch.arange(len(entries), device=entries.device)
        columns, positions = torch.unique(self._columns[entries], return_inverse=True)
        weights = self._weights[entries]
        uses = torch.zeros(len(columns), dtype=weights.dtype, device=weights.device)
        uses.index_add_(0, positions, weights * weights * counts.repeat_interleave(sizes))
        return TorchBag(columns, uses, positions, weights, offsets)

    def column_sums(self) -> Tensor:
        """The sum of X over its rows, float64, shape (n_columns,)."""
        sums = torch.zeros(len(self.penalty), dtype=torch.float64, device=self.penalty.device)
        return sums.index_add_(0, self._columns, self._weights.double())


def collapsed_rows(rows: Mapping[str, Tensor], bags: Mapping[str, TorchBag]) -> dict[str, Tensor]:
    """Rows of each side, with those of its features added: P + X E in place of P."""
    return dict(rows) | {side: rows[side] + bag.sum(rows[f"{side}_feature"]) for side, bag in bags.items()}
