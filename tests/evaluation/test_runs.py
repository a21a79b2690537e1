"""Statistics of runs: the split is the sampling unit; only splits and seeds of all models are compared."""

import math

import pytest

from numpy_neural_mf.evaluation import mean_over_splits, paired_difference
from numpy_neural_mf.evaluation.runs import Run, common_runs, mean_rmse, rmse_difference


def a_run(split, seed, rmse, model="a", n_train=80, n_test=20):
    return Run("films", model, seed, split, n_train, n_test, rmse, 0.7, None, 10, 0.1)


def test_runs_of_several_seeds_on_a_split_count_once():
    runs = [a_run(split, seed, 0.8 + 0.1 * split + 0.01 * seed) for seed in (0, 1) for split in range(3)]
    estimate, expected = mean_rmse(runs), mean_over_splits([0.805, 0.905, 1.005], 1 / 4)
    assert (estimate.n_splits, estimate.mean) == (3, pytest.approx(expected.mean))
    assert (estimate.low, estimate.high) == pytest.approx((expected.low, expected.high))


def test_many_seeds_on_one_split_give_no_interval():
    estimate = mean_rmse([a_run(0, seed, 0.8 + 0.01 * seed) for seed in range(10)])
    assert estimate.n_splits == 1
    assert math.isnan(estimate.low)


def test_models_are_compared_split_by_split():
    errors, others = [0.8, 0.9, 0.85], [0.81, 0.93, 0.86]
    runs = [a_run(split, 0, rmse) for split, rmse in enumerate(errors)]
    other_runs = [a_run(split, 0, rmse) for split, rmse in enumerate(others)]
    assert rmse_difference(runs, other_runs) == paired_difference(errors, others, 20 / 80)


def test_the_overlap_of_the_splits_follows_from_the_sizes_of_the_parts():
    runs = [a_run(split, 0, rmse, n_train=50, n_test=50) for split, rmse in enumerate([0.8, 0.9])]
    assert mean_rmse(runs) == mean_over_splits([0.8, 0.9], 1)


def test_a_run_that_not_every_model_has_is_left_out():
    a = [a_run(0, 0, 0.8), a_run(1, 0, 0.9), a_run(0, 1, 0.85)]
    b = [a_run(1, 0, 0.7), a_run(0, 0, 0.75)]
    assert common_runs([a, b]) == [[a[0], a[1]], [b[1], b[0]]]
