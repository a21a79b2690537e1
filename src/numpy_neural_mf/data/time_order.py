"""Ratings as sequences: each user's ratings in time order."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .columns import count, renumbered
from .ids import index_of
from .ratings import Ratings


class NextItems(NamedTuple):
    """Sequences of items, (n, length), padded with -1 at the right, and the item after each, (n,)."""

    sequences: NDArray[np.int32]
    items: NDArray[np.int32]


def in_time_order(ratings: Ratings) -> Ratings:
    """Return the ratings sorted by user, then by time; of equal times the row further down is later."""
    if ratings.timestamps is None:
        raise ValueError("ratings: expected timestamps to sort by, found none")
    return ratings.take(np.lexsort((ratings.timestamps, ratings.users)))


def last_items(ratings: Ratings, n: int) -> NDArray[np.int32]:
    """Return the last n items of each user, (n_users, n), in time order, padded with -1 at the right.

    The ratings are in the order of `in_time_order`.
    """
    n_ratings = count(ratings.users, ratings.n_users)
    first = np.cumsum(n_ratings) - np.minimum(n_ratings, n)
    column = np.arange(len(ratings)) - first[ratings.users]
    kept = column >= 0
    table = np.full((ratings.n_users, n), -1, np.int32)
    table[ratings.users[kept], column[kept]] = ratings.items[kept]
    return table


def next_items(train: Ratings, validation: Ratings, n: int) -> NextItems:
    """Return each user's last n training items and first validation item, in rows of training.

    Training is in the order of `in_time_order`; validation has timestamps, in any order. Users and items
    without training ratings are left out; if nothing is left, that is a ValueError.
    """
    ordered = in_time_order(validation)
    users = renumbered(ordered.users, index_of(train.user_ids, ordered.user_ids))
    items = renumbered(ordered.items, index_of(train.item_ids, ordered.item_ids))
    found, first = np.unique(users, return_index=True)
    kept = (found >= 0) & (items[first] >= 0)
    if not kept.any():
        raise ValueError("validation: expected users and items that have a training rating, found none")
    return NextItems(last_items(train, n)[found[kept]], items[first[kept]])


def windows(
    users: NDArray[np.int32], rows: NDArray[np.int64], length: int, size: int, rng: np.random.Generator
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Yield batches of about `size` rows, pieces of user sequences in random order: rows, and their pieces.

    `rows` are the rows to take of `users` (in the order of `in_time_order`). Each sequence longer than
    `length` is cut into pieces of that length, at a random first cut. A piece is never divided: it goes to
    the batch in which it would end.
    """
    rows = np.sort(rows)
    of_user = users[rows]
    n_ratings = np.bincount(of_user)
    phase = np.where(n_ratings > length, rng.integers(0, length, len(n_ratings)), 0)
    place = rows - np.searchsorted(users, of_user) + phase[of_user]
    is_first = np.ones(len(rows), bool)
    is_first[1:] = (of_user[1:] != of_user[:-1]) | (place[1:] // length != place[:-1] // length)
    starts = np.flatnonzero(is_first)
    lengths = np.diff(np.append(starts, len(rows)))
    order = rng.permutation(len(starts))
    batch = (np.cumsum(lengths[order]) - 1) // size
    for pieces in np.split(order, np.flatnonzero(np.diff(batch)) + 1):
        n = lengths[pieces]
        piece = np.repeat(np.arange(len(pieces)), n)
        within = np.arange(len(piece)) - np.repeat(np.cumsum(n) - n, n)
        yield rows[starts[pieces][piece] + within], piece
