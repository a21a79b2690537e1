"""Splits of ratings into a training part and a test part.

Every split puts each row into one part, without looking at the ratings' values. Both parts keep the ids and
the scale of the whole; ``train.compact()`` has only the users and items with training ratings.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from .columns import blocks, count, room_like, rows_by_code
from .ratings import Ratings
from .readers import RatingsLike, read_ratings

# Largest number of ratings that are sorted or permuted at once.
AT_ONCE = 2**22

RandomState = int | np.random.Generator | None


def random_split(
    ratings: RatingsLike, test_size: float = 0.2, random_state: RandomState = 0
) -> tuple[Ratings, Ratings]:
    """Split at random into training and test part, with rows in the order of `ratings`.

    A ValueError if `test_size` is out of range or leaves a part without ratings.

    Parameters
    ----------
    ratings : Ratings, or what `read_ratings` takes
    test_size : float in (0, 1), default 0.2, share of ratings in the test part, rounded to whole ratings
    random_state : int, numpy.random.Generator or None, default 0; None draws a new split at each call
    """
    ratings = read_ratings(ratings)
    return parts(ratings, drawn_rows(ratings, test_size, random_state))


def drawn_rows(ratings: Ratings, test_size: float, random_state: RandomState) -> NDArray[np.bool_]:
    """Return a mask of the test part of `random_split`, which does not depend on the ratings' values."""
    n = len(ratings)
    n_test = _whole_share(test_size, n, "ratings")
    rng = np.random.default_rng(random_state)
    is_test = room_like(ratings.values, n, np.bool_)
    # Draw all rows at once, unless a permutation would need as much memory as the ratings.
    for block in [slice(0, n)] if n <= AT_ONCE else blocks(n):
        size = block.stop - block.start
        # The number of test rows in this block, if all permutations are equally likely.
        n_here = n_test if size == n else int(rng.hypergeometric(size, n - block.stop, n_test))
        is_test[block] = False
        is_test[block.start + rng.permutation(size)[:n_here]] = True
        n_test -= n_here
    return is_test


def k_fold(
    ratings: RatingsLike, n_folds: int = 5, random_state: RandomState = 2026
) -> Iterator[tuple[Ratings, Ratings]]:
    """Return an iterator over (train, test) per fold: every rating is in exactly one test part.

    The test rows of fold f are the f-th part of
    ``numpy.array_split(numpy.random.default_rng(random_state).permutation(n), n_folds)``, in that order;
    the rest, in the order of `ratings`, is for training. For more than 2²² ratings, folds of these sizes are
    drawn block by block, and all rows are in the order of `ratings`.

    Parameters
    ----------
    ratings : Ratings, or what `read_ratings` takes
    n_folds : int, default 5, from 2 to the number of ratings; otherwise a ValueError, before the first fold
    random_state : int, numpy.random.Generator or None, default 2026
    """
    ratings = read_ratings(ratings)
    n = len(ratings)
    if not 2 <= n_folds <= n:
        raise ValueError(f"n_folds: expected 2 to {n}, the number of ratings, found {n_folds}")
    rng = np.random.default_rng(random_state)
    if n <= AT_ONCE:
        return (_without(ratings, rows) for rows in np.array_split(rng.permutation(n), n_folds))
    folds = _drawn_folds(ratings, n_folds, rng)
    return (parts(ratings, np.equal(folds, f, out=room_like(folds, n, np.bool_))) for f in range(n_folds))


def _without(ratings: Ratings, test_rows: NDArray[np.int64]) -> tuple[Ratings, Ratings]:
    is_train = np.ones(len(ratings), bool)
    is_train[test_rows] = False
    return ratings.take(is_train), ratings.take(test_rows)


def _drawn_folds(ratings: Ratings, n_folds: int, rng: np.random.Generator) -> NDArray[np.int32]:
    """Draw the fold of each rating."""
    n = len(ratings)
    left = np.full(n_folds, n // n_folds)
    left[: n % n_folds] += 1
    folds = room_like(ratings.values, n, np.int32)
    for block in blocks(n):
        # The number of rows of each fold in this block, if all permutations are equally likely.
        here = rng.multivariate_hypergeometric(left, block.stop - block.start)
        folds[block] = rng.permutation(np.repeat(np.arange(n_folds, dtype=np.int32), here))
        left -= here
    return folds


def leave_last_out(ratings: RatingsLike, n: int = 1) -> tuple[Ratings, Ratings]:
    """Hold out the last n ratings of each user as the test part, with rows in the order of `ratings`.

    Of equal timestamps the row further down counts as later. All ratings of a user with at most n stay in
    training. Training may have later ratings of other users, unlike a model in use: see `time_split`. A
    ValueError if there are no timestamps, `n` is below 1, or no user has more than `n` ratings.

    Parameters
    ----------
    ratings : Ratings, or what `read_ratings` takes, with timestamps
    n : int, default 1, number of ratings of each user in the test part
    """
    ratings = read_ratings(ratings)
    if n < 1:
        raise ValueError(f"n: expected at least 1 rating of each user, found {n}")
    times, n_ratings = _timestamps_of(ratings), count(ratings.users, ratings.n_users)
    if not (n_ratings > n).any():
        raise ValueError(f"n: no user has more than {n} ratings, which leaves the test part without ratings")
    is_test = room_like(ratings.values, len(ratings), np.bool_)
    for first, end, rows in rows_by_code(ratings.users, n_ratings, AT_ONCE // 4):
        rows = rows[np.lexsort((times[rows], ratings.users[rows]))]  # stable: equal times keep their order
        users = ratings.users[rows]
        n_later = np.cumsum(n_ratings[first:end])[users - first] - 1 - np.arange(len(rows))
        is_test[rows] = (n_later < n) & (n_ratings[users] > n)
    return parts(ratings, is_test)


def time_split(ratings: RatingsLike, test_size: float = 0.2) -> tuple[Ratings, Ratings]:
    """Hold out the latest ratings of all users as the test part, with rows in the order of `ratings`.

    No test rating is earlier than any training rating of any user; of equal timestamps the row further down
    counts as later. Users and items that first appear after the cut are only in the test part. A ValueError
    if there are no timestamps, or `test_size` is out of range or leaves a part without ratings.

    Parameters
    ----------
    ratings : Ratings, or what `read_ratings` takes, with timestamps
    test_size : float in (0, 1), default 0.2, as in `random_split`
    """
    ratings = read_ratings(ratings)
    n_train = len(ratings) - _whole_share(test_size, len(ratings), "ratings")
    times = _timestamps_of(ratings)
    cut = _sorted_at(times, n_train)
    # The first ratings with the timestamp of the cut fill up the training part.
    n_left = n_train - sum(int(np.count_nonzero(times[block] < cut)) for block in blocks(len(times)))
    is_test = room_like(ratings.values, len(ratings), np.bool_)
    for block in blocks(len(times)):
        is_test[block] = times[block] >= cut
        of_that_moment = block.start + np.flatnonzero(times[block] == cut)
        is_test[of_that_moment[:n_left]] = False
        n_left = max(0, n_left - len(of_that_moment))
    return parts(ratings, is_test)


def _sorted_at(numbers: NDArray[np.int64], place: int) -> int:
    """Return ``numpy.sort(numbers)[place]`` by bisection, without sorting or copying."""
    lowest, highest = int(numbers.min()), int(numbers.max())
    while lowest < highest:
        middle = (lowest + highest) // 2
        if sum(int(np.count_nonzero(numbers[block] <= middle)) for block in blocks(len(numbers))) > place:
            highest = middle
        else:
            lowest = middle + 1
    return lowest


def user_split(
    ratings: RatingsLike, test_size: float = 0.1, random_state: RandomState = 0
) -> tuple[Ratings, Ratings]:
    """Hold out all ratings of users drawn at random as the test part, with rows in the order of `ratings`.

    The held-out users depend on the seed and on which users have ratings, not on the order of the rows. A
    ValueError if `test_size` is out of range or leaves a part without users.

    Parameters
    ----------
    ratings : Ratings, or what `read_ratings` takes
    test_size : float in (0, 1), default 0.1, share of users in the test part, rounded to whole users
    random_state : int, numpy.random.Generator or None, default 0
    """
    ratings = read_ratings(ratings)
    users = np.flatnonzero(count(ratings.users, ratings.n_users))
    n_test = _whole_share(test_size, len(users), "users")
    is_held_out = np.zeros(ratings.n_users, bool)
    is_held_out[np.random.default_rng(random_state).permutation(users)[:n_test]] = True
    is_test = room_like(ratings.values, len(ratings), np.bool_)
    for block in blocks(len(ratings)):
        is_test[block] = is_held_out[ratings.users[block]]
    return parts(ratings, is_test)


def parts(ratings: Ratings, is_test: NDArray[np.bool_]) -> tuple[Ratings, Ratings]:
    """Return training and test part by a mask, which is overwritten."""
    test = ratings.take(is_test)
    return ratings.take(np.logical_not(is_test, out=is_test)), test


def _whole_share(test_size: float, n: int, things: str) -> int:
    """Return the number of test rows, or users, of n."""
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
