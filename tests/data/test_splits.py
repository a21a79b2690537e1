"""Splits share out the rows: every one once, none twice, and the ids stay."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from numpy_neural_mf.data import Ratings, k_fold, random_split


def numbered(n: int) -> Ratings:
    """n ratings that can be told apart by their timestamp, which is the row."""
    return Ratings.from_columns(np.arange(n) % 7, np.arange(n), np.full(n, 3.0), np.arange(n))


@given(n=st.integers(2, 60), folds=st.integers(2, 60), seed=st.integers(0, 2**32 - 1))
def test_every_rating_is_tested_in_exactly_one_fold(n, folds, seed):
    folds = min(n, folds)
    ratings = numbered(n)
    tested = []
    for train, test in k_fold(ratings, folds, seed):
        assert sorted([*train.timestamps, *test.timestamps]) == list(range(n))
        assert list(train.timestamps) == sorted(train.timestamps)
        tested += list(test.timestamps)
    assert sorted(tested) == list(range(n))


def test_folds_are_those_of_the_published_recipe():
    parts = np.array_split(np.random.default_rng(2026).permutation(23), 5)
    for (_, test), part in zip(k_fold(numbered(23)), parts, strict=True):
        np.testing.assert_array_equal(test.timestamps, part)


@given(n=st.integers(2, 60), share=st.floats(0.05, 0.95), seed=st.integers(0, 2**32 - 1))
def test_a_random_split_partitions_the_rows_in_order(n, share, seed):
    n_test = round(n * share)
    if not 0 < n_test < n:
        return
    train, test = random_split(numbered(n), share, seed)
    assert len(test) == n_test
    assert sorted([*train.timestamps, *test.timestamps]) == list(range(n))
    assert list(train.timestamps) == sorted(train.timestamps)
    assert list(test.timestamps) == sorted(test.timestamps)


def test_parts_keep_the_ids_and_the_scale_of_the_whole():
    ratings = numbered(20)
    train, test = random_split(ratings)
    for part in (train, test):
        assert part.user_ids is ratings.user_ids
        assert part.item_ids is ratings.item_ids
        assert part.scale == ratings.scale


def test_the_same_seed_gives_the_same_split_and_a_generator_moves_on():
    ratings = numbered(50)
    rows = [list(random_split(ratings, random_state=3)[1].timestamps) for _ in range(2)]
    assert rows[0] == rows[1]
    rng = np.random.default_rng(3)
    moving = [list(random_split(ratings, random_state=rng)[1].timestamps) for _ in range(2)]
    assert moving[0] == rows[0]
    assert moving[1] != moving[0]


@pytest.mark.parametrize("share", [0, 1, -0.1, 1.5, float("nan"), 0.001])
def test_a_share_that_leaves_a_part_empty_is_refused(share):
    with pytest.raises(ValueError, match="test_size"):
        random_split(numbered(20), share)


@pytest.mark.parametrize("folds", [0, 1, 21])
def test_an_impossible_number_of_folds_is_refused_at_once(folds):
    with pytest.raises(ValueError, match="n_folds: expected 2 to 20"):
        k_fold(numbered(20), folds)
