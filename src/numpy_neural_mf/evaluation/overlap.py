"""What the test part shares with training: pairs, which must not occur in both, and known users and items."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..data import Ratings
from ..data.columns import blocks, count
from ..data.ids import index_of


def warm_rows(train: Ratings, test: Ratings) -> NDArray[np.bool_]:
    """Which test ratings have a user and an item that both occur in training, shape (len(test),)."""
    user_is_warm, item_is_warm = warm_ids(train, test)
    return user_is_warm[test.users] & item_is_warm[test.items]


def warm_ids(train: Ratings, test: Ratings) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which of ``test.user_ids`` and which of ``test.item_ids`` have a rating in training."""
    users = train.user_ids[count(train.users, train.n_users) > 0]
    items = train.item_ids[count(train.items, train.n_items) > 0]
    return index_of(users, test.user_ids) >= 0, index_of(items, test.item_ids) >= 0


def seen_rows(train: Ratings, test: Ratings) -> NDArray[np.bool_]:
    """Which test ratings are of a pair of user and item that has a rating in training, shape (len(test),)."""
    user_in_test = index_of(test.user_ids, train.user_ids)
    item_in_test = index_of(test.item_ids, train.item_ids)
    tested = test.users.astype(np.int64) * test.n_items + test.items
    pairs = np.sort(tested)  # index_of finds the first of equal pairs, and so does searchsorted below
    is_seen = np.zeros(len(pairs), bool)
    for block in blocks(len(train)):
        users, items = user_in_test[train.users[block]], item_in_test[train.items[block]]
        shared = (users >= 0) & (items >= 0)
        # Sorting first makes millions of look-ups several times faster.
        found = index_of(pairs, np.sort(users[shared].astype(np.int64) * test.n_items + items[shared]))
        is_seen[found[found >= 0]] = True
    seen = np.empty(len(tested), bool)
    for block in blocks(len(tested)):
        seen[block] = is_seen[np.searchsorted(pairs, tested[block])]
    return seen


def require_held_out(train: Ratings, test: Ratings) -> None:
    """Raise ValueError if the test part is empty or shares a pair of user and item with training."""
    if not len(test):
        raise ValueError("test: expected ratings to evaluate on, found none")
    n_seen = int(seen_rows(train, test).sum())
    if n_seen:
        raise ValueError(f"test: {n_seen} of its {len(test)} ratings are of a user and an item in train too")
