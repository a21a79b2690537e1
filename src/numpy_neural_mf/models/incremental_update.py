"""Ratings added to those that a model remembers: ids put in order, pairs rated again replaced."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data import Ratings
from ..data.ids import index_of
from .interactions import SeenRatings


@dataclass(frozen=True, slots=True, eq=False)
class Growth:
    """What a model will remember once it has learned from more ratings.

    Attributes
    ----------
    user_ids, item_ids : arrays, sorted and unique
        Those that it knew and those that are new.
    seen : SeenRatings
        All ratings, with the rows of these ids.
    old_users, old_items : int32 arrays
        Row of each user and item that the model knew.
    users, items : int32 arrays of shape (n,)
        Rows of the ratings that are new.
    new : Ratings
        These ratings, with those rows and ids.
    """

    user_ids: NDArray[Any]
    item_ids: NDArray[Any]
    seen: SeenRatings
    old_users: NDArray[np.int32]
    old_items: NDArray[np.int32]
    users: NDArray[np.int32]
    items: NDArray[np.int32]
    new: Ratings

    @classmethod
    def of(cls, user_ids: NDArray[Any], item_ids: NDArray[Any], seen: SeenRatings, new: Ratings) -> Growth:
        """From what a model knows and new ratings, each of whose ids has one.

        Raises
        ------
        ValueError
            New ids are of another kind than those of the model.
        """
        all_users, all_items = _union("user", user_ids, new.user_ids), _union("item", item_ids, new.item_ids)
        old_users, old_items = index_of(all_users, user_ids), index_of(all_items, item_ids)
        users = index_of(all_users, new.user_ids)[new.users]
        items = index_of(all_items, new.item_ids)[new.items]
        before = old_users[seen.users], old_items[seen.items]
        kept = ~np.isin(_pairs(*before, len(all_items)), _pairs(users, items, len(all_items)))
        everything = SeenRatings.of(
            np.concatenate([before[0][kept], users]),
            np.concatenate([before[1][kept], items]),
            np.concatenate([seen.ratings[kept], new.values]),
            len(all_users),
            len(all_items),
        )
        new = replace(new, users=users, items=items, user_ids=all_users, item_ids=all_items)
        return cls(all_users, all_items, everything, old_users, old_items, users, items, new)


def _union(side: str, old: NDArray[Any], new: NDArray[Any]) -> NDArray[Any]:
    if old.dtype.kind != new.dtype.kind:
        kinds = {"i": "integers", "U": "strings"}
        expected, found = kinds[old.dtype.kind], kinds[new.dtype.kind]
        raise ValueError(f"expected {side} ids that are {expected}, as the model's, found {found}")
    return np.union1d(old, new)


def _pairs(users: NDArray[np.int32], items: NDArray[np.int32], n_items: int) -> NDArray[np.int64]:
    """One number for each pair."""
    return users.astype(np.int64) * n_items + items
