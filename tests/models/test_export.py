"""Exported models predict like the model, in ONNX Runtime and torch.export."""

import json
import sys
from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from numpy_neural_mf import (
    Architecture,
    BayesianMF,
    GlobalMean,
    LinearRegression,
    NeuralMF,
    Ratings,
    simulate_ratings,
)
from numpy_neural_mf.models.export import to_onnx, to_torch
from numpy_neural_mf.nn import ACTIVATIONS

RATINGS = simulate_ratings(n_users=40, n_items=30, n_ratings=400, drift=0.5, random_state=0)
FORMS = {
    name: Architecture(embedding_dim=3, hidden_layer_sizes=(6, 4), activation=name) for name in ACTIVATIONS
} | {
    "no MLP": Architecture(embedding_dim=3),
    "only biases": Architecture(product=False),
    "only the MLP": Architecture(3, (4,), biases=False, product=False),
    "own scale": Architecture(3, rating_scale=(2.9, 3.1)),
    "periods": Architecture(3, (4,), periods=4),
    "ordinal": Architecture(3, likelihood="ordinal"),
    "drift": Architecture(3, drift=True),
}
ROWS = np.array([[0, 5, -1, -1], [2, -1, 7, -1]])  # -1 is an unknown id


def fitted(architecture, ratings=RATINGS):
    return NeuralMF(architecture, epochs=2, batch_size=64).fit(ratings)


def predicted_by(model):
    """Return the model's predictions for the pairs of ROWS."""
    sides = zip((model.user_ids_, model.item_ids_), ROWS, strict=True)
    return model.predict(*(np.where(rows < 0, -7, ids[rows]) for ids, rows in sides))


POINTS = replace(RATINGS, values=20 * RATINGS.values, scale=(20.0, 100.0))
CASES = [(form, RATINGS) for form in FORMS] + [("periods", POINTS), ("ordinal", POINTS)]


OTHERS = {"linear": LinearRegression, "Bayesian": lambda: BayesianMF(3, n_samples=3, burn_in=1, rank=4)}
CASES += [(name, RATINGS) for name in OTHERS]


@pytest.fixture(params=CASES, ids=lambda case: f"{case[0]}, {case[1].scale}")
def model(request):
    form, ratings = request.param
    return OTHERS[form]().fit(ratings) if form in OTHERS else fitted(FORMS[form], ratings)


def test_onnx_runtime_predicts_the_same_also_for_unknown_ids(model, tmp_path):
    to_onnx(model, tmp_path / "model.onnx")
    onnx.checker.check_model(tmp_path / "model.onnx", full_check=True)
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    (predicted,) = session.run(["ratings"], {"users": ROWS[0], "items": ROWS[1]})
    assert predicted.dtype == np.float32
    np.testing.assert_allclose(predicted, predicted_by(model), rtol=1e-5)
    for n in (0, 1):
        assert session.run(None, {"users": ROWS[0, :n], "items": ROWS[1, :n]})[0].shape == (n,)


def test_torch_predicts_the_same(model, tmp_path):
    to_torch(model, tmp_path / "model.pt2")
    program = torch.export.load(tmp_path / "model.pt2").module()
    predicted = program(*torch.tensor(ROWS)).detach().numpy().clip(*model.rating_scale_)
    np.testing.assert_allclose(predicted, predicted_by(model), rtol=1e-5)


@pytest.mark.parametrize("as_text", [False, True])
def test_the_raw_ids_are_in_the_metadata_in_the_order_of_the_rows(tmp_path, as_text):
    ids = (RATINGS.raw_users, RATINGS.raw_items)
    frame = {"userId": ids[0], "movieId": ids[1], "rating": RATINGS.values}
    if as_text:
        frame |= {"userId": np.array([f"u{i}" for i in ids[0]])}
    model = NeuralMF(embedding_dim=2, hidden_layer_sizes=(), epochs=1)
    model.fit(Ratings.from_columns(frame["userId"], frame["movieId"], frame["rating"]))
    to_onnx(model, tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    told = session.get_modelmeta().custom_metadata_map
    assert json.loads(told["user_ids"]) == model.user_ids_.tolist()
    assert json.loads(told["item_ids"]) == model.item_ids_.tolist()
    assert json.loads(told["rating_scale"]) == pytest.approx(model.rating_scale_)


@pytest.mark.parametrize("write", [to_onnx, to_torch])
def test_models_that_cannot_be_exported_are_refused(write, tmp_path):
    with pytest.raises(
        TypeError, match="expected one of NeuralMF, BayesianMF, LinearRegression, found a GlobalMean"
    ):
        write(GlobalMean().fit(RATINGS), tmp_path / "model")
    with pytest.raises(RuntimeError, match="not fitted"):
        write(NeuralMF(), tmp_path / "model")
    assert not list(tmp_path.iterdir())


def test_more_than_an_onnx_file_holds_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("numpy_neural_mf.models.export.MAX_BYTES", 100)
    with pytest.raises(ValueError, match="an ONNX file holds at most 100 bytes, and this model has"):
        to_onnx(fitted(FORMS["no MLP"]), tmp_path / "model.onnx")


@pytest.mark.parametrize(("write", "package"), [(to_onnx, "onnx"), (to_torch, "torch")])
def test_without_the_package_the_error_says_what_to_install(write, package, tmp_path, monkeypatch):
    model = fitted(FORMS["no MLP"])
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ModuleNotFoundError, match=rf'pip install "numpy-neural-mf\[{package}\]"'):
        write(model, tmp_path / "model")


def test_variances_are_not_exported(tmp_path):
    model = fitted(FORMS["no MLP"])
    to_onnx(model, tmp_path / "model.onnx")
    to_torch(model, tmp_path / "model.pt2")
    names = [tensor.name for tensor in onnx.load(tmp_path / "model.onnx").graph.initializer]
    names += torch.export.load(tmp_path / "model.pt2").state_dict
    assert any("embedding" in name for name in names)
    assert not any("variance" in name for name in names)
