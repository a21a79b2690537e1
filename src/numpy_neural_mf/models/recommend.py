"""Lists of a fitted model: the best items for users, and the most similar items or users."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..data.ids import index_of
from ..mf.parameters import Side
from ..utils.arrays import Float32Array, FloatArray, Int32Array
from ..utils.settings import check_integer
from .fitted import Fitted, FittedData
from .fold_in import NewItem, NewUser, Users
from .interactions import Interactions
from .located import model_with, rows_of
from .top_n import best_items, most_similar

MaskedArray = np.ma.MaskedArray[Any, Any]


def recommend(
    fitted: Fitted,
    users: Users,
    n: int,
    exclude_seen: bool,
    candidates: ArrayLike | None,
    min_ratings: int,
    new_items: Sequence[NewItem],
) -> tuple[MaskedArray, MaskedArray]:
    """Items and predictions of `Recommender.recommend`."""
    check_integer("n", n, at_least=1)
    new_user = users if isinstance(users, NewUser) else None
    model, rows = model_with(fitted, new_user, new_items), rows_of(fitted.user_ids, users)
    items = candidate_rows(fitted, candidates, min_ratings)
    new_rows = np.arange(len(new_items), dtype=np.int32) + np.int32(len(fitted.item_ids))
    items = np.concatenate([items, new_rows])
    ids = np.concatenate([fitted.item_ids, *([item.id] for item in new_items)])
    seen = []
    if exclude_seen:
        seen = [fitted.interactions if new_user is None else new_user.interactions]
        if new_items and new_user is None:
            seen.append(_of_new_items(fitted, new_items))
    best, scores = best_items(model.scorer(items), rows.ravel(), items, int(n), seen)
    shape, missing = (*rows.shape, int(n)), best < 0
    ratings = model.likelihood.rating(scores)
    return tuple(np.ma.MaskedArray(a, missing).reshape(shape) for a in (ids[best], ratings))  # type: ignore


def candidate_rows(fitted: FittedData, candidates: ArrayLike | None, min_ratings: int) -> Int32Array:
    """Rows of the known items to choose from, ascending."""
    check_integer("min_ratings", min_ratings, at_least=0)
    items = np.arange(len(fitted.item_ids), dtype=np.int32)
    if candidates is not None:
        items = np.unique(index_of(fitted.item_ids, candidates))
        items = items[items >= 0]
    return items[fitted.counts("item")[items] >= min_ratings] if min_ratings else items


def similar(
    fitted: FittedData, side: Side, table: FloatArray | None, raw: Any, n: int, min_ratings: int
) -> tuple[NDArray[Any], Float32Array]:
    """Ids and cosines of `Recommender.similar_items`, by the rows of a table."""
    check_integer("n", n, at_least=1)
    if table is None:
        raise ValueError(f"this model has no embeddings to compare {side}s by")
    row, ids = known_row(fitted, side, raw), fitted.ids(side)
    rows, cosines = most_similar(table, row, n, fitted.counts(side) >= min_ratings)
    return ids[rows], cosines


def known_row(fitted: FittedData, side: Side, raw: Any) -> int:
    """The row of a raw id; a ValueError if it is unknown."""
    row = int(index_of(fitted.ids(side), raw))
    if row < 0:
        raise ValueError(
            f"{side} {raw!r} is unknown: it has no rating among those given to fit, nor features"
        )
    return row


def _of_new_items(fitted: Fitted, new_items: Sequence[NewItem]) -> Interactions:
    """Who rated the new items, in the rows of the model with them."""
    n_items = len(fitted.item_ids)
    by_item = [item.interactions for item in new_items]
    rows = [np.full(len(seen.items), n_items + n, np.int32) for n, seen in enumerate(by_item)]
    return Interactions.of(
        np.concatenate([seen.items for seen in by_item]),
        np.concatenate(rows),
        np.concatenate([seen.ratings for seen in by_item]),
        len(fitted.user_ids),
        n_items + len(new_items),
    )
