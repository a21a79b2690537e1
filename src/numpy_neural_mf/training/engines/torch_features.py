"""Side features on a device: those of the rows of a batch are gathered, and summed by PyTorch."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

from ...mf.side_information import SideFeatures

# Rows with at most this number of features have a fixed shape: each is padded to the longest.
LONGEST = 64


@dataclass(frozen=True, slots=True, eq=False)
class TorchFeaturesOfBatch:
    """The features of the distinct users, or items, of a batch.

    Attributes
    ----------
    columns : int64 tensor of shape (n_touched,)
        Distinct rows of the feature tables that are in use; in a fixed shape, all rows.
    uses : tensor of shape (n_touched,)
        Σ x² over the ratings of the batch, by which the penalty of each counts: 0 for features without use.
    positions, weights : tensors of shape (n_entries,)
        User after user, or item after item: which of `columns`, and x.
    offsets : int64 tensor of shape (m,)
        Where the entries of each begin.
    """

    columns: Tensor
    uses: Tensor
    positions: Tensor
    weights: Tensor
    offsets: Tensor

    def add_to(self, rows: Tensor, shared: Tensor) -> Tensor:
        """P + X E, shape (m, d), from the batch's rows of P and those of E in `columns`."""
        return rows + embedding_bag(
            self.positions, shared, self.offsets, mode="sum", per_sample_weights=self.weights
        )


class TorchSideFeatures:
    """`SideFeatures` on a device."""

    def __init__(self, features: SideFeatures, dtype: np.dtype[Any], device: torch.device) -> None:
        X = features.matrix
        self.n_features = X.shape[1]
        self._starts = torch.from_numpy(X.indptr.astype(np.int64)).to(device)
        self._columns = torch.from_numpy(X.indices.astype(np.int64)).to(device)
        self._weights = torch.from_numpy(X.data.astype(dtype)).to(device)
        self.longest = int(np.diff(X.indptr).max(initial=1))

    def of(self, rows: Tensor, counts: Tensor) -> TorchFeaturesOfBatch:
        """The features of some rows, each of which `counts` ratings use."""
        sizes = self._starts[rows + 1] - self._starts[rows]
        offsets = sizes.cumsum(0) - sizes
        entries = (self._starts[rows] - offsets).repeat_interleave(sizes)
        entries += torch.arange(len(entries), device=entries.device)
        columns, weights = self._columns[entries], self._weights[entries]
        columns, positions = torch.unique(columns, return_inverse=True)
        uses = torch.zeros(len(columns), dtype=weights.dtype, device=weights.device)
        uses.index_add_(0, positions, weights * weights * counts.repeat_interleave(sizes))
        return TorchFeaturesOfBatch(columns, uses, positions, weights, offsets)

    def of_fixed_shape(self, rows: Tensor, counts: Tensor) -> TorchFeaturesOfBatch:
        """The same in shapes that follow from the number of rows only: each is padded to the longest."""
        columns, weights = (padded[rows] for padded in self._padded)
        uses = torch.zeros(self.n_features, dtype=weights.dtype, device=weights.device)
        uses.index_add_(0, columns.flatten(), (weights * weights * counts[:, None]).flatten())
        offsets = torch.arange(0, columns.numel(), self.longest, device=columns.device)
        return TorchFeaturesOfBatch(self._all, uses, columns.flatten(), weights.flatten(), offsets)

    @cached_property
    def _padded(self) -> tuple[Tensor, Tensor]:
        """Columns and weights of each row, shape (n_rows, longest), padded with the first, of weight 0."""
        sizes = self._starts.diff()
        rows = torch.arange(len(sizes), device=sizes.device).repeat_interleave(sizes)
        places = torch.arange(len(rows), device=sizes.device) - self._starts[rows]
        columns = self._columns.new_zeros(len(sizes), self.longest)
        weights = self._weights.new_zeros(len(sizes), self.longest)
        columns[rows, places], weights[rows, places] = self._columns, self._weights
        return columns, weights

    @cached_property
    def _all(self) -> Tensor:
        """Every row of the feature tables."""
        return torch.arange(self.n_features, device=self._columns.device)

    def column_sums(self) -> Tensor:
        """The sum of X over its rows, float64, shape (n_features,)."""
        sums = torch.zeros(self.n_features, dtype=torch.float64, device=self._columns.device)
        return sums.index_add_(0, self._columns, self._weights.double())
