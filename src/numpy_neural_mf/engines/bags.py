"""What is known of users and of items, as engines take it: each row of a table has a bag of feature rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.sparse import csr_array

from ..architecture import Parameters
from ..nn import GroupedIds
from ..nn.layers import rows_in
from ..nn.parameter import Array, IntArray


@dataclass(frozen=True, slots=True, eq=False)
class Bags:
    """X of one side: the vector of a user or an item is its own row and the bag of its features, P + X E.

    Attributes
    ----------
    matrix : csr_array of shape (n_rows, n_columns)
        X, with a row for each row of P.
    penalty : array of shape (n_columns,)
        λ_c in the loss of a rating, which adds Σ_c λ_c X_rc² (‖E_c‖² + e_c²) of its user, or item, r: a
        feature counts by the square of its weight, as in the curvature of the squared error.
    """

    matrix: csr_array
    penalty: Array

    def of(self, ids: GroupedIds) -> BagsOfBatch:
        """The bags that a batch uses, in the order of ``ids.rows``."""
        X = self.matrix[ids.rows]
        columns = rows_in(X)
        counts = np.repeat(ids.counts, np.diff(X.indptr))
        uses = np.bincount(X.indices, X.data * X.data * counts, X.shape[1])[columns]
        shrinkage = (self.penalty[columns] * uses * (2 / len(ids.ids))).astype(self.matrix.dtype)
        return BagsOfBatch(ids, X, columns, shrinkage[:, None])


@dataclass(frozen=True, slots=True, eq=False)
class BagsOfBatch:
    """Bags of the distinct users, or items, of a batch.

    Attributes
    ----------
    ids : GroupedIds
        The user, or item, of each rating.
    matrix : csr_array of shape (m, n_columns)
    columns : int array of shape (n_touched,)
        Those that are in a bag, ascending.
    shrinkage : array of shape (n_touched, 1)
        Times the rows of E: the gradient of the penalty.
    """

    ids: GroupedIds
    matrix: csr_array
    columns: IntArray
    shrinkage: Array

    def rows(self, own: Array, shared: Array) -> Array:
        """P + X E of the distinct users, or items, shape (m, d)."""
        return np.asarray(own[self.ids.rows] + self.matrix @ shared)

    def gradient(self, dy: Array) -> Array:
        """Of the rows of E in `columns`, from that of the vector of each rating, shape (n, d)."""
        return np.asarray((self.matrix.T @ self.ids.sum(dy)).take(self.columns, axis=0))


def of_dtype(bags: Mapping[str, Bags], dtype: np.dtype[Any]) -> dict[str, Bags]:
    """The same bags, computed with in another precision."""
    return {
        side: Bags(of_side.matrix.astype(dtype, copy=False), of_side.penalty)
        for side, of_side in bags.items()
    }


def shared_parts(parameters: Parameters, bags: Mapping[str, Bags]) -> Parameters:
    """X E, what features say of each row, by the name of the table of P."""
    return {
        f"{side}_{kind}.weight": np.asarray(of_side.matrix.astype(E.dtype, copy=False) @ E)
        for side, of_side in bags.items()
        for kind in ("embedding", "bias")
        if (E := parameters.get(f"{side}_feature_{kind}.weight")) is not None
    }


def collapsed(parameters: Parameters, bags: Mapping[str, Bags]) -> Parameters:
    """The same model without feature tables: P + X E in place of P."""
    shared = shared_parts(parameters, bags)
    return {
        name: value + shared[name] if name in shared else value
        for name, value in parameters.items()
        if "_feature_" not in name
    }
