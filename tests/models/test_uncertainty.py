"""Intervals and distributions of a NeuralMF: calibrated, and wider with fewer ratings."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from numpy_neural_mf import Architecture, Features, NeuralMF, Ratings, load_model, random_split
from numpy_neural_mf.models.fold_in import locate
from numpy_neural_mf.models.uncertainty import degrees_of_freedom, interval, probabilities

SCALE = (-20.0, 20.0)
NOISE = 0.8


def latent(n_users=300, n_items=100, n=8_000, seed=0):
    """Biased matrix factorisation with normal noise; user 0 rates three items, user 1 all but ten."""
    rng = np.random.default_rng(seed)
    pairs = rng.permutation(np.arange(2 * n_items, n_users * n_items))[:n]
    pairs = np.concatenate([[0, 1, 2], np.arange(n_items, 2 * n_items - 10), pairs])
    users, items = pairs // n_items, pairs % n_items
    p, q = rng.normal(size=(n_users, 2)), rng.normal(size=(n_items, 2))
    values = 3 + rng.normal(0, 0.5, n_users)[users] + rng.normal(0, 0.5, n_items)[items]
    values += 0.5 * (p[users] * q[items]).sum(axis=1) + rng.normal(0, NOISE, len(users))
    return Ratings.from_columns(users, items, values, scale=SCALE)


TRAIN, TEST = random_split(latent())
PAIRS = TEST.raw_users, TEST.raw_items
FORMS = {"without MLP": Architecture(4), "with MLP": Architecture(4, (16,))}


@pytest.fixture(scope="module", params=FORMS)
def model(request):
    return NeuralMF(FORMS[request.param]).fit(TRAIN)


@pytest.fixture(scope="module")
def stars():
    """A model of ratings in whole steps."""
    values = np.clip(np.round(TRAIN.values), 1, 5)
    return NeuralMF(Architecture(4), epochs=20).fit(
        Ratings.from_columns(TRAIN.raw_users, TRAIN.raw_items, values, scale=(1, 5))
    )


def width(model, *pairs):
    low, high = model.predict_interval(*pairs)
    return float(np.mean(high - low))


@pytest.mark.parametrize("coverage", [0.5, 0.8, 0.9])
def test_intervals_have_their_coverage(model, coverage):
    low, high = model.predict_interval(*PAIRS, coverage=coverage)
    assert np.mean((low <= TEST.values) & (TEST.values <= high)) == pytest.approx(coverage, abs=0.04)


def test_the_deviation_of_the_noise_is_found_in_ratings(model):
    assert model.deviation_.shape == (len(model.user_ids_) + 1,)
    assert model.deviation_.mean() == pytest.approx(NOISE, rel=0.2)
    tenfold = Ratings.from_columns(
        TRAIN.raw_users, TRAIN.raw_items, 16 * TRAIN.values, scale=(16 * SCALE[0], 16 * SCALE[1])
    )
    again = NeuralMF(model.architecture).fit(tenfold)
    assert again.unit_ == 16 * model.unit_
    np.testing.assert_allclose(again.deviation_, 16 * model.deviation_, rtol=1e-5)
    np.testing.assert_allclose(
        again.prior_variances_["user_bias.weight"], model.prior_variances_["user_bias.weight"]
    )


def test_the_noise_of_each_user_is_found():
    rng, loud = np.random.default_rng(0), TRAIN.raw_users % 2 == 0
    values = TRAIN.values + 2 * loud * rng.normal(size=len(TRAIN)).astype(np.float32)
    noisy = Ratings.from_columns(TRAIN.raw_users, TRAIN.raw_items, values, scale=SCALE)
    found = NeuralMF(Architecture(4), epochs=20).fit(noisy)
    is_loud = found.user_ids_ % 2 == 0
    assert found.deviation_[:-1][is_loud].mean() > 1.2 * found.deviation_[:-1][~is_loud].mean()


def test_users_with_fewer_ratings_have_wider_intervals(model):
    items = np.arange(90, 100)
    assert width(model, 1, items) < width(model, 0, items)
    variance = {user: located_variance(model, user, items) for user in (0, 1, "nobody")}
    assert variance[1] < 0.7 * variance[0]
    assert variance[0] < variance["nobody"]


def located_variance(model, users, items):
    """Return the variance of the score, without the noise, which differs by user."""
    return float(locate(model.fitted_, users, items).variance().mean())


def test_folded_in_users_with_fewer_ratings_have_wider_intervals(model):
    ids = model.item_ids_[:80].tolist()
    few, many = (model.fold_in(dict.fromkeys(some, 3.0)) for some in (ids[:3], ids))
    items = model.item_ids_[80:]
    assert width(model, many, items) < width(model, few, items) < width(model, "nobody", items)
    users = model.user_ids_[:200]
    rare = model.fold_in_item(1_000, dict.fromkeys(users[:3].tolist(), 3.0))
    often = model.fold_in_item(1_001, dict.fromkeys(users.tolist(), 3.0))
    others = model.user_ids_[200:]
    assert width(model, others, often) < width(model, others, rare) < width(model, others, "nothing")


def test_more_ratings_make_intervals_narrower():
    learner = NeuralMF(Architecture(4), epochs=20).fit(TRAIN)
    items = learner.item_ids_[80:]
    before = width(learner, 0, items)
    users, items_of = [0] * 70 + [-1] * 3 + [-2] * 70, [*range(70), 0, 1, 2, *range(70)]
    learner.partial_fit(Ratings.from_columns(users, items_of, [3.0] * 143, scale=SCALE))
    assert width(learner, 0, items) < before
    assert width(learner, -2, items) < width(learner, -1, items) < width(learner, "nobody", items)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(coverages=st.lists(st.floats(0.01, 0.99), min_size=2, max_size=2, unique=True))
def test_intervals_widen_with_coverage_and_contain_the_prediction(model, coverages):
    (low, high), (lower, higher) = (model.predict_interval(*PAIRS, coverage=c) for c in sorted(coverages))
    prediction = model.predict(*PAIRS)
    assert ((lower <= low) & (low <= prediction) & (prediction <= high) & (high <= higher)).all()
    assert ((SCALE[0] <= lower) & (higher <= SCALE[1])).all()


@given(
    mean=st.floats(-10, 20),
    deviation=st.floats(1e-3, 10),
    steps=st.lists(st.integers(0, 20), min_size=1, max_size=8, unique=True),
)
def test_probabilities_of_steps_are_a_distribution(mean, deviation, steps):
    given_mean, given_deviation = np.float32([mean]), np.float32([deviation])
    found = probabilities(given_mean, given_deviation, np.float32(sorted(steps)))
    assert found.shape == (1, len(steps))
    assert (found >= 0).all()
    assert found.sum() == pytest.approx(1, abs=1e-5)
    low, high = interval(given_mean, given_deviation, 0.5, (-1e9, 1e9))
    assert float((high - low)[0]) == pytest.approx(2 * 0.67449 * deviation, rel=1e-2, abs=1e-5)


@pytest.mark.parametrize("freedom", [5.0, 12.0, np.inf])
def test_degrees_of_freedom_are_those_of_errors_and_intervals_and_probabilities_have_them(freedom):
    rng = np.random.default_rng(0)
    errors = rng.normal(size=400_000) if freedom == np.inf else rng.standard_t(freedom + 5, 400_000)
    found = degrees_of_freedom(errors)
    assert found > 200 if freedom == np.inf else found == pytest.approx(freedom + 5, rel=0.2)
    drawn = rng.normal(size=400_000) if freedom == np.inf else rng.standard_t(freedom, 400_000)
    deviation = np.float32([np.sqrt(1 / (1 - 2 / freedom))])
    (low,), (high,) = interval(np.float32([0]), deviation, 0.8, (-99, 99), freedom)
    assert np.mean((low <= drawn) & (drawn <= high)) == pytest.approx(0.8, abs=0.003)
    (shares,) = probabilities(np.float32([0]), deviation, np.float32([-1, 0, 1]), freedom)
    counts = [np.mean(drawn < -0.5), np.mean(abs(drawn) <= 0.5), np.mean(drawn > 0.5)]
    np.testing.assert_allclose(shares, counts, atol=0.003)


def test_a_distribution_has_the_mean_of_the_prediction_and_the_spread_of_the_interval(stars):
    steps, probabilities = stars.predict_distribution(*PAIRS)
    assert steps.tolist() == [1, 2, 3, 4, 5]
    np.testing.assert_allclose(probabilities.sum(axis=-1), 1, rtol=1e-5)
    mean, prediction = probabilities @ steps, stars.predict(*PAIRS)
    inside = (prediction > 2.5) & (prediction < 3.5)  # near the ends of the scale, one tail is cut off
    np.testing.assert_allclose(mean[inside], prediction[inside], atol=0.15)
    values = np.clip(np.round(TEST.values), 1, 5)
    for step, expected in zip(steps, probabilities.mean(axis=0), strict=True):
        assert np.mean(values == step) == pytest.approx(expected, abs=0.04)


def test_more_than_twenty_distinct_ratings_have_no_distribution(model):
    assert model.rating_steps_.tolist() == []
    with pytest.raises(ValueError, match="expected at most 20 distinct training ratings"):
        model.predict_distribution(*PAIRS)


@pytest.mark.parametrize("likelihood", ["normal", "ordinal"])
def test_ratings_of_unknown_users_are_less_certain(likelihood):
    values = np.clip(np.round(TRAIN.values), 1, 5)
    ratings = Ratings.from_columns(TRAIN.raw_users, TRAIN.raw_items, values, scale=(1, 5))
    found = NeuralMF(Architecture(4), epochs=15, likelihood=likelihood).fit(ratings)

    def entropy(user):
        p = found.predict_distribution(user, found.item_ids_)[1]
        return float(-(p * np.log(np.maximum(p, 1e-12))).sum(axis=-1).mean())

    narrow, wide = (
        found.predict_interval(u, found.item_ids_, coverage=0.8) for u in (found.user_ids_[:, None], "nobody")
    )  # a user whose ratings are all noise may have wide intervals
    assert np.mean(narrow[1] - narrow[0]) <= np.mean(wide[1] - wide[0])
    if likelihood == "ordinal":  # all users have the same noise
        assert np.ptp(found.deviation_) == 0
        assert 0.3 < found.deviation_[0] < 1.5
        assert entropy(1) < entropy("nobody")
        assert np.isin(narrow, found.rating_steps_).all()


@pytest.mark.parametrize("coverage", [0.0, 1.0, -0.5, float("nan")])
def test_a_coverage_that_is_not_a_share_is_refused(model, coverage):
    with pytest.raises(ValueError, match="coverage must be"):
        model.predict_interval(*PAIRS, coverage=coverage)


def test_variances_have_the_shapes_of_their_parameters(model):
    assert model.variances_.keys() == model.prior_.keys() == model.prior_variances_.keys()
    for name, variance in model.variances_.items():
        assert variance.shape == model.parameters_[name].shape
        assert (variance > 0).all()
        assert model.prior_[name].shape == (1, variance.shape[1])
        assert model.prior_variances_[name].shape == variance.shape[1:]
        # Ratings make a row more certain than its prior; the last row stands for unknown ids.
        assert (variance[:-1] <= 1.001 * model.prior_variances_[name]).all()


def test_each_field_of_features_has_a_variance_by_table_and_factor():
    form = Architecture(3, features=True, implicit=True)
    found = NeuralMF(form, epochs=3).fit(small(DRAWN, (1, 5)).with_features(items=GENRES))
    shapes = {name: {field: variance.shape for field, variance in by_field.items()}
              for name, by_field in found.field_variances_.items()}  # fmt: skip
    assert shapes == {
        "user_embedding.weight": {"rated": (3,)},
        "user_bias.weight": {"rated": (1,)},
        "item_embedding.weight": {"genre": (3,), "rated": (3,)},
        "item_bias.weight": {"genre": (1,), "rated": (1,)},
    }
    assert NeuralMF(Architecture(3), epochs=1).fit(TRAIN).field_variances_ == {}


def test_the_variance_of_biases_that_was_planted_is_found():
    found = NeuralMF(Architecture(4), epochs=30).fit(TRAIN)
    for side in ("user", "item"):
        in_ratings = found.unit_**2 * found.prior_variances_[f"{side}_bias.weight"][0]
        assert in_ratings == pytest.approx(0.25, rel=0.4)


def small(values, scale, seed=1):
    rng = np.random.default_rng(seed)
    users, items = np.divmod(rng.permutation(20 * 15)[: len(values)], 15)
    times = np.arange(len(values)) * 1_000
    return Ratings.from_columns(users, items, values, times, scale)


DRAWN = np.random.default_rng(3).integers(1, 6, 200).astype(float)
RANGES = {"0 to 1": (0, 1), "-10 to 10": (-10, 10), "1 to 100": (1, 100)}
EDGES = {
    name: small(low + (DRAWN - 1) / 4 * (high - low), (low, high)) for name, (low, high) in RANGES.items()
} | {
    "one rating": small([4.0], (1, 5)),
    "constant": small(np.full(200, 3.0), (1, 5)),
    "constant, at the end": small(np.full(200, 5.0), (1, 5)),
    "constant, negative": small(np.full(200, -700.0), (-1_000, 0)),
    "one user": Ratings.from_columns([7] * 30, range(30), np.resize(DRAWN, 30), range(30), (1, 5)),
    "one item": Ratings.from_columns(range(30), [7] * 30, np.resize(DRAWN, 30), range(30), (1, 5)),
}
EDGE_FORMS = {
    "biased MF": Architecture(3),
    "without biases": Architecture(3, biases=False),
    "biases": Architecture(product=False),
    "MLP": Architecture(3, (4,), product=False),
    "MLP, without biases": Architecture(3, (4,), product=False, biases=False),
    "all": Architecture(3, (4,)),
    "implicit": Architecture(3, implicit=True),
    "periods": Architecture(3, periods=2),
    "drift": Architecture(3, drift=True),
}


@pytest.mark.filterwarnings("ignore:all .* ratings are")
@pytest.mark.parametrize("engine", ["numpy", "numba"])
@pytest.mark.parametrize("form", EDGE_FORMS)
@pytest.mark.parametrize("name", EDGES)
def test_every_form_learns_of_ratings_at_the_edge(name, form, engine):
    ratings = EDGES[name]
    found = NeuralMF(EDGE_FORMS[form], engine=engine).fit(ratings)
    ann = found.fold_in({int(ratings.raw_items[0]): float(ratings.values[0])})
    scale = ratings.scale
    for users in (found.user_ids_[:, None], "nobody", ann):
        for items in (found.item_ids_, "nothing"):
            prediction = found.predict(users, items)
            low, high = found.predict_interval(users, items)
            assert ((scale[0] <= low) & (low <= prediction) & (prediction <= high) & (high <= scale[1])).all()
    if np.ptp(ratings.values) == 0:
        everything = found.predict(found.user_ids_[:, None], found.item_ids_)
        np.testing.assert_allclose(everything, ratings.values[0], atol=0.12)
    else:
        error = found.predict(ratings.raw_users, ratings.raw_items, ratings.timestamps) - ratings.values
        assert np.sqrt(np.mean(error**2)) < 1.03 * ratings.values.std()


@pytest.mark.parametrize("form", ["biased MF", "MLP", "implicit", "drift"])
def test_twice_the_ratings_on_twice_the_scale_are_twice_the_predictions(form):
    once, twice = (
        NeuralMF(EDGE_FORMS[form], epochs=5).fit(small(factor * DRAWN, (factor, 5 * factor)))
        for factor in (1, 2)
    )
    users = once.user_ids_[:, None]
    np.testing.assert_array_equal(
        twice.predict(users, once.item_ids_), 2 * once.predict(users, once.item_ids_)
    )
    for ours, theirs in zip(
        once.predict_interval(users, once.item_ids_),
        twice.predict_interval(users, once.item_ids_),
        strict=True,
    ):
        np.testing.assert_array_equal(theirs, 2 * ours)


GENRES = Features.from_frame({"id": range(18), "genre": ["x", "y", "z"] * 6})
SAVED = EDGE_FORMS | {
    "features": Architecture(3, features=True),
    "features, implicit": Architecture(3, features=True, implicit=True),
    "ordinal": Architecture(3, likelihood="ordinal"),
    "periods, drift": Architecture(3, (4,), periods=2, drift=True, implicit=True),
}


@pytest.mark.parametrize("form", SAVED)
def test_a_loaded_model_has_the_same_variances_bit_for_bit(form, tmp_path):
    ratings = small(DRAWN, (1, 5)).with_features(items=GENRES)
    found = NeuralMF(SAVED[form], epochs=3).fit(ratings)
    found.save(tmp_path / "m")
    again = load_model(tmp_path / "m")

    def asked(model):
        ann, dune = model.fold_in({3: 5.0, 4: 1.0}), model.fold_in_item(1_000, {2: 5.0})
        users, items = model.user_ids_[:, None], model.item_ids_
        for pairs in ((users, items), (ann, items), (users, dune), ("nobody", items)):
            yield model.predict(*pairs)
            yield model.predict(*pairs, timestamps=500)
            yield from model.predict_interval(*pairs)
            yield from model.predict_distribution(*pairs)
        yield from (table for _, table in sorted(model.variances_.items()))
        yield model.deviation_
        for _, by_field in sorted(model.field_variances_.items()):
            yield from (variance for _, variance in sorted(by_field.items()))

    def answers(model):
        return [array.tobytes() for array in asked(model)]

    assert answers(again) == answers(found)
    more = Ratings.from_columns([0, 0, -5], [1, 99, 1], [5.0, 4.0, 1.0], [1, 2, 3], scale=(1, 5))
    for model in (found, again):
        model.partial_fit(more)
    assert answers(again) == answers(found)
    found.save(tmp_path / "more")
    assert answers(load_model(tmp_path / "more")) == answers(found)
