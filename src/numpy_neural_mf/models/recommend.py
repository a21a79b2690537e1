"""Lists of a fitted model: the best items for users, and the most similar items or users."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..data.ids import index_of
from ..mf.parameters import Side
from ..utils.settings import check_integer
from .fitted import Fitted, FittedData, FittedModel
from .fold_in import NewItem, NewUser
from .interactions import Interactions
from .top_n import best_items, most_similar

MaskedArray = np.ma.MaskedArray[Any, Any]


def recommend(
    fitted: Fitted,
    model: FittedModel,
    users: NDArray[np.int32],
    n: int,
    exclude_seen: bool,
    candidates: ArrayLike | None,
    min_ratings: int,
    new_user: NewUser | None,
    new_items: Sequence[NewItem],
) -> tuple[MaskedArray, MaskedArray]:
    """Items and predictions of `Recommender.recommend`; `model` is `fitted.model` with the new ones."""
    check_integer("n", n, at_least=1)
    items = candidate_rows(fitted, candidates, min_ratings)
    new_rows = np.arange(len(new_items), dtype=np.int32) + np.int32(len(fitted.item_ids))
    items = np.concatenate([items, new_rows])
    ids = np.concatenate([fitted.item_ids, *([item.id] for item in new_items)])
    seen = [fitted.interactions, _of_new_items(fitted, new_items)]
    if new_user is not None:
        seen = [new_user.interactions]
    best, scores = best_items(model.scorer(items), users.ravel(), items, int(n), seen if exclude_seen else ())
    shape, missing = (*users.shape, int(n)), best < 0
    ratings = model.likelihood.rating(scores)
    return tuple(np.ma.MaskedArray(a, missing).reshape(shape) for a in (ids[best], ratings))  # type: ignore


def candidate_rows(fitted: FittedData, candidates: ArrayLike | None, min_ratings: int) -> NDArray[np.int32]:
    """Rows of the known items to choose from, ascending."""
    check_integer("min_ratings", min_ratings, at_least=0)
    items = np.arange(len(fitted.item_ids), dtype=np.int32)
    if candidates is not None:
        items = np.unique(index_of(fitted.item_ids, candidates))
        items = items[items >= 0]
    return items[fitted.counts("item")[items] >= min_ratings] if min_ratings else items


def similar(
    fitted: FittedData,
    side: Side,
    table: NDArray[np.floating[Any]] | None,
    raw: Any,
    n: int,
    min_ratings: int,
) -> tuple[NDArray[Any], NDArray[np.float32]]:
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
    users = [item.interactions.items for item in new_items]
    rows = [np.full(len(of_item), n_items + n, np.int32) for n, of_item in enumerate(users)]
    ratings = [item.interactions.ratings for item in new_items]
    no_rows, no_ratings = np.empty(0, np.int32), np.empty(0, np.float32)
    return Interactions.of(
        np.concatenate([no_rows, *users]),
        np.concatenate([no_rows, *rows]),
        np.concatenate([no_ratings, *ratings]),
        len(fitted.user_ids),
        n_items + len(new_items),
    )
