"""Inference between epochs: variances of rows, of priors and of the noise, in place of penalties."""

import numpy as np
import pytest
from threads_as_processes import in_two

from numpy_neural_mf import Architecture, GlobalMean, LinearRegression, NeuralMF, Ratings, random_split
from numpy_neural_mf.data import columns
from numpy_neural_mf.evaluation import rmse
from numpy_neural_mf.training import inference as module
from numpy_neural_mf.training.distributed import Communicator
from numpy_neural_mf.training.engines import Engine
from numpy_neural_mf.training.inference import (
    ABOVE_EDGE,
    NOISE_RATINGS,
    Inference,
    bias_variances,
    first_objective,
    noise_edge,
)
from numpy_neural_mf.training.statistics import RatingStatistics

EMBEDDING, BIAS = "{}_embedding.weight", "{}_bias.weight"
ALONE = Communicator()


def simulated(n_users=400, n_items=200, n=20_000, biases=(0.0, 0.0), factor=0.0, noise=0.7, seed=0):
    """Return ratings of random pairs and their expectations, given deviations of biases, factor and noise."""
    rng = np.random.default_rng(seed)
    pairs = rng.choice(n_users * n_items, n, replace=False)
    users, items = np.divmod(pairs, n_items)
    b, c = (deviation * rng.normal(size=m) for deviation, m in zip(biases, (n_users, n_items), strict=True))
    p, q = rng.normal(size=n_users), rng.normal(size=n_items)
    expected = 3 + b[users] + c[items] + factor * p[users] * q[items]
    values = expected + noise * rng.normal(size=n)
    return Ratings.from_columns(users, items, values.astype(np.float32), scale=(-50, 50)), expected


class Fixed(Engine):
    """An engine whose parameters do not move."""

    def __init__(self, parameters):
        self.parameters, self.architecture = parameters, Architecture(3)


def new_inference(ratings, form=Architecture(3)):  # noqa: B008
    statistics = RatingStatistics.of(ratings, ALONE)
    objective = first_objective(form, statistics, ratings, {}, ALONE, 0.0, None, 1.0)
    return Inference(objective, ratings, statistics.counts, ALONE)


def drawn_parameters(ratings, k=3):
    rng, n_rows = np.random.default_rng(1), {"user": ratings.n_users + 1, "item": ratings.n_items + 1}
    widths = {EMBEDDING: k, BIAS: 1}
    return {
        name.format(side): rng.normal(size=(n, d)).astype(np.float32)
        for side, n in n_rows.items()
        for name, d in widths.items()
    }


@pytest.fixture(scope="module")
def updated():
    """Return an inference after one update, its engine, and the squares and data of the engine."""
    ratings, _ = simulated(30, 20, 250)
    inference, engine = new_inference(ratings), Fixed(drawn_parameters(ratings))
    rng = np.random.default_rng(2)
    squares = rng.gamma(2, size=ratings.n_users + 1).astype(np.float32)
    squares[-1] = 0
    inference.objective.squares[:] = squares
    data = {name: 10 * rng.gamma(2, size=v.shape) for name, v in inference.objective.data.items()}
    for name, of_rows in data.items():
        inference.objective.data[name][:] = of_rows
    noise = inference.update(engine)
    return inference, engine, squares, data, noise


# Before the first epoch


def of(ratings, communicator=ALONE):
    return bias_variances(ratings, RatingStatistics.of(ratings, communicator).counts, communicator)


@pytest.mark.parametrize("biases", [(0.5, 0.3), (0.2, 0.6), (0.05, 0.4)])
def test_planted_variances_of_biases_and_of_noise_are_found(biases):
    noise, found = of(simulated(biases=biases)[0])
    assert noise == pytest.approx(0.49, rel=0.05)
    assert found["user"] == pytest.approx(biases[0] ** 2, rel=0.2, abs=0.002)
    assert found["item"] == pytest.approx(biases[1] ** 2, rel=0.25, abs=0.002)


def test_absent_biases_have_almost_no_variance():
    noise, found = of(simulated()[0])
    assert noise == pytest.approx(0.49, rel=0.05)
    assert max(found.values()) < 0.004


def test_equal_ratings_have_finite_variances():
    ratings = Ratings.from_columns([1, 1, 2, 2], [1, 2, 1, 2], [4.0] * 4, scale=(1, 5))
    noise, found = of(ratings)
    assert np.isfinite([noise, *found.values()]).all()
    assert min(noise, *found.values()) > 0


def test_ratings_are_read_block_by_block(monkeypatch):
    ratings, _ = simulated(biases=(0.5, 0.3))
    noise, found = of(ratings)
    monkeypatch.setattr(columns, "BLOCK", 999)
    in_blocks, found_in_blocks = of(ratings)
    assert in_blocks == pytest.approx(noise, rel=1e-5)
    assert found_in_blocks == pytest.approx(found, rel=1e-4)


def test_variances_have_settled_when_the_sweeps_stop_early(monkeypatch):
    ratings, _ = simulated(biases=(0.5, 0.3))
    noise, found = of(ratings)
    with monkeypatch.context() as patched:
        patched.setattr(module, "SWEEPS", module.SWEEPS - 1)
        assert of(ratings) == (noise, found)  # so the last sweep was not needed
    monkeypatch.setattr(module, "SETTLED", 0)
    noise_of_all_sweeps, found_by_all_sweeps = of(ratings)
    assert noise == pytest.approx(noise_of_all_sweeps, rel=1e-3)
    assert found == pytest.approx(found_by_all_sweeps, rel=1e-3)


def test_two_processes_find_the_variances_of_all_ratings():
    ratings, _ = simulated(biases=(0.5, 0.3))
    noise, found = of(ratings)
    for of_both, found_by_both in in_two(lambda c: of(ratings.part(c.part(len(ratings))), c)):
        assert of_both == pytest.approx(noise, rel=1e-4)
        assert found_by_both == pytest.approx(found, rel=1e-3)


def of_nothing_known(ratings):
    """Return the prior variance of a factor without evidence."""
    counts = RatingStatistics.of(ratings, ALONE).counts
    return ABOVE_EDGE * of(ratings)[0] ** 0.5 * noise_edge(counts)


@pytest.mark.parametrize(("n_u", "n_i"), [(16, 40), (200, 10), (30, 30)])
def test_at_the_edge_noise_balances_the_penalty_on_factors(n_u, n_i):
    """With v = σ²/D on both sides, solved from D = n v' + σ²/τ², D D' is the square of σ (√n_u + √n_i)."""
    noise, counts = 0.7, {"user": np.array([n_u] * n_i + [0]), "item": np.array([n_i] * n_u + [0])}
    tau2, v = noise**0.5 * noise_edge(counts), [0.0, 0.0]
    for _ in range(1_000):
        v = [noise / (n_u * v[1] + noise / tau2), noise / (n_i * v[0] + noise / tau2)]
    assert noise**2 / (v[0] * v[1]) == pytest.approx(noise * (n_u**0.5 + n_i**0.5) ** 2, rel=1e-6)


# Between epochs


def test_the_noise_is_the_mean_of_the_engine_s_squares(updated):
    inference, _, squares, _, noise = updated
    expected = squares.sum() / len(inference.ratings)
    assert noise == pytest.approx(expected)
    assert inference.objective.noise[0] == pytest.approx(expected)
    assert not inference.objective.squares.any()


def test_a_user_s_noise_lies_between_the_common_and_their_own_noise(updated):
    inference, _, squares, _, noise = updated
    n = np.bincount(inference.ratings.users, minlength=len(squares))
    expected = (NOISE_RATINGS * noise + squares) / (NOISE_RATINGS + n)
    np.testing.assert_allclose(noise / inference.objective.weight, expected, rtol=1e-5)
    assert inference.objective.weight[-1] == pytest.approx(1)  # the unknown user


def test_variances_go_half_way_to_those_of_normal_rows_with_the_precision_of_the_data(updated):
    """1 / v = (Λ + Σ w J²) / σ², and the next epoch's data start at zero."""
    inference, _, _, data, noise = updated
    o = inference.objective
    first = new_inference(inference.ratings).objective  # with Λ of embeddings before the update
    for name, of_rows in data.items():
        precision = (first if "embedding" in name else o).precision[name]
        expected = (first.variance[name] + noise / (precision + of_rows)) / 2
        np.testing.assert_allclose(o.variance[name], expected, rtol=1e-5)
        assert not o.data[name].any()


def test_the_prior_of_embeddings_is_centred_on_the_rows_with_a_mean_of_two_variances(updated):
    inference, engine, *_, noise = updated
    o, before = inference.objective, of_nothing_known(inference.ratings)
    for side, n in (("user", inference.ratings.n_users), ("item", inference.ratings.n_items)):
        name = EMBEDDING.format(side)
        rows, v = engine.parameters[name][:n], o.variance[name][:n]
        np.testing.assert_allclose(o.prior[name][0], rows.mean(axis=0), rtol=1e-5, atol=1e-6)
        spread = ((rows - rows.mean(axis=0)) ** 2 + v).mean(axis=0)
        np.testing.assert_allclose(noise / o.precision[name], (before + spread) / 2, rtol=1e-5)


def test_the_prior_of_biases_keeps_its_initial_estimate(updated):
    inference, *_, noise = updated
    _, found = of(inference.ratings)
    for side in ("user", "item"):
        name = BIAS.format(side)
        assert noise / inference.objective.precision[name] == pytest.approx(found[side], rel=1e-5)
        assert not inference.objective.prior[name].any()


def test_all_arrays_that_change_are_saved(updated):
    arrays, o = updated[0].arrays, updated[0].objective
    tables = [name.format(side) for name in (EMBEDDING, BIAS) for side in ("user", "item")]
    expected = {f"variance/{t}": o.variance[t] for t in tables} | {"weight": o.weight, "noise": o.noise}
    expected |= {f"{kind}.{t}": getattr(o, kind)[t] for kind in ("prior", "precision") for t in tables}
    assert arrays.keys() == expected.keys()
    assert all(arrays[name] is array for name, array in expected.items())


# In a training


def fitted(ratings, k=4, **settings):
    settings = {"hidden_layer_sizes": (), "embedding_dim": k, "engine": "numpy"} | settings
    return NeuralMF(**settings).fit(ratings)


def error(model, ratings):
    return rmse(model.predict(ratings.raw_users, ratings.raw_items), ratings.values)


def unknown(model, ratings):
    """Return the prior variance of a factor without evidence, in units of scores."""
    return of_nothing_known(ratings) / model.unit_


def test_an_unsupported_factor_has_less_variance_than_one_without_evidence():
    ratings, _ = simulated(biases=(1.0, 1.0), noise=0.1)
    model = fitted(ratings)
    for side in ("user", "item"):
        found = model.prior_variances_[EMBEDDING.format(side)]
        assert (found < unknown(model, ratings)).all()
        assert model.parameters_[EMBEDDING.format(side)].var() < 0.1 * found.mean()


@pytest.mark.parametrize(("n_users", "n_items"), [(300, 150), (200, 200)])
def test_factors_do_not_grow_from_the_noise_of_dense_ratings(n_users, n_items):
    model = fitted(simulated(n_users, n_items, 30_000)[0])
    assert model.predict(model.user_ids_[:, None], model.item_ids_).std() < 0.02  # the noise has 0.7


def test_a_factor_in_sparse_ratings_is_found():
    ratings, expected = simulated(800, 400, 6_000, factor=0.7)
    predicted = fitted(ratings).predict(ratings.raw_users, ratings.raw_items)
    assert np.corrcoef(predicted, expected)[0, 1] > 0.8


def test_a_weak_factor_is_found():
    ratings, expected = simulated(factor=0.35)
    model = fitted(ratings)
    for side in ("user", "item"):
        *others, largest = np.sort(model.prior_variances_[EMBEDDING.format(side)])
        assert largest > 1.5 * max(others)
        assert max(others) < unknown(model, ratings)
    predicted = model.predict(ratings.raw_users, ratings.raw_items)
    assert np.corrcoef(predicted, expected)[0, 1] > 0.85


def test_ratings_without_structure_are_predicted_by_the_mean():
    train, test = random_split(simulated(noise=1.0)[0], 0.25)
    assert error(fitted(train), test) == pytest.approx(error(GlobalMean().fit(train), test), abs=0.001)


def test_if_ratings_have_only_biases_the_model_learns_only_biases():
    ratings, _ = simulated(biases=(0.5, 0.3))
    train, test = random_split(ratings, 0.25)
    model = fitted(train)
    assert error(model, test) < error(LinearRegression().fit(train), test) + 0.002
    with_biases = fitted(train, product=False).predict(ratings.raw_users, ratings.raw_items)
    predicted = model.predict(ratings.raw_users, ratings.raw_items)
    assert rmse(predicted, with_biases) < 0.05 < rmse(with_biases, np.full(len(ratings), 3.0))


def test_users_whose_ratings_are_noise_count_less():
    ratings, _ = simulated(100, 100, 6_000, biases=(0.3, 0.3), noise=0.3)
    is_loud = ratings.users < 50
    loud = np.random.default_rng(3).normal(size=len(ratings)).astype(np.float32) * is_loud
    noisy = Ratings.from_columns(ratings.users, ratings.items, ratings.values + loud, scale=(-50, 50))
    deviation = fitted(noisy).deviation_[:-1]
    assert deviation[:50].mean() == pytest.approx(np.hypot(0.3, 1), rel=0.15)
    assert deviation[50:].mean() < 0.6 * deviation[:50].mean()


def test_the_expected_loss_equals_the_loss_on_unseen_ratings():
    """They agree on average, since a set of test ratings may be easy or hard."""
    found = []
    for seed in range(6):
        train, test = random_split(simulated(100, 60, 3_000, (0.4, 0.4), 0.4, seed=seed)[0], 0.3)
        model = fitted(train)
        found.append((model.history_.expected_loss[-1] ** 0.5, error(model, test)))
    expected, had = np.mean(found, axis=0)
    assert expected == pytest.approx(had, rel=0.03)


def test_implicit_feedback_that_contains_the_rating_to_explain_does_no_harm():
    """For users with one rating each, implicit feedback contains only that rating."""
    rng = np.random.default_rng(0)
    items = rng.integers(0, 100, 3_000)
    values = (3 + 0.5 * rng.normal(size=100)[items] + 0.8 * rng.normal(size=3_000)).astype(np.float32)
    ratings = Ratings.from_columns(np.arange(3_000), items, values, scale=(-50, 50))
    train, test = random_split(ratings, 0.2)
    linear, model = LinearRegression().fit(train), NeuralMF(implicit=True, engine="numpy").fit(train)
    assert error(model, test) < error(linear, test) + 0.005
