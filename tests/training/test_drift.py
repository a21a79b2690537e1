"""Time-varying biases of users, compared with a dense Gaussian process."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("numba")
from threads_as_processes import in_two

from numpy_neural_mf import Ratings
from numpy_neural_mf.training.distributed import Communicator
from numpy_neural_mf.training.drift import TIMESCALE, VARIANCE, UserDrift
from numpy_neural_mf.training.objective import MOST

N_USERS = 40


def objective(noise, n_users=N_USERS, weights=(1.0,)):
    """Return an objective with noise σ², and optionally a different weight for each user."""
    weight = np.array(weights, np.float32)[np.arange(n_users + 1) % len(weights)]
    return SimpleNamespace(noise=np.array([noise], np.float32), weight=weight)


def with_sessions(deviation, n_users=N_USERS, noise=0.4, seed=0):
    """Return ratings in sessions a day apart, one rating a minute, with session effects, and the effects."""
    rng = np.random.default_rng(seed)
    users, session, minute = (axis.ravel() for axis in np.indices((n_users, 5, 8)))
    effect = deviation * rng.normal(size=(n_users, 5))[users, session]
    values = 3 + effect + noise * rng.normal(size=len(users))
    order = rng.permutation(len(users))
    times = 86_400 * session + 60 * minute
    columns = users[order], np.arange(len(users)), values.astype(np.float32)[order], times[order]
    return Ratings.from_columns(*columns, scale=(-50, 50)), effect[order]


def dense(ratings, variance, timescale, noise):
    """Return means and variances of all biases, for covariances s² exp(-|t - t'| / τ) within a user."""
    u, t = ratings.users, ratings.timestamps
    K = variance * (u[:, None] == u) * np.exp(-np.abs(t[:, None] - t) / timescale)
    gain = np.linalg.solve(K + np.diag(noise), K).T
    return gain @ (ratings.values.astype(np.float64) - 3), np.diag(K - gain @ K)


def follow(ratings, n=1, of=objective(0.16)):  # noqa: B008
    """Return a drift after n epochs, the ratings that an engine then learns from, and the squares' factor."""
    learned = replace(ratings, values=ratings.values.copy())
    drift = UserDrift(learned, float(ratings.values.std()), Communicator())
    for _ in range(n):
        factor = drift.follow(of, learned, learned.values - 3.0)  # as if 3 were predicted for all pairs
    return drift, learned, factor


def parameters_of(drift):
    return drift.arrays["drift.parameters"][:2]


@pytest.mark.parametrize("n", [1, 3])
def test_biases_equal_those_of_a_dense_normal_posterior(n):
    ratings, _ = with_sessions(0.5)
    weighted = objective(0.16, weights=(0.5, 1.0, 2.0))
    drift, learned, factor = follow(ratings, n, weighted)
    noise = 0.16 / weighted.weight[ratings.users].astype(np.float64)
    mean, variance = dense(ratings, *parameters_of(drift), noise)
    np.testing.assert_allclose(ratings.values - learned.values, mean, atol=1e-5)
    at = drift.bias.at(ratings.users, ratings.items, ratings.timestamps)
    np.testing.assert_allclose(at, mean, atol=1e-5)
    assert drift.bias.timescale == parameters_of(drift)[1]
    share = np.minimum(variance / noise, MOST)
    expected = np.bincount(ratings.users, 1 / (1 - share)) / np.bincount(ratings.users)
    np.testing.assert_allclose(factor, np.append(expected, 1), rtol=1e-5)


def test_effects_of_sessions_are_found_and_the_rest_is_noise():
    ratings, effect = with_sessions(0.5)
    drift, learned, _ = follow(ratings, 30)
    path = ratings.values - learned.values
    assert np.corrcoef(path, effect)[0, 1] > 0.9
    assert learned.values.std() < 0.75 * ratings.values.std()
    variance, timescale = parameters_of(drift)
    assert variance == pytest.approx(0.25, rel=0.3)
    assert 600 < timescale < 86_400


def test_without_drift_the_variance_falls():
    ratings, _ = with_sessions(0.0)
    drift, learned, _ = follow(ratings, 30)
    assert parameters_of(drift)[0] < 0.8 * VARIANCE * ratings.values.var()
    assert learned.values.std() > 0.97 * ratings.values.std()


def test_the_prior_timescale_is_that_of_a_session():
    ratings, _ = with_sessions(0.5)
    drift = UserDrift(ratings, 2.0, Communicator())
    np.testing.assert_allclose(parameters_of(drift), [4 * VARIANCE, TIMESCALE])


def test_ratings_without_times_are_refused():
    ratings = Ratings.from_columns([1, 2], [1, 2], [3.0, 4.0])
    with pytest.raises(ValueError, match="expected timestamps, since the architecture has drift, found none"):
        UserDrift(ratings, 1.0, Communicator())


def test_users_without_ratings_and_equal_ratings_do_no_harm():
    ratings = Ratings.from_columns([1, 1, 3], [1, 2, 1], [3.0, 3.0, 3.0], [5, 5, 9], scale=(1, 5))
    ratings = ratings.take(np.array([0, 1]))  # user 3 has none
    drift = UserDrift(ratings, 0.0, Communicator())
    factor = drift.follow(objective(1.0, ratings.n_users), ratings, ratings.values - 3.0)
    np.testing.assert_allclose(factor, np.ones(3), rtol=1e-6)
    np.testing.assert_allclose(ratings.values, 3.0, rtol=1e-6)


def test_two_processes_follow_the_paths_of_all_ratings():
    ratings, _ = with_sessions(0.5)
    alone, learned, factor = follow(ratings, 3)

    def one_of_two(communicator):
        part = communicator.part(len(ratings))
        own = replace(ratings.part(part), values=ratings.values[part].copy())
        drift = UserDrift(own, float(ratings.values.std()), communicator)
        for _ in range(3):
            found = drift.follow(objective(0.16), own, communicator.all_gather(own.values - 3.0))
        return part, own.values, found, parameters_of(drift)

    for part, values, found, parameters in in_two(one_of_two):
        np.testing.assert_allclose(values, learned.values[part], atol=1e-5)
        np.testing.assert_allclose(found, factor, rtol=1e-6)
        np.testing.assert_allclose(parameters, parameters_of(alone))
