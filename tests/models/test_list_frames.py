"""Top-N lists as data frames agree with the arrays, and convert directly to JSON."""

import json

import numpy as np
import polars as pl
import pytest

from numpy_neural_mf import GlobalMean, ItemKNN, NeuralMF, NextItemModel, Ratings, simulate_ratings

RATINGS = simulate_ratings(n_users=40, n_items=30, n_ratings=600, random_state=1)
TITLES = {item: f"Film №{item}" for item in RATINGS.item_ids.tolist() if item != 3}
TITLED = RATINGS.with_titles(TITLES)
MODEL = NeuralMF(embedding_dim=4, epochs=2, batch_size=64).fit(TITLED)
BOUNDS = ["low", "high"]


def assert_is_json(frame):
    assert json.loads(json.dumps(frame.to_dicts())) == frame.to_dicts()


@pytest.mark.parametrize("users", [1, [1, 2], np.array([[1, 2], [3, 4]]), {2, 1}, pl.Series([5, 1])])
@pytest.mark.parametrize("n", [3, 40])
def test_a_frame_has_a_row_for_each_listed_item(users, n):
    items, scores = MODEL.recommend(users, n, with_scores=True)
    frame = MODEL.recommend(users, n, as_frame=True)
    assert frame.columns == ["user", "item", "title", "rank", "score", "low", "high"]
    assert frame["item"].to_list() == items.compressed().tolist()
    assert frame["score"].to_list() == scores.compressed().tolist()
    assert frame["title"].to_list() == [TITLES.get(item, "") for item in frame["item"]]
    for (user,), part in frame.group_by("user"):
        assert part["rank"].to_list() == [*range(1, len(part) + 1)]
        assert part["item"].to_list() == MODEL.recommend(user, n).compressed().tolist()
    bounds = MODEL.predict_interval(frame["user"], frame["item"])
    np.testing.assert_array_equal(frame.select(BOUNDS).to_numpy().T, bounds)
    assert frame.schema["user"] == frame.schema["item"] == pl.Int64
    assert_is_json(frame)


def test_users_of_a_generator_are_listed():
    assert MODEL.recommend(iter([2, 1]), 1, as_frame=True)["user"].to_list() == [2, 1]


def test_unknown_users_are_listed_by_their_ids():
    assert MODEL.recommend(["nobody", 1], 1, as_frame=True)["user"].to_list() == ["nobody", "1"]
    assert MODEL.recommend([10**6, "1"], 1, as_frame=True)["user"].to_list() == [10**6, 1]
    assert len(MODEL.recommend([], 3, as_frame=True)) == 0


@pytest.mark.parametrize("ratings", [{1: 5.0, 7: 1.0}, {}])
def test_the_list_of_a_folded_in_user_has_no_user_column(ratings):
    ann = MODEL.fold_in(ratings)
    frame = MODEL.recommend(ann, 5, as_frame=True)
    assert frame.columns == ["item", "title", "rank", "score", "low", "high"]
    assert frame["item"].to_list() == MODEL.recommend(ann, 5).tolist()
    np.testing.assert_array_equal(
        frame.select(BOUNDS).to_numpy().T, MODEL.predict_interval(ann, frame["item"])
    )
    assert_is_json(frame)


def test_folded_in_items_have_their_own_intervals():
    new = MODEL.fold_in_item(999, {5: 5.0, 6: 5.0, 7: 4.0})
    for users in ([1, 2], MODEL.fold_in({1: 5.0})):
        frame = MODEL.recommend(users, 31, new_items=[new], as_frame=True)
        rows = frame.filter(item=999)
        asked = rows["user"].to_list() if "user" in rows.columns else users
        bounds = np.reshape(MODEL.predict_interval(asked, new), (2, -1))
        np.testing.assert_array_equal(rows.select(BOUNDS).to_numpy().T, bounds)
        assert rows["title"].to_list() == [""] * bounds.shape[1]


def test_without_titles_or_intervals_there_are_no_such_columns():
    frame = GlobalMean().fit(RATINGS).recommend([1, 2], 3, as_frame=True)
    assert frame.columns == ["user", "item", "rank", "score"]
    assert_is_json(frame)


@pytest.mark.parametrize("model", [MODEL, ItemKNN().fit(TITLED)], ids=["NeuralMF", "ItemKNN"])
def test_similar_items_have_titles_and_cosines(model):
    ids, cosines = model.similar_items(1, 4)
    frame = model.similar_items(1, 4, as_frame=True)
    assert frame.columns == ["item", "title", "rank", "score"]
    assert (frame["item"].to_list(), frame["score"].to_list()) == (ids.tolist(), cosines.tolist())
    assert frame["title"].to_list() == [TITLES.get(item, "") for item in ids.tolist()]
    assert frame["rank"].to_list() == [*range(1, len(ids) + 1)]
    assert_is_json(frame)


def test_similar_users_are_users():
    frame = MODEL.similar_users(1, 4, as_frame=True)
    assert frame.columns == ["user", "rank", "score"]
    assert frame["user"].to_list() == MODEL.similar_users(1, 4)[0].tolist()


def test_text_ids_are_text():
    strings = Ratings.from_columns(
        RATINGS.raw_users.astype(str), RATINGS.raw_items.astype(str), RATINGS.values
    )
    model = GlobalMean().fit(strings.with_titles(TITLES))
    frame = model.recommend(["1", 2], 2, as_frame=True)
    assert frame.schema["user"] == frame.schema["item"] == frame.schema["title"] == pl.String
    assert frame["title"].to_list() == [TITLES.get(int(item), "") for item in frame["item"]]
    assert model.recommend([], 2, as_frame=True).schema["title"] == pl.String
    assert_is_json(frame)


def test_lists_of_the_next_item_are_frames_too():
    pytest.importorskip("torch")
    timed = simulate_ratings(n_users=30, n_items=20, n_ratings=300, sequence=0.4).with_titles({1: "Up"})
    model = NextItemModel(embedding_dim=4, epochs=1).fit(timed)
    frame = model.recommend(iter([1, 2]), 3, as_frame=True)
    assert frame.columns == ["user", "item", "title", "rank", "score"]
    assert frame["item"].to_list() == model.recommend([1, 2], 3).ravel().tolist()
    after = model.recommend_after([5, 7], 3, as_frame=True)
    assert after.columns == ["item", "title", "rank", "score"]
    assert after["item"].to_list() == model.recommend_after([5, 7], 3).tolist()
    assert_is_json(after)
