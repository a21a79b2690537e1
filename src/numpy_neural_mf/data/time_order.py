"""Ratings as sequences: each user's in the order of time."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .columns import count, renumbered
from .ids import index_of
from .ratings import Ratings


class NextItems(NamedTuple):
    """Sequences of items, (n, length), filled up with -1 at the right, and the item after each, (n,)."""

    sequences: NDArray[np.int32]
    items: NDArray[np.int32]


def in_time_order(ratings: Ratings) -> Ratings:
    """The same ratings, user by user, each user's by time; of equal times the row further down is later."""
    if ratings.timestamps is None:
        raise ValueError("ratings: expected timestamps to put them in the order of time, found none")
    return ratings.take(np.lexsort((ratings.timestamps, ratings.users)))


def last_items(ratings: Ratings, n: int) -> NDArray[np.int32]:
    """The last n items of each user, (n_users, n), by time, filled up with -1 at the right.

    The ratings are as `in_time_order` leaves them.
    """
    n_ratings = count(ratings.users, ratings.n_users)
    first = np.cumsum(n_ratings) - np.minimum(n_ratings, n)
    column = np.arange(len(ratings)) - first[ratings.users]
    kept = column >= 0
    table = np.full((ratings.n_users, n), -1, np.int32)
    table[ratings.users[kept], column[kept]] = ratings.items[kept]
    return table


def next_items(train: Ratings, validation: Ratings, n: int) -> NextItems:
    """The last n training items of each user and the user's first item of validation, in rows of training.

    Training is as `in_time_order` leaves it; validation has timestamps, in any order. Users and items that
    training does not know are left out; if nothing is left, that is a ValueError.
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
    """Batches of `size` rows, of pieces of the users' sequences in random order: rows, and the piece of each.

    Of the `rows` to take of `users` (as `in_time_order` leaves them), each sequence longer than `length` is
    cut into pieces of that length, the first cut drawn. A whole piece is in the batch that it would end in.
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
