"""The sampler as a whole: it finds what was planted, and nothing where nothing was."""

from dataclasses import dataclass

import numpy as np
import pytest
from scipy.sparse import csr_array, eye_array

from numpy_neural_mf.bayesian import Design, Drift, Sampler
from numpy_neural_mf.bayesian import factor_block as design_module

pytest.importorskip("numba")

N_USERS, N_ITEMS, DAY = 40, 30, 86_400
N_OCCASIONS = 3  # of each kind


@dataclass
class Planted:
    """Ratings of random pairs at random times within 200 days."""

    users: np.ndarray
    items: np.ndarray
    times: np.ndarray
    values: np.ndarray


def planted(n=6_000, seed=0, drift=0.0, timescale=5 * DAY, noise=0.5, quiet=0.5):
    """Biases of users, a level of each user that drifts, and half of the users of another noise."""
    rng = np.random.default_rng(seed)
    users, items = rng.integers(0, N_USERS, n), rng.integers(0, N_ITEMS, n)
    times = rng.integers(0, 200 * DAY, n)
    level = np.empty(n)
    for user in range(N_USERS):
        mine = np.flatnonzero(users == user)
        gaps = np.abs(times[mine, None] - times[mine])
        level[mine] = rng.multivariate_normal(np.zeros(len(mine)), np.exp(-gaps / timescale))
    sigma = np.where(users % 2, noise, quiet)
    values = 3.5 + 0.5 * rng.normal(size=N_USERS)[users] + drift * level + sigma * rng.normal(size=n)
    return Planted(users.astype(np.int32), items.astype(np.int32), times, values.astype(np.float32))


def a_sampler(given, n_factors=1, with_drift=True, seed=0, fields=(), with_context=False, n_kinds=1):
    rng = np.random.default_rng(seed)
    users = Design(given.users, [csr_array(eye_array(N_USERS))], n_factors, rng, n_kinds=n_kinds)
    items = Design(given.items, [csr_array(eye_array(N_ITEMS)), *fields], n_factors, rng, n_kinds=n_kinds)
    drifts = [Drift("user", given.users, given.times, N_USERS, DAY, 0.03)] if with_drift else []
    contexts = []
    if with_context:
        for of_kind, size, followed in (
            (given.times % N_OCCASIONS, N_OCCASIONS, None),
            (np.roll(given.items, 1), N_ITEMS + 1, items),
        ):
            identity = csr_array(eye_array(size))
            contexts.append(Design(of_kind.astype(np.int32), [identity], n_factors, rng, followed))
    return Sampler(given.values, users, items, drifts, rng, contexts=contexts)


def sampled(sampler, what, n=60, warm_up=40):
    """The mean of what is read off the sampler, over n samples."""
    for _ in range(warm_up):
        sampler.sweep(True)
    found = []
    for _ in range(n):
        sampler.sweep(False)
        found.append(what(sampler))
    return np.mean(found, axis=0)


def test_a_drift_that_was_planted_is_found_with_its_variance_and_timescale():
    given = planted(drift=0.6)
    found = sampled(
        a_sampler(given), lambda s: (s.unit**2 * s.drifts[0].variance, np.log(s.drifts[0].timescale / DAY))
    )
    assert found[0] == pytest.approx(0.36, rel=0.25)
    assert np.exp(found[1]) == pytest.approx(5, rel=0.35)


def test_where_nothing_drifts_next_to_nothing_is_found():
    levels = sampled(a_sampler(planted()), lambda s: s.unit * s.drifts[0].level)
    assert levels.std() < 0.1


def test_the_noise_of_each_user_is_found():
    found = sampled(a_sampler(planted(noise=1.2)), lambda s: s.unit / np.sqrt(s.noise_precision))
    assert found[::2].mean() == pytest.approx(0.5, abs=0.05)
    assert found[1::2].mean() == pytest.approx(1.2, abs=0.05)
    assert found[::2].max() < found[1::2].min()


@pytest.mark.parametrize(("noise", "low", "high"), [(0.5, 15, 1000), (1.5, 0.5, 8)])
def test_how_alike_the_noises_of_users_are_is_found(noise, low, high):
    """Two groups of noises, 0.5 and 1.5, are like draws from a wide Gamma; all of 0.5, from a narrow one."""
    log_nu = sampled(a_sampler(planted(noise=noise)), lambda s: np.log(s.noise_ratings))
    assert low < np.exp(log_nu) < high


def test_users_of_one_noise_are_thought_of_one_noise():
    found = sampled(a_sampler(planted()), lambda s: s.unit / np.sqrt(s.noise_precision))
    assert found.std() < 0.05


def test_biases_are_those_of_the_exact_posterior(monkeypatch):
    """Given noise and priors as they were drawn last, all biases and μ are jointly normal: draw many."""
    given = planted(n=400)
    sampler = a_sampler(given, with_drift=False)
    for _ in range(50):
        sampler.sweep(True)
    users, rng = sampler.users, np.random.default_rng(1)
    prior = users.mean[0].copy(), users.precision[0].copy()
    p = sampler.noise_precision[given.users]
    target = sampler.residual + users.bias[given.users]

    def as_it_was(n, rng):  # the walk over its scale moved it
        users.mean[0], users.precision[0] = prior
        return np.ones(1)

    users._draw_prior = as_it_was
    monkeypatch.setattr(design_module, "SCALING_STEP", 0.0)
    draws = []
    for _ in range(4_000):
        users.draw(0, np.ones(400), sampler.residual, p, rng)
        draws.append(users.bias.copy())
    precision = prior[1] + np.bincount(given.users, p, minlength=N_USERS)
    mean = (prior[0] * prior[1] + np.bincount(given.users, p * target, minlength=N_USERS)) / precision
    np.testing.assert_allclose(np.mean(draws, axis=0), mean, atol=5 * (precision.min() * 4_000) ** -0.5)
    np.testing.assert_allclose(np.var(draws, axis=0), 1 / precision, rtol=0.15)


def test_a_field_that_tells_nothing_is_as_good_as_out():
    """Began at a deviation of 1: given the coefficients alone it would be there still."""
    given = planted(n=400)
    junk = csr_array(np.random.default_rng(1).standard_normal((N_ITEMS, 60)) / 60**0.5)
    spread = sampled(a_sampler(given, fields=[junk]), lambda s: s.items.precision[0, 1] ** -0.5)
    assert spread < 0.2


def test_what_is_left_is_what_was_rated_less_all_that_was_drawn():
    given = planted(n=800, drift=0.5)
    sampler = a_sampler(given, n_factors=3, with_context=True, n_kinds=3)
    for _ in range(20):
        sampler.sweep(False)
    users, items, [drift] = sampler.users, sampler.items, sampler.drifts
    drawn = sampler.intercept + users.bias[given.users] + items.bias[given.items]
    drawn += np.einsum("kn,kn->n", users.factors[:, given.users], items.factors[:, given.items])
    pair = users.factors[:, given.users] + items.factors[:, given.items]
    for context in sampler.contexts:
        drawn += context.bias[context.row_of]
        drawn += np.einsum("kn,kn->n", pair, context.factors[:, context.row_of])
    drawn[drift.order] += drift.level
    assert len(np.unique(users.kinds)) > 1
    np.testing.assert_allclose(sampler.unit * (drawn + sampler.residual), given.values, atol=1e-6)


def test_what_follows_keeps_its_rows_and_has_the_factors_of_the_warm_up():
    sampler = a_sampler(planted(n=800), n_factors=3, with_context=True)
    for _ in range(5):
        sampler.sweep(True)
    context, was = sampler.contexts[1], sampler.items.factors.copy()
    rows = context.by_row.copy()
    context.follow(True, np.random.default_rng(2))
    np.testing.assert_array_equal(context.by_row, rows)
    sampler.sweep(False)
    assert not np.array_equal(sampler.items.factors, was)
    lent = np.pad(was, ((0, 0), (0, 1)))  # to have followed no item is as having followed one without factors
    of_ids, of_items = context.coefficients[:, : N_ITEMS + 1], context.coefficients[:, N_ITEMS + 1 :]
    np.testing.assert_allclose(context.by_row, of_ids + of_items @ lent, atol=1e-12)


def test_what_comes_after_items_that_nothing_came_after_is_known_by_their_factors():
    """Users want an item unlike the one before; nothing was rated after the last ten items."""
    given, rng = planted(n=4_000, noise=0.3, quiet=0.3), np.random.default_rng(1)
    taste, character = rng.choice([-1.0, 1.0], N_USERS), rng.choice([-1.0, 1.0], N_ITEMS)
    after = rng.integers(0, N_ITEMS - 10, len(given.items))
    sampler = a_sampler(given, n_factors=3, with_drift=False)
    given.values += (taste[given.users] * character[given.items]).astype(np.float32)
    given.values -= (character[given.items] * character[after]).astype(np.float32)
    users, items = sampler.users, sampler.items
    context = Design(after.astype(np.int32), [csr_array(eye_array(N_ITEMS))], 3, rng, items)
    sampler = Sampler(given.values, users, items, [], rng, contexts=[context])

    found = sampled(sampler, lambda s: s.unit * (s.items.factors.T @ s.contexts[0].factors), n=100)
    found -= found.mean(axis=0)
    effect = -np.outer(character - character.mean(), character)
    np.testing.assert_allclose(found[:, -10:], effect[:, -10:], atol=0.35)


def test_what_an_occasion_tells_of_users_and_items_is_found():
    """On occasions of the first kind users rate as they are, on the second the other way round."""
    given = planted(n=4_000, noise=0.3, quiet=0.3)
    taste = np.random.default_rng(1).choice([-1.0, 1.0], N_USERS)
    kind = given.times % N_OCCASIONS
    given.values += (taste[given.users] * np.array([1.0, -1.0, 0.0])[kind]).astype(np.float32)
    sampler = a_sampler(given, n_factors=2, with_drift=False, with_context=True)

    def met(s):
        return s.unit * (s.users.factors.T @ s.contexts[0].factors)

    found = sampled(sampler, met, n=100)
    found -= found.mean(axis=1, keepdims=True)
    found -= found.mean(axis=0)  # what all users share may as well be in the bias of the occasion
    np.testing.assert_allclose(found, np.outer(taste - taste.mean(), [1.0, -1.0, 0.0]), atol=0.35)


def test_what_is_known_of_items_without_a_rating_tells_of_them():
    """Odd items are rated higher; of the last ones nobody has rated any, but they are odd and even, too."""
    given = planted(n=2_000)
    given.items %= 20
    given.values += given.items % 2
    parity = csr_array(np.eye(2)[np.arange(N_ITEMS) % 2])
    bias = sampled(a_sampler(given, fields=[parity]), lambda s: s.unit * s.items.bias, n=400)
    assert bias[21::2].mean() - bias[20::2].mean() == pytest.approx(1, abs=0.3)


def test_kinds_that_were_planted_are_found_and_tell_of_their_rows():
    """Users of two kinds rate items of three kinds, each in their own way."""
    rng = np.random.default_rng(1)
    users, items = np.repeat(np.arange(N_USERS), 20), rng.integers(0, N_ITEMS, 20 * N_USERS)
    way = np.array([[1.0, -1.0, 0.0], [-1.0, 0.5, 0.5]])
    values = way[users % 2, items % 3] + 0.3 * rng.standard_normal(len(users))
    given = Planted(users.astype(np.int32), items.astype(np.int32), users, values.astype(np.float32))
    truth = way[np.arange(N_USERS)[:, None] % 2, np.arange(N_ITEMS) % 3]

    def error(sampler):
        predicted = sampled(
            sampler,
            lambda s: (
                s.intercept + s.users.bias[:, None] + s.items.bias + s.users.factors.T @ s.items.factors
            ),
            n=200,
        )
        return np.sqrt(np.mean((sampler.unit * predicted - truth) ** 2))

    told, untold = (a_sampler(given, n_factors=2, with_drift=False, n_kinds=n) for n in (5, 1))
    assert error(told) < 0.7 * error(untold)
    for kinds, n in ((told.users.kinds, 2), (told.items.kinds, 3)):
        assert not any(set(kinds[one::n]) & set(kinds[other::n]) for one in range(n) for other in range(one))


@pytest.mark.parametrize("with_drift", [True, False])
def test_the_same_seed_has_the_same_bits_and_another_has_others(with_drift):
    given = planted(n=300)
    one, same, other = (a_sampler(given, with_drift=with_drift, seed=seed) for seed in (0, 0, 1))
    for sampler in (one, same, other):
        for _ in range(5):
            sampler.sweep(True)
    assert one.residual.tobytes() == same.residual.tobytes() != other.residual.tobytes()


def test_a_sampler_that_is_restored_goes_on_to_the_bit():
    given = planted(n=300)
    one = a_sampler(given, n_factors=2, with_context=True, n_kinds=3)
    for _ in range(3):
        one.sweep(True)
    other = a_sampler(given, n_factors=2, seed=7, with_context=True, n_kinds=3)
    other.restore({name: array.copy() for name, array in one.state().items()})
    other._rng = one._rng = np.random.default_rng(5)
    one.sweep(False)
    other._rng = np.random.default_rng(5)
    other.sweep(False)
    for name, array in one.state().items():
        assert array.tobytes() == other.state()[name].tobytes(), name


def test_ratings_of_another_unit_are_sampled_alike():
    given, larger = planted(n=300), planted(n=300)
    larger.values *= 32  # a power of two, so that not even rounding differs
    one, other = a_sampler(given), a_sampler(larger)
    for _ in range(5):
        one.sweep(False)
        other.sweep(False)
    assert other.unit == 32 * one.unit
    np.testing.assert_allclose(other.residual, one.residual, atol=1e-12)
