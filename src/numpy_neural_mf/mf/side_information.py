"""Side features of users and items, as engines take them: attributes and sets of what was rated."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, hstack

from ..data import Features, Ratings
from ..data.columns import count
from ..nn import GroupedIds
from ..nn.layers import rows_in
from ..nn.parameter import Array, IntArray
from .architecture import Architecture
from .parameters import FEATURES, SIDES, Parameters, Side, table_name, tables_in
from .regularization import frequency_scaled

# How much more than a row of its side is shrunk towards zero: a feature, for each row of the other side that
# it may meet; a member of a set of what was rated; and a time bin (docs/decisions/side-information.md).
FEATURE, RATED, TIME_BIN = 1 / 40, 12.0, 32.0


@dataclass(frozen=True, slots=True, eq=False)
class FeaturesOfBatch:
    """Features of the m distinct users, or items, of a batch."""

    ids: GroupedIds
    matrix: csr_array  # their rows of X, shape (m, n_features)
    columns: IntArray  # the features that any of them has, ascending
    shrinkage: Array  # times these rows of E: the gradient of the penalty; shape (n_columns, 1)

    def rows(self, own: Array, shared: Array) -> Array:
        """P + X E of the distinct ones, shape (m, d)."""
        return np.asarray(own[self.ids.rows] + self.matrix @ shared)

    def gradient(self, dy: Array) -> Array:
        """Of the rows of E in `columns`, from that of the vector of each rating, shape (n, d)."""
        return np.asarray((self.matrix.T @ self.ids.sum(dy)).take(self.columns, axis=0))


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


def as_dtype(side_features: Mapping[Side, SideFeatures], dtype: np.dtype[Any]) -> dict[Side, SideFeatures]:
    """The same features with weights of another precision."""
    return {s: replace(f, matrix=f.matrix.astype(dtype, copy=False)) for s, f in side_features.items()}


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
    own = {name: value for name, value in parameters.items() if name not in of_features}
    return {name: value + shared[name] if name in shared else value for name, value in own.items()}


class OneSide(NamedTuple):
    """The users of some ratings, or the items: the row of each rating, ids, features, and the other side."""

    name: Side
    rows: NDArray[np.int32]
    ids: NDArray[Any]
    features: Features | None
    others: NDArray[np.int32]
    n_others: int

    @classmethod
    def both(cls, ratings: Ratings) -> tuple[Self, Self]:
        """Users, then items."""
        r = ratings
        return (
            cls("user", r.users, r.user_ids, r.user_features, r.items, r.n_items),
            cls("item", r.items, r.item_ids, r.item_features, r.users, r.n_users),
        )

    def rated_sets(self) -> csr_array:
        """For each user the items that they rated, of n with weight 1/√n each (Koren, 2008), or reversed."""
        n = count(self.rows, len(self.ids))
        weights = (1 / np.sqrt(n[self.rows])).astype(np.float32)
        return csr_array((weights, (self.rows, self.others)), shape=(len(self.ids), self.n_others))


def side_features_of(
    architecture: Architecture, ratings: Ratings, regularization: float
) -> dict[Side, SideFeatures]:
    """The features of users and items, if the architecture has any; ValueError if the ratings have none.

    Sets of what was rated are made of these ratings only, those of training: none of held-out ratings.
    """
    found: dict[Side, SideFeatures] = {}
    if architecture.features and ratings.user_features is None and ratings.item_features is None:
        expected = "expected ratings with features, since the architecture has such, found none"
        raise ValueError(f"{expected}: ratings.with_features(items=read_features(...))")
    for side in OneSide.both(ratings):
        n_rows = len(side.ids)
        parts = [(0.0, csr_array((n_rows, 0), dtype=np.float32))]
        if architecture.features and side.features is not None:
            parts.append((FEATURE * side.n_others, side.features.rows_for(side.ids)))
        if architecture.implicit:
            parts.append((RATED, side.rated_sets()))
        X = csr_array(hstack([part for _, part in parts], format="csr"))
        if X.shape[1]:
            X.resize(n_rows + 1, X.shape[1])  # the unknown has no features
            counts = count(side.rows, n_rows)
            uses = [(part * part).T @ counts.astype(np.float64) for _, part in parts]
            penalties = [_penalty(p[0] * regularization, n, counts) for p, n in zip(parts, uses, strict=True)]
            found[side.name] = SideFeatures(X, np.concatenate(penalties))
    return found


def time_penalties(
    regularization: float, counts: Mapping[Side, NDArray[np.int64]], time_counts: NDArray[np.int64]
) -> dict[Side, NDArray[np.float32]]:
    """λ_t of each time bin, shape (n_time_bins,), from the numbers of ratings of rows and of time bins."""
    return {side: _penalty(TIME_BIN * regularization, time_counts, counts[side]) for side in SIDES}


def _penalty(regularization: float, uses: NDArray[Any], counts: NDArray[np.int64]) -> NDArray[np.float32]:
    """λ_c of each column of X, whose rows have `counts` ratings: shape (n_columns,)."""
    # As a row with n_c = Σ x² ratings, its uses, over the ratings of those who have the column with weight x;
    # but the mean column is penalised as the mean row of P would be by this λ.
    per_row = int(np.count_nonzero(uses)) / max(int(np.count_nonzero(counts)), 1)
    return frequency_scaled(per_row * regularization, uses)


def leave_unrated_at_prior(parameters: Parameters, side: Side, is_unrated: NDArray[np.bool_]) -> None:
    """Let the own row of a user or item without ratings be zero: it is then predicted from its features."""
    name = table_name(side, "embedding")
    if name in parameters:
        parameters[name][is_unrated] = 0


def no_prior(architecture: Architecture, n_users: int, n_items: int) -> Parameters:
    """Rows predicted from features before any is learned, zeros, by the name of the table; {} without."""
    if not (architecture.features or architecture.implicit):
        return {}
    tables = architecture.tables(n_users, n_items)
    return {table.name: np.zeros(table.shape, np.float32) for table in tables if table.entity in SIDES}
