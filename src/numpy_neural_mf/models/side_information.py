"""What a model is told of users and items besides who they are: features, and sets of what was rated."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, hstack

from ..architecture import Architecture, Parameters
from ..data import Ratings
from ..data.columns import count
from ..engines.bags import Bags
from .penalty import scaled_by

# How much more a column of features is held to zero than a row of its side.
COLUMN = 8.0


def bags_of(architecture: Architecture, ratings: Ratings, regularization: float) -> dict[str, Bags]:
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

    Raises
    ------
    ValueError
        The architecture has features, and the ratings have none.
    """
    r, bags = ratings, {}
    if architecture.features and r.user_features is None and r.item_features is None:
        raise ValueError(
            "expected ratings with features, since the architecture has such, found none: "
            "ratings.with_features(items=read_features(...))"
        )
    for side, rows, ids, features, others, n_others in (
        ("user", r.users, r.user_ids, r.user_features, r.items, r.n_items),
        ("item", r.items, r.item_ids, r.item_features, r.users, r.n_users),
    ):
        parts = [csr_array((len(ids), 0), dtype=np.float32)]
        if architecture.features and features is not None:
            parts.append(features.rows_for(ids))
        if architecture.implicit:
            parts.append(rated_sets(rows, others, len(ids), n_others))
        X = csr_array(hstack(parts, format="csr"))
        if X.shape[1]:
            X.resize(len(ids) + 1, X.shape[1])  # the unknown has no features
            counts = count(rows, len(ids) + 1)
            penalty = np.concatenate([_penalty(regularization, part, counts[:-1]) for part in parts])
            bags[side] = Bags(X, penalty)
    return bags


def _penalty(regularization: float, X: csr_array, counts: NDArray[np.int64]) -> NDArray[np.float32]:
    """λ_c of each column of X, whose rows have so many ratings: shape (n_columns,).

    As a row that has n_c = Σ x² ratings is penalised (see `frequency_scaled`), over the ratings of those who
    have the column with weight x; but in all, the mean column by `COLUMN` times what the mean row of P is.
    """
    uses = (X * X).T @ counts.astype(np.float64)
    per_row = int(np.count_nonzero(uses)) / max(int(np.count_nonzero(counts)), 1)
    return scaled_by(COLUMN * per_row * regularization, uses)


def rated_sets(rows: NDArray[np.int32], others: NDArray[np.int32], n_rows: int, n_others: int) -> csr_array:
    """For each user the items that they rated, each of n with weight 1/√n (Koren, 2008), or the other way."""
    n = count(rows, n_rows)
    return csr_array(((1 / np.sqrt(n[rows])).astype(np.float32), (rows, others)), shape=(n_rows, n_others))


def leave_unrated_at_prior(parameters: Parameters, ratings: Ratings) -> None:
    """Let the own row of whoever has no rating be zero: then features alone say what to expect."""
    for side, rows, n in (("user", ratings.users, ratings.n_users), ("item", ratings.items, ratings.n_items)):
        table: NDArray[Any] | None = parameters.get(f"{side}_embedding.weight")
        if table is not None:
            table[:-1][count(rows, n) == 0] = 0


def no_prior(architecture: Architecture, n_users: int, n_items: int) -> Parameters:
    """What features say of each row, by the name of its table, before they say anything; {} without."""
    if not (architecture.features or architecture.implicit):
        return {}
    shapes = architecture.parameter_shapes(n_users, n_items)
    return {
        name: np.zeros(shape, np.float32)
        for name, shape in shapes.items()
        if name.startswith(("user", "item"))
    }
