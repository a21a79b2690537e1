"""What is kept of the samples: their mean, as a plain model, and how far ratings are from it."""

import numpy as np
import pytest

from numpy_neural_mf import simulate_ratings
from numpy_neural_mf.bayesian.posterior import Posterior
from numpy_neural_mf.bayesian.sampling import new_sampler

pytest.importorskip("numba")

RATINGS = simulate_ratings(n_users=40, n_items=30, n_ratings=600, drift=0.5, random_state=1).compact()
USERS, ITEMS = np.indices((RATINGS.n_users + 1, RATINGS.n_items + 1)).reshape(2, -1) - 1  # -1 is unknown


def collected(n_samples=6, rank=30, drift=True):
    known = {"features": True, "implicit": True, "drift": drift, "user_noise": True}
    sampler = new_sampler(RATINGS, np.random.default_rng(0), n_factors=3, kinds=8, **known)
    posterior, predictions = Posterior(sampler, rank), []
    for _ in range(n_samples):
        sampler.sweep(False)
        posterior.add()
        predictions.append(posterior.latest(USERS, ITEMS, None))
    return sampler, posterior, predictions


def predicted(p):
    biases = p["intercept"] + p["user_bias.weight"][USERS, 0] + p["item_bias.weight"][ITEMS, 0]
    product = p["user_embedding.weight"][USERS] * p["item_embedding.weight"][ITEMS]
    return biases + product.sum(axis=1)


def test_the_parameters_predict_the_mean_of_the_samples_for_the_unknown_too():
    _, posterior, predictions = collected()
    np.testing.assert_allclose(predicted(posterior.parameters()), np.mean(predictions, axis=0), atol=1e-4)


def test_biases_and_factors_have_mean_zero_and_the_unknown_is_the_mean():
    _, posterior, _ = collected()
    parameters = posterior.parameters()
    for name, table in parameters.items():
        assert table.dtype == np.float32
        if name != "intercept":
            np.testing.assert_allclose(table[:-1].mean(axis=0), 0, atol=1e-5)
            assert not table[-1].any()


def test_columns_of_users_have_the_mean_square_of_their_bias():
    _, posterior, _ = collected(rank=2)
    parameters = posterior.parameters()
    squares = np.square(parameters["user_embedding.weight"][:-1]).mean(axis=0)
    np.testing.assert_allclose(squares, np.square(parameters["user_bias.weight"]).mean(), rtol=0.05)


def test_levels_and_timescales_are_means():
    sampler, posterior, _ = collected(n_samples=1)
    first = [drift.level.copy() for drift in sampler.drifts]
    timescales = [drift.timescale for drift in sampler.drifts]
    sampler.sweep(False)
    posterior.add()
    for level, timescale, drift, mean in zip(
        first, timescales, sampler.drifts, posterior.drifts(), strict=True
    ):
        np.testing.assert_allclose(mean.level, sampler.unit * (level + drift.level) / 2, atol=1e-5)
        assert mean.timescale == pytest.approx((timescale * drift.timescale) ** 0.5)
        assert mean.whose == drift.whose


def test_a_deviation_is_at_least_that_of_the_noise():
    sampler, posterior, _ = collected(n_samples=20)
    noise = sampler.unit * np.sqrt(posterior.state()["noise"] / posterior.n_samples)
    assert posterior.deviations().shape == (RATINGS.n_users + 1,)
    assert (posterior.deviations()[:-1] > noise - 1e-6).all()


def test_one_sample_has_the_deviation_of_the_noise_alone():
    sampler, posterior, _ = collected(n_samples=1)
    noise = sampler.unit / np.sqrt(sampler.noise_precision)
    np.testing.assert_allclose(posterior.deviations()[:-1], noise, rtol=1e-5)


def test_one_that_is_restored_has_the_same_bits():
    _, posterior, _ = collected()
    other = Posterior(posterior._sampler, 30)
    other.restore({name: array.copy() for name, array in posterior.state().items()})
    for name, value in posterior.parameters().items():
        assert value.tobytes() == other.parameters()[name].tobytes(), name
    assert posterior.deviations().tobytes() == other.deviations().tobytes()
    for one, another in zip(posterior.drifts(), other.drifts(), strict=True):
        assert (one.level.tobytes(), one.timescale) == (another.level.tobytes(), another.timescale)
