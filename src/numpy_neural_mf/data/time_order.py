"""Ratings as sequences: each user's in the order of time."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from .columns import count
from .ratings import Ratings


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
