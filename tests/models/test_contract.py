"""The contract of every model: what users may rely on, whichever they hold."""

from functools import partial

import numpy as np
import pandas
import polars
import pytest

from numpy_neural_mf import (
    A_SMALL,
    B_MEDIUM,
    C_WIDE,
    Architecture,
    GlobalMean,
    LinearRegression,
    NeuralMF,
    Ratings,
    load_model,
    random_split,
    simulate_ratings,
)
from numpy_neural_mf.models import Recommender

RATINGS = simulate_ratings(n_users=60, n_items=40, n_ratings=1_200, random_state=1)

fast = partial(NeuralMF, epochs=2, batch_size=256)
MODELS = {
    "GlobalMean": GlobalMean,
    "LinearRegression": LinearRegression,
    "A_SMALL": partial(fast, A_SMALL),
    "B_MEDIUM": partial(fast, B_MEDIUM),
    "C_WIDE": partial(fast, C_WIDE),
    "without MLP": partial(fast, Architecture(embedding_dim=4)),
    "biases alone": partial(fast, Architecture(product=False)),
    "MLP alone": partial(fast, Architecture(4, (8,), "gelu", biases=False, product=False)),
    "dropout": partial(fast, Architecture(4, (8,), dropout=0.3)),
    "all ratings": partial(fast, validation_fraction=0.0),
    "a wide scale": partial(fast, rating_scale=(0.0, 10.0)),
}


@pytest.fixture(params=MODELS)
def new_model(request):
    return MODELS[request.param]


@pytest.fixture
def fitted(new_model):
    return new_model().fit(RATINGS)


def with_string_ids(ratings):
    users, items = (np.char.add(p, a.astype(str)) for p, a in (("u", ratings.users), ("i", ratings.items)))
    return Ratings.from_columns(users, items, ratings.values, scale=ratings.scale)


def test_a_model_is_a_recommender_and_fit_returns_it(new_model):
    model = new_model()
    assert isinstance(model, Recommender)
    assert model.fit(RATINGS) is model


def test_training_tells_which_ids_it_saw(fitted):
    np.testing.assert_array_equal(fitted.user_ids_, np.unique(RATINGS.raw_users))
    np.testing.assert_array_equal(fitted.item_ids_, np.unique(RATINGS.raw_items))


@pytest.mark.parametrize(
    ("users", "items", "shape"),
    [
        (1, 2, ()),
        ([1], [2], (1,)),
        ([1, 2, 3], [4, 5, 6], (3,)),
        (1, [4, 5, 6], (3,)),
        ([1, 2, 3], 4, (3,)),
        ([[1], [2]], [[3, 4, 5]], (2, 3)),
        ([], [], (0,)),
        (np.array([1, 2], np.int32), np.array([3, 4], np.int64), (2,)),
    ],
)
def test_predictions_have_the_shape_of_the_ids_and_are_float32(fitted, users, items, shape):
    prediction = fitted.predict(users, items)
    assert prediction.shape == shape
    assert prediction.dtype == np.float32


def test_a_pair_is_predicted_the_same_alone_and_among_others(fitted):
    users, items = RATINGS.raw_users[:50], RATINGS.raw_items[:50]
    together = fitted.predict(users, items)
    alone = [float(fitted.predict(u, i)) for u, i in zip(users, items, strict=True)]
    np.testing.assert_allclose(together, alone, rtol=1e-5)


def test_shapes_that_do_not_match_are_refused(fitted):
    with pytest.raises(ValueError, match="shape"):
        fitted.predict([1, 2, 3], [1, 2])


def test_predictions_lie_within_the_rating_scale(fitted):
    lowest, highest = fitted.rating_scale_
    everything = fitted.predict(RATINGS.user_ids[:, None], RATINGS.item_ids[None])
    assert lowest <= everything.min()
    assert everything.max() <= highest


def test_the_unknown_gets_an_estimate_within_the_scale(fitted):
    lowest, highest = fitted.rating_scale_
    users, items = [1, 10**9, 10**9, -5, "nobody", 2.5, None], [10**9, 1, 10**9, "none", 3, 4, 5]
    prediction = fitted.predict(users, items)
    assert np.isfinite(prediction).all()
    assert ((lowest <= prediction) & (prediction <= highest)).all()
    assert prediction[2] == fitted.predict("nobody", "nothing")  # one stranger is like another
    assert abs(prediction[2] - RATINGS.mean) < 0.5


def test_ids_may_be_strings(new_model):
    """Indices differ, since strings sort in another way: what is learned does not."""
    model = new_model().fit(with_string_ids(RATINGS))
    assert model.user_ids_.dtype.kind == "U"
    prediction = model.predict(["u1", "u2", "u0"], ["i3", "never seen", "i4"])
    assert np.isfinite(prediction).all()
    assert model.predict("u1", "i3") == pytest.approx(float(prediction[0]), rel=1e-6)
    assert model.predict(1, 3) == model.predict("nobody", "nothing")  # 1 is not "1", still less "u1"


def test_the_same_seed_gives_the_same_predictions(new_model, fitted):
    again = new_model().fit(RATINGS)
    everything = RATINGS.user_ids[:, None], RATINGS.item_ids[None]
    assert fitted.predict(*everything).tobytes() == again.predict(*everything).tobytes()


def test_fit_learns_from_scratch(new_model, fitted):
    everything = RATINGS.user_ids[:, None], RATINGS.item_ids[None]
    expected = fitted.predict(*everything)
    other = new_model().fit(with_string_ids(RATINGS.take(np.arange(300))))
    np.testing.assert_array_equal(other.fit(RATINGS).predict(*everything), expected)
    np.testing.assert_array_equal(fitted.fit(RATINGS).predict(*everything), expected)


def test_predicting_before_fit_says_what_is_missing(new_model):
    with pytest.raises(RuntimeError, match="is not fitted: call fit first"):
        new_model().predict([1], [2])


@pytest.mark.parametrize("given", [None, [[1, 2, 3.0]], np.zeros((3, 3)), "ratings.csv"])
def test_fit_takes_ratings_and_nothing_else(new_model, given):
    with pytest.raises(TypeError, match="expected Ratings"):
        new_model().fit(given)


def test_there_must_be_a_rating_to_learn_from(new_model):
    with pytest.raises(ValueError, match="at least one rating"):
        new_model().fit(RATINGS.take([]))


def test_ratings_are_left_as_they_are(new_model):
    ratings = simulate_ratings(n_users=60, n_items=40, n_ratings=1_200, random_state=1)
    new_model().fit(ratings)
    for name in ("users", "items", "values", "user_ids", "item_ids"):
        np.testing.assert_array_equal(getattr(ratings, name), getattr(RATINGS, name))


def test_validation_ratings_may_be_handed_in_strangers_among_them(new_model):
    train, validation = random_split(RATINGS.take(RATINGS.users < 50), 0.3)
    strangers = RATINGS.take((RATINGS.users >= 50) | (RATINGS.items > 30))
    for held_out in (validation, strangers, with_string_ids(validation)):
        model = new_model().fit(train, held_out)
        np.testing.assert_array_equal(model.user_ids_, np.unique(train.raw_users))
        assert np.isfinite(model.predict(held_out.raw_users, held_out.raw_items)).all()


def test_parameters_are_counted(fitted):
    n_users, n_items = len(fitted.user_ids_), len(fitted.item_ids_)
    if isinstance(fitted, NeuralMF):
        shapes = fitted.architecture.parameter_shapes(n_users, n_items).values()
        assert fitted.n_parameters_ == sum(int(np.prod(shape)) for shape in shapes)
    else:
        assert fitted.n_parameters_ == (1 if isinstance(fitted, GlobalMean) else 1 + n_users + n_items)


def test_more_pairs_than_a_block_are_predicted_alike(fitted):
    n = 70_000
    users = np.resize(RATINGS.raw_users[:97], n)
    items = np.resize(RATINGS.raw_items[:97], n)
    prediction = fitted.predict(users, items)
    np.testing.assert_allclose(prediction, np.resize(prediction[:97], n), rtol=1e-5)


EVERYTHING = RATINGS.user_ids[:, None], RATINGS.item_ids[None]


def unclipped(model):
    """Ratings of all users and items, as the model's own pairs say."""
    users, items = np.indices((len(model.user_ids_), len(model.item_ids_))).astype(np.int32)
    return model._predict(users.ravel(), items.ravel()).reshape(users.shape).astype(np.float32)


@pytest.mark.parametrize("exclude_seen", [True, False])
def test_recommended_are_the_items_of_highest_prediction(fitted, exclude_seen):
    scores = unclipped(fitted)
    if exclude_seen:
        scores[RATINGS.users, RATINGS.items] = -np.inf
    recommended = fitted.recommend(RATINGS.user_ids, n=5, exclude_seen=exclude_seen)
    assert recommended.shape == (60, 5)
    chosen = np.take_along_axis(scores, np.searchsorted(fitted.item_ids_, recommended.data), axis=1)
    missing = np.ma.getmaskarray(recommended)
    assert np.array_equal(missing.sum(axis=1), np.maximum(5 - np.isfinite(scores).sum(axis=1), 0))
    best = -np.sort(-scores, axis=1)[:, :5]
    np.testing.assert_allclose(chosen[~missing], best[~missing], rtol=1e-5)  # ties and rounding aside
    assert all(len(set(row.compressed())) == row.count() for row in recommended)


def test_recommendations_come_with_what_predict_says_of_them(fitted):
    items, scores = fitted.recommend(RATINGS.user_ids, n=7, with_scores=True)
    assert scores.dtype == np.float32
    np.testing.assert_array_equal(items.mask, scores.mask)
    np.testing.assert_array_equal(items.data, fitted.recommend(RATINGS.user_ids, n=7).data)
    predicted = fitted.predict(RATINGS.user_ids[:, None], items.data)
    np.testing.assert_allclose(scores.compressed(), predicted[~items.mask], rtol=1e-5)


def test_recommendations_have_the_shape_of_the_users(fitted):
    assert fitted.recommend(1).shape == (10,)
    assert fitted.recommend([1, 2, 1], n=3).shape == (3, 3)
    assert fitted.recommend([[1, 2]], 3).shape == (1, 2, 3)
    assert fitted.recommend([], n=3).shape == (0, 3)
    np.testing.assert_array_equal(fitted.recommend([2, 1, 2], 3)[0], fitted.recommend(2, 3))


def test_where_fewer_items_are_left_the_rest_is_masked(fitted):
    everything, scores = fitted.recommend(1, n=45, exclude_seen=False, with_scores=True)
    assert everything.count() == scores.count() == 40
    assert everything.tolist()[40:] == scores.tolist()[40:] == [None] * 5
    assert sorted(everything.compressed()) == RATINGS.item_ids.tolist()
    unseen = fitted.recommend(1, n=45).compressed()
    assert set(unseen).isdisjoint(RATINGS.raw_items[RATINGS.raw_users == 1])


def test_candidates_are_what_is_chosen_from_the_unknown_left_out(fitted):
    chosen = fitted.recommend([1, "nobody"], n=4, exclude_seen=False, candidates=[5, 7, 7, "no item", 3])
    assert [sorted(row.compressed()) for row in chosen] == [[3, 5, 7], [3, 5, 7]]
    assert fitted.recommend(1, candidates=[]).count() == 0


def test_a_stranger_is_recommended_what_is_best_for_the_unknown(fitted):
    recommended, scores = fitted.recommend("nobody", n=40, with_scores=True)
    assert recommended.count() == 40
    np.testing.assert_allclose(scores, fitted.predict("nobody", recommended.data), rtol=1e-5)
    assert (np.diff(scores) <= 0).all()


@pytest.mark.parametrize("n", [0, -1, 2.5, "3", None])
def test_how_many_is_a_whole_number(fitted, n):
    for ask in (fitted.recommend, fitted.similar_items, fitted.similar_users):
        with pytest.raises(ValueError, match="n must be a whole number, at least 1"):
            ask(1, n)


def test_ids_that_are_strings_come_out_as_strings(new_model):
    model = new_model().fit(with_string_ids(RATINGS))
    recommended = model.recommend(["u3", "nobody"], n=3)
    assert recommended.dtype.kind == "U"
    assert set(recommended.compressed()) <= set(model.item_ids_)


def test_one_may_ask_which_pairs_are_known(fitted):
    np.testing.assert_array_equal(
        fitted.known([1, "nobody", 1, None], [2, 2, 10**9, 3]), [True, False, False, False]
    )
    assert fitted.known(1, 2) == np.True_
    assert fitted.known(*EVERYTHING).shape == (60, 40)


@pytest.mark.parametrize("library", [polars, pandas], ids=["polars", "pandas"])
def test_columns_of_data_frames_are_ids(fitted, library):
    frame = library.DataFrame({"user": [1, 2, 10**9], "item": [4, 5, 6]})
    expected = fitted.predict([1, 2, 10**9], [4, 5, 6])
    np.testing.assert_array_equal(fitted.predict(frame["user"], frame["item"]), expected)
    np.testing.assert_array_equal(fitted.known(frame["user"], frame["item"]), [True, True, False])
    np.testing.assert_array_equal(fitted.recommend(frame["user"]), fitted.recommend([1, 2, 10**9]))
    strings = library.Series(["1", None])
    np.testing.assert_array_equal(fitted.known(strings, 4), [False, False])


def test_similar_are_those_of_like_embeddings_where_there_are_any(fitted):
    for side, ask in (("user", fitted.similar_users), ("item", fitted.similar_items)):
        if not (isinstance(fitted, NeuralMF) and fitted.architecture.has_embeddings):
            with pytest.raises(ValueError, match=f"has no embeddings to compare {side}s by"):
                ask(1)
            continue
        ids, cosines = ask(1, n=100)
        assert sorted(ids) == sorted({*getattr(fitted, f"{side}_ids_")} - {1})
        assert (np.diff(cosines) <= 0).all()
        assert np.abs(cosines).max() <= 1
        with pytest.raises(ValueError, match=f"{side} 'x' is unknown"):
            ask("x")


def test_whatever_is_asked_before_fit_says_what_is_missing(new_model):
    model = new_model()
    for ask in (model.recommend, model.similar_items, model.similar_users, lambda u: model.known(u, 1)):
        with pytest.raises(RuntimeError, match="is not fitted: call fit first"):
            ask(1)


def test_a_model_saved_and_loaded_is_the_same_bit_for_bit(fitted, tmp_path):
    fitted.save(tmp_path / "deep" / "model.safetensors")
    loaded = load_model(str(tmp_path / "deep" / "model.safetensors"))
    assert type(loaded) is type(fitted)
    for name in ("user_ids_", "item_ids_", "rating_scale_", "n_parameters_"):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(fitted, name))
    strangers = ["nobody", 1], [1, "nothing"]
    for pairs in (EVERYTHING, strangers):
        assert loaded.predict(*pairs).tobytes() == fitted.predict(*pairs).tobytes()
    for exclude_seen in (True, False):
        ours, theirs = (m.recommend([1, 2, "nobody"], exclude_seen=exclude_seen) for m in (loaded, fitted))
        assert ours.tolist() == theirs.tolist()
