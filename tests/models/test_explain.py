"""Explanations: for a row at its optimum, the ratings account for the user's whole part."""

import numpy as np
import pytest

from numpy_neural_mf import Architecture, LinearRegression, NeuralMF, simulate_ratings
from numpy_neural_mf.models import Explanation, Reason
from numpy_neural_mf.models.fold_in import RowFit

RATINGS = simulate_ratings(n_users=60, n_items=40, n_ratings=1_200, random_state=1)
ANN = {1: 5.0, 7: 1.0, 12: 4.0, 20: 2.5}
LINEAR = {
    "biased MF": lambda: NeuralMF(Architecture(4), epochs=3, batch_size=64),
    "linear regression": lambda: LinearRegression([3.0]),
}


@pytest.fixture(scope="module", params=LINEAR)
def model(request):
    return LINEAR[request.param]().fit(RATINGS)


def test_at_the_ridge_optimum_ratings_and_prior_account_for_the_prediction(model):
    """J_i A⁻¹ Λ m, which is zero where rows are shrunk to zero."""
    ann, learned = model.fold_in(ANN), model.fitted_.model
    rated = np.searchsorted(model.item_ids_, list(ANN))
    fit = RowFit.of(learned, -1, rated, np.array(list(ANN.values())))
    _, terms, J = fit.objective(learned.factorization.row(-1))
    from_prior = np.linalg.solve(fit.curvature(terms, J), fit.penalty * fit.prior)
    for item in (3, 1):
        J_i = learned.factorization.row_scorer(np.searchsorted(model.item_ids_, [item]))(from_prior)[1][0]
        expected = learned.likelihood.unit * (J_i @ from_prior)
        assert model.explain(ann, item).rest == pytest.approx(expected, abs=1e-5)
        assert learned.prior or expected == 0
    why = model.explain(ann, "nothing")
    assert why.rest == pytest.approx(why.user_bias + why.interaction, abs=1e-5)


def test_without_ratings_the_rest_is_the_whole_user_part():
    model = NeuralMF(Architecture(4), epochs=3, batch_size=64).fit(RATINGS)
    why = model.explain(model.fold_in({}), 3)
    assert why.reasons == ()
    assert why.rest == pytest.approx(why.user_bias + why.interaction)


def test_a_weight_is_the_change_of_the_prediction_with_the_rating(model):
    """r̂ is linear in the ratings there: half a star more moves it by half of weight / e."""
    why = {reason.item: reason.weight for reason in model.explain(model.fold_in(ANN), 3).reasons}
    more, less = (model.fold_in(ANN | {12: rating}) for rating in (4.5, 3.5))
    slope = float(model.explain(more, 3).interaction + model.explain(more, 3).user_bias)
    slope -= float(model.explain(less, 3).interaction + model.explain(less, 3).user_bias)
    raised = {reason.item: reason.weight for reason in model.explain(more, 3).reasons}
    assert raised[12] - why[12] == pytest.approx(slope / 2, abs=1e-5)
    assert raised[7] == pytest.approx(why[7], abs=1e-5)


def test_with_biases_only_a_rating_weighs_its_excess_over_the_expected():
    """b_u = Σ (r_j - μ - b_j) / (n + λ), the same for every item."""
    model = LinearRegression([3.0]).fit(RATINGS)
    items = np.searchsorted(model.item_ids_, list(ANN))
    expected = (np.array(list(ANN.values())) - model.intercept_ - model.item_bias_[items]) / (4 + 3.0)
    for item in (3, 25):
        weights = {reason.item: reason.weight for reason in model.explain(model.fold_in(ANN), item).reasons}
        np.testing.assert_allclose([weights[i] for i in ANN], expected, atol=1e-6)


def test_the_text_lists_the_first_reasons_and_sums_the_others():
    reasons = tuple(Reason(n, 4.0, 0.5 / n, "" if n < 3 else f"Film {n}") for n in range(1, 15))
    text = str(Explanation(5.0, 3.0, 0.5, 1.0, 1.5, -1.0, reasons, 0.25))
    assert "  -1.000  brought onto the scale" in text
    assert "  +0.500  1, rated 4" in text
    assert "  +0.167  Film 3, rated 4" in text
    assert "  +0.161  4 others" in text
    assert "  +0.250  not from any rating" in text
    assert "12, rated" not in text
    assert "clipped" not in str(Explanation(5.0, 3.0, 0.5, 1.0, 0.5, 0.0, (), 1.0))


def test_a_notebook_shows_tables_with_ids_escaped():
    why = Explanation(5.0, 3.0, 0.5, 1.0, 1.5, -1.0, (Reason("<b>\x1b", 4.0, 0.5),), 0.25)
    assert repr(why) == str(why)
    html = why._repr_html_()
    assert "Predicted: 5.000" in html
    assert "&lt;b&gt;\N{REPLACEMENT CHARACTER}, rated 4" in html
    assert html.count("<table>") == 2
    assert Explanation(5.0, 3.0, 0.5, 1.0, 0.5, 0.0, (), 1.0)._repr_html_().count("<table>") == 1
