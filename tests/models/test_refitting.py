"""partial_fit of a trained model: rows come in, those touched are fitted, the rest stays."""

import numpy as np
import pytest

from numpy_neural_mf import Architecture, NeuralMF, Ratings, random_split, simulate_ratings
from numpy_neural_mf.evaluation import rmse

RATINGS = simulate_ratings(n_users=60, n_items=40, n_ratings=1_200, random_state=1)


@pytest.fixture
def model():
    return NeuralMF(Architecture(4, (8,)), epochs=3, batch_size=64).fit(RATINGS)


def test_only_rows_that_a_new_rating_touches_move(model):
    before = {name: value.copy() for name, value in model.parameters_.items()}
    history, more = model.history_, Ratings.from_columns([0, 900], [0, 5], [5.0, 1.0], scale=(1, 5))
    old_users, old_items = model.user_ids_, model.item_ids_
    model.partial_fit(more)
    for name, value in model.parameters_.items():
        if name[:4] not in ("user", "item"):
            np.testing.assert_array_equal(value, before[name])
            continue
        ids, old, touched = (
            (model.user_ids_, old_users, [0, 900])
            if name.startswith("user")
            else (model.item_ids_, old_items, [0, 5])
        )
        now = value[np.searchsorted(ids, old)]
        moved = (now != before[name][:-1]).any(axis=1)
        assert set(old[moved].tolist()) == {*touched} & {*old.tolist()}
        np.testing.assert_allclose(value[-1], value[:-1].mean(axis=0), atol=1e-6)
    assert model.history_ is history


def test_an_error_on_the_way_leaves_the_model_as_it_was(model, monkeypatch):
    before = {name: value.tobytes() for name, value in model.parameters_.items()}
    ids = model.user_ids_

    def fail(*given):
        raise MemoryError

    monkeypatch.setattr("numpy_neural_mf.models.refitting.fill_unknown", fail)
    with pytest.raises(MemoryError):
        model.partial_fit(Ratings.from_columns([0, 900], [0, 5], [5.0, 1.0], scale=(1, 5)))
    assert {name: value.tobytes() for name, value in model.parameters_.items()} == before
    assert model.user_ids_ is ids


@pytest.mark.parametrize("architecture", [Architecture(4), Architecture(4, (8,))], ids=["biased MF", "MLP"])
def test_the_old_are_not_forgotten_and_the_new_are_learned(architecture):
    ratings = simulate_ratings(n_users=300, n_items=100, n_ratings=12_000, random_state=2)
    is_new = (ratings.users % 10 == 0) | (ratings.items % 10 == 0)
    old, test = random_split(ratings.take(~is_new), 0.2)
    more, new_test = random_split(ratings.take(is_new), 0.2)
    model = NeuralMF(architecture, epochs=8).fit(old)

    def errors():
        return [rmse(model.predict(r.raw_users, r.raw_items), r.values) for r in (test, new_test)]

    before, new_before = errors()
    for batch in np.array_split(np.arange(len(more)), 3):
        model.partial_fit(more.take(batch))
    after, new_after = errors()
    assert after <= before + 0.005
    assert new_after < new_before - 0.05
