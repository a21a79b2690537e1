"""Simulated ratings are distinct and long-tailed, and have the stated noise."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from numpy_neural_mf.data import random_split, simulate_ratings
from numpy_neural_mf.data.datasets.synthetic import DAY, START
from numpy_neural_mf.data.datasets.world import N_DAYS, described, latent_world, unstructured_world


@pytest.fixture(scope="module")
def default():
    return simulate_ratings()


def test_without_structure_the_standard_deviation_is_0_953():
    _, variance = unstructured_world(3, 3).moments(np.array([0, 1]), np.array([2, 0]))
    np.testing.assert_allclose(np.sqrt(variance), 0.953, rtol=1e-12)
    ratings = simulate_ratings(structure="none", random_state=1)
    assert ratings.noise_floor == pytest.approx(0.953, rel=1e-6)
    # The standard error of the standard deviation of 200,000 such ratings is 0.0015.
    assert ratings.values.std(dtype=np.float64) == pytest.approx(0.953, abs=0.006)


def test_dense_ratings_do_not_depend_on_the_order_of_argpartition(monkeypatch):
    sizes, argpartition = (30, 20, 400), np.argpartition
    before = simulate_ratings(*sizes)

    def otherwise(*args, **kwargs):
        found = argpartition(*args, **kwargs)
        return np.concatenate([found[:400][::-1], found[400:]])

    monkeypatch.setattr(np, "argpartition", otherwise)
    after = simulate_ratings(*sizes)
    for name in ("users", "items", "values"):
        np.testing.assert_array_equal(getattr(after, name), getattr(before, name))


def test_without_structure_no_user_and_no_item_differs_from_the_mean():
    ratings = simulate_ratings(500, 400, 50_000, structure="none", random_state=5)
    for codes, n in [(ratings.users, ratings.n_users), (ratings.items, ratings.n_items)]:
        counts = np.bincount(codes, minlength=n)
        deviation = np.bincount(codes, ratings.values - ratings.mean, n) / counts
        z = deviation * np.sqrt(counts) / 0.953
        assert z.std() == pytest.approx(1.0, abs=0.2)


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


NOTHING = {}
PLANTED = [
    {"drift": 0.4},
    {"side_information": 0.9},
    {"sequence": 0.4},
    {"drift": 0.4, "side_information": 0.9, "sequence": 0.4},
]


@settings(max_examples=60, deadline=None)
@given(
    n_users=st.integers(1, 25),
    n_items=st.integers(1, 25),
    share=st.floats(0, 1),
    seed=st.integers(0, 2**32 - 1),
    kind=st.sampled_from([{"structure": "none"}, NOTHING, *PLANTED]),
)
def test_pairs_are_distinct_at_every_density(n_users, n_items, share, seed, kind):
    n = max(1, round(share * n_users * n_items))
    ratings = simulate_ratings(n_users, n_items, n, **kind, random_state=seed)
    assert len(ratings) == n == len(set(zip(ratings.users, ratings.items, strict=True)))


def test_the_same_seed_gives_the_same_ratings():
    one, two, other = (simulate_ratings(50, 40, 500, random_state=seed) for seed in (7, 7, 8))
    np.testing.assert_array_equal(one.values, two.values)
    np.testing.assert_array_equal(one.users, two.users)
    assert not np.array_equal(one.users, other.users)
    from_generator = simulate_ratings(50, 40, 500, random_state=np.random.default_rng(7))
    np.testing.assert_array_equal(one.values, from_generator.values)


def test_effects_that_are_off_change_nothing():
    """By default there are no effects, and no random number is drawn for an effect that is off."""
    off = simulate_ratings(60, 40, 1_200, drift=0.0, side_information=0.0, sequence=0.0, random_state=1)
    plain = simulate_ratings(60, 40, 1_200, random_state=1)
    for found, expected in zip(off.arrays, plain.arrays, strict=True):
        np.testing.assert_array_equal(found, expected)
    assert off.timestamps is off.item_features is off.user_features is None


def with_what_came_before(ratings):
    """Return the day of each row and the user's previous item, -1 for none, from public attributes."""
    order = np.lexsort((np.arange(len(ratings)), ratings.timestamps, ratings.users))
    users, items = ratings.users[order], ratings.raw_items[order].astype(np.int32) - 1
    previous = np.empty(len(ratings), np.int32)
    previous[order] = np.where(np.diff(users, prepend=-1) == 0, np.roll(items, 1), -1)
    return (ratings.timestamps - START) // DAY, previous


@pytest.mark.parametrize("strengths", PLANTED, ids=str)
def test_the_floor_is_the_error_of_the_predictor_that_knows_day_previous_item_and_world(strengths):
    rng = np.random.default_rng(3)
    world = latent_world(400, 300, rng)
    if share := strengths.get("side_information"):
        world, _ = described(world, share, rng)
    world = replace(world, drift=strengths.get("drift", 0.0), sequence=strengths.get("sequence", 0.0))
    ratings = simulate_ratings(400, 300, 40_000, **strengths, random_state=3)
    timed = ratings.timestamps is not None
    days, previous = with_what_came_before(ratings) if timed else (None, None)
    users, items = (ids.astype(np.int32) - 1 for ids in (ratings.raw_users, ratings.raw_items))
    mean, variance = world.moments(users, items, days, previous)
    np.testing.assert_allclose(ratings.noise_variance, variance, rtol=1e-6)
    np.testing.assert_allclose(ratings.expected, mean, rtol=1e-6)
    squared_errors = (ratings.values - mean) ** 2
    standard_error = squared_errors.std() / np.sqrt(len(users))
    assert abs(squared_errors.mean() - ratings.noise_floor**2) < 4 * standard_error
    # Planted effects matter: a predictor that lacks one of them has a significantly higher error.
    for name in {"drift", "sequence"} & strengths.keys():
        blind, _ = replace(world, **{name: 0.0}).moments(users, items, days, previous)
        assert ((ratings.values - blind) ** 2).mean() > ratings.noise_floor**2 + 8 * standard_error


def residuals(ratings):
    """Return ratings minus the means of their users and of their items."""
    found = ratings.values - ratings.mean
    for codes in (ratings.users, ratings.items, ratings.users):
        found = found - (np.bincount(codes, found) / np.bincount(codes))[codes]
    return found


def excess_spread(residual, cells):
    """Return the variance of z-scores of the cells' means: about 1 if residuals are independent of cells."""
    _, cells, counts = np.unique(cells, return_inverse=True, return_counts=True)
    z = np.bincount(cells, residual) / np.sqrt(counts) / residual.std()
    return (z[counts >= 10] ** 2).mean()


def quarter(ratings):
    return (ratings.timestamps - START) // DAY * 4 // N_DAYS


@pytest.mark.parametrize("side", ["users", "items"])
def test_with_drift_biases_of_users_and_items_vary_over_the_year(side):
    moving = simulate_ratings(300, 200, 30_000, drift=0.4, random_state=2)
    still = simulate_ratings(300, 200, 30_000, sequence=0.2, random_state=2)
    for ratings, drifts in ((moving, True), (still, False)):
        cells = getattr(ratings, side) * 4 + quarter(ratings)
        assert (excess_spread(residuals(ratings), cells) > 1.5) == drifts


def test_times_spread_over_a_year_and_rows_are_in_time_order():
    ratings = simulate_ratings(300, 200, 30_000, drift=0.1)
    assert (np.diff(ratings.timestamps) >= 0).all()
    days = (ratings.timestamps - START) // DAY
    assert days.min() == 0
    assert days.max() == N_DAYS - 1
    # No user's ratings are all from one time of the year.
    assert excess_spread(days - days.mean(), ratings.users) == pytest.approx(1.0, abs=0.3)


@pytest.mark.parametrize("dense", [False, True])
def test_in_a_sequence_the_previous_item_predicts_the_next_item_and_its_rating(dense):
    n = 30_000 if dense else 12_000
    sequential = simulate_ratings(300, 200, n, sequence=0.4, random_state=4)
    independent = simulate_ratings(300, 200, n, drift=0.1, random_state=4)
    for ratings, planted in ((sequential, True), (independent, False)):
        q = latent_world(300, 200, np.random.default_rng(4)).item_factors
        _, previous = with_what_came_before(ratings)
        later = previous >= 0
        item, before = q[ratings.raw_items[later] - 1], q[previous[later]]
        likeness = (item * before).sum(axis=1)
        slope = np.polyfit(likeness, residuals(ratings)[later], 1)[0]
        turn = before[:, 0] * item[:, 1] - before[:, 1] * item[:, 0]  # sine of the angle from one to the next
        assert (slope < -0.2) == planted
        assert (turn.mean() > 0.2) == planted
        assert planted or abs(slope) < 0.06
        assert planted or abs(turn.mean()) < 0.03


def test_the_last_items_of_a_sequence_are_chosen_like_the_others():
    ratings = simulate_ratings(400, 300, 12_000, sequence=0.4, random_state=6)
    q = latent_world(400, 300, np.random.default_rng(6)).item_factors
    _, previous = with_what_came_before(ratings)
    is_last = np.zeros(len(ratings), bool)
    is_last[np.unique(ratings.users[::-1], return_index=True)[1]] = True
    is_last = is_last[::-1] & (previous >= 0)
    item, before = q[ratings.raw_items[is_last] - 1], q[previous[is_last]]
    assert (before[:, 0] * item[:, 1] - before[:, 1] * item[:, 0]).mean() > 0.2


def columns_of(features, field):
    """Return the rows of items in the columns of one field, dense."""
    return features.matrix.toarray()[:, [name == field for name in features.fields]]


def test_features_distinguish_items_if_side_information_is_planted():
    told = simulate_ratings(300, 200, 20_000, side_information=1.0, random_state=5)
    bare = simulate_ratings(300, 200, 20_000, random_state=5)
    untold = simulate_ratings(300, 200, 20_000, side_information=1e-9, random_state=5)
    assert bare.item_features is None
    np.testing.assert_array_equal(told.item_features.ids, np.arange(1, 201))
    for ratings, planted in ((told, True), (untold, False)):
        decades = columns_of(ratings.item_features, "decade")
        assert (decades.sum(axis=1) == 1).all()
        decade = decades.argmax(axis=1)[ratings.raw_items - 1]
        of_item = np.bincount(ratings.items, ratings.values) / np.bincount(ratings.items)
        means = np.bincount(decade, of_item[ratings.items]) / np.bincount(decade)
        assert (np.ptp(means) > 0.5) == planted


def test_items_of_one_genre_are_liked_by_the_same_users():
    for strength, planted in ((1.0, True), (1e-9, False)):
        ratings = simulate_ratings(300, 200, 20_000, side_information=strength, random_state=5)
        genres = columns_of(ratings.item_features, "genres")
        cells = ratings.users * genres.shape[1] + genres.argmax(axis=1)[ratings.raw_items - 1]
        assert (excess_spread(residuals(ratings), cells) > 1.3) == planted


def test_parts_have_their_own_noise_floor():
    ratings = simulate_ratings(50, 40, 500)
    train, test = random_split(ratings)
    assert ratings.noise_floor**2 == pytest.approx(0.8 * train.noise_floor**2 + 0.2 * test.noise_floor**2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"n_users": 3, "n_items": 4, "n_ratings": 13},
            "n_ratings must be an integer from 1 to 12, not 13",
        ),
        ({"n_users": 0}, "n_users must be an integer from 1 to .*, not 0"),
        ({"n_items": -1}, "n_items must be an integer from 1 to .*, not -1"),
        ({"n_ratings": 0}, "n_ratings must be an integer from 1 to .*, not 0"),
        ({"structure": "deep"}, "expected 'latent' or 'none', found 'deep'"),
        ({"drift": -0.1}, "drift: expected a strength from 0 to 5, found -0.1"),
        ({"side_information": 1.5}, "side_information: expected a strength from 0 to 1, found 1.5"),
        ({"sequence": float("nan")}, "sequence: expected a strength from 0 to 5, found nan"),
        ({"drift": 0.2, "structure": "none"}, "drift: expected 0 with structure='none', found 0.2"),
    ],
)
def test_impossible_requests_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        simulate_ratings(**arguments)
