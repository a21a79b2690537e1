"""The contract of every model: what users may rely on."""

import inspect
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from copy import deepcopy
from dataclasses import FrozenInstanceError, replace
from functools import cache, partial

import numpy as np
import pandas
import polars
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from threadpoolctl import threadpool_info

from numpy_neural_mf import (
    A_SMALL,
    B_MEDIUM,
    C_WIDE,
    Architecture,
    BayesianMF,
    Features,
    GlobalMean,
    ItemKNN,
    LinearRegression,
    NeuralMF,
    NextItemModel,
    Ratings,
    load_model,
    random_split,
    simulate_ratings,
)
from numpy_neural_mf.evaluation import rmse
from numpy_neural_mf.models import Recommender
from numpy_neural_mf.models.recommend import BOUNDS

RATINGS = simulate_ratings(n_users=60, n_items=40, n_ratings=1_200, random_state=1)
GENRES = ["Crime|Drama", "Comedy", None, "Drama", "Comedy|Crime"] * 8
RATINGS = replace(RATINGS, timestamps=np.random.default_rng(2).integers(0, 5_000, len(RATINGS)))
RATINGS = RATINGS.with_features(items=Features.from_frame({"id": RATINGS.item_ids, "genres": GENRES}))

fast = partial(NeuralMF, epochs=3, batch_size=32)
MODELS = {
    "GlobalMean": GlobalMean,
    "LinearRegression": LinearRegression,
    "ItemKNN": partial(ItemKNN, k=10),
    "BayesianMF": partial(BayesianMF, 4, n_samples=8, burn_in=2, rank=6),
    "A_SMALL": partial(fast, A_SMALL),
    "B_MEDIUM": partial(fast, B_MEDIUM),
    "C_WIDE": partial(fast, C_WIDE),
    "without MLP": partial(fast, Architecture(embedding_dim=4)),
    "only biases": partial(fast, Architecture(product=False)),
    "only the MLP": partial(
        fast, Architecture(4, (8,), "gelu", biases=False, product=False), epochs=10, learning_rate=0.03
    ),
    "drift": partial(fast, Architecture(4, drift=True)),
    "features": partial(fast, Architecture(4, (8,), features=True)),
    "implicit": partial(fast, Architecture(4, implicit=True)),
    "features and implicit": partial(fast, A_SMALL, features=True, implicit=True),
    "periods": partial(fast, A_SMALL, periods=6),
    "previous item": partial(fast, A_SMALL, previous_item=True),
    "periods, drift and previous item": partial(
        fast, Architecture(4, periods=3, drift=True, previous_item=True)
    ),
    "periods and features": partial(fast, Architecture(4, periods=3, features=True)),
    "ordinal": partial(fast, Architecture(4, (8,), likelihood="ordinal")),
    "ordinal, periods and features": partial(
        fast, Architecture(4, periods=3, features=True, likelihood="ordinal")
    ),
    "a wide scale": partial(fast, rating_scale=(0.0, 10.0)),
}


@pytest.fixture(params=MODELS)
def new_model(request):
    return MODELS[request.param]


@cache
def fitted_once(make):
    return make().fit(RATINGS)


@pytest.fixture
def fitted(new_model):
    """A copy, which a test may change."""
    return deepcopy(fitted_once(new_model))


def with_string_ids(ratings):
    users, items = (np.char.add(p, a.astype(str)) for p, a in (("u", ratings.users), ("i", ratings.items)))
    strings = Ratings.from_columns(users, items, ratings.values, ratings.timestamps, ratings.scale)
    names = np.char.add("i", np.arange(40).astype(str))
    return strings.with_features(items=Features.from_frame({"id": names, "genres": GENRES}))


def test_a_model_is_a_recommender_and_fit_returns_it(new_model):
    model = new_model()
    assert isinstance(model, Recommender)
    assert model.fit(RATINGS) is model


def test_a_model_lists_the_ids_of_training(fitted):
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


def test_a_pair_has_the_same_prediction_in_any_batch(fitted):
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
    stranger = pytest.approx(float(fitted.predict("nobody", "nothing")), rel=1e-6)
    assert prediction[2] == stranger  # all unknown users are alike
    assert abs(prediction[2] - RATINGS.mean) < 0.5


def test_ids_may_be_strings(new_model):
    """Indices differ, as strings sort differently, but the model is the same."""
    model = new_model().fit(with_string_ids(RATINGS))
    assert model.user_ids_.dtype.kind == "U"
    prediction = model.predict(["u1", "u2", "u0"], ["i3", "never seen", "i4"])
    assert np.isfinite(prediction).all()
    assert model.predict("u1", "i3") == pytest.approx(float(prediction[0]), rel=1e-6)
    assert model.predict(1, 3) == model.predict("nobody", "nothing")  # 1 is not "u1"


def test_an_integer_id_equals_its_text_as_in_keys_of_json(fitted):
    for written, number in (("1", 1), (["1", "2"], [1, 2])):
        np.testing.assert_array_equal(fitted.predict(written, "3"), fitted.predict(number, 3))
        np.testing.assert_array_equal(fitted.recommend(written), fitted.recommend(number))
    rows = [fitted.fold_in(ratings).row for ratings in ({"3": 5.0, "4": 1.0}, {3: 5.0, 4: 1.0})]
    assert [*rows[0]] == [*rows[1]]
    np.testing.assert_equal(*rows)
    assert not fitted.known("01", "1.0")
    with pytest.raises(ValueError, match="ratings: expected each id once"):
        fitted.fold_in({3: 5.0, "3": 1.0})


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


@pytest.mark.parametrize("model", [BayesianMF, ItemKNN, LinearRegression, NeuralMF, NextItemModel])
def test_an_unknown_keyword_is_named_with_the_nearest(model):
    known = next(iter(inspect.signature(model).parameters))
    with pytest.raises(
        TypeError, match=f"{model.__name__} has no setting '{known}s'; did you mean '{known}'"
    ):
        model(**{f"{known}s": 3})
    with pytest.raises(TypeError, match=rf"{model.__name__} has no setting 'verbose'; it has {known}"):
        model(verbose=True)


def test_fields_of_the_architecture_are_settings_of_a_neural_mf():
    with pytest.raises(TypeError, match="NeuralMF has no setting 'embed_dim'; did you mean 'embedding_dim'"):
        NeuralMF(embed_dim=3)


def test_predicting_before_fit_is_an_error_that_names_fit(new_model):
    with pytest.raises(RuntimeError, match="is not fitted: call fit first"):
        new_model().predict([1], [2])


@pytest.mark.parametrize("given", [None, [[1, 2, 3.0]], np.zeros((3, 3))])
def test_fit_takes_ratings_and_nothing_else(new_model, given):
    with pytest.raises(TypeError, match="expected Ratings"):
        new_model().fit(given)


def test_there_must_be_a_rating_to_learn_from(new_model):
    with pytest.raises(ValueError, match="at least one rating"):
        new_model().fit(RATINGS.take([]))


def test_fit_does_not_change_the_ratings(new_model):
    ratings = simulate_ratings(n_users=60, n_items=40, n_ratings=1_200, random_state=1)
    ratings = replace(ratings, timestamps=RATINGS.timestamps)
    new_model().fit(ratings.with_features(items=RATINGS.item_features))
    for name in ("users", "items", "values", "user_ids", "item_ids"):
        np.testing.assert_array_equal(getattr(ratings, name), getattr(RATINGS, name))


def test_validation_ratings_may_have_unknown_ids(new_model):
    train, validation = random_split(RATINGS.take(RATINGS.users < 50), 0.3)
    strangers = RATINGS.take((RATINGS.users >= 50) | (RATINGS.items > 30))
    for held_out in (validation, strangers, with_string_ids(validation)):
        model = new_model().fit(train, held_out)
        np.testing.assert_array_equal(model.user_ids_, np.unique(train.raw_users))
        assert np.isfinite(model.predict(held_out.raw_users, held_out.raw_items)).all()


def test_parameters_are_counted(fitted):
    n_users, n_items = len(fitted.user_ids_), len(fitted.item_ids_)
    if isinstance(fitted, NeuralMF | BayesianMF):
        form = fitted.architecture if isinstance(fitted, NeuralMF) else Architecture(fitted.rank)
        n_steps = len(fitted.rating_steps_)
        shapes = form.parameter_shapes(n_users, n_items, n_steps=n_steps).values()
        timed = []
        if isinstance(fitted, BayesianMF):
            mean = fitted.fitted_.model.mean
            timed = [drift.values for drift in mean.drifts]
            timed += [getattr(mean.context, name) for name in ("bias", "factors", "user", "item")]
        n_timed = sum(array.size for array in timed)
        assert fitted.n_parameters_ == sum(int(np.prod(shape)) for shape in shapes) + n_timed
    elif isinstance(fitted, GlobalMean):
        assert fitted.n_parameters_ == 1
    else:
        n_similarities = fitted.similarity_.nnz // 2 if isinstance(fitted, ItemKNN) else 0
        assert fitted.n_parameters_ == 1 + n_users + n_items + n_similarities


def test_more_pairs_than_a_block_have_the_same_predictions(fitted):
    n = 70_000
    users = np.resize(RATINGS.raw_users[:97], n)
    items = np.resize(RATINGS.raw_items[:97], n)
    prediction = fitted.predict(users, items)
    np.testing.assert_allclose(prediction, np.resize(prediction[:97], n), rtol=1e-5)


EVERYTHING = RATINGS.user_ids[:, None], RATINGS.item_ids[None]


def unclipped(model):
    """Return unclipped ratings of all users and items from the model's pairs."""
    users, items = np.indices((len(model.user_ids_), len(model.item_ids_))).astype(np.int32)
    return model.fitted_.model.scores(users.ravel(), items.ravel()).reshape(users.shape).astype(np.float32)


@pytest.mark.parametrize(("by", "multiple"), [*BOUNDS.items(), (None, -2)])
@pytest.mark.parametrize("exclude_seen", [True, False])
def test_items_with_the_highest_bound_are_recommended_by_default_the_lower(
    fitted, exclude_seen, by, multiple
):
    counts, unit = np.bincount(RATINGS.items, minlength=40), fitted.fitted_.model.likelihood.unit
    bound = multiple * RATINGS.values.std() / unit / np.sqrt(counts + 1)
    scores = unclipped(fitted) + bound.astype(np.float32)
    if exclude_seen:
        scores[RATINGS.users, RATINGS.items] = -np.inf
    by = {} if by is None else {"by": by}
    recommended = fitted.recommend(RATINGS.user_ids, n=5, exclude_seen=exclude_seen, **by)
    assert recommended.shape == (60, 5)
    chosen = np.take_along_axis(scores, np.searchsorted(fitted.item_ids_, recommended.data), axis=1)
    missing = np.ma.getmaskarray(recommended)
    assert np.array_equal(missing.sum(axis=1), np.maximum(5 - np.isfinite(scores).sum(axis=1), 0))
    best = -np.sort(-scores, axis=1)[:, :5]
    np.testing.assert_allclose(chosen[~missing], best[~missing], rtol=1e-5)  # ties and rounding aside
    assert all(len(set(row.compressed())) == row.count() for row in recommended)


def test_an_item_with_one_high_rating_is_not_ranked_first(new_model):
    """Item 98 has one rating, the highest; item 99 has forty, a step below it."""
    users = np.r_[0, :40]
    ratings = np.r_[5.0, [4.5] * 40]
    loved = Ratings.from_columns(users, np.r_[98, [99] * 40], ratings, 6_000 + users, scale=(0.5, 5))
    columns = (np.concatenate([getattr(r, n) for r in (RATINGS, loved)]) for n in
               ("raw_users", "raw_items", "values", "timestamps"))  # fmt: skip
    given = Ratings.from_columns(*columns, scale=(0.5, 5)).with_features(items=RATINGS.item_features)
    model = new_model().fit(given)
    chosen = model.recommend("nobody", candidates=[98, 99], n=1).tolist()
    assert chosen == [99]
    assert model.recommend("nobody", candidates=[98, 99], n=1, by="upper_bound").tolist() == [98]


def test_thompson_sampling_draws_lists_that_the_seed_determines(fitted):
    lists = [
        fitted.recommend([1, 2], by="thompson", rng=np.random.default_rng(seed)).tolist()
        for seed in (0, 0, 1)
    ]
    assert lists[0] == lists[1] != lists[2]
    for wrong in ({"by": "thompson"}, {"rng": np.random.default_rng(0)}):
        with pytest.raises(TypeError, match="rng: expected a Generator by"):
            fitted.recommend(1, **wrong)
    with pytest.raises(ValueError, match="by must be one of lower_bound, mean, upper_bound, thompson, not"):
        fitted.recommend(1, by="best")


def test_scores_of_recommendations_are_predictions(fitted):
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


def test_missing_recommendations_are_masked(fitted):
    everything, scores = fitted.recommend(1, n=45, exclude_seen=False, with_scores=True)
    assert everything.count() == scores.count() == 40
    assert everything.tolist()[40:] == scores.tolist()[40:] == [None] * 5
    assert sorted(everything.compressed()) == RATINGS.item_ids.tolist()
    unseen = fitted.recommend(1, n=45).compressed()
    assert set(unseen).isdisjoint(RATINGS.raw_items[RATINGS.raw_users == 1])


def test_lists_contain_only_known_candidates(fitted):
    chosen = fitted.recommend([1, "nobody"], n=4, exclude_seen=False, candidates=[5, 7, 7, "no item", 3])
    assert [sorted(row.compressed()) for row in chosen] == [[3, 5, 7], [3, 5, 7]]
    assert fitted.recommend(1, candidates=[]).count() == 0


COLLECTIONS = [list, set, frozenset, tuple, iter, np.array, polars.Series, pandas.Series, dict.fromkeys]


@pytest.mark.parametrize("collection", COLLECTIONS)
def test_candidates_and_exclusions_are_any_collection_of_ids(collection):
    model = MODELS["without MLP"]().fit(RATINGS)
    some, how = [3, 5, 7], {"n": 40, "exclude_seen": False}
    everything, best = model.recommend(1, **how).tolist(), model.similar_items(1, 40)[0].tolist()
    assert set(model.recommend(1, candidates=collection(some), **how).compressed()) == {*some}
    left = [item for item in everything if item not in some]
    assert model.recommend(1, exclude=collection(some), **how).compressed().tolist() == left
    assert model.similar_items(1, 40, candidates=collection(some))[0].tolist() == [
        item for item in best if item in some
    ]
    assert model.similar_items(1, 40, exclude=collection(some))[0].tolist() == [
        item for item in best if item not in some
    ]
    two = model.recommend(collection([2, 4]), 3)
    np.testing.assert_array_equal(two, model.recommend([2, 4], 3))


def test_excluded_items_are_in_no_list(fitted):
    everything = fitted.recommend([1, "nobody"], 40, exclude_seen=False)
    some = fitted.recommend(
        [1, "nobody"], 40, exclude_seen=False, exclude=["7", 3, 10**9], candidates=range(9)
    )
    for of_all, left in zip(everything, some, strict=True):
        assert left.compressed().tolist() == [item for item in of_all if item < 9 and item not in (3, 7)]
    new = fitted.fold_in_item(10**6, {1: 5.0})
    assert 10**6 in fitted.recommend(2, 41, new_items=[new])
    assert 10**6 not in fitted.recommend(2, 41, new_items=[new], exclude=(one for one in [10**6]))


def test_similar_items_and_users_are_candidates_that_are_not_excluded(fitted):
    for ask in (fitted.similar_items, fitted.similar_users):
        try:
            everything = ask(1, 100)[0].tolist()
        except ValueError:
            continue  # it has no embeddings
        some = ask(1, 100, candidates=range(20), exclude={3, 7})[0]
        assert some.tolist() == [one for one in everything if one < 20 and one not in (3, 7)]


@pytest.mark.parametrize("wrong", ["Comedy", 7, [{7}], object(), np.array([True, False])])
def test_anything_but_a_collection_of_ids_is_a_type_error(wrong):
    fitted = MODELS["without MLP"]().fit(RATINGS)
    for ask in (fitted.recommend, fitted.similar_items, fitted.similar_users):
        for name in ("candidates", "exclude"):
            with pytest.raises(TypeError, match="collection of ids, found"):
                ask(1, **{name: wrong})
    if not isinstance(wrong, str | int):
        for ask in (fitted.recommend, lambda ids: fitted.predict(ids, 1), lambda ids: fitted.predict(1, ids)):
            with pytest.raises(TypeError, match="expected an id or a collection of ids, found"):
                ask(wrong)


def test_methods_for_one_id_refuse_several(fitted):
    for ask in (fitted.similar_items, fitted.similar_users):
        if isinstance(fitted, BayesianMF):  # has embeddings of both sides
            with pytest.raises(TypeError, match="expected one id, found an array of shape"):
                ask({1, 2})
    with pytest.raises(TypeError, match=r"expected one user and one item, found ids of shape \(2,\)"):
        fitted.explain([1, 2], 3)


def test_a_folded_in_user_is_refused_in_a_list_of_users(fitted):
    with pytest.raises(TypeError, match="found NewUser among them"):
        fitted.recommend([fitted.fold_in({1: 5.0})])


def test_items_with_few_ratings_can_be_left_out(fitted):
    counts = dict(zip(*np.unique(fitted.ratings_.raw_items, return_counts=True), strict=True))
    least = int(np.median([*counts.values()]))
    chosen = fitted.recommend(1, n=40, exclude_seen=False, min_ratings=least).compressed()
    assert sorted(chosen) == [item for item, count in sorted(counts.items()) if count >= least]


def test_an_unknown_user_gets_the_best_items_of_the_unknown_row(fitted):
    recommended, scores = fitted.recommend("nobody", n=40, by="mean", with_scores=True)
    assert recommended.count() == 40
    np.testing.assert_allclose(scores, fitted.predict("nobody", recommended.data), rtol=1e-5)
    assert (np.diff(scores) <= 0).all()


@pytest.mark.parametrize("n", [0, -1, 2.5, "3", None])
def test_the_length_of_a_list_is_an_integer(fitted, n):
    for ask in (fitted.recommend, fitted.similar_items, fitted.similar_users):
        with pytest.raises((TypeError, ValueError), match="n must be an integer of at least 1"):
            ask(1, n)


def test_ids_that_are_strings_come_out_as_strings(new_model):
    model = new_model().fit(with_string_ids(RATINGS))
    recommended = model.recommend(["u3", "nobody"], n=3)
    assert recommended.dtype.kind == "U"
    assert set(recommended.compressed()) <= set(model.item_ids_)


def test_known_returns_which_pairs_are_known(fitted):
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
    np.testing.assert_array_equal(fitted.known(strings, 4), [True, False])


def test_similar_items_and_users_have_similar_embeddings(fitted):
    for side, ask in (("user", fitted.similar_users), ("item", fitted.similar_items)):
        if isinstance(fitted, ItemKNN) and side == "item":
            ids, similarities = ask(1, n=100)
            assert (np.diff(similarities) <= 0).all()
            assert set(ids) <= {*fitted.item_ids_} - {1}
            continue
        has_embeddings = isinstance(fitted, NeuralMF) and fitted.architecture.has_embeddings
        if not (has_embeddings or isinstance(fitted, BayesianMF)):
            with pytest.raises(ValueError, match=f"has no embeddings to compare {side}s by"):
                ask(1)
            continue
        ids, cosines = ask(1, n=100)
        assert sorted(ids) == sorted({*getattr(fitted, f"{side}_ids_")} - {1})
        assert (np.diff(cosines) <= 0).all()
        assert np.abs(cosines).max() <= 1
        with pytest.raises(ValueError, match=f"{side} 'x' is unknown"):
            ask("x")


def test_similar_items_may_require_a_number_of_ratings(fitted):
    counts = dict(zip(*np.unique(RATINGS.raw_items, return_counts=True), strict=True))
    enough = int(np.median(list(counts.values())))
    has_embeddings = isinstance(fitted, NeuralMF) and fitted.architecture.has_embeddings
    if has_embeddings or isinstance(fitted, ItemKNN | BayesianMF):
        everything, some = fitted.similar_items(1, n=100)[0], fitted.similar_items(1, 100, enough)[0]
        assert some.tolist() == [item for item in everything.tolist() if counts.get(item, 0) >= enough]


def test_every_method_before_fit_is_an_error_that_names_fit(new_model):
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


ANN = {1: 5.0, 7: 1.0, 12: 4.0, 20: 2.5}
FANS = {3: 5.0, 4: 5.0, 9: 4.5}


def test_a_new_user_is_accepted_in_place_of_users(fitted):
    ann = fitted.fold_in(ANN | {"no item": 3.0})
    assert fitted.predict(ann, 3).shape == ()
    assert fitted.predict(ann, [[1, 2], [3, 4]]).shape == (2, 2)
    assert fitted.predict(ann, [1, "no item"]).dtype == np.float32
    np.testing.assert_array_equal(fitted.known(ann, [1, "no item"]), [True, False])
    items, scores = fitted.recommend(ann, n=40, with_scores=True)
    assert sorted(items.compressed()) == sorted({*RATINGS.item_ids.tolist()} - {*ANN})
    np.testing.assert_allclose(scores.compressed(), fitted.predict(ann, items.compressed()), rtol=1e-5)
    assert fitted.recommend(ann, n=40, exclude_seen=False).count() == 40


def test_a_new_item_is_accepted_in_place_of_items(fitted):
    dune = fitted.fold_in_item(1_000, FANS | {"nobody": 3.0})
    assert dune.id == 1_000
    assert fitted.predict(3, dune).shape == ()
    prediction = fitted.predict([[1, 2], [3, "nobody"]], dune)
    assert (prediction.shape, prediction.dtype) == ((2, 2), np.float32)
    assert fitted.rating_scale_[0] <= prediction.min()
    assert prediction.max() <= fitted.rating_scale_[1]
    np.testing.assert_array_equal(fitted.known([1, "nobody"], dune), [True, False])
    ann = fitted.fold_in(ANN)
    assert fitted.predict(ann, dune).shape == ()
    assert fitted.known(ann, dune)


@pytest.mark.parametrize("ratings", [{}, {"nothing": 3.0}])
def test_a_folded_in_user_without_known_ratings_is_like_an_unknown_one(fitted, ratings):
    with pytest.warns(UserWarning, match="none of the 1 ratings") if ratings else nullcontext():
        user = fitted.fold_in(ratings)
    with pytest.warns(UserWarning, match="none of the 1 ratings") if ratings else nullcontext():
        item = fitted.fold_in_item(1_000, ratings)
    assert not fitted.known(user, RATINGS.item_ids).any()
    assert not fitted.known(RATINGS.user_ids, item).any()
    assert fitted.recommend(user, new_items=[item]).tolist() == fitted.recommend("nobody").tolist()
    if hasattr(fitted, "predict_interval"):
        ours, theirs = (fitted.predict_interval(u, RATINGS.item_ids) for u in (user, "nobody"))
        np.testing.assert_allclose(ours, theirs, rtol=1e-5)
    expected = fitted.predict("nobody", RATINGS.item_ids)
    np.testing.assert_allclose(fitted.predict(user, RATINGS.item_ids), expected, rtol=1e-5)
    expected = fitted.predict(RATINGS.user_ids, "nothing")
    np.testing.assert_allclose(fitted.predict(RATINGS.user_ids, item), expected, rtol=1e-5)


def test_liked_items_have_higher_predictions_after_folding_in(fitted):
    high, low = fitted.rating_scale_[1], fitted.rating_scale_[0]
    some = range(1, 21)
    lover, hater = (fitted.fold_in(dict.fromkeys(some, rating)) for rating in (high, low))
    good, bad = (fitted.fold_in_item(1_000, dict.fromkeys(some, rating)) for rating in (high, low))
    if not np.ptp(fitted.predict(*EVERYTHING)):  # the mean, and a network that is not better than the mean
        np.testing.assert_array_equal(fitted.predict(lover, some), fitted.predict(hater, some))
        assert fitted.predict(1, good) == fitted.predict(1, bad)
    else:
        assert fitted.predict(lover, some).mean() > fitted.predict(hater, some).mean() + 0.01
        assert fitted.predict(some, good).mean() > fitted.predict(some, bad).mean() + 0.01


@settings(deadline=None, max_examples=5, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(order=st.permutations(range(6)))
def test_the_order_of_the_ratings_does_not_matter(fitted, order):
    given_ids, given_ratings = [1, 7, 12, 20, 21, 30], [5.0, 1.0, 4.0, 2.5, 3.0, 3.5]
    straight = dict(zip(given_ids, given_ratings, strict=True))
    shuffled = {given_ids[n]: given_ratings[n] for n in order}
    for fold in (fitted.fold_in, partial(fitted.fold_in_item, 1_000)):
        ours, theirs = fold(straight).row, fold(shuffled).row
        assert {n: v.tobytes() for n, v in ours.items()} == {n: v.tobytes() for n, v in theirs.items()}


def test_folding_in_does_not_change_the_model(fitted):
    before = fitted.predict(*EVERYTHING).tobytes()
    dune = fitted.fold_in_item(1_000, FANS)
    fitted.recommend(fitted.fold_in(ANN), new_items=[dune])
    assert fitted.predict(*EVERYTHING).tobytes() == before
    assert len(fitted.item_ids_) == 40


def test_new_items_are_ranked_with_the_others_except_for_their_raters(fitted):
    dune, arrival = fitted.fold_in_item(1_000, FANS), fitted.fold_in_item(1_001, {5: 1.0})
    for users in (RATINGS.user_ids, [3, "nobody"], fitted.fold_in(ANN)):
        items, scores = fitted.recommend(users, n=42, new_items=[dune, arrival], with_scores=True)
        for new in (dune, arrival):
            place = items.filled(-1) == new.id
            predicted = np.broadcast_to(fitted.predict(users, new), items.shape[:-1])
            np.testing.assert_allclose(scores.data[place], predicted[place.any(axis=-1)], rtol=1e-5)
        old = fitted.recommend(users, n=40)
        others = [i for i in items.compressed().tolist() if i not in (1_000, 1_001)]
        assert others == old.compressed().tolist()
    has_dune = (fitted.recommend(RATINGS.user_ids, n=42, new_items=[dune]).filled(-1) == 1_000).any(axis=1)
    assert set(RATINGS.user_ids[~has_dune].tolist()) == set(FANS)
    seen_too = fitted.recommend([*FANS], n=42, new_items=[dune], exclude_seen=False)
    assert (seen_too.filled(-1) == 1_000).any(axis=1).all()
    assert fitted.recommend(1, candidates=[], new_items=[dune]).compressed().tolist() == [1_000]


def test_a_new_item_has_an_id_of_the_kind_of_the_others(new_model, fitted):
    for wrong in ("dune", 2.5, None, True, 2**63):
        with pytest.raises(ValueError, match="item_id: expected an integer"):
            fitted.fold_in_item(wrong, FANS)
    with pytest.raises(ValueError, match="does not know, found 3"):
        fitted.fold_in_item(3, FANS)
    dune = fitted.fold_in_item(np.int64(1_000), FANS)
    with pytest.raises(ValueError, match="expected each once"):
        fitted.recommend(1, new_items=[dune, dune])
    texts = new_model().fit(with_string_ids(RATINGS))
    for wrong in (3, None, "", "dune\0"):
        with pytest.raises(ValueError, match="item_id: expected a string"):
            texts.fold_in_item(wrong, {"u1": 5.0})
    long = texts.fold_in_item("dune, the second part", {"u1": 5.0})
    recommended = texts.recommend(["u2", "u3"], n=41, exclude_seen=False, new_items=[long])
    assert all("dune, the second part" in row for row in recommended.tolist())


@pytest.mark.parametrize("rating", [float("nan"), -1.0, 99.0])
def test_a_rating_beyond_the_scale_is_refused(fitted, rating):
    before = fitted.predict(*EVERYTHING).tobytes()
    more = Ratings.from_columns([1, 99], [2, 99], [3.0, 99.0], [1, 2], scale=(0, 100))
    for learn in (lambda: fitted.fold_in({1: rating}), lambda: fitted.fold_in_item(1_000, {1: rating})):
        with pytest.raises(ValueError, match="expected ratings from"):
            learn()
    with pytest.raises(ValueError, match=r"expected ratings from .* found 99"):
        fitted.partial_fit(more)
    assert fitted.predict(*EVERYTHING).tobytes() == before
    assert len(fitted.user_ids_) == 60


def test_a_user_folded_in_by_another_model_is_refused(new_model, fitted):
    ann, dune = fitted.fold_in(ANN), fitted.fold_in_item(1_000, FANS)
    other = new_model().fit(RATINGS)
    fitted.partial_fit(MORE)
    for model in (other, fitted):
        for ask in (
            lambda m: m.predict(ann, 1),
            lambda m: m.predict(1, dune),
            lambda m: m.recommend(ann),
            lambda m: m.recommend(1, new_items=[dune]),
            lambda m: m.explain(ann, 1),
        ):
            with pytest.raises(ValueError, match="fold in again"):
                ask(model)


MORE = Ratings.from_columns(
    [1, 1, 2, 500, 500, 500, 501],
    [3, 777, 5, 1, 2, 777, 778],
    [5, 4, 1, 5, 5, 4, 3],
    range(6_000, 6_007),
    scale=(1, 5),
)


def test_partial_fit_learns_users_and_items_and_remembers_all_ratings(fitted):
    assert fitted.partial_fit(MORE) is fitted
    assert set(fitted.user_ids_) == {*RATINGS.raw_users.tolist(), 500, 501}
    assert set(fitted.item_ids_) == {*RATINGS.raw_items.tolist(), 777, 778}
    assert fitted.known([500, 1, 501], [777, 778, 1]).all()
    expected = dict(zip(zip(RATINGS.raw_users, RATINGS.raw_items, strict=True), RATINGS.values, strict=True))
    expected |= dict(zip(zip(MORE.raw_users, MORE.raw_items, strict=True), MORE.values, strict=True))
    seen = fitted.fitted_.interactions
    pairs = zip(fitted.user_ids_[seen.users], fitted.item_ids_[seen.items], strict=True)
    assert dict(zip(pairs, seen.ratings, strict=True)) == expected
    assert set(fitted.recommend(500, n=42).compressed()).isdisjoint({1, 2, 777})
    assert np.isfinite(fitted.predict([500, "nobody"], [[778], ["nothing"]])).all()


def test_partial_fit_lowers_the_error_on_what_it_learns(new_model):
    old, new = RATINGS.take(RATINGS.users < 50), RATINGS.take(RATINGS.users >= 50)
    model = new_model().fit(old)
    before = rmse(model.predict(new.raw_users, new.raw_items), new.values)
    model.partial_fit(new)
    after = rmse(model.predict(new.raw_users, new.raw_items), new.values)
    assert after < before + (1e-3 if isinstance(model, GlobalMean) else -0.01)


def test_partial_fit_of_a_model_that_is_not_fitted_is_fit(new_model, fitted):
    again = new_model().partial_fit(RATINGS)
    assert again.predict(*EVERYTHING).tobytes() == fitted.predict(*EVERYTHING).tobytes()


def test_rows_without_new_ratings_are_not_forgotten(fitted):
    """Separate rows stay bit for bit; parameters that are solved again may change slightly."""
    untouched = (
        np.setdiff1d(RATINGS.user_ids, MORE.raw_users)[:, None],
        np.setdiff1d(RATINGS.item_ids, MORE.raw_items)[None],
    )
    before = fitted.predict(*untouched)
    after = fitted.partial_fit(MORE).predict(*untouched)
    if isinstance(fitted, NeuralMF | BayesianMF):
        np.testing.assert_array_equal(after, before)
    elif isinstance(fitted, ItemKNN):  # replacing one neighbour by another changes a prediction by more
        assert rmse(after.ravel(), before.ravel()) < 0.1
    else:
        np.testing.assert_allclose(after, before, atol=0.1)


def test_two_updates_have_the_ratings_and_predictions_of_one(new_model, fitted):
    halves = MORE.take([0, 1, 2, 3]), MORE.take([4, 5, 6])
    twice = new_model().fit(RATINGS)
    for half in halves:
        twice.partial_fit(half)
    fitted.partial_fit(MORE)
    for name in ("items", "ratings", "offsets"):
        np.testing.assert_array_equal(
            getattr(twice.fitted_.interactions, name), getattr(fitted.fitted_.interactions, name)
        )
    ours, theirs = (m.predict(m.user_ids_[:, None], m.item_ids_[None]) for m in (twice, fitted))
    np.testing.assert_allclose(ours, theirs, atol=1.0 if isinstance(fitted, NeuralMF | BayesianMF) else 1e-5)
    assert rmse(ours.ravel(), theirs.ravel()) < 0.1


def test_ids_of_another_type_are_refused_and_the_model_stays(fitted):
    before = fitted.predict(*EVERYTHING).tobytes()
    with pytest.raises(ValueError, match=r"expected user ids that are integers, .* found str"):
        fitted.partial_fit(with_string_ids(MORE))
    with pytest.raises(ValueError, match="at least one rating"):
        fitted.partial_fit(MORE.take([]))
    with pytest.raises(TypeError, match="expected Ratings"):
        fitted.partial_fit([(1, 2, 3.0)])
    assert fitted.predict(*EVERYTHING).tobytes() == before


def test_fitted_attributes_are_saved(fitted, tmp_path):
    fitted.partial_fit(MORE).save(tmp_path / "m")
    loaded = load_model(tmp_path / "m")
    for model in (loaded, fitted):
        model.partial_fit(RATINGS.take(np.arange(20)))
    pairs = [500, 1, 2], [1, 777, 3]
    assert loaded.predict(*pairs).tobytes() == fitted.predict(*pairs).tobytes()
    assert loaded.explain(500, 3) == fitted.explain(500, 3)
    assert loaded.predict(loaded.fold_in(ANN), 3) == fitted.predict(fitted.fold_in(ANN), 3)


TITLED = RATINGS.with_titles({item: f"Film №{item}" for item in RATINGS.item_ids.tolist() if item != 3})


def test_titles_stay_with_a_model_its_file_and_its_ratings(new_model, tmp_path):
    model = new_model().fit(TITLED)
    model.save(tmp_path / "m")
    for one in (model, load_model(tmp_path / "m")):
        expected = ["" if item == 3 else f"Film №{item}" for item in one.item_ids_.tolist()]
        assert one.titles_.tolist() == expected
        assert one.ratings_.titles == {i: t for i, t in TITLED.titles.items() if i in one.item_ids_}
        assert {reason.title for reason in one.explain(1, 2).reasons} <= {*expected}
    new = Ratings.from_columns([1, 1], [2, 999], [3.0, 4.0], scale=RATINGS.scale)
    model.partial_fit(new.with_titles({2: "Another", 999: "New"}))
    assert [model.fitted_.titles[item] for item in (1, 2, 999)] == ["Film №1", "Another", "New"]


def test_without_titles_there_are_none(fitted):
    assert fitted.titles_ is None


def assert_adds_up(model, user, item):
    why = model.explain(user, item)
    assert why.prediction == float(model.predict(user, item))
    total = why.mean + why.user_bias + why.item_bias + why.interaction + why.clipped
    assert total == pytest.approx(why.prediction, abs=1e-5)
    of_the_user = sum(reason.weight for reason in why.reasons) + why.rest
    assert of_the_user == pytest.approx(why.user_bias + why.interaction, abs=1e-9)
    sizes = [abs(reason.weight) for reason in why.reasons]
    assert sizes == sorted(sizes, reverse=True)
    return why


@settings(deadline=None, max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(user=st.integers(0, 61), item=st.integers(0, 41))
def test_an_explanation_adds_up_to_the_prediction(fitted, user, item):
    why = assert_adds_up(fitted, user, item)
    own = RATINGS.raw_users == user
    rated = dict(zip(RATINGS.raw_items[own].tolist(), RATINGS.values[own].tolist(), strict=True))
    known = bool(fitted.known(user, item))
    assert {reason.item: reason.rating for reason in why.reasons} == (rated if known else {})


def test_predictions_for_folded_in_users_are_explained(fitted):
    ann, dune = fitted.fold_in(ANN), fitted.fold_in_item(1_000, FANS)
    for user, item in ((ann, 3), (ann, 1), (ann, dune), (3, dune), ("nobody", dune), (ann, "nothing")):
        why = assert_adds_up(fitted, user, item)
        if user is ann and item != "nothing":
            assert {reason.item: reason.rating for reason in why.reasons} == ANN


def test_an_explanation_prints_as_text_with_the_sum(fitted):
    lines = str(fitted.explain(1, 3)).splitlines()
    assert lines[0].endswith("mean")
    assert any(line.endswith("predicted") for line in lines)
    assert any(", rated " in line for line in lines)
    assert max(map(len, lines)) < 60


def test_fold_in_and_explain_need_a_fitted_model(new_model):
    model = new_model()
    for ask in (lambda: model.fold_in({}), lambda: model.fold_in_item(1, {}), lambda: model.explain(1, 2)):
        with pytest.raises(RuntimeError, match="is not fitted: call fit first"):
            ask()


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt], ids=["an exception", "Ctrl-C"])
def test_an_interrupted_fit_leaves_the_model_unchanged(new_model, error):
    calls = []

    def interrupt(progress):
        calls.append(progress)
        raise error

    def try_to_fit(model):
        try:
            model.fit(RATINGS.take(RATINGS.users < 30), on_progress=interrupt)
        except error:
            return True
        return False

    model = new_model()
    if not try_to_fit(model):
        pytest.skip("this model learns in one step")
    with pytest.raises(RuntimeError, match="is not fitted"):
        model.recommend(1)
    before = model.fit(RATINGS).predict(*EVERYTHING)
    fitted = model.fitted_
    assert try_to_fit(model)
    assert model.fitted_ is fitted
    assert model.predict(*EVERYTHING).tobytes() == before.tobytes()
    assert not model.known(10**9, 1)


def test_a_fitted_model_is_frozen(fitted):
    with pytest.raises(FrozenInstanceError):
        fitted.fitted_.model.penalty = None
    with pytest.raises(FrozenInstanceError):
        fitted.fitted_.user_ids = np.arange(3)


def test_predictions_and_evaluation_do_not_change_the_model(fitted):
    before = fitted.fitted_
    fitted.predict(*EVERYTHING)
    fitted.recommend([1, 2])
    fitted.fold_in({1: 4.0})
    fitted.explain(1, 2)
    assert fitted.fitted_ is before


def test_threads_predict_the_same_and_restore_blas(fitted):
    def pools():
        return [(p["filepath"], p["num_threads"]) for p in threadpool_info() if p["user_api"] == "blas"]

    expected, before = fitted.predict(*EVERYTHING).tobytes(), pools()
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: fitted.predict(*EVERYTHING).tobytes(), range(16)))
    assert set(found) == {expected}
    assert pools() == before


@pytest.mark.parametrize("model", [LinearRegression(), ItemKNN(), NeuralMF(epochs=1)])
def test_ratings_that_are_all_the_same_are_learned_with_a_warning(model):
    ratings = Ratings.from_columns([1, 1, 2, 2], [1, 2, 1, 3], [3, 3, 3, 3])
    with pytest.warns(UserWarning, match="all 4 ratings are 3, so that predictions and lists mean nothing"):
        model.fit(ratings)
