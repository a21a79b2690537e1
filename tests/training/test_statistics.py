"""Statistics describe the ratings of all processes together."""

import numpy as np
import pytest

from numpy_neural_mf import Ratings, simulate_ratings
from numpy_neural_mf.data import columns
from numpy_neural_mf.data.timestamps import TimeBins
from numpy_neural_mf.training.distributed import Communicator
from numpy_neural_mf.training.statistics import RatingStatistics

RATINGS = simulate_ratings(n_users=40, n_items=30, n_ratings=500, drift=0.3)


class TwoProcesses(Communicator):
    """The first of two processes; the other has the same ratings."""

    size = 2

    def all_reduce(self, numbers):
        return 2 * numbers

    def all_gather(self, column):
        return np.concatenate([column, column])


def test_statistics_of_one_process_describe_its_ratings():
    found = RatingStatistics.of(RATINGS, Communicator(), with_levels=True)
    values = RATINGS.values.astype(np.float64)
    assert (found.n, found.time_bins, len(found.time_counts)) == (500, None, 0)
    assert found.mean == pytest.approx(values.mean(), rel=1e-12)
    assert found.deviation == pytest.approx(values.std(), rel=1e-9)
    np.testing.assert_array_equal(found.levels, np.unique(RATINGS.values))
    np.testing.assert_array_equal(
        found.counts["user"], np.bincount(RATINGS.users, minlength=RATINGS.n_users + 1)
    )
    assert found.counts["item"].shape == (RATINGS.n_items + 1,)
    assert len(RatingStatistics.of(RATINGS, Communicator()).levels) == 0


def test_statistics_of_many_processes_describe_all_ratings():
    one, two = (
        RatingStatistics.of(RATINGS, c, 4, with_levels=True) for c in (Communicator(), TwoProcesses())
    )
    assert (two.n, two.mean, two.deviation) == (2 * one.n, one.mean, pytest.approx(one.deviation))
    np.testing.assert_array_equal(two.levels, one.levels)
    assert two.time_bins == one.time_bins
    np.testing.assert_array_equal(two.time_counts, 2 * one.time_counts)
    for side in ("user", "item"):
        np.testing.assert_array_equal(two.counts[side], 2 * one.counts[side])


def test_time_bins_reach_from_the_first_rating_to_the_last():
    ratings = Ratings.from_columns([5, 5, 9], [1, 2, 2], [3, 4, 5], [0, 99, 50], scale=(1, 5))
    found = RatingStatistics.of(ratings, Communicator(), n_time_bins=4)
    assert (found.time_bins, found.time_counts.tolist()) == (TimeBins(0, 99, 4), [1, 0, 1, 1])


def test_levels_are_found_block_by_block(monkeypatch):
    monkeypatch.setattr(columns, "BLOCK", 7)
    found = RatingStatistics.of(RATINGS, Communicator(), with_levels=True)
    np.testing.assert_array_equal(found.levels, np.unique(RATINGS.values))
    assert found.levels.dtype == np.float32
