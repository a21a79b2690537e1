"""Features of users and of items as engines take them: a sparse row of weights for each row of a table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.sparse import csr_array

from ..nn import GroupedIds
from ..nn.layers import rows_in
from ..nn.parameter import Array, IntArray
from .parameters import FEATURES, Parameters, Side, table_name, tables_in


@dataclass(frozen=True, slots=True, eq=False)
class SideFeatures:
    """X of one side, shape (n_rows, n_features): the vector of a user, or an item, is its row of P + X E.

    The penalty λ_c, shape (n_features,), adds Σ_c λ_c X_rc² (‖E_c‖² + e_c²) to the loss of a rating of r: a
    feature counts by the square of its weight, as in the curvature of the squared error.
    """

    matrix: csr_array
    penalty: Array

    def of(self, ids: GroupedIds) -> FeaturesOfBatch:
        """The features that a batch uses, in the order of ``ids.rows``."""
        X = self.matrix[ids.rows]
        columns = rows_in(X)
        counts = np.repeat(ids.counts, np.diff(X.indptr))
        uses = np.bincount(X.indices, X.data * X.data * counts, X.shape[1])[columns]
        shrinkage = (self.penalty[columns] * uses * (2 / len(ids.ids))).astype(self.matrix.dtype)
        return FeaturesOfBatch(ids, X, columns, shrinkage[:, None])


@dataclass(frozen=True, slots=True, eq=False)
class FeaturesOfBatch:
    """Features of the m distinct users, or items, `ids` of a batch: their rows of X, shape (m, n_features).

    They have the features `columns`, ascending, whose rows of E times `shrinkage`, shape (n_columns, 1), are
    the gradient of the penalty.
    """

    ids: GroupedIds
    matrix: csr_array
    columns: IntArray
    shrinkage: Array

    def rows(self, own: Array, shared: Array) -> Array:
        """P + X E of the distinct ones, shape (m, d)."""
        return np.asarray(own[self.ids.rows] + self.matrix @ shared)

    def gradient(self, dy: Array) -> Array:
        """Of the rows of E in `columns`, from that of the vector of each rating, shape (n, d)."""
        return np.asarray((self.matrix.T @ self.ids.sum(dy)).take(self.columns, axis=0))


def as_dtype(side_features: Mapping[Side, SideFeatures], dtype: np.dtype[Any]) -> dict[Side, SideFeatures]:
    """The same features with weights of another precision."""
    return {
        side: replace(features, matrix=features.matrix.astype(dtype, copy=False))
        for side, features in side_features.items()
    }


def shared_parts(parameters: Parameters, side_features: Mapping[Side, SideFeatures]) -> Parameters:
    """X E, what features add to each row, by the name of the table of P."""
    shared = {}
    for table in tables_in(parameters):
        for side, features in side_features.items():
            if table.entity == FEATURES[side]:
                E, X = parameters[table.name], features.matrix
                shared[table_name(side, table.kind)] = np.asarray(X.astype(E.dtype, copy=False) @ E)
    return shared


def collapsed(parameters: Parameters, side_features: Mapping[Side, SideFeatures]) -> Parameters:
    """The same model without features: P + X E in place of P."""
    shared = shared_parts(parameters, side_features)
    of_features = {table.name for table in tables_in(parameters) if table.entity in FEATURES.values()}
    return {
        name: value + shared[name] if name in shared else value
        for name, value in parameters.items()
        if name not in of_features
    }
