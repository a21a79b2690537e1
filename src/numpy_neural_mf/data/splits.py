"""Ratings divided into a part to learn from and a part to be judged on.

Every split puts each row into one part and looks at no rating to do so. Both parts keep the ids and the scale
of the whole; ``train.compact()`` has only the users and items that training knows.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from .columns import blocks, room_like
from .ratings import Ratings

# Ratings up to which `random_split` draws one order of all.
AT_ONCE = 2**22

RandomState = int | np.random.Generator | None


def random_split(
    ratings: Ratings, test_size: float = 0.2, random_state: RandomState = 0
) -> tuple[Ratings, Ratings]:
    """Split the ratings at random.

    Parameters
    ----------
    ratings : Ratings
    test_size : float, default 0.2
        Share of the ratings in the test part, above 0 and below 1; rounded to whole ratings.
    random_state : int, numpy.random.Generator or None, default 0
        Seed or source of the order; None draws another split at every call.

    Returns
    -------
    train, test : Ratings
        Rows in the order of `ratings`, with its ids and scale.

    Raises
    ------
    ValueError
        If `test_size` is out of range or leaves a part without ratings.
    """
    n = len(ratings)
    n_test = _whole_share(test_size, n, "ratings")
    rng = np.random.default_rng(random_state)
    is_test = room_like(ratings.values, n, np.bool_)
    for block in _drawn_blocks(n):
        size = block.stop - block.start
        # How many of the test part lie in the block, when all orders are as likely.
        n_here = n_test if size == n else int(rng.hypergeometric(size, n - block.stop, n_test))
        is_test[block] = False
        is_test[block.start + rng.permutation(size)[:n_here]] = True
        n_test -= n_here
    test = ratings.take(is_test)
    return ratings.take(np.logical_not(is_test, out=is_test)), test


def _drawn_blocks(n: int) -> Iterator[slice]:
    """All rows at once, but where they are so many that their order would take as much memory as they."""
    return iter([slice(0, n)]) if n <= AT_ONCE else blocks(n)


def k_fold(
    ratings: Ratings, n_folds: int = 5, random_state: RandomState = 2026
) -> Iterator[tuple[Ratings, Ratings]]:
    """Cross-validation: every rating is in the test part of exactly one fold.

    The test rows of fold f are the f-th part of
    ``numpy.array_split(numpy.random.default_rng(random_state).permutation(n), n_folds)``, in that order;
    the rest, in the order of `ratings`, is for training.

    Parameters
    ----------
    ratings : Ratings
    n_folds : int, default 5
        From 2 to the number of ratings.
    random_state : int, numpy.random.Generator or None, default 2026

    Returns
    -------
    iterator over (train, test), both with the ids and scale of `ratings`

    Raises
    ------
    ValueError
        If `n_folds` is out of range; at once, not at the first fold.
    """
    n = len(ratings)
    if not 2 <= n_folds <= n:
        raise ValueError(f"n_folds: expected 2 to {n}, the number of ratings, found {n_folds}")
    parts = np.array_split(np.random.default_rng(random_state).permutation(n), n_folds)

    def train_and_test(test_rows: np.ndarray[tuple[int], np.dtype[np.int64]]) -> tuple[Ratings, Ratings]:
        is_train = np.ones(n, bool)
        is_train[test_rows] = False
        return ratings.take(is_train), ratings.take(test_rows)

    return map(train_and_test, parts)


def leave_last_out(ratings: Ratings, n: int = 1) -> tuple[Ratings, Ratings]:
    """Hold out the last ratings of each user.

    A user with n ratings or fewer stays wholly in training, so every user of the test part has a past. Within
    a user no test rating is earlier than a training rating. Across users that is not so: training may know
    what others rated later, which a model in use could not; see `time_split` where that matters.

    Of equal timestamps the row further down is the later one.

    Parameters
    ----------
    ratings : Ratings
        With timestamps.
    n : int, default 1
        Ratings of each user in the test part.

    Returns
    -------
    train, test : Ratings
        Rows in the order of `ratings`, with its ids and scale.

    Raises
    ------
    ValueError
        If there are no timestamps, `n` is below 1, or no user has more than `n` ratings.
    """
    if n < 1:
        raise ValueError(f"n: expected at least 1 rating of each user, found {n}")
    order = np.lexsort((_timestamps_of(ratings), ratings.users))  # stable: equal times keep the order of rows
    users = ratings.users[order]
    n_ratings = np.bincount(users, minlength=ratings.n_users)
    n_later = np.cumsum(n_ratings)[users] - 1 - np.arange(len(users))
    is_test = np.zeros(len(ratings), bool)
    is_test[order] = (n_later < n) & (n_ratings[users] > n)
    if not is_test.any():
        raise ValueError(f"n: no user has more than {n} ratings, which leaves the test part without ratings")
    return ratings.take(~is_test), ratings.take(is_test)


def time_split(ratings: Ratings, test_size: float = 0.2) -> tuple[Ratings, Ratings]:
    """Hold out the latest ratings of all: a model learns from the past and is judged on what came after.

    No test rating is earlier than any training rating, whoever gave it. Of equal timestamps the row further
    down is the later one, so ratings of one moment may lie on both sides of the cut. Users and items that
    first appear after it are in the test part alone.

    Parameters
    ----------
    ratings : Ratings
        With timestamps.
    test_size : float, default 0.2
        Share of the ratings in the test part, above 0 and below 1; rounded to whole ratings.

    Returns
    -------
    train, test : Ratings
        Rows in the order of `ratings`, with its ids and scale.

    Raises
    ------
    ValueError
        If there are no timestamps, or `test_size` is out of range or leaves a part without ratings.
    """
    n_test = _whole_share(test_size, len(ratings), "ratings")
    order = np.argsort(_timestamps_of(ratings), kind="stable")
    is_test = np.zeros(len(ratings), bool)
    is_test[order[len(ratings) - n_test :]] = True
    return ratings.take(~is_test), ratings.take(is_test)


def user_split(
    ratings: Ratings, test_size: float = 0.1, random_state: RandomState = 0
) -> tuple[Ratings, Ratings]:
    """Hold out whole users, drawn at random: training sees nothing of them.

    No user has ratings in both parts. Who is held out depends on which users have ratings and on the seed,
    not on the ratings or on the order of the rows.

    Parameters
    ----------
    ratings : Ratings
    test_size : float, default 0.1
        Share of the users with ratings in the test part, above 0 and below 1; rounded to whole users.
    random_state : int, numpy.random.Generator or None, default 0

    Returns
    -------
    train, test : Ratings
        Rows in the order of `ratings`, with its ids and scale.

    Raises
    ------
    ValueError
        If `test_size` is out of range or leaves a part without users.
    """
    users = np.flatnonzero(np.bincount(ratings.users, minlength=ratings.n_users))
    n_test = _whole_share(test_size, len(users), "users")
    is_held_out = np.zeros(ratings.n_users, bool)
    is_held_out[np.random.default_rng(random_state).permutation(users)[:n_test]] = True
    is_test = is_held_out[ratings.users]
    return ratings.take(~is_test), ratings.take(is_test)


def _whole_share(test_size: float, n: int, things: str) -> int:
    """How many of n are for the test part."""
    if not 0 < test_size < 1:
        raise ValueError(f"test_size: expected a share above 0 and below 1, found {test_size}")
    n_test = round(n * test_size)
    if not 0 < n_test < n:
        raise ValueError(f"test_size: {test_size} of {n} {things} leaves a part without {things}")
    return n_test


def _timestamps_of(ratings: Ratings) -> NDArray[np.int64]:
    if ratings.timestamps is None:
        raise ValueError("ratings: expected timestamps to split by time, found none")
    return ratings.timestamps
