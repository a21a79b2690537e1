"""The rows of the tables that a batch uses, and the vectors that they make, on a device."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import embedding

from ...mf.parameters import FEATURES, SIDES, TIME_BINS, Entity, Side
from ..objective import Objective
from .torch_features import LONGEST, TorchFeaturesOfBatch, TorchSideFeatures
from .torch_graph import distinct_of_fixed_shape
from .torch_processes import Exchange, TorchCommunicator


@dataclass(frozen=True)
class Lookup:
    """The rows that some ratings use.

    Attributes
    ----------
    rows : dict of entity to int64 tensor
        The distinct rows of each table; in fixed shapes also rows that no rating uses.
    counts : dict of entity to tensor
        The number of ratings that use each of `rows`; for a feature the sum of its squared weights.
    positions : dict of entity to integer tensor of shape (n,)
        Of users, items and time bins: which of `rows` each rating uses.
    features : dict of "user" or "item" to TorchFeaturesOfBatch
    exchange : dict of entity to Exchange
        How this process gets the rows.
    used : dict of entity to bool tensor
        Where `rows` may have rows that no rating uses and that are real: which ones are used.
    """

    rows: dict[Entity, Tensor]
    counts: dict[Entity, Tensor]
    positions: dict[Entity, Tensor]
    features: dict[Side, TorchFeaturesOfBatch]
    exchange: dict[Entity, Exchange]
    used: dict[Entity, Tensor]

    def vectors(self, values: Mapping[Entity, Tensor]) -> tuple[Tensor, Tensor]:
        """P_u + X_u E + Y_t of the user of each rating, shape (n, d), and the same of the item."""

        def of_side(side: Side) -> Tensor:
            rows = values[side]
            if side in self.features:
                rows = self.features[side].add_to(rows, values[FEATURES[side]])
            vectors = embedding(self.positions[side], rows)
            if TIME_BINS[side] in values:
                vectors = vectors + embedding(self.positions[TIME_BINS[side]], values[TIME_BINS[side]])
            return vectors

        return of_side("user"), of_side("item")


class RowFinder:
    """Finds the rows that batches use, and what they cost.

    Parameters
    ----------
    objective : Objective
    dtype : numpy.dtype
    device : torch.device
    communicator : TorchCommunicator
    """

    def __init__(
        self,
        objective: Objective,
        dtype: np.dtype[Any],
        device: torch.device,
        communicator: TorchCommunicator,
    ) -> None:
        self.features = {
            side: TorchSideFeatures(features, dtype, device)
            for side, features in objective.side_features.items()
        }
        self._penalty = {
            entity: torch.from_numpy(penalty.astype(dtype)).to(device)
            for entity, penalty in (objective.row_penalty | objective.feature_penalty).items()
        }
        self.communicator = communicator

    @property
    def can_have_fixed_shapes(self) -> bool:
        """Whether padding features to the longest row is cheap enough."""
        return all(features.longest <= LONGEST for features in self.features.values())

    def n_rows(self, entity: Entity) -> int:
        """The number of rows of the tables of an entity, of all processes."""
        return len(self._penalty[entity])

    def find(
        self, users: Tensor, items: Tensor, time_bins: Tensor | None, in_fixed_shapes: bool = False
    ) -> Lookup:
        """The rows of a batch; in fixed shapes, these follow from the number of ratings only."""
        rows: dict[Entity, Tensor] = {}
        counts: dict[Entity, Tensor] = {}
        positions: dict[Entity, Tensor] = {}
        features: dict[Side, TorchFeaturesOfBatch] = {}
        of_side: dict[Side, Tensor] = {"user": users, "item": items}
        bins = None if time_bins is None else self._bins(time_bins, in_fixed_shapes)
        for side, ids in of_side.items():
            if in_fixed_shapes:  # the unknown is none of the ids of training
                distinct = distinct_of_fixed_shape(ids, self.n_rows(side))
            else:
                distinct = torch.unique(ids, return_inverse=True, return_counts=True)
            rows[side], positions[side], counts[side] = distinct
            if side in self.features:
                find_features = (
                    self.features[side].of_fixed_shape if in_fixed_shapes else self.features[side].of
                )
                features[side] = found = find_features(rows[side], counts[side])
                rows[FEATURES[side]], counts[FEATURES[side]] = found.columns, found.uses
            if bins is not None:
                rows[TIME_BINS[side]], positions[TIME_BINS[side]], counts[TIME_BINS[side]] = bins
        exchange = {entity: self.communicator.exchange(some) for entity, some in rows.items()}
        others = [entity for entity in rows if entity not in SIDES]
        used = {entity: counts[entity] > 0 for entity in others} if in_fixed_shapes else {}
        return Lookup(rows, counts, positions, features, exchange, used)

    def _bins(self, bins: Tensor, in_fixed_shapes: bool) -> tuple[Tensor, Tensor, Tensor]:
        """Distinct time bins, the position of each rating's, and counts; in fixed shapes, all bins."""
        if not in_fixed_shapes:
            rows, positions, counts = torch.unique(bins, return_inverse=True, return_counts=True)
            return rows, positions, counts
        n = self.n_rows("user_time")
        every, ones = torch.arange(n, device=bins.device), torch.ones_like(bins, dtype=torch.int64)
        return every, bins, torch.zeros_like(every).index_add_(0, bins, ones)

    def penalty(self, found: Lookup, values: Mapping[Entity, Tensor]) -> Tensor:
        """Σ λ ‖row‖² over the rows that each rating of a batch uses."""
        terms = []
        for entity, rows in values.items():
            weight = found.counts[entity] * self._penalty[entity][found.rows[entity]]
            terms.append((weight[:, None] * rows**2).sum())
        return torch.stack(terms).sum()
