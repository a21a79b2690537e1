"""The choice of engine by name and by "auto"."""

from dataclasses import dataclass

import numpy as np
import pytest

from numpy_neural_mf import NeuralMF, simulate_ratings
from numpy_neural_mf.nn import SGD, Adam
from numpy_neural_mf.training.engines import ENGINES, choice, choose_engine

MANY = choice.WORTH_COMPILING


@dataclass
class Mine(SGD):
    """An optimizer without a compiled form."""


@pytest.mark.parametrize("name", ENGINES)
def test_a_named_engine_is_used(name):
    assert choose_engine(name, Adam(), 1) == name


@pytest.mark.parametrize(
    ("optimizer", "n_trained", "expected"),
    [(Adam(), MANY, "numba"), (Adam(), MANY - 1, "numpy"), (Mine(), MANY, "numpy")],
    ids=["long", "shorter than the compilation", "an optimizer of one's own"],
)
def test_auto_is_the_compiled_engine_if_that_pays(optimizer, n_trained, expected):
    assert choose_engine("auto", optimizer, n_trained) == expected


def test_for_per_sample_steps_the_compiled_engine_pays_sooner():
    assert choose_engine("auto", SGD(), MANY // choice.PER_SAMPLE, batch_size=1) == "numba"
    assert choose_engine("auto", SGD(), MANY // choice.PER_SAMPLE - 1, batch_size=1) == "numpy"


def test_auto_is_numpy_if_numba_is_not_installed(monkeypatch):
    monkeypatch.setattr(choice, "find_spec", lambda name: None)
    assert choose_engine("auto", Adam(), MANY) == "numpy"


def test_models_trained_by_two_engines_are_equal_to_rounding(monkeypatch):
    ratings = simulate_ratings(n_users=60, n_items=40, n_ratings=1_200)
    settings = {"embedding_dim": 4, "hidden_layer_sizes": (), "epochs": 3, "batch_size": 64}
    models = [NeuralMF(engine=name, **settings).fit(ratings) for name in ("numpy", "numba")]
    assert [model.engine_ for model in models] == ["numpy", "numba"]
    ours, theirs = (model.predict(ratings.raw_users, ratings.raw_items) for model in models)
    np.testing.assert_allclose(ours, theirs, rtol=1e-3)
    monkeypatch.setattr(choice, "WORTH_COMPILING", 3 * 1_200)
    assert NeuralMF(**settings).fit(ratings).engine_ == "numba"
