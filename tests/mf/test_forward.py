"""Users against all items at once: the same ratings as pair by pair, for every form of model."""

import numpy as np
import pytest
from cases import ARCHITECTURES, N_ITEMS, N_USERS, draw_objective, draw_parameters

from numpy_neural_mf.mf import forward
from numpy_neural_mf.nn import SGD
from numpy_neural_mf.training.engines import ENGINES

USERS = np.array([3, 0, N_USERS, 3, 8, 1], np.int32)  # repeated, out of order, the unknown among them


@pytest.fixture(params=[forward.TILE, 14, 4])
def tile(request, monkeypatch):
    """Everything at once; two users at a time, and the rest; some items at a time."""
    monkeypatch.setattr(forward, "TILE", request.param)


@pytest.mark.usefixtures("tile")
@pytest.mark.parametrize("name", ARCHITECTURES)
@pytest.mark.parametrize("items", [np.arange(N_ITEMS + 1), np.array([4, 1, N_ITEMS])], ids=["all", "some"])
@pytest.mark.parametrize("engine", ENGINES)
def test_scores_are_the_predictions_of_the_engine(name, items, engine):
    parameters = draw_parameters(ARCHITECTURES[name], np.float32)
    engine = ENGINES[engine](ARCHITECTURES[name], parameters, SGD(), draw_objective(dtype=np.float32))
    scores = forward.Factorization(ARCHITECTURES[name], parameters).scorer(items.astype(np.int32))(USERS)
    assert scores.dtype == np.float32
    pairs = (part.ravel().astype(np.int32) for part in np.broadcast_arrays(USERS[:, None], items[None]))
    expected = engine.predict(*pairs).reshape(len(USERS), len(items))
    np.testing.assert_allclose(scores, expected, rtol=2e-5, atol=2e-5)
    users, items = np.broadcast_arrays(USERS[:, None], items[None])
    of_pairs = forward.Factorization(ARCHITECTURES[name], parameters).scores(users.ravel(), items.ravel())
    np.testing.assert_allclose(of_pairs.reshape(expected.shape), expected, rtol=2e-5, atol=2e-5)


def test_no_users_and_no_items_are_no_scores():
    for architecture in ARCHITECTURES.values():
        form = forward.Factorization(architecture, draw_parameters(architecture, np.float32))
        none = np.array([], np.int32)
        assert form.scorer(none)(USERS).shape == (len(USERS), 0)
        assert form.scorer(USERS[:2] % 2)(none).shape == (0, 2)
