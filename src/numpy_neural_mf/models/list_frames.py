"""Top-N lists as data frames: one row per rank, with the title of the item if titles are known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..data.ids import as_ids, of_kind
from ..mf.parameters import Side
from ..utils.arrays import Float32Array
from .fitted import FittedData
from .fold_in import NewItem, NewUser, Users
from .recommend import MaskedArray, Ranked

if TYPE_CHECKING:
    import polars as pl


def recommended_frame(
    model: Any,
    users: Users | None,
    items: MaskedArray,
    scores: MaskedArray,
    new_items: Sequence[NewItem] = (),
) -> pl.DataFrame:
    """Return the frame of `Recommender.recommend`; a new user has no id, so no column of users."""
    n = items.shape[-1]
    places, ranks = np.nonzero(~np.ma.getmaskarray(items).reshape(-1, n))
    listed = items.data.reshape(-1, n)[places, ranks]
    columns: dict[str, Any] = {}
    if not (users is None or isinstance(users, NewUser)):
        users = as_ids(users).ravel()[places]
        is_known, ids = of_kind(model.user_ids_, users)
        columns["user"] = ids if is_known.all() else list(map(str, users))
    scored = scores.data.reshape(-1, n)[places, ranks]
    columns |= _of_items(model.fitted_, listed) | {"rank": ranks + 1, "score": scored}
    if hasattr(model, "predict_interval"):
        columns["low"], columns["high"] = _intervals(model, users, listed, new_items)
    return _frame(columns)


def similar_frame(fitted: FittedData, side: Side, ranked: Ranked) -> pl.DataFrame:
    """Return the frame of `Recommender.similar_items`."""
    ids, scores = ranked
    columns = _of_items(fitted, ids) if side == "item" else {"user": ids}
    return _frame(columns | {"rank": np.arange(1, len(ids) + 1), "score": scores})


def _of_items(fitted: FittedData, items: NDArray[Any]) -> dict[str, Any]:
    if fitted.titles is None:
        return {"item": items}
    return {"item": items, "title": [fitted.titles.get(item, "") for item in items.tolist()]}


def _intervals(
    model: Any, users: Any, items: NDArray[Any], new_items: Sequence[NewItem]
) -> tuple[Float32Array, Float32Array]:
    """Return the intervals of pairs; folded-in items are passed as `NewItem`, not by id."""
    low, high = map(np.array, model.predict_interval(users, items))
    for new in new_items:
        is_new = items == new.id
        of_new = users if isinstance(users, NewUser) else users[is_new]
        low[is_new], high[is_new] = model.predict_interval(of_new, new)
    return low, high


def _frame(columns: dict[str, Any]) -> pl.DataFrame:
    import polars as pl

    return pl.DataFrame(columns, schema_overrides={"title": pl.String} if "title" in columns else None)
