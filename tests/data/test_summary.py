"""Summary statistics: what is counted and what is left out."""

import numpy as np
import pytest

from numpy_neural_mf.data import Ratings, simulate_ratings, summarize

RATINGS = Ratings.from_columns(
    ["ann", "ann", "bob", "bob"], [1, 2, 2, 2], [4.0, 2.0, 1.0, 5.0], [10, 40, 20, 30], scale=(1, 5)
)


def test_users_items_density_and_what_was_dropped():
    summary = summarize(RATINGS)
    assert (summary.n_ratings, summary.n_users, summary.n_items, summary.n_dropped) == (3, 2, 2, 1)
    assert summary.density == 3 / 4
    assert (summary.scale, summary.mean) == ((1, 5), pytest.approx(11 / 3))
    assert summary.time_range == (10, 40)
    assert summary.noise_floor is None


def test_only_ids_with_a_rating_count():
    summary = summarize(RATINGS.take(np.array([0])))
    assert (summary.n_users, summary.n_items, summary.density) == (1, 1, 1)


def test_each_distinct_rating_has_a_bar():
    assert summarize(RATINGS).histogram == [(2, 2, 1), (4, 4, 1), (5, 5, 1)]


def test_many_distinct_ratings_share_bins_and_none_is_lost():
    n = 1_000
    values = np.random.default_rng(0).uniform(-10, 10, n)
    histogram = summarize(Ratings.from_columns(np.arange(n), np.arange(n), values)).histogram
    assert len(histogram) == 20
    assert sum(count for _, _, count in histogram) == n
    assert all(start < end for start, end, _ in histogram)


def test_simulated_ratings_have_a_noise_floor_and_no_time():
    ratings = simulate_ratings(n_users=20, n_items=10, n_ratings=100)
    summary = summarize(ratings)
    assert summary.noise_floor == ratings.noise_floor
    assert summary.time_range is None


def test_empty_ratings_cannot_be_summarized():
    with pytest.raises(ValueError, match="at least one rating"):
        summarize(RATINGS.take(np.array([], int)))
