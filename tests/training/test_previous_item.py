"""Vectors of previously rated items, compared with dense regressions."""

from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("numba")
from threads_as_processes import in_two

from numpy_neural_mf import Ratings
from numpy_neural_mf.training.distributed import Communicator
from numpy_neural_mf.training.previous_item import PreviousItems

K, N_USERS, N_ITEMS, NOISE, MOST = 3, 60, 12, 0.25, 0.1
P, Q, Z = "user_embedding.weight", "item_embedding.weight", "item_time_embedding.weight"


def drawn(effect=0.0, seed=0):
    """Return ratings, ordered by user, whose residuals are the effect of the previous item plus noise."""
    rng = np.random.default_rng(seed)
    users = np.repeat(np.arange(N_USERS), 10)
    items = np.concatenate([rng.permutation(N_ITEMS)[:10] for _ in range(N_USERS)])
    times, first = np.tile(np.arange(10), N_USERS), np.tile(np.arange(10) == 0, N_USERS)
    previous = np.where(first, N_ITEMS, np.roll(items, 1))
    q = rng.normal(size=(N_ITEMS + 1, K)).astype(np.float32)
    vectors = effect * rng.normal(size=(N_ITEMS, K + 1))
    vectors -= vectors[previous[~first]].mean(axis=0)
    of_rating = np.vstack([vectors, np.zeros(K + 1)])[previous]
    planted = (of_rating[:, :K] * q[items]).sum(axis=1) + of_rating[:, K]
    residual = planted + np.sqrt(NOISE) * rng.normal(size=len(users))
    order = rng.permutation(len(users))
    values = np.zeros(len(users), np.float32)
    ratings = Ratings(*(c[order].astype(np.int32) for c in (users, items)), values[order],
                      np.arange(N_USERS), np.arange(N_ITEMS), (-5, 5), times[order])  # fmt: skip
    return ratings, previous[order], q, vectors, residual[order], planted[order]


def state(q, variance=0.0, rows=slice(None), weight=1.0, time_bins=None):
    """Return an engine and an objective."""
    n = len(q)
    parameters = {Q: q[rows]} | ({} if time_bins is None else {Z: time_bins[rows]})
    objective = SimpleNamespace(
        noise=np.array([NOISE]),
        weight=np.broadcast_to(weight, N_USERS + 1),
        variance={Q: np.full_like(q, variance)[rows]},
        precision={P: np.full(K, NOISE / MOST, np.float32)},
        previous=np.zeros((n, K + 1), np.float32),
        previous_variance=np.zeros((n, K), np.float32),
    )
    return SimpleNamespace(parameters=parameters), objective


def test_the_item_before_each_rating_is_found():
    ratings, previous, *_ = drawn()
    np.testing.assert_array_equal(PreviousItems(ratings, K, 0.1, Communicator()).column, previous)


@pytest.mark.parametrize("in_time", [False, True])
def test_vectors_equal_a_ridge_regression_centred_over_ratings(in_time):
    ratings, previous, q, _, residual, _ = drawn(0.5)
    rng = np.random.default_rng(1)
    weight, z = rng.uniform(0.5, 2, N_USERS + 1), rng.normal(size=(4, K)).astype(np.float32)
    bins = rng.integers(0, 4, len(ratings)).astype(np.int32) if in_time else None
    engine, objective = state(q, 0.3, weight=weight, time_bins=z if in_time else None)
    items = PreviousItems(ratings, K, 0.1, Communicator())
    left = items.follow(engine, objective, residual, bins)
    x = q[ratings.items] + (z[bins] if in_time else 0)
    X, w = np.column_stack([x, np.ones(len(x))]), weight[ratings.users] / NOISE
    expected, spread = np.zeros((N_ITEMS + 1, K + 1)), np.zeros((N_ITEMS, K + 1))
    for item in range(N_ITEMS):
        of = previous == item
        uncertain = np.diag([w[of].sum() * 0.3] * K + [0.0])
        A = X[of].T @ (w[of, None] * X[of]) + uncertain + np.eye(K + 1) / 0.1
        expected[item] = np.linalg.solve(A, X[of].T @ (w[of] * residual[of]))
        spread[item] = np.diag(np.linalg.inv(A))
    expected[:-1] -= expected[previous[previous < N_ITEMS]].mean(axis=0)
    np.testing.assert_allclose(objective.previous, expected, atol=1e-5)
    np.testing.assert_allclose(objective.previous_variance[:-1], spread[:, :K], rtol=1e-4)
    np.testing.assert_allclose(left, residual - (X * expected[previous]).sum(axis=1), atol=1e-5)


def follow(given, n=25):
    """Return vectors after n epochs of an engine that learns nothing, and the remaining residuals."""
    ratings, _, q, _, left, _ = given
    engine, objective = state(q)
    items = PreviousItems(ratings, K, 0.1, Communicator())
    for _ in range(n):
        left = items.follow(engine, objective, left, None)
    return items, objective, left


def test_planted_effects_are_found():
    given = drawn(0.5)
    items, objective, left = follow(given)
    ratings, _, q, vectors, residual, planted = given
    assert np.abs(objective.previous[:-1] - vectors).max() < 0.4  # five standard errors
    at = items.effect(objective).at(ratings.users, ratings.timestamps, q[ratings.items])
    np.testing.assert_allclose(residual - at, left, atol=1e-5)
    assert np.mean((at - planted) ** 2) < 0.1 * np.mean(planted**2)
    assert items.arrays["previous_item.variances"] == pytest.approx(0.25, rel=0.9)


def test_without_planted_effects_none_are_found():
    given = drawn(0.0)
    items, objective, left = follow(given, 60)
    assert np.abs(objective.previous).max() < 0.15
    np.testing.assert_allclose(left, given[4], atol=0.15)
    assert items.arrays["previous_item.variances"].max() < 0.01


@pytest.mark.parametrize("effect", [0.5, 0.0])
def test_a_factor_that_items_have_not_learned_is_kept_if_another_shows_an_effect(effect):
    ratings, _, q, _, left, _ = drawn(effect)
    engine, objective = state(q)
    unlearned = np.zeros_like(q)
    unlearned[:, 1] = 0.2
    q[:, 1], objective.variance[Q] = 0, unlearned
    items = PreviousItems(ratings, K, 0.1, Communicator())
    for _ in range(60):
        left = items.follow(engine, objective, left, None)
    kept = items.arrays["previous_item.variances"]
    assert kept[1] == pytest.approx(min(kept[:-1].max(), MOST), rel=0.01)
    assert kept[1] == pytest.approx(MOST if effect else 0, abs=0.005)


def test_items_before_no_rating_and_ratings_without_an_order_have_no_effect():
    ratings = Ratings.from_columns([1, 1, 2], [1, 2, 1], [3.0, 4.0, 5.0], [5, 5, 9], scale=(1, 5))
    engine, objective = state(np.ones((3, K), np.float32))
    left = PreviousItems(ratings, K, 0.1, Communicator()).follow(engine, objective, np.arange(3.0), None)
    np.testing.assert_array_equal(left, np.arange(3))
    np.testing.assert_array_equal(objective.previous, 0)


def test_two_processes_solve_for_the_ratings_of_both():
    ratings, _, q, _, residual, _ = drawn(0.5)
    single = state(q)
    left = PreviousItems(ratings, K, 0.1, Communicator()).follow(*single, residual, None)

    def one_of_two(communicator):
        own = ratings.part(communicator.part(len(ratings)))
        engine, objective = state(q, rows=communicator.rows)
        found = PreviousItems(own, K, 0.1, communicator).follow(engine, objective, residual, None)
        return found, objective.previous

    for found, vectors in in_two(one_of_two):
        np.testing.assert_allclose(found, left, atol=1e-6)
        np.testing.assert_allclose(vectors, single[1].previous, atol=1e-6)


def test_ratings_without_times_are_refused():
    ratings = Ratings.from_columns([1, 2], [1, 2], [3.0, 4.0])
    with pytest.raises(ValueError, match="expected timestamps, since the architecture has previous_item"):
        PreviousItems(ratings, K, 0.1, Communicator())
