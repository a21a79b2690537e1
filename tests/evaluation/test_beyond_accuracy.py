"""Metrics beyond accuracy: coverage, Gini coefficient and novelty."""

from collections import Counter
from math import log2

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from numpy_neural_mf.data import Ratings
from numpy_neural_mf.evaluation import catalogue_coverage, gini, novelty

N_ITEMS = 9
some_lists = array_shapes(min_dims=2, max_dims=2, max_side=6).flatmap(
    lambda shape: st.builds(
        np.ma.array,
        arrays(np.int64, shape, elements=st.integers(0, N_ITEMS - 1)),
        mask=arrays(np.bool_, shape),
    )
)


def shown(lists):
    return Counter(int(item) for item in np.ma.compressed(lists))


@given(lists=some_lists)
def test_coverage_is_the_share_of_items_recommended_to_anyone(lists):
    assert catalogue_coverage(lists, N_ITEMS) == len(shown(lists)) / N_ITEMS


# The Gini coefficient by another definition, the mean absolute difference of all pairs.
@given(lists=some_lists)
def test_gini_is_half_the_relative_mean_difference(lists):
    x = np.array([shown(lists)[item] for item in range(N_ITEMS)])
    if not x.sum():
        assert np.isnan(gini(lists, N_ITEMS))
        return
    mean_difference = np.abs(x[:, None] - x).sum() / (N_ITEMS * (N_ITEMS - 1))
    assert gini(lists, N_ITEMS) == pytest.approx(mean_difference / (2 * x.mean()), abs=1e-12)
    assert -1e-12 <= gini(lists, N_ITEMS) <= 1 + 1e-12


def test_gini_is_0_if_all_items_are_recommended_equally_and_1_if_only_one_is():
    assert gini([[0, 1], [2, 3]], 4) == 0
    assert gini([[5], [5], [5]], 4) == 1
    assert gini([["only"]], 1) == 0


def test_an_item_rated_by_all_has_novelty_0_and_one_rated_by_a_quarter_two_bits():
    train = Ratings.from_columns([1, 2, 3, 4, 1], ["all"] * 4 + ["few"], [3, 3, 3, 3, 3])
    np.testing.assert_array_equal(novelty([["all"], ["few"], ["unheard of"]], train), [0, 2, 2])
    np.testing.assert_array_equal(novelty([["all", "few"]], train), [1])


@settings(deadline=None)
@given(lists=some_lists, seed=st.integers(0, 99))
def test_novelty_is_the_mean_over_the_items_of_a_list(lists, seed):
    rng = np.random.default_rng(seed)
    pairs = np.argwhere(rng.random((6, N_ITEMS - 2)) < 0.4) + 1
    if not len(pairs):
        return
    train = Ratings.from_columns(*pairs.T, np.full(len(pairs), 3.0))
    n_users, n_raters = len(set(pairs[:, 0])), Counter(pairs[:, 1].tolist())
    for row, score in zip(lists, novelty(lists, train), strict=True):
        bits = [log2(n_users / max(n_raters[int(item)], 1)) for item in np.ma.compressed(row)]
        assert score == pytest.approx(np.mean(bits) if bits else np.nan, nan_ok=True)


def test_a_too_small_catalogue_is_refused():
    for metric in (catalogue_coverage, gini):
        with pytest.raises(ValueError, match="2 items are recommended, of a catalogue of 1"):
            metric([[1, 2]], 1)


def test_novelty_without_training_ratings_is_refused():
    train = Ratings.from_columns([1], [1], [3.0]).take([])
    with pytest.raises(ValueError, match="train: expected ratings"):
        novelty([[1]], train)


def test_lists_may_have_different_lengths():
    lists = [[1, 2, 3], [2], []]
    train = Ratings.from_columns([1, 1, 2, 2], [1, 2, 1, 3], [3.0, 4.0, 5.0, 4.0])
    assert catalogue_coverage(lists, 6) == 0.5
    assert gini(lists, 3) == gini([[1, 2, 3, 2]], 3)
    np.testing.assert_array_equal(novelty(lists, train), [2 / 3, 1, np.nan])
