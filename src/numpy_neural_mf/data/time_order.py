"""Ratings as sequences: each user's in the order of time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .columns import count, renumbered
from .ids import index_of
from .ratings import Ratings


class NextItems(NamedTuple):
    """Sequences of items and the item that follows each.

    Attributes
    ----------
    sequences : int32 array of shape (n, length)
        Filled up with -1 at the right.
    items : int32 array of shape (n,)
    """

    sequences: NDArray[np.int32]
    items: NDArray[np.int32]


def in_time_order(ratings: Ratings) -> Ratings:
    """The same ratings, user by user, each user's by time; of equal times the row further down is later.

    Raises
    ------
    ValueError
        There are no timestamps.
    """
    if ratings.timestamps is None:
        raise ValueError("ratings: expected timestamps to put them in the order of time, found none")
    return ratings.take(np.lexsort((ratings.timestamps, ratings.users)))


def last_items(ratings: Ratings, n: int) -> NDArray[np.int32]:
    """The last n items of each user, shape (n_users, n), in the order of time.

    Parameters
    ----------
    ratings : Ratings
        As `in_time_order` leaves them.
    n : int

    Returns
    -------
    int32 array of shape (n_users, n)
        From the left, filled up with -1 at the right.
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

    Users and items that training does not know are left out.

    Parameters
    ----------
    train : Ratings
        As `in_time_order` leaves them.
    validation : Ratings
        With timestamps, in any order.
    n : int

    Raises
    ------
    ValueError
        There are no timestamps, or nothing is left.
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
    """Batches of pieces of the users' sequences, in random order.

    Each sequence longer than `length` is cut into pieces of that length, where the first cut falls is drawn;
    every row is in one piece, and every piece, whole, in one batch.

    Parameters
    ----------
    users : int32 array of shape (n_ratings,)
        As `in_time_order` leaves them.
    rows : int64 array of shape (n,)
        Rows to take, in any order.
    length : int
    size : int
        Of a batch, nearly: the end of a piece is in the batch that its rows would end in.
    rng : numpy.random.Generator

    Yields
    ------
    rows, piece : int64 arrays of shape (m,)
        By piece, in the order of time, and the number of the piece within the batch.
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
