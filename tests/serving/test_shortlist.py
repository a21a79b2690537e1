"""Shortlists: what they leave out was not among the best."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from numpy_neural_mf import B_MEDIUM, BayesianMF, ItemKNN, LinearRegression, NeuralMF, simulate_ratings
from numpy_neural_mf.serving import shortlist
from numpy_neural_mf.serving.shortlist import Shortlist


@pytest.fixture(scope="module")
def ratings():
    return simulate_ratings(n_users=200, n_items=400, n_ratings=8_000, drift=0.5)


@pytest.fixture(scope="module", params=["normal", "ordinal", "Bayesian"])
def model(request, ratings):
    if request.param == "Bayesian":
        return BayesianMF(4, n_samples=4, burn_in=2).fit(ratings)
    return NeuralMF(embedding_dim=6, hidden_layer_sizes=(), epochs=8, likelihood=request.param).fit(ratings)


def same_as_recommend(model, user, n):
    found = Shortlist.of(model.fitted_)
    rows, scores = found.best(model.fitted_, user, n)
    items, expected = model.recommend(user, n, with_scores=True)
    np.testing.assert_allclose(scores, expected.compressed(), rtol=1e-5)
    assert model.item_ids_[rows].tolist() == items.compressed().tolist()


@pytest.mark.parametrize("first", [1, 7, 64, 10_000])
@settings(max_examples=20)
@given(user=st.integers(1, 200), n=st.integers(1, 30))
def test_it_has_the_same_lists_as_recommend(model, first, user, n):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shortlist, "FIRST", first)
        same_as_recommend(model, user, n)


def test_somebody_unknown_and_somebody_folded_in_have_the_same_lists_too(model):
    same_as_recommend(model, 999_999, 10)
    same_as_recommend(model, model.fold_in({1: 5.0, 2: 1.0, 17: 4.0}), 10)


def test_a_list_may_be_longer_than_what_is_left(model):
    same_as_recommend(model, 1, 1_000)


def test_few_items_are_scored_where_biases_tell_them_apart(ratings):
    model = NeuralMF(embedding_dim=6, hidden_layer_sizes=(), epochs=8).fit(ratings)
    tables = model.fitted_.model.factorization.parameters
    for name in ("user_embedding.weight", "item_embedding.weight"):
        tables[name][:] *= 0.01
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shortlist, "FIRST", 50)
        found = Shortlist.of(model.fitted_)
        found.vectors[found.ends[1] :] = np.nan  # it would be seen
        rows, _ = found.best(model.fitted_, 1, 10)
    assert len(set(rows.tolist())) == 10


@pytest.mark.parametrize("new", [ItemKNN, LinearRegression, lambda: NeuralMF(B_MEDIUM, epochs=1)])
def test_other_models_have_none(new, ratings):
    assert Shortlist.of(new().fit(ratings).fitted_) is None
