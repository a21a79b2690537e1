"""What is known of users and of items, as engines take it: each row of a table has a bag of feature rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, hstack

from ..nn import GroupedIds
from ..nn.layers import rows_in
from ..nn.parameter import Array, IntArray
from .architecture import Parameters


@dataclass(frozen=True, slots=True, eq=False)
class Bags:
    """X of one side: the vector of a user or an item is its own row and the bag of its features, P + X E.

    Where time is parted into T periods, engines are told of moments in place of users: user u at period t is
    moment u T + t, whose own row is P_u and whose bag has, besides the features of u, one for t.

    Attributes
    ----------
    matrix : csr_array of shape (n_rows, n_features)
        X, with a row for each row of P.
    penalty : array of shape (n_features + T,)
        λ_c in the loss of a rating, which adds Σ_c λ_c X_rc² (‖E_c‖² + e_c²) of its user, or item, r: a
        feature counts by the square of its weight, as in the curvature of the squared error.
    n_periods : int, default 0
        T; 0 where ids are those of users, or items, themselves.
    """

    matrix: csr_array
    penalty: Array
    n_periods: int = 0

    def rows(self, ids: IntArray) -> IntArray:
        """Of each moment, the row of P."""
        return ids // self.n_periods if self.n_periods else ids

    def of(self, ids: GroupedIds) -> BagsOfBatch:
        """The bags that a batch uses, in the order of ``ids.rows``."""
        X, m = self.matrix[self.rows(ids.rows)], len(ids.rows)
        if self.n_periods:
            entries = np.ones(m, X.dtype), ids.rows % self.n_periods, np.arange(m + 1)
            X = csr_array(hstack([X, csr_array(entries, shape=(m, self.n_periods))], format="csr"))
        columns = rows_in(X)
        counts = np.repeat(ids.counts, np.diff(X.indptr))
        uses = np.bincount(X.indices, X.data * X.data * counts, X.shape[1])[columns]
        shrinkage = (self.penalty[columns] * uses * (2 / len(ids.ids))).astype(self.matrix.dtype)
        return BagsOfBatch(ids, self.rows(ids.rows), X, columns, shrinkage[:, None])


def moments(rows: IntArray, periods: IntArray | int, n_periods: int) -> NDArray[np.int32]:
    """Users, or items, at periods, as `Bags` numbers them."""
    return np.asarray(rows * np.int32(n_periods) + periods, np.int32)


@dataclass(frozen=True, slots=True, eq=False)
class BagsOfBatch:
    """Bags of the distinct users, or items, of a batch; or of their moments.

    Attributes
    ----------
    ids : GroupedIds
        The user, or item, or its moment, of each rating.
    own : int array of shape (m,)
        The row of P of each distinct one.
    matrix : csr_array of shape (m, n_columns)
    columns : int array of shape (n_touched,)
        Those that are in a bag, ascending.
    shrinkage : array of shape (n_touched, 1)
        Times the rows of E: the gradient of the penalty.
    """

    ids: GroupedIds
    own: IntArray
    matrix: csr_array
    columns: IntArray
    shrinkage: Array

    def rows(self, own: Array, shared: Array) -> Array:
        """P + X E of the distinct ones, shape (m, d)."""
        return np.asarray(own[self.own] + self.matrix @ shared)

    def gradient(self, dy: Array) -> Array:
        """Of the rows of E in `columns`, from that of the vector of each rating, shape (n, d)."""
        return np.asarray((self.matrix.T @ self.ids.sum(dy)).take(self.columns, axis=0))


def of_dtype(bags: Mapping[str, Bags], dtype: np.dtype[Any]) -> dict[str, Bags]:
    """The same bags, computed with in another precision."""
    return {
        side: replace(of_side, matrix=of_side.matrix.astype(dtype, copy=False))
        for side, of_side in bags.items()
    }


def shared_parts(parameters: Parameters, bags: Mapping[str, Bags]) -> Parameters:
    """X E, what features, but not periods, say of each row, by the name of the table of P."""
    return {
        f"{side}_{kind}.weight": np.asarray(X.astype(E.dtype, copy=False) @ E[: X.shape[1]])
        for side, X in ((side, of_side.matrix) for side, of_side in bags.items())
        if X.shape[1]
        for kind in ("embedding", "bias")
        if (E := parameters.get(f"{side}_feature_{kind}.weight")) is not None
    }


def collapsed(parameters: Parameters, bags: Mapping[str, Bags]) -> Parameters:
    """The same model without features: P + X E in place of P; of the tables of E, the periods are left."""
    shared = shared_parts(parameters, bags)
    tables = {}
    for name, value in parameters.items():
        if "_feature_" not in name:
            tables[name] = value + shared[name] if name in shared else value
        elif (of_side := bags[name[:4]]).n_periods:
            tables[name] = value[of_side.matrix.shape[1] :]
    return tables
