"""Ratings divided into a part to learn from and a part to be judged on."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from .ratings import Ratings

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
    if not 0 < test_size < 1:
        raise ValueError(f"test_size: expected a share above 0 and below 1, found {test_size}")
    n_test = round(n * test_size)
    if not 0 < n_test < n:
        raise ValueError(f"test_size: {test_size} of {n} ratings leaves a part without ratings")
    order = np.random.default_rng(random_state).permutation(n)
    is_test = np.zeros(n, bool)
    is_test[order[:n_test]] = True
    return ratings.take(~is_test), ratings.take(is_test)


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
