"""Provenance: versions, and settings of models as text."""

from importlib.metadata import version

from numpy_neural_mf import GlobalMean, LinearRegression, NeuralMF, simulate_ratings
from numpy_neural_mf.nn import SGD
from numpy_neural_mf.reporting.provenance import made_with, settings_of


def test_versions_are_those_installed():
    assert made_with()["numpy"] == version("numpy")
    assert made_with()["python"].startswith("3.")


def test_settings_are_the_arguments_of_the_model():
    settings = settings_of(NeuralMF(embedding_dim=7, hidden_layer_sizes=(5, 3), epochs=4, rating_scale=None))
    assert settings["embedding_dim"] == "7"
    assert settings["hidden_layer_sizes"] == "5, 3"
    assert settings["epochs"] == "4"
    assert settings["rating_scale"] == "none"
    assert settings["biases"] == "yes"
    assert settings_of(NeuralMF(hidden_layer_sizes=()))["hidden_layer_sizes"] == "none"


def test_fitted_attributes_are_not_settings():
    model = LinearRegression(alphas=[1, 10])
    before = settings_of(model)
    model.fit(simulate_ratings(n_users=20, n_items=10, n_ratings=100))
    assert settings_of(model) == before == {"alphas": "1, 10"}
    assert settings_of(GlobalMean()) == {}


def test_numbers_and_optimizers_are_settings():
    settings = settings_of(NeuralMF(batch_size=1, optimizer=SGD(learning_rate=0.5)))
    assert settings["batch_size"] == "1"
    assert "0.5" in settings["optimizer"]
