"""The rows of the tables that a batch uses, and the vectors that they make, on a device."""

from collections.abc import Mapping
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import embedding, embedding_bag

from ...mf.parameters import FEATURES, SIDES, TIME_BINS, Entity, Side
from ...mf.side_information import SideFeatures
from ..objective import Objective
from .torch_processes import Exchange, TorchCommunicator

# Rows with at most this number of features have a fixed shape: each is padded to the longest.
LONGEST = 64


class TorchFeaturesOfBatch(NamedTuple):
    """The features of the m distinct users, or items, of a batch: `columns` are rows of the feature tables.

    `uses` are Σ x² of each over the ratings; `positions` in `columns` and `weights` x go user by user.
    """

    columns: Tensor
    uses: Tensor
    positions: Tensor
    weights: Tensor
    offsets: Tensor


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
        columns, positions = torch.unique(self._columns[entries], return_inverse=True)
        weights, by_entry = self._weights[entries], counts.repeat_interleave(sizes)
        uses = weights.new_zeros(len(columns)).index_add_(0, positions, weights * weights * by_entry)
        return TorchFeaturesOfBatch(columns, uses, positions, weights, offsets)

    def of_fixed_shape(self, rows: Tensor, counts: Tensor) -> TorchFeaturesOfBatch:
        """The same in shapes that follow from the number of rows only: each is padded to the longest."""
        columns, weights = (padded[rows] for padded in self._padded)
        squares = (weights * weights * counts[:, None]).flatten()
        uses = weights.new_zeros(self.n_features).index_add_(0, columns.flatten(), squares)
        every = torch.arange(self.n_features, device=columns.device)
        offsets = torch.arange(0, columns.numel(), self.longest, device=columns.device)
        return TorchFeaturesOfBatch(every, uses, columns.flatten(), weights.flatten(), offsets)

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

    def column_sums(self) -> Tensor:
        """The sum of X over its rows, float64, shape (n_features,)."""
        sums = torch.zeros(self.n_features, dtype=torch.float64, device=self._columns.device)
        return sums.index_add_(0, self._columns, self._weights.double())


class Lookup(NamedTuple):
    """The distinct `rows` that n ratings use, by entity, and `counts` of their ratings, or Σ x² of a feature.

    `positions`, (n,), are those of the ratings in `rows`, which this process gets by `exchange`. In fixed
    shapes, `used` marks the rows that any rating uses.
    """

    rows: dict[Entity, Tensor]
    counts: dict[Entity, Tensor]
    positions: dict[Entity, Tensor]
    features: dict[Side, TorchFeaturesOfBatch]
    exchange: dict[Entity, Exchange]
    used: dict[Entity, Tensor]

    def vectors(self, values: Mapping[Entity, Tensor]) -> tuple[Tensor, Tensor]:
        """P_u + X_u E + Y_t of the user of each rating, shape (n, d), and the same of the item."""
        return self._vectors("user", values), self._vectors("item", values)

    def _vectors(self, side: Side, values: Mapping[Entity, Tensor]) -> Tensor:
        rows, bins = values[side], TIME_BINS[side]
        if (X := self.features.get(side)) is not None:
            E, x = values[FEATURES[side]], X.weights
            rows = rows + embedding_bag(X.positions, E, X.offsets, mode="sum", per_sample_weights=x)
        vectors = embedding(self.positions[side], rows)
        return vectors + embedding(self.positions[bins], values[bins]) if bins in values else vectors


class RowFinder:
    """Finds the rows that batches use, and what they cost; `penalties` are λ of the rows of all processes."""

    def __init__(
        self,
        objective: Objective,
        dtype: np.dtype[Any],
        device: torch.device,
        communicator: TorchCommunicator,
    ) -> None:
        given, penalties = objective.side_features, objective.row_penalty | objective.feature_penalty
        self.features = {side: TorchSideFeatures(X, dtype, device) for side, X in given.items()}
        self.penalties = {
            entity: torch.from_numpy(penalty.astype(dtype)).to(device)
            for entity, penalty in penalties.items()
        }
        self.communicator = communicator

    def find(
        self, users: Tensor, items: Tensor, time_bins: Tensor | None = None, *, in_fixed_shapes: bool
    ) -> Lookup:
        """The rows of a batch; in fixed shapes, these follow from the number of ratings only."""
        found = Lookup({}, {}, {}, {}, {}, {})
        rows, counts, positions, features, exchange, used = found
        bins = None if time_bins is None else self._distinct("user_time", time_bins, in_fixed_shapes)
        for side, ids in zip(SIDES, (users, items), strict=True):
            rows[side], positions[side], counts[side] = self._distinct(side, ids, in_fixed_shapes)
            if (X := self.features.get(side)) is not None:
                features_of = X.of_fixed_shape if in_fixed_shapes else X.of
                features[side] = of_batch = features_of(rows[side], counts[side])
                rows[FEATURES[side]], counts[FEATURES[side]] = of_batch.columns, of_batch.uses
            if bins is not None:
                rows[TIME_BINS[side]], positions[TIME_BINS[side]], counts[TIME_BINS[side]] = bins
        exchange |= {entity: self.communicator.exchange(some) for entity, some in rows.items()}
        used |= {e: counts[e] > 0 for e in rows if e not in SIDES} if in_fixed_shapes else {}
        return found

    def _distinct(self, entity: Entity, ids: Tensor, in_fixed_shape: bool) -> tuple[Tensor, Tensor, Tensor]:
        """Distinct rows, the position of each id among them, and counts."""
        if not in_fixed_shape:
            rows, positions, counts = torch.unique(ids, return_inverse=True, return_counts=True)
            return rows, positions, counts
        n = len(self.penalties[entity])
        if entity in SIDES:  # the unknown is none of the ids of training
            return distinct_of_fixed_shape(ids, n)
        every, ones = torch.arange(n, device=ids.device), torch.ones_like(ids, dtype=torch.int64)
        return every, ids, torch.zeros_like(every).index_add_(0, ids, ones)

    def penalty(self, found: Lookup, values: Mapping[Entity, Tensor]) -> Tensor:
        """Σ λ ‖row‖² over the rows that each rating of a batch uses."""
        terms = []
        for entity, rows in values.items():
            weight = found.counts[entity] * self.penalties[entity][found.rows[entity]]
            terms.append((weight[:, None] * rows**2).sum())
        return torch.stack(terms).sum()


def distinct_of_fixed_shape(ids: Tensor, n_rows: int) -> tuple[Tensor, Tensor, Tensor]:
    """What `torch.unique` returns of ids, (n,), in shapes that do not depend on them; positions are int32.

    Distinct ids come first, in order; the rest of min(n, n_rows) are the last row, the unknown, with count 0.
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
