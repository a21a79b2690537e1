"""Time-varying biases, compared with a dense Gaussian process."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import multivariate_normal

from numpy_neural_mf.bayesian import Drift, Timeline, TimeVaryingBias
from numpy_neural_mf.bayesian.threads import Threads

pytest.importorskip("numba")
from numpy_neural_mf.bayesian.kernels import draw_paths
from numpy_neural_mf.training.kernels import filter_paths

VARIANCE, TIMESCALE = 0.7, 30.0
# Unordered ratings of groups 0 and 2, with ties in group 0; group 1 has no ratings.
GROUPS = np.array([2, 0, 0, 2, 0, 0, 2])
TIMES = np.array([40, 100, 10, 5, 10, 25, 41])
PRECISION = np.array([2.0, 1.0, 0.5, 4.0, 3.0, 1.5, 0.8])
TARGET = np.array([0.3, -1.0, 0.8, 0.1, 1.2, 0.4, -0.2])


def a_drift(groups=GROUPS, times=TIMES, n_groups=3, timescale=TIMESCALE, variance=VARIANCE):
    return Drift("user", groups, times, n_groups, timescale, variance)


def covariance(groups, times, other_groups=None, other_times=None, timescale=TIMESCALE):
    """Covariances of Ornstein-Uhlenbeck processes: s² exp(-|t - t'| / τ) within a group, 0 between groups."""
    other_groups = groups if other_groups is None else other_groups
    other_times = times if other_times is None else other_times
    same = groups[:, None] == other_groups
    return VARIANCE * same * np.exp(-np.abs(times[:, None] - other_times) / timescale)


ONE_PART = np.array([0, 3])


def filtered(drift, variance, timescale):
    """Return moments of the paths and the log density of the observations."""
    moments, log_p, pair = (
        np.empty((2, 3, 7)),
        np.empty((2, 1)),
        np.array([[9.0, 9.0], [variance, timescale]]),
    )
    observed = TARGET[drift.order], 1 / PRECISION[drift.order]
    for part in range(2):
        filter_paths(part, ONE_PART, drift.timeline.starts, drift._gaps, *observed, pair, moments, log_p)
    return moments[1], log_p[1, 0]


def drawn(drift, residual, seed=0, burn_in=False):
    drift.draw(residual, PRECISION, np.random.default_rng(seed), burn_in, Threads(1), np.empty((8, 7)))


def test_the_likelihood_equals_that_of_a_dense_normal_up_to_a_constant():
    for variance, timescale in ((0.7, 30.0), (0.1, 1.0), (3.0, 1e6)):
        dense = covariance(GROUPS, TIMES, timescale=timescale) * (variance / VARIANCE)
        dense += np.diag(1 / PRECISION)
        expected = multivariate_normal(cov=dense).logpdf(TARGET) + len(TARGET) / 2 * np.log(2 * np.pi)
        _, found = filtered(a_drift(), variance, timescale)
        assert found == pytest.approx(expected, rel=1e-9)


def test_paths_have_the_mean_and_the_covariance_of_the_exact_conditional():
    drift, rng, paths = a_drift(), np.random.default_rng(0), []
    target, (moments, _) = TARGET[drift.order], filtered(drift, VARIANCE, TIMESCALE)
    for _ in range(20_000):
        path, residual = np.empty((2, 7))
        data = drift.timeline.starts, drift.order, VARIANCE, moments, rng.standard_normal(7), target
        draw_paths(0, ONE_PART, *data, path, residual)
        np.testing.assert_allclose(residual[drift.order], target - path)
        paths.append(path)
    prior = covariance(GROUPS, TIMES)
    gain = prior @ np.linalg.inv(prior + np.diag(1 / PRECISION))
    mean, spread = gain @ TARGET, prior - gain @ prior
    order = drift.order
    np.testing.assert_allclose(np.mean(paths, axis=0), mean[order], atol=0.02)
    np.testing.assert_allclose(np.cov(np.transpose(paths)), spread[np.ix_(order, order)], atol=0.02)


def test_the_density_of_many_ratings_neither_overflows_nor_underflows():
    """Their variances are multiplied before the logarithm."""
    rng, n = np.random.default_rng(0), 3_000
    for scale in (1e-8, 1e8):
        drift = a_drift(np.zeros(n, int), np.arange(n) * 10**9, 1)
        observed, noise = scale**0.5 * rng.normal(size=n), np.full(n, scale)
        pair, log_p = np.array([[0.5 * scale, 1.0], [scale, 1.0]]), np.empty((2, 1))
        for part in range(2):
            given = np.array([0, 1]), drift.timeline.starts, drift._gaps, observed, noise, pair
            filter_paths(part, *given, np.empty((2, 3, n)), log_p)
        spread = pair[:, 0] + scale  # ratings so far apart are independent
        expected = -0.5 * (n * np.log(spread) + (observed @ observed) / spread)
        np.testing.assert_allclose(log_p[:, 0], expected)


def test_ratings_of_one_second_share_their_bias():
    drift = a_drift()
    drawn(drift, TARGET.copy(), burn_in=True)
    tied = np.flatnonzero((GROUPS[drift.order] == 0) & (drift.timeline.times == 10))
    assert len(tied) == 2
    assert drift.path[tied[0]] == pytest.approx(drift.path[tied[1]], abs=1e-7)


def test_a_draw_updates_residual_and_path_together():
    drift, residual = a_drift(), TARGET.copy()
    for _ in range(3):
        drawn(drift, residual)
    np.testing.assert_allclose(residual[drift.order] + drift.path, TARGET[drift.order], atol=1e-12)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(-50, 200)), min_size=1, max_size=30))
def test_interpolated_values_are_the_conditional_mean_of_the_process(asked):
    """Also outside the range of the ratings, in a group without ratings, and in an unknown group."""
    drift = a_drift()
    of_group, times = GROUPS[drift.order], drift.timeline.times
    level = np.sin(times / 7.0) + of_group  # a function of group and time, so ties agree
    groups, at = np.array(asked).T
    distinct = np.unique(np.stack([of_group, times]), axis=1, return_index=True)[1]
    known = covariance(of_group[distinct], times[distinct])
    gain = covariance(groups, at, of_group[distinct], times[distinct]) @ np.linalg.inv(known)
    expected = np.where(groups < 3, gain @ level[distinct], 0.0)
    rows = np.where(groups < 3, groups, -1)
    np.testing.assert_allclose(drift.timeline.interpolated(level, TIMESCALE, rows, at), expected, atol=1e-7)


def test_far_from_all_ratings_the_bias_is_zero():
    drift = a_drift()
    far = np.array([-(10**9), 10**9])
    np.testing.assert_allclose(drift.timeline.interpolated(np.ones(7), TIMESCALE, np.array([0, 2]), far), 0.0)


def test_a_bias_varies_by_user_by_item_or_for_all():
    users, items, times = np.array([0, -1]), np.array([-1, 1]), np.array([3, 3])
    of_two = Timeline(np.array([0, 1, 2]), np.array([3, 3]))
    of_all = Timeline(np.array([0, 1]), np.array([3]))
    level = np.array([1.0, 2.0])
    np.testing.assert_allclose(TimeVaryingBias("user", of_two, level, 5.0).at(users, items, times), [1, 0])
    np.testing.assert_allclose(TimeVaryingBias("item", of_two, level, 5.0).at(users, items, times), [0, 2])
    np.testing.assert_allclose(TimeVaryingBias("all", of_all, level[:1], 5.0).at(users, items, times), [1, 1])


def test_inserted_groups_have_no_ratings():
    timeline = a_drift().timeline.inserted(np.array([1, 2, 4]), 6)
    assert timeline.starts.tolist() == [0, 0, 4, 4, 4, 7, 7]
    level = np.arange(7.0)
    at = np.array([25, 25, 5])
    found = timeline.interpolated(level, TIMESCALE, np.array([1, 0, 4]), at)
    np.testing.assert_allclose(found, [2, 0, 4], atol=1e-7)


@pytest.mark.parametrize(
    ("starts", "times"),
    [([0, 1], [1, 2]), ([1, 2], [1, 2]), ([0, 2, 1, 2], [1, 2]), ([0, 2], [2, 1]), ([0, 3, 2], [1, 2]),
     ([0, -1, 2], [1, 2])],
)  # fmt: skip
def test_a_timeline_out_of_order_is_refused(starts, times):
    with pytest.raises(ValueError, match="group by group"):
        Timeline.checked(np.array(starts), np.array(times))


def test_times_may_fall_from_one_group_to_the_next():
    timeline = Timeline.checked(np.array([0, 0, 2, 2, 3, 3]), np.array([5, 9, 1]))
    assert timeline.times.tolist() == [5, 9, 1]
