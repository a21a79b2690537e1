"""Simulated ratings are what they claim: distinct, long-tailed, and as noisy as they say."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LinearRegression

from numpy_neural_mf.data import random_split, simulate_ratings
from numpy_neural_mf.data.simulate import conditional_moments, latent_world, unstructured_world


@pytest.fixture(scope="module")
def default():
    return simulate_ratings()


def test_conditional_moments_are_those_of_rounded_clipped_normals():
    rng = np.random.default_rng(0)
    for score, sigma in [(3.5, 0.95), (1.0, 0.5), (5.4, 1.3), (2.2, 0.05), (-4.0, 1.0)]:
        sample = np.clip(np.rint(score + sigma * rng.standard_normal(400_000)), 1, 5)
        mean, variance = conditional_moments(np.array([score]), sigma)
        # 4.5 standard errors for the mean, and at least as many for the variance.
        assert sample.mean() == pytest.approx(mean[0], abs=4.5 * np.sqrt(variance[0] / 400_000) + 1e-4)
        assert sample.var() == pytest.approx(variance[0], rel=0.02, abs=1e-4)


def test_the_true_conditional_mean_reaches_the_noise_floor_and_nothing_less():
    rng = np.random.default_rng(1)
    world = latent_world(400, 300, rng)
    users, items = rng.integers(400, size=300_000), rng.integers(300, size=300_000)
    mean, variance = world.moments(users, items)
    squared_errors = (world.rate(users, items, rng) - mean) ** 2
    standard_error = squared_errors.std() / np.sqrt(len(users))
    assert abs(squared_errors.mean() - variance.mean()) < 4 * standard_error
    # The test would notice a floor that is 2 % off.
    assert 8 * standard_error < 0.04 * variance.mean()


def test_without_structure_the_standard_deviation_is_0_953():
    _, variance = unstructured_world(3, 3).moments(np.array([0, 1]), np.array([2, 0]))
    np.testing.assert_allclose(np.sqrt(variance), 0.953, rtol=1e-12)
    ratings = simulate_ratings(structure="none", random_state=1)
    assert ratings.noise_floor == pytest.approx(0.953, rel=1e-6)
    # The standard error of the standard deviation of 200,000 such ratings is 0.0015.
    assert ratings.values.std(dtype=np.float64) == pytest.approx(0.953, abs=0.006)


def test_without_structure_no_user_and_no_item_differs_from_the_mean():
    ratings = simulate_ratings(500, 400, 50_000, structure="none", random_state=5)
    for codes, n in [(ratings.users, ratings.n_users), (ratings.items, ratings.n_items)]:
        counts = np.bincount(codes, minlength=n)
        deviation = np.bincount(codes, ratings.values - ratings.mean, n) / counts
        z = deviation * np.sqrt(counts) / 0.953
        assert z.std() == pytest.approx(1.0, abs=0.2)


def test_a_model_linear_in_users_and_items_stays_away_from_the_floor():
    rng = np.random.default_rng(0)
    world = latent_world(60, 60, rng)
    users, items = (grid.ravel() for grid in np.meshgrid(np.arange(60), np.arange(60)))
    mean, variance = world.moments(users, items)
    X = np.hstack([np.eye(60)[users], np.eye(60)[items]])
    # Fitted to the expected ratings themselves, so what is left is bias that no amount of data removes.
    missed = mean - LinearRegression().fit(X, mean).predict(X)
    assert np.sqrt((missed**2).mean() + variance.mean()) > 1.1 * np.sqrt(variance.mean())


def test_default_size(default):
    assert len(default) == 200_000
    assert default.n_users <= 5000
    assert default.n_items <= 2000
    assert default.user_ids.min() >= 1
    assert default.user_ids.max() <= 5000
    assert default.item_ids.max() <= 2000
    assert set(np.unique(default.values)) == {1, 2, 3, 4, 5}
    assert default.scale == (1, 5)


def test_items_are_long_tailed_and_users_unequal(default):
    by_item = np.sort(np.bincount(default.items))[::-1]
    assert by_item[: len(by_item) // 10].sum() > 0.25 * len(default)
    by_user = np.bincount(default.users)
    assert by_user.std() > 0.5 * by_user.mean()


@settings(max_examples=40, deadline=None)
@given(
    n_users=st.integers(1, 25),
    n_items=st.integers(1, 25),
    share=st.floats(0, 1),
    seed=st.integers(0, 2**32 - 1),
    structure=st.sampled_from(["latent", "none"]),
)
def test_pairs_are_distinct_at_every_density(n_users, n_items, share, seed, structure):
    n = max(1, round(share * n_users * n_items))
    ratings = simulate_ratings(n_users, n_items, n, structure=structure, random_state=seed)
    assert len(ratings) == n == len(set(zip(ratings.users, ratings.items, strict=True)))


def test_the_same_seed_gives_the_same_ratings():
    one, two, other = (simulate_ratings(50, 40, 500, random_state=seed) for seed in (7, 7, 8))
    np.testing.assert_array_equal(one.values, two.values)
    np.testing.assert_array_equal(one.users, two.users)
    assert not np.array_equal(one.users, other.users)
    from_generator = simulate_ratings(50, 40, 500, random_state=np.random.default_rng(7))
    np.testing.assert_array_equal(one.values, from_generator.values)


def test_parts_know_their_own_floor():
    ratings = simulate_ratings(50, 40, 500)
    train, test = random_split(ratings)
    assert ratings.noise_floor**2 == pytest.approx(0.8 * train.noise_floor**2 + 0.2 * test.noise_floor**2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_users": 3, "n_items": 4, "n_ratings": 13}, "n_ratings=13"),
        ({"n_users": 0}, "n_users=0"),
        ({"n_items": -1}, "n_items=-1"),
        ({"n_ratings": 0}, "n_ratings=0"),
        ({"structure": "deep"}, "expected 'latent' or 'none', found 'deep'"),
    ],
)
def test_impossible_requests_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        simulate_ratings(**arguments)
