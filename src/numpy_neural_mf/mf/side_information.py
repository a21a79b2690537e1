"""Side information on users and items: attributes and implicit feedback."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import numpy as np
import scipy
from numpy.typing import NDArray

from ..data import Features, Ratings
from ..data.columns import count
from .architecture import Architecture
from .parameters import Side

RATED = "rated"  # the field of implicit feedback: the items that a user rated, or the raters of an item


@dataclass(frozen=True, slots=True, eq=False)
class SideFeatures:
    """The feature matrix X of one side, shape (n_rows + 1, n_columns).

    Column 0 is a constant, the only feature of the last row, which stands for unknown ids. `fields` holds the
    field number of each column, counted from 1 in `names`; the constant has field 0.
    """

    matrix: scipy.sparse.csr_array
    fields: NDArray[np.int64]
    names: tuple[str, ...]

    @property
    def has_sets(self) -> bool:
        """Whether implicit feedback, the other side of a row's ratings, is among its features."""
        return RATED in self.names


class OneSide(NamedTuple):
    """One side of ratings, users or items: the row of each rating, ids, features, and the other side."""

    name: Side
    rows: NDArray[np.int32]
    ids: NDArray[Any]
    features: Features | None
    others: NDArray[np.int32]
    n_others: int

    @classmethod
    def both(cls, ratings: Ratings) -> tuple[Self, Self]:
        """Return the user side, then the item side."""
        r = ratings
        return (
            cls("user", r.users, r.user_ids, r.user_features, r.items, r.n_items),
            cls("item", r.items, r.item_ids, r.item_features, r.users, r.n_users),
        )

    def rated_sets(self) -> scipy.sparse.csr_array:
        """Return each user's n rated items, with weight 1/√n each (Koren, 2008), or each item's raters."""
        n = count(self.rows, len(self.ids))
        weights = (1 / np.sqrt(n[self.rows])).astype(np.float32)
        shape = len(self.ids), self.n_others
        return scipy.sparse.csr_array((weights, (self.rows, self.others)), shape=shape)


def side_features_of(architecture: Architecture, ratings: Ratings) -> dict[Side, SideFeatures]:
    """Return the features of users and items that the architecture uses.

    Raises ValueError if the architecture needs features and the ratings have none. Implicit feedback comes
    only from these ratings, the training ratings, never from held-out ones.
    """
    found: dict[Side, SideFeatures] = {}
    if architecture.features and ratings.user_features is None and ratings.item_features is None:
        expected = "expected ratings with features, since the architecture uses them, found none"
        raise ValueError(f"{expected}: ratings.with_features(items=read_features(...))")
    for side in OneSide.both(ratings):
        parts: dict[str, scipy.sparse.csr_array] = {}
        if architecture.features and side.features is not None:
            X, of_columns = side.features.rows_for(side.ids), np.array(side.features.fields)
            for name in dict.fromkeys(side.features.fields):
                parts[name] = scipy.sparse.csr_array(X[:, np.flatnonzero(of_columns == name)])
        if architecture.implicit:
            parts[RATED] = side.rated_sets()
        if parts:
            n = len(side.ids)
            X = scipy.sparse.csr_array(scipy.sparse.hstack([*parts.values()], format="csr"))
            X.resize(n + 1, X.shape[1])
            constant = scipy.sparse.csr_array(np.ones((n + 1, 1), np.float32))
            widths = [1, *(part.shape[1] for part in parts.values())]
            fields = np.repeat(np.arange(len(widths)), widths)
            matrix = scipy.sparse.csr_array(scipy.sparse.hstack([constant, X], format="csr"))
            found[side.name] = SideFeatures(matrix, fields, tuple(parts))
    return found
