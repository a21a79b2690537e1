"""Pairs that a caller asks about, as rows of a fitted model that knows what was folded in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..data.ids import index_of
from ..data.timestamps import as_timestamps
from ..utils.arrays import Float32Array, Int32Array
from .fitted import Fitted, FittedModel, block_scores
from .fold_in import Items, NewItem, NewUser, Users


class Located(NamedTuple):
    """Pairs as rows, -1 for the unknown, of a model with what was folded in; all columns have one shape."""

    model: FittedModel
    users: Int32Array
    items: Int32Array
    timestamps: NDArray[np.int64] | None
    folded_in_user: bool
    folded_in_item: bool

    def scores(self) -> Float32Array:
        """The scores of the pairs, of their shape."""
        at = None if self.timestamps is None else self.timestamps.ravel()
        return block_scores(self.model, self.users.ravel(), self.items.ravel(), at).reshape(self.users.shape)

    def ratings(self) -> Float32Array:
        """The predicted ratings of the pairs, of their shape."""
        return self.model.likelihood.rating(self.scores())


def locate(fitted: Fitted, users: Users, items: Items, timestamps: ArrayLike | None = None) -> Located:
    """Pairs as `Recommender.predict` takes them."""
    new_user = users if isinstance(users, NewUser) else None
    new_items = [items] if isinstance(items, NewItem) else []
    model = model_with(fitted, new_user, new_items)
    u, i = rows_of(fitted.user_ids, users), rows_of(fitted.item_ids, items)
    if new_items:
        i = i + np.int32(len(fitted.item_ids))
    times = None if timestamps is None else as_timestamps(timestamps)
    u, i, *broadcast = np.broadcast_arrays(u, i, *([] if times is None else [times]))
    return Located(model, u, i, broadcast[0] if broadcast else None, new_user is not None, bool(new_items))


def model_with(fitted: Fitted, user: NewUser | None, items: Sequence[NewItem]) -> FittedModel:
    """The model with these in it, which it must have folded in itself, as it is now."""
    model = fitted.model
    for new in ([] if user is None else [user]) + [*items]:
        if new.model is not fitted.model:
            raise ValueError(f"{new}, by another model or before this one learned more: fold in again")
    if len({item.id for item in items}) < len(items):
        raise ValueError(f"new_items: expected each once, found {[item.id for item in items]}")
    if items:
        model = model.with_items([item.row for item in items], [item.interactions for item in items])
    return model if user is None else model.with_user(user.row, user.interactions)


def rows_of(ids: NDArray[Any], given: Users | Items) -> Int32Array:
    """Rows of raw ids, -1 for the unknown; 0 for what was folded in."""
    return np.zeros((), np.int32) if isinstance(given, NewUser | NewItem) else index_of(ids, given)
