"""Prior means of rows from features: a ridge regression with an inferred penalty for each field."""

import numpy as np
import pytest
from scipy.sparse import csr_array
from threads_as_processes import in_two

from numpy_neural_mf.mf.side_information import RATED, SideFeatures
from numpy_neural_mf.training.distributed import Communicator
from numpy_neural_mf.training.prior_means import FLAT, PriorMeans

N, D, NOISE = 120, 3, 0.5
TABLE = "item_embedding.weight"
WIDTHS = (1, 5, 4)  # a constant, and two fields


def drawn_features(rng, n=N, names=("genre", "country")):
    X = rng.normal(size=(n + 1, sum(WIDTHS))).astype(np.float32)
    X[:, 0], X[-1, 1:] = 1, 0
    return SideFeatures(csr_array(X), np.repeat([0, 1, 2], WIDTHS), names)


class Rows:
    """Rows with their prior and observations y from their ratings; `data` is y's precision times σ²."""

    def __init__(self, rng, y, tau2=0.2):
        self.y = y.astype(np.float32)
        self.data = rng.uniform(5, 40, y.shape).astype(np.float32)
        self.data[-1] = 0  # the unknown
        self.prior = np.zeros(y.shape, np.float32)
        self.precision = np.full(y.shape[1], NOISE / tau2, np.float32)
        self.rows = self.data / (self.data + self.precision) * self.y

    def update(self, means, n=1):
        for _ in range(n):
            means.update(TABLE, self.rows, self.data, self.prior, self.precision, NOISE)


def new_means(features, communicator=Communicator(), counts=None, d=D):  # noqa: B008
    if counts is None:
        counts = np.append(np.full(N, 9), 0)
    means = PriorMeans(features, counts, communicator)
    means.reserve(TABLE, d, 0.2)
    return means


def planted(seed=0, scale=(0.5, 0.0)):
    """Return features whose first field is informative about y, the coefficients, and rows."""
    rng = np.random.default_rng(seed)
    features = drawn_features(rng)
    deviations = np.repeat([0.3, *scale], WIDTHS)[:, None]
    E = deviations * rng.normal(size=(sum(WIDTHS), D))
    y = features.matrix.toarray() @ E + 0.3 * rng.normal(size=(N + 1, D))
    return features, E, Rows(rng, y)


def test_updates_converge_to_a_ridge_regression_on_the_ratings():
    features, _, rows = planted()
    means = new_means(features)
    rows.update(means, 300)
    X, E = features.matrix.toarray().astype(np.float64), means.coefficients[TABLE]
    tau2 = np.broadcast_to(means.variances[TABLE].reshape(2, -1), (2, D))
    for k in range(D):
        data, precision = rows.data[:-1, k].astype(np.float64), float(rows.precision[k])
        weight = 1 / (1 / precision + 1 / data)
        penalty = np.repeat([FLAT, *(NOISE / tau2[:, k])], WIDTHS)
        A = X[:-1].T @ (weight[:, None] * X[:-1]) + np.diag(penalty)
        dense = np.linalg.solve(A, X[:-1].T @ (weight * rows.y[:-1, k]))
        np.testing.assert_allclose(E[:, k], dense, atol=2e-3)
    np.testing.assert_allclose(rows.prior, features.matrix @ E, atol=1e-5)


def test_rows_move_with_their_prior_as_far_as_their_ratings_allow():
    """The mean of a row is (D y + Λ m) / (D + Λ) before and after."""
    features, _, rows = planted()
    means = new_means(features)
    rows.update(means, 20)
    expected = (rows.data * rows.y + rows.precision * rows.prior) / (rows.data + rows.precision)
    np.testing.assert_allclose(rows.rows, expected, atol=1e-4)
    assert np.abs(rows.prior).max() > 0.5


def test_a_row_without_ratings_has_its_prior_mean():
    features, E, rows = planted()
    rows.data[:10] = 0
    rows.rows[:10] = 0
    rows.update(new_means(features, counts=np.append(np.repeat([0, 9], [10, N - 10]), 0)), 100)
    np.testing.assert_allclose(rows.rows[:10], rows.prior[:10], atol=1e-5)
    np.testing.assert_allclose(rows.rows[:10], (features.matrix @ E)[:10], atol=0.35)


def test_planted_coefficients_are_found():
    features, E, rows = planted()
    means = new_means(features)
    rows.update(means, 100)
    assert np.corrcoef(means.coefficients[TABLE][:6].ravel(), E[:6].ravel())[0, 1] > 0.98


def test_an_uninformative_field_is_penalised_more_than_an_informative_one():
    features, _, rows = planted()
    means = new_means(features)
    rows.update(means, 100)
    telling, silent = means.variances[TABLE]
    assert np.all(telling > 20 * silent)
    assert np.abs(means.coefficients[TABLE][6:]).max() < 0.05


@pytest.mark.parametrize("seed", range(3))
def test_uninformative_features_do_not_move_the_prior(seed):
    features, _, rows = planted(seed, scale=(0.0, 0.0))
    means = new_means(features)
    rows.update(means, 100)
    explained = features.matrix[:, 1:] @ means.coefficients[TABLE][1:]
    assert explained.std() < 0.25 * 0.3  # of the deviation of rows, which least squares would have as 0.27


def test_explained_is_the_variance_of_a_field_s_part_of_the_prior():
    features, _, rows = planted()
    means = new_means(features)
    rows.update(means, 20)
    X, E = features.matrix.toarray()[:-1], means.coefficients[TABLE]
    explained = means.explained(TABLE)
    assert list(explained) == ["genre", "country"]
    for number, variance in enumerate(explained.values(), start=1):
        of_field = features.fields == number
        np.testing.assert_allclose(variance, (X[:, of_field] @ E[of_field]).var(axis=0), rtol=1e-4)
    assert (explained["genre"] > 100 * explained["country"]).all()


def test_the_only_rating_of_a_row_does_not_inform_implicit_feedback():
    rng = np.random.default_rng(0)
    features = drawn_features(rng, names=("genre", RATED))
    counts = np.append(np.repeat([1, 9], [20, N - 20]), 0)
    found = []
    for of_single in (0.0, 5.0):
        rows = Rows(np.random.default_rng(1), np.random.default_rng(2).normal(size=(N + 1, D)))
        rows.rows[:20] += of_single
        means = new_means(features, counts=counts)
        rows.update(means, 5)
        found.append(means.coefficients[TABLE])
    np.testing.assert_array_equal(*found)
    assert found[0].any()


def test_two_processes_find_the_coefficients_of_all_rows():
    features, _, rows = planted()
    alone = new_means(features)
    rows.update(alone, 10)

    def one_of_two(communicator):
        _, _, own = planted()
        for name in ("rows", "data", "prior"):
            setattr(own, name, getattr(own, name)[communicator.rows].copy())
        means = new_means(features, communicator)
        own.update(means, 10)
        return means.coefficients[TABLE], own.rows, means.explained(TABLE)

    parts = in_two(one_of_two)
    for rank, (E, of_part, explained) in enumerate(parts):
        np.testing.assert_allclose(E, alone.coefficients[TABLE], atol=1e-4)
        np.testing.assert_allclose(of_part, rows.rows[rank::2], atol=1e-4)
        for field, variance in alone.explained(TABLE).items():
            np.testing.assert_allclose(explained[field], variance, atol=1e-4)


def test_all_arrays_that_change_are_saved():
    means = new_means(drawn_features(np.random.default_rng(0)))
    E, tau2 = means.coefficients[TABLE], means.variances[TABLE]
    assert means.arrays.keys() == {f"coefficients.{TABLE}", f"variances.{TABLE}"}
    assert means.arrays[f"coefficients.{TABLE}"] is E
    assert means.arrays[f"variances.{TABLE}"] is tau2
    planted()[2].update(means)
    assert E.any()
    assert means.variances[TABLE] is tau2
