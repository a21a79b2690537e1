"""The simulated world: the exact moments of its ratings, and the information in item features."""

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression

from numpy_neural_mf.data.datasets.world import GENRES, conditional_moments, described, latent_world


def test_conditional_moments_are_those_of_rounded_clipped_normals():
    rng = np.random.default_rng(0)
    for score, sigma in [(3.5, 0.95), (1.0, 0.5), (5.4, 1.3), (2.2, 0.05), (-4.0, 1.0)]:
        sample = np.clip(np.rint(score + sigma * rng.standard_normal(400_000)), 1, 5)
        mean, variance = conditional_moments(np.array([score]), sigma)
        # 4.5 standard errors for the mean, and at least as many for the variance.
        assert sample.mean() == pytest.approx(mean[0], abs=4.5 * np.sqrt(variance[0] / 400_000) + 1e-4)
        assert sample.var() == pytest.approx(variance[0], rel=0.02, abs=1e-4)


def test_the_true_conditional_mean_reaches_the_noise_floor_exactly():
    rng = np.random.default_rng(1)
    world = latent_world(400, 300, rng)
    users, items = rng.integers(400, size=300_000), rng.integers(300, size=300_000)
    mean, variance = world.moments(users, items)
    squared_errors = (world.rate(users, items, rng) - mean) ** 2
    standard_error = squared_errors.std() / np.sqrt(len(users))
    assert abs(squared_errors.mean() - variance.mean()) < 4 * standard_error
    # The test would detect a floor that is 2 % off.
    assert 8 * standard_error < 0.04 * variance.mean()


def test_a_model_linear_in_users_and_items_stays_away_from_the_floor():
    rng = np.random.default_rng(0)
    world = latent_world(60, 60, rng)
    users, items = (grid.ravel() for grid in np.meshgrid(np.arange(60), np.arange(60)))
    mean, variance = world.moments(users, items)
    X = np.hstack([np.eye(60)[users], np.eye(60)[items]])
    # Fitted to the expected ratings, so the remaining error is bias that no amount of data removes.
    missed = mean - LinearRegression().fit(X, mean).predict(X)
    assert np.sqrt((missed**2).mean() + variance.mean()) > 1.1 * np.sqrt(variance.mean())


def characters(q):
    return np.argmax(q @ np.array([[1, 0, -1, 0], [0, 1, 0, -1]]), axis=1)


def test_at_full_strength_genres_reveal_the_cluster_and_decades_the_bias():
    rng = np.random.default_rng(0)
    bare = latent_world(10, 2_000, rng)
    world, frame = described(bare, 1.0, rng)
    np.testing.assert_array_equal(frame["item_id"], np.arange(1, 2_001))
    for genres, character in zip(frame["genres"], characters(world.item_factors), strict=True):
        assert set(genres.split("|")) <= set(GENRES[character])
    added = world.item_bias - bare.item_bias
    by_decade = {decade: set(added[frame["decade"] == decade].round(12)) for decade in set(frame["decade"])}
    assert all(len(values) == 1 for values in by_decade.values())
    assert len(set().union(*by_decade.values())) == 5


@pytest.mark.parametrize("strength", [0.0, 0.5, 1.0])
def test_the_strength_is_the_share_of_items_whose_genres_are_their_own(strength):
    rng = np.random.default_rng(1)
    world, frame = described(latent_world(10, 20_000, rng), strength, rng)
    own = GENRES[characters(world.item_factors)]
    right = np.mean(
        [genres.split("|")[0] in own_genres for genres, own_genres in zip(frame["genres"], own, strict=True)]
    )
    assert right == pytest.approx(strength + (1 - strength) / 4, abs=0.02)


def test_side_information_does_not_change_the_rest_of_the_world():
    rng = np.random.default_rng(2)
    bare = latent_world(20, 30, rng)
    world, _ = described(bare, 0.0, rng)
    np.testing.assert_array_equal(world.item_bias, bare.item_bias)
    assert world.item_factors is bare.item_factors
