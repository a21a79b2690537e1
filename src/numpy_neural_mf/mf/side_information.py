"""Side features of users and items: their attributes, and the sets of what they rated; with penalties."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, hstack

from ..data import Features, Ratings
from ..data.columns import count
from .architecture import Architecture
from .parameters import SIDES, Parameters, Side, table_name
from .regularization import frequency_scaled
from .side_features import SideFeatures

# How much more than a row of its side is shrunk towards zero: a feature, for each row of the other side that
# it may meet; a member of a set of what was rated; and a time bin (docs/decisions/side-information.md).
FEATURE, RATED, TIME_BIN = 1 / 40, 12.0, 32.0


class OneSide(NamedTuple):
    """The users of some ratings, or the items: the row of each rating, ids, features, and the other side."""

    name: Side
    rows: NDArray[np.int32]
    ids: NDArray[Any]
    features: Features | None
    others: NDArray[np.int32]
    n_others: int

    @classmethod
    def both(cls, ratings: Ratings) -> tuple[OneSide, OneSide]:
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
        raise ValueError(
            "expected ratings with features, since the architecture has such, found none: "
            "ratings.with_features(items=read_features(...))"
        )
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
            penalties = [
                _penalty(times * regularization, (part * part).T @ counts.astype(np.float64), counts)
                for times, part in parts
            ]
            found[side.name] = SideFeatures(X, np.concatenate(penalties))
    return found


def time_penalties(
    regularization: float, counts: Mapping[Side, NDArray[np.int64]], time_counts: NDArray[np.int64]
) -> dict[Side, NDArray[np.float32]]:
    """λ_t of each time bin, shape (n_time_bins,), from the numbers of ratings of rows and of time bins."""
    return {side: _penalty(TIME_BIN * regularization, time_counts, counts[side]) for side in SIDES}


def _penalty(regularization: float, uses: NDArray[Any], counts: NDArray[np.int64]) -> NDArray[np.float32]:
    """λ_c of each column of X, whose rows have `counts` ratings: shape (n_columns,).

    As a row with n_c = Σ x² ratings, its uses, is penalised (see `frequency_scaled`), over the ratings of
    those who have the column with weight x; but the mean column as the mean row of P would be by this λ.
    """
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
