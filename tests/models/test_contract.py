"""The contract of every model: what users may rely on, whichever they hold."""

from functools import partial

import numpy as np
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
