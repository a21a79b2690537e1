"""Ratings of a store that a model has not learned yet."""

from typing import Any

import numpy as np

from ..data import Ratings
from ..models.fitted import rows_of_pairs
from .store import RatingsStore


def unlearned_ratings(store: RatingsStore, model: Any) -> Ratings | None:
    """Return the stored ratings that the model has not learned or has with another value, or None."""
    kept, fitted = store.columns(), model.fitted_
    sides = [
        np.unique(np.array(kept[side], np.int64 if ids.dtype.kind == "i" else str), return_inverse=True)
        for side, ids in (("user", fitted.user_ids), ("item", fitted.item_ids))
    ]
    (user_ids, users), (item_ids, items) = sides
    values, times = np.array(kept["rating"], np.float32), np.array(kept["timestamp"], np.int64)
    columns = users.astype(np.int32), items.astype(np.int32), values, user_ids, item_ids
    if not len(values):
        return None
    ratings = Ratings(*columns, fitted.rating_scale, times)
    rows = zip(*rows_of_pairs(ratings, fitted.user_ids, fitted.item_ids), values, strict=True)
    new = [at for at, row in enumerate(rows) if not _has(fitted.interactions, *row)]
    return ratings.take(new).compact() if new else None


def _has(interactions: Any, user: int, item: int, rating: float) -> bool:
    items, ratings = interactions.of_row(user)
    place = np.searchsorted(items, item)
    return bool(place < len(items) and items[place] == item and ratings[place] == rating)
