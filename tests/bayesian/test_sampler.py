"""The sampler as a whole: it recovers the effects in simulated ratings and finds no others."""

import os
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import pytest
from scipy.sparse import csr_array, eye_array

from numpy_neural_mf.bayesian import Drift, FactorBlock, Sampler, factor_block, threads

pytest.importorskip("numba")

N_USERS, N_ITEMS, DAY = 40, 30, 86_400
N_SEASONS = 3


@dataclass
class Simulated:
    """Ratings of random pairs at random times within 200 days."""

    users: np.ndarray
    items: np.ndarray
    times: np.ndarray
    values: np.ndarray


def simulated(n=6_000, seed=0, drift=0.0, timescale=5 * DAY, noise=0.5, quiet=0.5):
    """User biases, a time-varying bias of each user, and a different noise for half of the users."""
    rng = np.random.default_rng(seed)
    users, items = rng.integers(0, N_USERS, n), rng.integers(0, N_ITEMS, n)
    times = rng.integers(0, 200 * DAY, n)
    path = np.empty(n)
    for user in range(N_USERS):
        mine = np.flatnonzero(users == user)
        gaps = np.abs(times[mine, None] - times[mine])
        path[mine] = rng.multivariate_normal(np.zeros(len(mine)), np.exp(-gaps / timescale))
    sigma = np.where(users % 2, noise, quiet)
    values = 3.5 + 0.5 * rng.normal(size=N_USERS)[users] + drift * path + sigma * rng.normal(size=n)
    return Simulated(users.astype(np.int32), items.astype(np.int32), times, values.astype(np.float32))


def a_sampler(
    given, n_factors=1, with_drift=True, seed=0, fields=(), with_context=False, n_clusters=1,
    n_threads=None,
):  # fmt: skip
    rng = np.random.default_rng(seed)
    users = FactorBlock(given.users, [csr_array(eye_array(N_USERS))], n_factors, rng, n_clusters=n_clusters)
    items = FactorBlock(
        given.items, [csr_array(eye_array(N_ITEMS)), *fields], n_factors, rng, n_clusters=n_clusters
    )
    drifts = [Drift("user", given.users, given.times, N_USERS, DAY, 0.03)] if with_drift else []
    contexts = []
    if with_context:
        for category, size, regressor in (
            (given.times % N_SEASONS, N_SEASONS, None),
            (np.roll(given.items, 1), N_ITEMS + 1, items),
        ):
            identity = csr_array(eye_array(size))
            contexts.append(FactorBlock(category.astype(np.int32), [identity], n_factors, rng, regressor))
    return Sampler(given.values, users, items, drifts, rng, contexts=contexts, n_threads=n_threads)


def sampled(sampler, what, n=60, burn_in=40):
    """Return the mean of a function of the sampler over n samples."""
    for _ in range(burn_in):
        sampler.sweep(True)
    found = []
    for _ in range(n):
        sampler.sweep(False)
        found.append(what(sampler))
    return np.mean(found, axis=0)


def test_a_drift_is_found_with_its_variance_and_timescale():
    given = simulated(drift=0.6)
    found = sampled(
        a_sampler(given),
        lambda s: (s.rating_std**2 * s.drifts[0].variance, np.log(s.drifts[0].timescale / DAY)),
    )
    assert found[0] == pytest.approx(0.36, rel=0.25)
    assert np.exp(found[1]) == pytest.approx(5, rel=0.35)


def test_without_drift_almost_none_is_found():
    paths = sampled(a_sampler(simulated()), lambda s: s.rating_std * s.drifts[0].path)
    assert paths.std() < 0.1


def test_the_noise_of_each_user_is_found():
    found = sampled(a_sampler(simulated(noise=1.2)), lambda s: s.rating_std / np.sqrt(s.noise_precision))
    assert found[::2].mean() == pytest.approx(0.5, abs=0.05)
    assert found[1::2].mean() == pytest.approx(1.2, abs=0.05)
    assert found[::2].max() < found[1::2].min()


@pytest.mark.parametrize(("noise", "low", "high"), [(0.5, 15, 1000), (1.5, 0.5, 8)])
def test_the_degrees_of_freedom_reflect_how_much_the_noise_differs_by_user(noise, low, high):
    """Noises of 0.5 and 1.5 in two groups are like draws from a wide Gamma, equal ones from a narrow one."""
    log_nu = sampled(a_sampler(simulated(noise=noise)), lambda s: np.log(s.noise_df))
    assert low < np.exp(log_nu) < high


def test_users_with_equal_noise_get_almost_equal_estimates():
    found = sampled(a_sampler(simulated()), lambda s: s.rating_std / np.sqrt(s.noise_precision))
    assert found.std() < 0.05


def test_biases_have_the_moments_of_the_exact_posterior(monkeypatch):
    """Given noise and priors, the biases are independent and normal."""
    given = simulated(n=400)
    sampler = a_sampler(given, with_drift=False)
    for _ in range(50):
        sampler.sweep(True)
    users, rng = sampler.users, np.random.default_rng(1)
    prior = users.mean[0].copy(), users.precision[0].copy()
    p = sampler.noise_precision[given.users]
    target = sampler.residual + users.bias[given.users]

    def fixed_prior(n, rng):  # the prior is scaled with its field
        users.mean[0], users.precision[0] = prior
        return np.ones(1)

    users._draw_prior = fixed_prior
    monkeypatch.setattr(factor_block, "SCALING_STEP", 0.0)
    draws = []
    for _ in range(4_000):
        was = users.bias.copy()
        sums = [np.bincount(given.users, row, minlength=N_USERS) for row in (p, p * sampler.residual)]
        users.draw(0, np.array([sums]), rng.standard_normal(N_USERS), rng)
        sampler.residual -= (users.bias - was)[given.users]
        draws.append(users.bias.copy())
    precision = prior[1] + np.bincount(given.users, p, minlength=N_USERS)
    mean = (prior[0] * prior[1] + np.bincount(given.users, p * target, minlength=N_USERS)) / precision
    np.testing.assert_allclose(np.mean(draws, axis=0), mean, atol=5 * (precision.min() * 4_000) ** -0.5)
    np.testing.assert_allclose(np.var(draws, axis=0), 1 / precision, rtol=0.15)


def test_a_field_without_effect_is_shrunk_to_almost_zero():
    """Its deviation starts at 1; a draw given only the coefficients would leave it near 1."""
    given = simulated(n=400)
    noise = csr_array(np.random.default_rng(1).standard_normal((N_ITEMS, 60)) / 60**0.5)
    spread = sampled(a_sampler(given, fields=[noise]), lambda s: s.items.precision[0, 1] ** -0.5)
    assert spread < 0.2


def test_the_residual_is_the_ratings_minus_all_terms():
    given = simulated(n=800, drift=0.5)
    sampler = a_sampler(given, n_factors=3, with_context=True, n_clusters=3)
    for _ in range(20):
        sampler.sweep(False)
    users, items, [drift] = sampler.users, sampler.items, sampler.drifts
    drawn = sampler.intercept + users.bias[given.users] + items.bias[given.items]
    drawn += np.einsum("kn,kn->n", users.factors[:, given.users], items.factors[:, given.items])
    pair = users.factors[:, given.users] + items.factors[:, given.items]
    for context in sampler.contexts:
        drawn += context.bias[context.row_of]
        drawn += np.einsum("kn,kn->n", pair, context.factors[:, context.row_of])
    drawn[drift.order] += drift.path
    assert len(np.unique(users.clusters.of_rows)) > 1
    np.testing.assert_allclose(sampler.rating_std * (drawn + sampler.residual), given.values, atol=1e-6)


def test_the_regression_keeps_its_rows_and_the_factors_of_the_burn_in():
    sampler = a_sampler(simulated(n=800), n_factors=3, with_context=True)
    for _ in range(5):
        sampler.sweep(True)
    context, was = sampler.contexts[1], sampler.items.factors.copy()
    rows = context.by_row.copy()
    context.draw_regression(True, np.random.default_rng(2))
    np.testing.assert_array_equal(context.by_row, rows)
    sampler.sweep(False)
    assert not np.array_equal(sampler.items.factors, was)
    regressors = np.pad(was, ((0, 0), (0, 1)))  # the category of no previous item has no factors
    of_ids, of_items = context.coefficients[:, : N_ITEMS + 1], context.coefficients[:, N_ITEMS + 1 :]
    np.testing.assert_allclose(context.by_row, of_ids + of_items @ regressors, atol=1e-12)


def test_the_effect_of_a_previous_item_without_data_is_known_from_its_factors():
    """Users prefer an item unlike the previous one; no rating follows one of the last ten items."""
    given, rng = simulated(n=4_000, noise=0.3, quiet=0.3), np.random.default_rng(1)
    taste, character = rng.choice([-1.0, 1.0], N_USERS), rng.choice([-1.0, 1.0], N_ITEMS)
    after = rng.integers(0, N_ITEMS - 10, len(given.items))
    sampler = a_sampler(given, n_factors=3, with_drift=False)
    given.values += (taste[given.users] * character[given.items]).astype(np.float32)
    given.values -= (character[given.items] * character[after]).astype(np.float32)
    users, items = sampler.users, sampler.items
    context = FactorBlock(after.astype(np.int32), [csr_array(eye_array(N_ITEMS))], 3, rng, items)
    sampler = Sampler(given.values, users, items, [], rng, contexts=[context])

    found = sampled(sampler, lambda s: s.rating_std * (s.items.factors.T @ s.contexts[0].factors), n=100)
    found -= found.mean(axis=0)
    effect = -np.outer(character - character.mean(), character)
    np.testing.assert_allclose(found[:, -10:], effect[:, -10:], atol=0.35)


def test_the_interaction_of_context_and_user_is_found():
    """Users rate by their taste in the first season and by the opposite in the second."""
    given = simulated(n=4_000, noise=0.3, quiet=0.3)
    taste = np.random.default_rng(1).choice([-1.0, 1.0], N_USERS)
    season = given.times % N_SEASONS
    given.values += (taste[given.users] * np.array([1.0, -1.0, 0.0])[season]).astype(np.float32)
    sampler = a_sampler(given, n_factors=2, with_drift=False, with_context=True)

    def interaction(s):
        return s.rating_std * (s.users.factors.T @ s.contexts[0].factors)

    found = sampled(sampler, interaction, n=100)
    found -= found.mean(axis=1, keepdims=True)
    found -= found.mean(axis=0)  # the mean over users may be in the bias of the season
    np.testing.assert_allclose(found, np.outer(taste - taste.mean(), [1.0, -1.0, 0.0]), atol=0.35)


def test_features_inform_items_without_ratings():
    """Odd items are rated higher; the last ten have no ratings, but the same feature."""
    given = simulated(n=2_000)
    given.items %= 20
    given.values += given.items % 2
    parity = csr_array(np.eye(2)[np.arange(N_ITEMS) % 2])
    bias = sampled(a_sampler(given, fields=[parity]), lambda s: s.rating_std * s.items.bias, n=400)
    assert bias[21::2].mean() - bias[20::2].mean() == pytest.approx(1, abs=0.3)


def test_latent_clusters_are_found_and_improve_predictions():
    """Two clusters of users rate three clusters of items differently."""
    rng = np.random.default_rng(1)
    users, items = np.repeat(np.arange(N_USERS), 20), rng.integers(0, N_ITEMS, 20 * N_USERS)
    effect = np.array([[1.0, -1.0, 0.0], [-1.0, 0.5, 0.5]])
    values = effect[users % 2, items % 3] + 0.3 * rng.standard_normal(len(users))
    given = Simulated(users.astype(np.int32), items.astype(np.int32), users, values.astype(np.float32))
    truth = effect[np.arange(N_USERS)[:, None] % 2, np.arange(N_ITEMS) % 3]

    def error(sampler):
        predicted = sampled(
            sampler,
            lambda s: (
                s.intercept + s.users.bias[:, None] + s.items.bias + s.users.factors.T @ s.items.factors
            ),
            n=200, burn_in=300,
        )  # fmt: skip
        return np.sqrt(np.mean((sampler.rating_std * predicted - truth) ** 2))

    # A chain may stay long in a state with a few rows in another cluster; with this seed it does not.
    clustered, plain = (a_sampler(given, n_factors=2, with_drift=False, seed=4, n_clusters=n) for n in (5, 1))
    assert error(clustered) < 0.7 * error(plain)
    for block, n in ((clustered.users, 2), (clustered.items, 3)):
        found = [set(block.clusters.of_rows[one::n]) for one in range(n)]
        assert not any(found[one] & found[other] for one in range(n) for other in range(one))


@pytest.mark.parametrize("with_drift", [True, False])
def test_the_same_seed_gives_the_same_bits_and_another_seed_others(with_drift):
    given = simulated(n=300)
    one, same, other = (a_sampler(given, with_drift=with_drift, seed=seed) for seed in (0, 0, 1))
    for sampler in (one, same, other):
        for _ in range(5):
            sampler.sweep(True)
    assert one.residual.tobytes() == same.residual.tobytes() != other.residual.tobytes()


def test_any_number_of_threads_gives_the_same_bits(monkeypatch):
    """Parts have a hundred ratings, so threads race for them."""
    monkeypatch.setattr(threads, "RATINGS_PER_PART", 100)
    given, states = simulated(n=1_000, drift=0.5), []
    for n_threads in (1, 2, 5):
        sampler = a_sampler(given, n_factors=2, with_context=True, n_clusters=3, n_threads=n_threads)
        for sweep in range(6):
            sampler.sweep(sweep < 3)
        assert len(sampler._parts) == 9
        states.append({name: array.tobytes() for name, array in sampler.state().items()})
    assert states[0] == states[1] == states[2]


def test_samplers_in_several_threads_do_not_disturb_each_other(monkeypatch):
    monkeypatch.setattr(threads, "RATINGS_PER_PART", 100)
    given = simulated(n=1_000)

    def residual(_):
        sampler = a_sampler(given, n_threads=2)
        for _ in range(10):
            sampler.sweep(False)
        return sampler.residual.tobytes()

    with ThreadPoolExecutor(3) as pool:
        assert len(set(pool.map(residual, range(6)))) == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_process_forked_after_sampling_samples_the_same():
    program = """
        import multiprocessing, warnings
        from numpy_neural_mf import BayesianMF, simulate_ratings
        from numpy_neural_mf.bayesian import threads
        threads.RATINGS_PER_PART = 100
        warnings.simplefilter("ignore", DeprecationWarning)
        ratings = simulate_ratings(n_users=30, n_items=20, n_ratings=400, random_state=0)
        def losses():
            return BayesianMF(n_samples=3, burn_in=1).fit(ratings).history_.train_loss
        expected = losses()
        with multiprocessing.get_context("fork").Pool(1) as pool:
            assert pool.apply(losses) == expected
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, timeout=300,
        env=os.environ | {"NUMBA_NUM_THREADS": "2"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_an_error_in_a_thread_is_raised():
    def fail(part):
        if part == 3:
            raise ValueError("part 3")

    for n_threads in (1, 2):
        with pytest.raises(ValueError, match="part 3"):
            threads.Threads(n_threads).run(fail, 6)


@pytest.mark.parametrize("n", [0, 1, 1 << 14, 200_000, 10**9])
def test_parts_cover_the_ratings_in_order(n):
    bounds = threads.parts_of(n)
    assert (bounds[0], bounds[-1]) == (0, n)
    assert (np.diff(bounds) >= 0).all()
    assert len(bounds) - 1 <= threads.MAX_PARTS


def test_a_restored_sampler_continues_bit_for_bit():
    given = simulated(n=300)
    one = a_sampler(given, n_factors=2, with_context=True, n_clusters=3)
    for _ in range(3):
        one.sweep(True)
    other = a_sampler(given, n_factors=2, seed=7, with_context=True, n_clusters=3)
    other.restore({name: array.copy() for name, array in one.state().items()})
    other._rng = one._rng = np.random.default_rng(5)
    one.sweep(False)
    other._rng = np.random.default_rng(5)
    other.sweep(False)
    for name, array in one.state().items():
        assert array.tobytes() == other.state()[name].tobytes(), name


def test_sampling_does_not_depend_on_the_unit_of_the_ratings():
    given, larger = simulated(n=300), simulated(n=300)
    larger.values *= 32  # a power of two, so that not even rounding differs
    one, other = a_sampler(given), a_sampler(larger)
    for _ in range(5):
        one.sweep(False)
        other.sweep(False)
    assert other.rating_std == 32 * one.rating_std
    np.testing.assert_allclose(other.residual, one.residual, atol=1e-12)


@pytest.mark.parametrize("is_cached", [True, False])
def test_a_sampler_warns_before_it_is_compiled(monkeypatch, caplog, is_cached):
    monkeypatch.setattr(
        "numpy_neural_mf.training.engines.numba_compat.is_cached", lambda dispatcher: is_cached
    )
    a_sampler(simulated())
    assert ["compiling the Gibbs sampler" in text for text in caplog.messages] == [True] * (not is_cached)
