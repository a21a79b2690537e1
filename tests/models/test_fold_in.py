"""Fold-in of new users and items: the result is close to that of training."""

import numpy as np
import pandas
import polars
import pytest

from numpy_neural_mf import (
    Architecture,
    LinearRegression,
    NeuralMF,
    Ratings,
    load_model,
    random_split,
    simulate_ratings,
)
from numpy_neural_mf.evaluation import rmse
from numpy_neural_mf.mf.forward import Factorization
from numpy_neural_mf.mf.likelihood import Normal, Terms
from numpy_neural_mf.mf.regularization import RowPenalty
from numpy_neural_mf.models.fitted import FittedModel
from numpy_neural_mf.models.fold_in import RowFit, fitted_row, fitted_user
from numpy_neural_mf.nn import ACTIVATIONS

RATINGS = simulate_ratings(n_users=60, n_items=40, n_ratings=1_200, random_state=1)
ARCHITECTURES = {
    "biased MF": Architecture(3),
    "without biases": Architecture(3, (5,), "tanh", biases=False),
    "only biases": Architecture(product=False),
    "only the MLP": Architecture(3, (5, 4), "gelu", biases=False, product=False),
} | {name: Architecture(3, (8, 5), name) for name in ACTIVATIONS}
ITEMS = np.array([0, 2, 3, 7], np.int32)
GIVEN = np.array([5.0, 1.0, 4.0, 2.5])


@pytest.fixture(params=ARCHITECTURES)
def architecture(request):
    return ARCHITECTURES[request.param]


def draw(architecture):
    rng = np.random.default_rng(7)
    shapes = architecture.parameter_shapes(6, 9)
    tables = {name: (0.5 * rng.standard_normal(shape)).astype(np.float32) for name, shape in shapes.items()}
    return Factorization(architecture, tables)


def squared(ratings):
    def loss(scores):
        value, *derivatives = Normal((1.0, 5.0)).terms(scores, ratings)
        return Terms(value.sum(), *derivatives)

    return loss


def fit_to(form, ratings=GIVEN, penalty=0.7, prior=0.0):
    d = len(form.row(-1))
    everywhere = np.full(d, penalty, np.float64), np.broadcast_to(np.float64(prior), d)
    return RowFit(form.row_scorer(ITEMS), squared(ratings), *everywhere)


def row(form, *given, **more):
    return fitted_row(fit_to(form, *given, **more), form.row(-1))


def objective(predict, theta, penalty=0.7):
    return ((GIVEN - predict(theta)[0]) ** 2).sum() + penalty * theta @ theta


def test_the_jacobian_is_that_of_central_differences(architecture):
    predict = draw(architecture).row_scorer(ITEMS)
    d = 3 * architecture.has_embeddings + architecture.biases
    theta, step = 0.3 * np.random.default_rng(0).standard_normal(d), 1e-6
    numeric = [(predict(theta + e)[0] - predict(theta - e)[0]) / (2 * step) for e in step * np.eye(d)]
    np.testing.assert_allclose(predict(theta)[1], np.transpose(numeric), atol=1e-7)


def test_no_row_nearby_is_better(architecture):
    form = draw(architecture)
    predict, theta = form.row_scorer(ITEMS), row(form)
    lowest, rng = objective(predict, theta), np.random.default_rng(0)
    for _ in range(100):
        assert objective(predict, theta + 0.05 * rng.standard_normal(len(theta))) >= lowest - 1e-4


def test_without_mlp_it_is_ridge_regression():
    form = draw(Architecture(3))
    parameters = form.parameters
    X = np.hstack([parameters["item_embedding.weight"][ITEMS], np.ones((4, 1))]).astype(np.float64)
    y = GIVEN - parameters["intercept"] - parameters["item_bias.weight"][ITEMS, 0]
    expected = np.linalg.solve(X.T @ X + 0.7 * np.eye(4), X.T @ y)
    np.testing.assert_allclose(row(form), expected, rtol=1e-9)


def test_with_a_prior_it_is_ridge_regression_of_the_residuals_of_the_prior():
    form, prior = draw(Architecture(3)), np.array([0.3, -0.2, 0.5, 1.0])
    predict = form.row_scorer(ITEMS)
    beyond = row(form, GIVEN - (predict(prior)[0] - predict(0 * prior)[0]))
    np.testing.assert_allclose(row(form, prior=prior), prior + beyond, rtol=1e-6)
    np.testing.assert_allclose(row(form, penalty=1e9, prior=prior), prior, rtol=1e-6)


def test_with_variances_it_is_the_mode_and_the_variances_of_the_posterior():
    """(Σ w (q qᵀ + diag v) + Λ)⁻¹ (Σ w q (r - μ - b) + Λ m), and σ² over the diagonal of the matrix."""
    rng, form = np.random.default_rng(1), draw(Architecture(3))
    for name, table in [*form.parameters.items()]:
        if "_" in name:
            variance = rng.uniform(0.1, 0.5, table.shape).astype(np.float32)
            form.parameters[name.replace(".weight", ".variance")] = variance
    precision, m = np.array([0.5, 1.0, 2.0, 0.7]), np.array([0.3, -0.2, 0.5, 0.1])
    prior = {"user_embedding.weight": m[None, :3], "user_bias.weight": m[None, 3:]}
    weight, noise = np.array([1.0, 1, 1, 1, 1, 1, 0.6]), 0.3
    unit = 2.0
    model = FittedModel(
        form,
        Normal((1.0, 5.0), unit),
        RowPenalty(precision, 1.0),
        prior,
        None,
        noise,
        weight,
        np.arange(10) + 1.0,
    )
    q = np.hstack([form.parameters["item_embedding.weight"][ITEMS], np.ones((4, 1))]).astype(np.float64)
    v = np.hstack([form.parameters["item_embedding.variance"][ITEMS], np.zeros((4, 1))])
    w = 0.6 * (ITEMS + 1.0)
    residual = GIVEN / unit - form.parameters["intercept"] - form.parameters["item_bias.weight"][ITEMS, 0]
    matrix = (q.T * w) @ q + np.diag(w @ v + precision)
    mean = np.linalg.solve(matrix, q.T @ (w * residual) + precision * m)
    found = fitted_user(model, -1, ITEMS, GIVEN)
    theta = np.concatenate([found["user_embedding.weight"], found["user_bias.weight"]])
    variance = np.concatenate([found["user_embedding.variance"], found["user_bias.variance"]])
    np.testing.assert_allclose(theta, mean, rtol=1e-5)
    np.testing.assert_allclose(variance, noise / np.diag(matrix), rtol=1e-5)


def test_a_prior_by_row_is_that_of_the_user():
    form = draw(Architecture(product=False))
    priors = np.arange(7.0)[:, None]
    model = FittedModel(
        form, Normal((1.0, 5.0)), RowPenalty(np.array([1e9]), 1.0), {"user_bias.weight": priors}
    )
    for user, expected in ((2, 2), (5, 5), (-1, 6)):
        assert fitted_user(model, user, ITEMS, GIVEN)["user_bias.weight"] == pytest.approx(expected, rel=1e-5)
    ann = model.with_user({"user_bias.weight": np.zeros((1, 1))}, None)
    assert fitted_user(ann, 0, ITEMS, GIVEN)["user_bias.weight"] == pytest.approx(6, rel=1e-5)


def test_users_and_items_exchanged_predict_the_same_and_twice_is_back(architecture):
    form = draw(architecture)
    other_side = form.mirrored()
    by_user = form.row_scorer(ITEMS)(form.row(4))[0]
    user = np.array([4], np.int32)
    by_item = [other_side.row_scorer(user)(other_side.row(i))[0][0] for i in ITEMS]
    np.testing.assert_allclose(by_user, by_item, rtol=1e-12)
    for name, value in other_side.mirrored().parameters.items():
        np.testing.assert_array_equal(value, form.parameters[name])


def test_a_row_goes_into_its_tables_and_back(architecture):
    form = draw(architecture)
    for name, part in form.as_rows(form.row(2)).items():
        np.testing.assert_array_equal(part, form.parameters[name][2])


@pytest.fixture(scope="module")
def model():
    return NeuralMF(Architecture(4, (8,)), epochs=5, batch_size=64).fit(RATINGS)


def test_liked_items_are_predicted_higher_than_for_an_unknown_user(model):
    ann = model.fold_in(dict.fromkeys(range(1, 11), 5.0))
    assert (model.predict(ann, range(1, 11)) > model.predict("nobody", range(1, 11))).all()


def test_the_model_itself_does_not_change(model):
    before = {name: value.tobytes() for name, value in model.parameters_.items()}
    model.fold_in({1: 5.0, 7: 1.0})
    assert {name: value.tobytes() for name, value in model.parameters_.items()} == before


def test_a_loaded_model_folds_in_the_same(model, tmp_path):
    model.save(tmp_path / "m")
    ours, theirs = (
        m.predict(m.fold_in({1: 5.0, 7: 1.0}), [2, 3]) for m in (model, load_model(tmp_path / "m"))
    )
    np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("architecture", [Architecture(4), Architecture(4, (8,))], ids=["biased MF", "MLP"])
def test_folding_in_is_as_accurate_as_training_again_and_better_than_an_unknown_user(architecture):
    """A tenth of the users are held out and folded in with half of their ratings, then tested on the rest."""
    ratings = simulate_ratings(n_users=300, n_items=100, n_ratings=12_000, random_state=2)
    new = ratings.take(ratings.users % 10 == 0)
    given, hidden = random_split(new, 0.5, np.random.default_rng(0))
    old = ratings.take(ratings.users % 10 != 0)
    model = NeuralMF(architecture, epochs=20).fit(old)
    error = {"folded": [], "stranger": []}
    for user in np.unique(hidden.raw_users):
        own, test = given.take(given.raw_users == user), hidden.take(hidden.raw_users == user)
        handle = model.fold_in(dict(zip(own.raw_items, own.values, strict=True)))
        error["folded"].append(model.predict(handle, test.raw_items) - test.values)
        error["stranger"].append(model.predict("nobody", test.raw_items) - test.values)
    folded, stranger = (np.sqrt(np.mean(np.concatenate(e) ** 2)) for e in error.values())
    seen = np.isin(ratings.users * 100 + ratings.items, hidden.users * 100 + hidden.items)
    anew = NeuralMF(architecture, epochs=20).fit(ratings.take(~seen))
    assert folded < rmse(anew.predict(hidden.raw_users, hidden.raw_items), hidden.values) + 0.01
    assert folded < stranger - 0.03


def test_a_new_user_has_a_representation_of_one_line():
    ratings = simulate_ratings(n_users=30, n_items=20, n_ratings=200, random_state=0)
    model = NeuralMF(embedding_dim=2, epochs=1).fit(ratings)
    assert repr(model.fold_in({int(model.item_ids_[0]): 4.0})) == "NewUser: 1 ratings folded in"


def test_a_rating_at_the_end_of_the_scale_is_within_it():
    """The bound is a float32 number, which 0.1 is not."""
    model = LinearRegression().fit(Ratings.from_columns([1, 2, 3], [1, 2, 3], [0.1, 0.7, 0.4]))
    assert repr(model.fold_in({1: 0.1, 2: 0.7})) == "NewUser: 2 ratings folded in"


@pytest.mark.parametrize("library", [pandas, polars], ids=["pandas", "polars"])
def test_a_series_of_ratings_by_item_is_a_mapping_and_a_column_is_not(model, library):
    if library is pandas:
        ann = model.fold_in(pandas.Series({12: 5.0, 7: 1.0}))
        assert model.predict(ann, 3) == model.predict(model.fold_in({12: 5.0, 7: 1.0}), 3)
    else:
        with pytest.raises(TypeError, match="expected a mapping of raw id to rating, found Series"):
            model.fold_in(polars.Series([5.0, 1.0]))
    for wrong in ([(12, 5.0)], 5.0, None, "12: 5"):
        with pytest.raises(TypeError, match="expected a mapping of raw id to rating"):
            model.fold_in(wrong)


@pytest.mark.parametrize("rating", ["x" * 10**6, None, [1.0], 10**400])
def test_a_rating_that_is_not_a_number_is_refused(model, rating):
    with pytest.raises(TypeError, match=r"ratings: expected numbers, found .{,80}$"):
        model.fold_in({1: 2.0, 2: rating})
