"""Bags of features on a device: those of the rows of a batch are gathered, and summed by PyTorch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from scipy.sparse import csr_array, hstack
from torch import Tensor
from torch.nn.functional import embedding, embedding_bag

from ...mf.side_features import Bags

# Bags of at most so many entries have a fixed shape: each is as long as the longest.
LONGEST = 64


@dataclass(frozen=True, slots=True, eq=False)
class TorchBag:
    """The bags of the rows of a batch, or of their moments.

    Attributes
    ----------
    own : int64 tensor of shape (m,), or None
        Of each bag, whose it is among the rows of the batch; None where bag r is that of row r.
    columns : int64 tensor of shape (n_touched,)
        Rows of the feature tables that are in any bag, distinct; of fixed shapes, all rows.
    uses : tensor of shape (n_touched,)
        Σ x² over the ratings of the batch, by which the penalty of each counts: 0 of what is in no bag.
    positions, weights : tensors of shape (n_entries,)
        Bag after bag: which of `columns`, and x.
    offsets : int64 tensor of shape (m,)
        Where each bag begins.
    """

    own: Tensor | None
    columns: Tensor
    uses: Tensor
    positions: Tensor
    weights: Tensor
    offsets: Tensor

    def vectors(self, rows: Tensor, shared: Tensor) -> Tensor:
        """P + X E, shape (m, d), from the batch's rows of P and those of E in `columns`."""
        own = rows if self.own is None else embedding(self.own, rows)
        bags = embedding_bag(
            self.positions, shared, self.offsets, mode="sum", per_sample_weights=self.weights
        )
        return own + bags


class TorchBags:
    """`Bags` on a device."""

    def __init__(self, bags: Bags, dtype: np.dtype[Any], device: torch.device) -> None:
        X, self.n_periods = bags.matrix, bags.n_periods
        self._n_features = X.shape[1]
        if self.n_periods:  # a column for the first of them, that moments move
            X = csr_array(hstack([X, np.ones((X.shape[0], 1))], format="csr"))
        self.penalty = torch.from_numpy(bags.penalty.astype(dtype)).to(device)
        self._starts = torch.from_numpy(X.indptr.astype(np.int64)).to(device)
        self._columns = torch.from_numpy(X.indices.astype(np.int64)).to(device)
        self._weights = torch.from_numpy(X.data.astype(dtype)).to(device)
        self.longest = int(np.diff(X.indptr).max(initial=1))

    def rows(self, ids: Tensor) -> Tensor:
        """See `Bags.rows`."""
        return ids // self.n_periods if self.n_periods else ids

    def of(self, ids: Tensor, counts: Tensor, own: Tensor | None = None) -> TorchBag:
        """The bags of some rows, or moments, each of which so many ratings use; `own` as in `TorchBag`."""
        rows = self.rows(ids)
        sizes = self._starts[rows + 1] - self._starts[rows]
        offsets = sizes.cumsum(0) - sizes
        entries = (self._starts[rows] - offsets).repeat_interleave(sizes)
        entries += torch.arange(len(entries), device=entries.device)
        columns, weights = self._columns[entries], self._weights[entries]
        if self.n_periods:
            columns += (columns == self._n_features) * (ids % self.n_periods).repeat_interleave(sizes)
        columns, positions = torch.unique(columns, return_inverse=True)
        uses = torch.zeros(len(columns), dtype=weights.dtype, device=weights.device)
        uses.index_add_(0, positions, weights * weights * counts.repeat_interleave(sizes))
        return TorchBag(own, columns, uses, positions, weights, offsets)

    def of_fixed_shape(self, ids: Tensor, counts: Tensor, own: Tensor | None = None) -> TorchBag:
        """The same in shapes that follow from the number of ids alone: each bag as long as the longest."""
        rows, (columns, weights) = self.rows(ids), self._padded
        columns, weights = columns[rows], weights[rows]
        if self.n_periods:
            columns = columns + (columns == self._n_features) * (ids % self.n_periods)[:, None]
        uses = torch.zeros_like(self.penalty)
        uses.index_add_(0, columns.flatten(), (weights * weights * counts[:, None]).flatten())
        offsets = torch.arange(0, columns.numel(), self.longest, device=columns.device)
        return TorchBag(own, self._all, uses, columns.flatten(), weights.flatten(), offsets)

    @cached_property
    def _padded(self) -> tuple[Tensor, Tensor]:
        """Columns and weights of each row, shape (n_rows, longest): behind its own the first, of weight 0."""
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
        return torch.arange(len(self.penalty), device=self.penalty.device)

    def column_sums(self) -> Tensor:
        """The sum of X over its rows, float64, shape (n_features + n_periods,): of periods, nothing."""
        sums = torch.zeros(len(self.penalty), dtype=torch.float64, device=self.penalty.device)
        sums.index_add_(0, self._columns, self._weights.double())
        sums[self._n_features :] = 0
        return sums


def collapsed_rows(rows: Mapping[str, Tensor], bags: Mapping[str, TorchBag]) -> dict[str, Tensor]:
    """Rows of each side, with those of its features added: P + X E in place of P."""
    return dict(rows) | {side: bag.vectors(rows[side], rows[f"{side}_feature"]) for side, bag in bags.items()}
