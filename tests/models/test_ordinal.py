"""A NeuralMF with an ordinal likelihood: calibrated probabilities, and rows fitted by the likelihood."""

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import minimize

from numpy_neural_mf import (
    Architecture,
    NeuralMF,
    Ratings,
    load_model,
    random_split,
    simulate_ratings,
)
from numpy_neural_mf.evaluation import rmse
from numpy_neural_mf.models import files as model_file
from numpy_neural_mf.models.files import ModelFileError

RATINGS = simulate_ratings(n_users=200, n_items=100, n_ratings=8_000, random_state=2)
TRAIN, TEST = random_split(RATINGS)
FORM = Architecture(8, (16,), likelihood="ordinal")
MODEL = NeuralMF(FORM, epochs=30).fit(TRAIN)
PAIRS = TEST.raw_users, TEST.raw_items


def test_it_predicts_as_well_as_squared_errors_do():
    normal = NeuralMF(replace(FORM, likelihood="normal"), epochs=30).fit(TRAIN)
    difference = rmse(MODEL.predict(*PAIRS), TEST.values) - rmse(normal.predict(*PAIRS), TEST.values)
    assert abs(difference) < 0.015


def test_probabilities_of_categories_are_calibrated():
    steps, probabilities = MODEL.predict_distribution(*PAIRS)
    assert steps.tolist() == [1, 2, 3, 4, 5]
    for step, expected in zip(steps, probabilities.T, strict=True):
        spread = np.sqrt((expected * (1 - expected)).sum()) / len(TEST)
        assert np.mean(TEST.values == step) == pytest.approx(expected.mean(), abs=float(5 * spread))


def test_the_prediction_is_about_the_mean_of_the_distribution():
    """The prediction itself ignores the uncertainty of the score."""
    steps, probabilities = MODEL.predict_distribution(*PAIRS)
    assert (probabilities >= 0).all()
    np.testing.assert_allclose(probabilities.sum(axis=-1), 1, rtol=1e-5)
    np.testing.assert_allclose(probabilities @ steps, MODEL.predict(*PAIRS), atol=0.1)


@pytest.mark.parametrize("coverage", [0.5, 0.8, 0.95])
def test_intervals_have_the_coverage_and_are_minimal(coverage):
    low, high = MODEL.predict_interval(*PAIRS, coverage=coverage)
    assert np.isin(low, MODEL.rating_steps_).all()
    assert np.isin(high, MODEL.rating_steps_).all()
    error = 4 * (coverage * (1 - coverage) / len(TEST)) ** 0.5
    assert np.mean((low <= TEST.values) & (TEST.values <= high)) >= coverage - error
    steps, probabilities = MODEL.predict_distribution(*PAIRS)
    below = (probabilities * (steps < low[:, None])).sum(axis=1)
    above = (probabilities * (steps > high[:, None])).sum(axis=1)
    assert max(below.max(), above.max()) <= (1 - coverage) / 2 + 1e-6


def test_ratings_without_suitable_categories_are_refused():
    values = np.linspace(1, 5, len(RATINGS), dtype=np.float32)
    with pytest.raises(ValueError, match="expected at most 20 distinct training ratings"):
        NeuralMF(FORM).fit(replace(RATINGS, values=values))
    one = Ratings.from_columns([1, 2], [1, 1], [4, 4], scale=(1, 5))
    with pytest.raises(ValueError, match="expected at least 2 distinct ratings"):
        NeuralMF(FORM).fit(one)


def test_a_folded_in_user_has_the_most_probable_row():
    """Without an MLP, -log P is convex, so the optimum is unique."""
    model = NeuralMF(replace(FORM, hidden_layer_sizes=()), epochs=5).fit(TRAIN)
    given = dict(zip(model.item_ids_[:6].tolist(), [5.0, 4.0, 5.0, 1.0, 5.0, 2.0], strict=True))
    row = model.fold_in(given).row
    learned = model.fitted_.model
    predict = learned.factorization.row_scorer(np.arange(6, dtype=np.int32))
    likelihood, precision = learned.likelihood, learned.penalty.of("user")
    prior = np.concatenate([learned.prior[f"user_{kind}.weight"][0] for kind in ("embedding", "bias")])
    of_items = learned.factorization.parameters["item_embedding.variance"][:6].sum(axis=0)

    def objective(theta):
        """Return -log P plus the terms of the items' variances and of the prior."""
        terms = likelihood.terms(predict(theta)[0], np.array([*given.values()]))
        expected = terms.value.sum() + likelihood.curvature * of_items @ theta[:-1] ** 2
        return expected + precision @ (theta - prior) ** 2

    best = minimize(objective, learned.factorization.row(-1), tol=1e-9).x
    found = np.concatenate([row["user_embedding.weight"][0], row["user_bias.weight"][0]])
    np.testing.assert_allclose(found, best, atol=2e-4)


def test_folded_in_users_have_intervals():
    ann = MODEL.fold_in({int(MODEL.item_ids_[0]): 5.0})
    low, high = MODEL.predict_interval(ann, MODEL.item_ids_)
    prediction = MODEL.predict(ann, MODEL.item_ids_)
    assert ((low <= prediction) & (prediction <= high)).all()


def test_more_ratings_move_the_predictions_of_their_users():
    model = NeuralMF(FORM, epochs=5).fit(TRAIN)
    user = int(model.user_ids_[0])
    fives = Ratings.from_columns([user] * 20, model.item_ids_[:20], [5.0] * 20, scale=(1, 5))
    before = model.predict(user, model.item_ids_[20:]).mean()
    assert model.partial_fit(fives).predict(user, model.item_ids_[20:]).mean() > before + 0.1


def test_an_explanation_adds_up_to_the_prediction():
    user, item = int(MODEL.user_ids_[1]), int(MODEL.item_ids_[2])
    e = MODEL.explain(user, item)
    assert e.mean + e.user_bias + e.item_bias + e.interaction + e.clipped == pytest.approx(e.prediction)
    assert sum(r.weight for r in e.reasons) + e.rest == pytest.approx(e.user_bias + e.interaction)


@pytest.mark.parametrize("engine", ["numba", "torch"])
def test_every_engine_learns_the_same(engine):
    """Without an MLP, which gets random signs."""
    form = replace(FORM, hidden_layer_sizes=())
    ours, theirs = (NeuralMF(form, epochs=3, engine=e).fit(TRAIN).predict(*PAIRS) for e in ("numpy", engine))
    np.testing.assert_allclose(theirs, ours, atol=1e-4)


def test_a_file_keeps_the_steps(tmp_path):
    MODEL.save(tmp_path / "m")
    again = load_model(tmp_path / "m")
    np.testing.assert_array_equal(again.predict(*PAIRS), MODEL.predict(*PAIRS))
    for ours, theirs in zip(
        MODEL.predict_distribution(*PAIRS), again.predict_distribution(*PAIRS), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize(
    ("ordinal", "message"),
    [
        ({"steps": [1, 2, 3, 4], "deviation": 1.0}, "cutpoints: expected float32 of shape"),
        ({"steps": [1, 3, 2, 4, 5], "deviation": 1.0}, "steps: expected an ascending list"),
        ({"steps": [1, 2, 3, 4, 5], "deviation": 0.0}, "deviation must be a finite number from"),
        ({"steps": [1, 2, 3, 4, 5]}, "ordinal: missing deviation; expected deviation, steps"),
        (None, "expected categories if the likelihood is ordinal"),
    ],
)
def test_a_file_of_other_steps_is_refused(ordinal, message, tmp_path):
    MODEL.save(tmp_path / "m")
    description, tensors = model_file.read(tmp_path / "m")
    settings = description["settings"] | {"ordinal": ordinal}
    model_file.write(tmp_path / "m", json.loads(json.dumps(description | {"settings": settings})), tensors)
    with pytest.raises(ModelFileError, match=message):
        load_model(tmp_path / "m")
