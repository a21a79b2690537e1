"""Incremental update: new ratings replace old ones, rows are inserted, and touched rows are fitted."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from numpy_neural_mf import Architecture, NeuralMF, Ratings, random_split, simulate_ratings
from numpy_neural_mf.evaluation import rmse
from numpy_neural_mf.models.fitted import Fitted, interactions_of
from numpy_neural_mf.models.incremental_update import Update

IDS = st.sampled_from("abcdeé")
TABLES = st.dictionaries(st.tuples(IDS, IDS), st.sampled_from([1.0, 2.5, 5.0]), min_size=1, max_size=20)


def ratings_of(table):
    users, items = zip(*table, strict=True)
    return Ratings.from_columns(users, items, list(table.values()), scale=(1, 5))


def fitted_to(ratings):
    ids = ratings.user_ids, ratings.item_ids
    return Fitted(*ids, ratings.scale, interactions_of(ratings, *ids), model=None)


@given(old=TABLES, new=TABLES)
def test_it_is_the_union_and_the_new_rating_of_a_pair_wins(old, new):
    update = Update.of(fitted_to(ratings_of(old)), ratings_of(new))
    seen = update.interactions
    users, items = update.user_ids[seen.users], update.item_ids[seen.items]
    assert dict(zip(zip(users, items, strict=True), seen.ratings, strict=True)) == old | new
    assert update.user_ids.tolist() == sorted({user for user, _ in [*old, *new]})
    assert update.user_ids[update.old_users].tolist() == sorted({user for user, _ in old})
    assert update.item_ids[update.old_items].tolist() == sorted({item for _, item in old})
    touched = zip(update.new.raw_users, update.new.raw_items, strict=True)
    assert set(touched) == set(new)


def test_ids_of_two_types_are_refused():
    old, new = ratings_of({("a", "b"): 1.0}), Ratings.from_columns(["a"], [1], [2.0], scale=(1, 5))
    with pytest.raises(ValueError, match=r"expected item ids that are strings, .* found integers"):
        Update.of(fitted_to(old), new)


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


def test_only_rows_with_new_ratings_become_more_certain(model):
    before, old_users = model.variances_, model.user_ids_
    user = int(RATINGS.raw_users[0])
    unrated = np.setdiff1d(RATINGS.item_ids, RATINGS.raw_items[RATINGS.raw_users == user])
    items = [*unrated, *unrated + 1_000][:20]
    model.partial_fit(Ratings.from_columns([user] * 20, items, [3.0] * 20, scale=(1, 5)))
    for name in ("user_embedding.weight", "user_bias.weight"):
        now, then = model.variances_[name], before[name]
        place = np.flatnonzero(old_users == user)[0]
        assert (now[place] < then[place]).all()
        others = np.arange(len(old_users)) != place
        np.testing.assert_array_equal(now[:-1][others], then[:-1][others])


def test_an_error_during_the_update_leaves_the_model_unchanged(model, monkeypatch):
    before = {name: value.tobytes() for name, value in model.parameters_.items()}
    ids = model.user_ids_

    def fail(*given):
        raise MemoryError

    monkeypatch.setattr("numpy_neural_mf.models.incremental_update.fill_unknown", fail)
    with pytest.raises(MemoryError):
        model.partial_fit(Ratings.from_columns([0, 900], [0, 5], [5.0, 1.0], scale=(1, 5)))
    assert {name: value.tobytes() for name, value in model.parameters_.items()} == before
    assert model.user_ids_ is ids


def test_an_update_that_overflows_leaves_the_model_unchanged(model):
    state = model.fitted_
    model.parameters_["item_bias.weight"][:] = 3e38
    with np.errstate(all="ignore"), pytest.raises(FloatingPointError, match=r"item_bias.* is not finite"):
        model.partial_fit(Ratings.from_columns([0, 900], [0, 5], [5.0, 1.0], scale=(1, 5)))
    assert model.fitted_ is state


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
