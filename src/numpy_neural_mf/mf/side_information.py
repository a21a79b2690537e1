"""What a model is told of users and items besides who they are: features, and sets of what was rated."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, hstack

from ..data import Features, Ratings
from ..data.columns import count
from .architecture import Architecture, Parameters
from .regularization import frequency_scaled
from .side_features import Bags

# How much more than a row of its side a column of features is held to zero, for each row of the other side
# that it may meet; one of a set of what was rated; and a period (docs/decisions/side-information.md).
FEATURE, RATED, PERIOD = 1 / 40, 12.0, 32.0


class OneSide(NamedTuple):
    """The users of some ratings, or the items: who has each rating, what is known of them.

    Attributes
    ----------
    name : {"user", "item"}
    rows : int32 array of shape (n_ratings,)
    ids : array of shape (n_rows,)
    features : Features or None
    others : int32 array of shape (n_ratings,)
        Rows of the other side.
    n_others : int
    """

    name: Literal["user", "item"]
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


def bags_of(
    architecture: Architecture,
    ratings: Ratings,
    regularization: float,
    of_periods: NDArray[np.int64] | None = None,
) -> dict[str, Bags]:
    """The bags of "user" and "item", where the architecture asks for such.

    Sets of what was rated are made of these ratings alone: of the part to learn from, so that nothing of
    those held out is in them.

    Parameters
    ----------
    architecture : Architecture
    ratings : Ratings
        The part to learn from, indexed as the model's tables are.
    regularization : float
        λ.
    of_periods : int array of shape (n_periods,), optional
        How many ratings were given in each period, of an architecture with periods.

    Raises
    ------
    ValueError
        The architecture has features, and the ratings have none.
    """
    bags: dict[str, Bags] = {}
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
        if X.shape[1] or of_periods is not None:
            X.resize(n_rows + 1, X.shape[1])  # the unknown has no features
            counts = count(side.rows, n_rows)
            penalties = [
                _penalty(times * regularization, (part * part).T @ counts.astype(np.float64), counts)
                for times, part in parts
            ]
            if of_periods is not None:
                penalties.append(_penalty(PERIOD * regularization, of_periods, counts))
            bags[side.name] = Bags(X, np.concatenate(penalties), architecture.periods)
    return bags


def _penalty(regularization: float, uses: NDArray[Any], counts: NDArray[np.int64]) -> NDArray[np.float32]:
    """λ_c of each column of X, whose rows have so many ratings: shape (n_columns,).

    As a row that has n_c = Σ x² ratings, its uses, is penalised (see `frequency_scaled`), over the ratings of
    those who have the column with weight x; but in all, the mean column by as much as the mean row of P would
    be by this λ.
    """
    per_row = int(np.count_nonzero(uses)) / max(int(np.count_nonzero(counts)), 1)
    return frequency_scaled(per_row * regularization, uses)


def leave_unrated_at_prior(parameters: Parameters, side: str, is_unrated: NDArray[np.bool_]) -> None:
    """Let the own row of whoever has no rating be zero: then features alone say what to expect."""
    if f"{side}_embedding.weight" in parameters:
        parameters[f"{side}_embedding.weight"][is_unrated] = 0


def no_prior(architecture: Architecture, n_users: int, n_items: int) -> Parameters:
    """What features say of each row, by the name of its table, before they say anything; {} without."""
    if not (architecture.features or architecture.implicit):
        return {}
    shapes = architecture.parameter_shapes(n_users, n_items)
    return {
        name: np.zeros(shape, np.float32)
        for name, shape in shapes.items()
        if name.startswith(("user", "item")) and "_feature_" not in name
    }
