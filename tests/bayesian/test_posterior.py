"""Averages of samples: the posterior mean as a model, and the predictive standard deviations."""

import numpy as np
import pytest

from numpy_neural_mf import simulate_ratings
from numpy_neural_mf.bayesian.posterior import Posterior
from numpy_neural_mf.bayesian.sampling import build_sampler

pytest.importorskip("numba")

RATINGS = simulate_ratings(n_users=40, n_items=30, n_ratings=600, drift=0.5, random_state=1).compact()
USERS, ITEMS = np.indices((RATINGS.n_users + 1, RATINGS.n_items + 1)).reshape(2, -1) - 1  # -1 is unknown


def collected(n_samples=6, rank=30):
    parts = {"features": True, "implicit": True, "drift": True, "user_noise": True}
    sampler = build_sampler(RATINGS, np.random.default_rng(0), n_factors=3, latent_clusters=8, **parts)
    posterior, predictions = Posterior(sampler, rank), []
    for _ in range(n_samples):
        sampler.sweep(False)
        posterior.add()
        predictions.append(posterior.predict_sample(USERS, ITEMS, None))
    return sampler, posterior, predictions


def parameters_of(posterior):
    return posterior.mean().factorization.parameters


def predicted(p):
    biases = p["intercept"] + p["user_bias.weight"][USERS, 0] + p["item_bias.weight"][ITEMS, 0]
    product = p["user_embedding.weight"][USERS] * p["item_embedding.weight"][ITEMS]
    return biases + product.sum(axis=1)


def test_the_parameters_predict_the_mean_of_the_samples_also_for_unknown_ids():
    _, posterior, predictions = collected()
    np.testing.assert_allclose(predicted(parameters_of(posterior)), np.mean(predictions, axis=0), atol=1e-4)


def test_biases_and_factors_have_mean_zero_and_the_unknown_is_the_mean():
    _, posterior, _ = collected()
    parameters = parameters_of(posterior)
    for name, table in parameters.items():
        assert table.dtype == np.float32
        if name != "intercept":
            np.testing.assert_allclose(table[:-1].mean(axis=0), 0, atol=1e-5)
            assert not table[-1].any()


def test_columns_of_users_have_the_mean_square_of_their_bias():
    _, posterior, _ = collected(rank=2)
    parameters = parameters_of(posterior)
    squares = np.square(parameters["user_embedding.weight"][:-1]).mean(axis=0)
    np.testing.assert_allclose(squares, np.square(parameters["user_bias.weight"]).mean(), rtol=0.05)


def test_time_varying_biases_and_timescales_are_means():
    sampler, posterior, _ = collected(n_samples=1)
    first = [drift.path.copy() for drift in sampler.drifts]
    timescales = [drift.timescale for drift in sampler.drifts]
    sampler.sweep(False)
    posterior.add()
    for path, timescale, drift, mean in zip(
        first, timescales, sampler.drifts, posterior.mean().drifts, strict=True
    ):
        np.testing.assert_allclose(mean.values, sampler.rating_std * (path + drift.path) / 2, atol=1e-5)
        assert mean.timescale == pytest.approx((timescale * drift.timescale) ** 0.5)
        assert mean.entity == drift.entity


def test_the_predictive_deviation_exceeds_the_noise():
    sampler, posterior, _ = collected(n_samples=20)
    noise = sampler.rating_std * np.sqrt(posterior.state()["noise"] / posterior.n_samples)
    assert posterior.deviations().shape == (RATINGS.n_users + 1,)
    assert (posterior.deviations()[:-1] > noise - 1e-6).all()


def test_with_one_sample_the_predictive_deviation_equals_the_noise():
    sampler, posterior, _ = collected(n_samples=1)
    noise = sampler.rating_std / np.sqrt(sampler.noise_precision)
    np.testing.assert_allclose(posterior.deviations()[:-1], noise, rtol=1e-5)


def test_a_restored_posterior_is_the_same_bit_for_bit():
    _, posterior, _ = collected()
    other = Posterior(posterior._sampler, 30)
    other.restore({name: array.copy() for name, array in posterior.state().items()})
    for name, value in parameters_of(posterior).items():
        assert value.tobytes() == parameters_of(other)[name].tobytes(), name
    assert posterior.deviations().tobytes() == other.deviations().tobytes()
    for one, another in zip(posterior.mean().drifts, other.mean().drifts, strict=True):
        assert (one.values.tobytes(), one.timescale) == (another.values.tobytes(), another.timescale)
