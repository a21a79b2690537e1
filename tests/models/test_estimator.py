"""Every model follows scikit-learn's conventions for settings, can be copied, and has a representation."""

import copy
import pickle
from functools import partial

import joblib
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.metrics import r2_score

from numpy_neural_mf import (
    A_SMALL,
    Architecture,
    BayesianMF,
    GlobalMean,
    ItemKNN,
    LinearRegression,
    ModelFileError,
    NeuralMF,
    NextItemModel,
    random_split,
    simulate_ratings,
)
from numpy_neural_mf.models import Recommender
from numpy_neural_mf.nn import Adam

RATINGS = simulate_ratings(n_users=60, n_items=40, n_ratings=1_200, sequence=0.4, random_state=1)
TRAIN, TEST = random_split(RATINGS)
MODELS = {
    "GlobalMean": GlobalMean,
    "LinearRegression": partial(LinearRegression, alphas=(1, 10)),
    "ItemKNN": partial(ItemKNN, k=10),
    "BayesianMF": partial(BayesianMF, 4, n_samples=4, burn_in=2, rank=6),
    "NeuralMF": partial(NeuralMF, A_SMALL, epochs=2, optimizer=Adam(0.02)),
    "in time": partial(NeuralMF, Architecture(4, periods=3, drift=True, previous_item=True), epochs=2),
    "ordinal": partial(NeuralMF, Architecture(4, likelihood="ordinal", implicit=True), epochs=2),
    "NextItemModel": partial(NextItemModel, embedding_dim=8, epochs=1),
}


@pytest.fixture(params=MODELS)
def new_model(request):
    if request.param == "NextItemModel":
        pytest.importorskip("torch")
    return MODELS[request.param]


def answers(model):
    """Return predictions and lists of a fitted model as bytes."""
    lists, scores = model.recommend(RATINGS.user_ids, with_scores=True)
    found = [lists.filled(-1), scores.filled(0)]
    if isinstance(model, Recommender):
        found += [model.predict(RATINGS.raw_users, RATINGS.raw_items, RATINGS.timestamps)]
        found += [model.predict([1, "nobody"], 2)]
    return [array.tobytes() for array in found]


def test_a_clone_has_the_same_settings_and_fits_to_the_same_model(new_model):
    model = new_model().fit(TRAIN)
    again = clone(model)
    assert repr(again) == repr(model)
    assert repr(again.get_params()) == repr(model.get_params())
    with pytest.raises(RuntimeError, match="not fitted"):
        again.recommend(1)
    assert answers(again.fit(TRAIN)) == answers(model)


@pytest.mark.parametrize(
    "copied",
    [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))],
    ids=["deepcopy", "pickle"],
)
def test_a_copy_is_the_same_before_and_after_a_fit(new_model, copied):
    model = copied(new_model()).fit(TRAIN)
    assert answers(copied(model)) == answers(model) == answers(new_model().fit(TRAIN))
    assert copied(model).ratings_.values.tobytes() == model.ratings_.values.tobytes()


def test_updating_a_copy_does_not_change_the_model(new_model):
    model = new_model().fit(TRAIN)
    before, other = answers(model), copy.deepcopy(model)
    later = TEST if TEST.timestamps is None else TEST.take(np.arange(20))
    other.partial_fit(later)
    assert answers(model) == before != answers(other)


@pytest.mark.parametrize("mmap_mode", [None, "r"])
def test_joblib_restores_the_same_model_also_with_mapped_arrays(new_model, tmp_path, mmap_mode):
    model = new_model().fit(TRAIN)
    joblib.dump(model, tmp_path / "model.joblib")
    assert answers(joblib.load(tmp_path / "model.joblib", mmap_mode=mmap_mode)) == answers(model)


def test_settings_that_are_read_and_set_are_the_same_settings(new_model):
    model = new_model()
    before = repr(model)
    assert model.set_params(**model.get_params()) is model
    assert repr(model) == before
    assert repr(type(model)(**model.get_params())) == before


def test_setting_the_same_settings_keeps_the_fit_and_others_discard_it():
    model = NeuralMF(epochs=1).fit(TRAIN)
    model.set_params(epochs=1)
    assert model.history_.best_epoch == 1
    model.set_params(embedding_dim=4)
    with pytest.raises(RuntimeError, match="not fitted"):
        model.predict(1, 2)
    assert model.fit(TRAIN).parameters_["user_embedding.weight"].shape[1] == 4


@pytest.mark.parametrize(
    ("model", "params", "error", "message"),
    [
        (NeuralMF(), {"epoch": 3}, TypeError, "NeuralMF has no setting 'epoch'; did you mean 'epochs'"),
        (NeuralMF(), {"hidden_layers": ()}, TypeError, "did you mean 'hidden_layer_sizes'"),
        (NeuralMF(), {"epochs": 0}, ValueError, "epochs must be an integer from 1"),
        (NeuralMF(), {"embedding_dim": 2.5}, TypeError, "embedding_dim must be an integer"),
        (ItemKNN(), {"shrink": 1}, TypeError, "did you mean 'shrinkage'"),
        (BayesianMF(), {"n_sample": 1}, TypeError, "did you mean 'n_samples'"),
        (BayesianMF(), {"features": 1}, TypeError, "features must be True or False"),
        (LinearRegression(), {"alphas": (0,)}, ValueError, "alphas must be"),
        (NextItemModel(), {"encoders": "gru"}, TypeError, "did you mean 'encoder'"),
        (GlobalMean(), {"mean": 3}, TypeError, "GlobalMean"),
    ],
)
def test_a_wrong_setting_is_named_and_changes_nothing(model, params, error, message):
    before = repr(model)
    with pytest.raises(error, match=message):
        model.set_params(**params)
    assert repr(model) == before


@pytest.mark.parametrize(
    ("model", "text"),
    [
        (NeuralMF(), "NeuralMF()"),
        (NeuralMF(epochs=20), "NeuralMF(epochs=20)"),
        (NeuralMF(A_SMALL), "NeuralMF(embedding_dim=8, hidden_layer_sizes=(16,), activation='relu')"),
        (GlobalMean(), "GlobalMean()"),
        (ItemKNN(k=3, damping=0.0), "ItemKNN(k=3, damping=0.0)"),
        (LinearRegression(np.array([1.0])), "LinearRegression(alphas=array([1.]))"),
        (BayesianMF(4), "BayesianMF(embedding_dim=4)"),
        (NextItemModel("gru"), "NextItemModel(encoder='gru')"),
    ],
)
def test_a_model_shows_what_differs_from_the_defaults(model, text):
    assert repr(model) == str(model) == text


def test_the_score_is_scikit_learns_r_squared_at_the_times_of_the_ratings(new_model):
    model = new_model().fit(TRAIN)
    if not isinstance(model, Recommender):
        assert not hasattr(model, "score")
        return
    prediction = model.predict(TEST.raw_users, TEST.raw_items, TEST.timestamps)
    assert model.score(TEST) == pytest.approx(r2_score(TEST.values.astype(float), prediction))
    assert model.score(TRAIN) >= GlobalMean().fit(TRAIN).score(TRAIN)


def test_a_class_loads_its_own_files_and_no_others(new_model, tmp_path):
    model = new_model().fit(TRAIN)
    model.save(tmp_path / "model")
    assert answers(type(model).load(tmp_path / "model")) == answers(model)
    other = ItemKNN if isinstance(model, GlobalMean) else GlobalMean
    found = f"model: expected a {other.__name__}, found a {type(model).__name__}"
    with pytest.raises(ModelFileError, match=found):
        other.load(tmp_path / "model")


def test_recommender_loads_every_model_of_ratings(tmp_path):
    GlobalMean().fit(TRAIN).save(tmp_path / "model")
    assert isinstance(Recommender.load(tmp_path / "model"), GlobalMean)
