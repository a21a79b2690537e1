"""Target scaling: the same model on every scale."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from numpy_neural_mf import Architecture, NeuralMF, Ratings, load_model, simulate_ratings
from numpy_neural_mf.models import files as model_file
from numpy_neural_mf.training.distributed import Communicator
from numpy_neural_mf.training.statistics import RatingStatistics, in_units, unit_for

RATINGS = simulate_ratings(n_users=60, n_items=40, n_ratings=1_500, drift=0.3, side_information=1.0)
FORMS = {
    "plain": Architecture(4, (8,)),
    "features and time": Architecture(4, (8,), features=True, implicit=True, periods=4),
    "drift": Architecture(4, drift=True),
    "ordinal": Architecture(4, (8,), likelihood="ordinal"),
}


def times(ratings, factor):
    lowest, highest = ratings.scale
    values = ratings.values * np.float32(factor)
    return replace(ratings, values=values, scale=(lowest * factor, highest * factor))


def fitted(form, factor):
    return NeuralMF(FORMS[form], epochs=3).fit(times(RATINGS, factor))


def deviation_of(ratings):
    return RatingStatistics.of(ratings, Communicator()).deviation


@given(st.floats(1e-3, 1e3), st.integers(-8, 8))
def test_the_unit_follows_the_scale_and_is_near_the_deviation(deviation, doublings):
    unit = unit_for(deviation)
    assert unit_for(deviation * 2.0**doublings) == unit * 2.0**doublings
    assert 2**-0.5 <= deviation / unit <= 2**0.5


def test_the_deviation_is_that_of_all_ratings_and_zero_if_all_are_equal():
    assert deviation_of(RATINGS) == pytest.approx(RATINGS.values.std(dtype=np.float64))
    equal = Ratings.from_columns([1, 2, 3], [1, 1, 2], [3.1, 3.1, 3.1], scale=(1, 5))
    assert deviation_of(equal) == 0
    assert unit_for(0.0) == 1


def test_the_deviation_of_ratings_far_from_zero_is_not_lost():
    ratings = Ratings.from_columns([1, 2, 3], [1, 1, 2], [100_001, 100_002, 100_005])
    assert deviation_of(ratings) == pytest.approx(np.std([1, 2, 5]))


@pytest.mark.parametrize("lowest", [1, 100_001])
def test_ordinal_categories_and_intervals_are_the_ratings_themselves(lowest):
    users, items = np.divmod(np.arange(200), 20)
    ratings = Ratings.from_columns(users, items, lowest + np.arange(200) % 5)
    model = NeuralMF(likelihood="ordinal", epochs=1).fit(ratings)
    np.testing.assert_array_equal(model.rating_steps_, lowest + np.arange(5))
    low, high = model.predict_interval(users, items, coverage=0.9)
    assert set(np.concatenate([low, high])) <= set(model.rating_steps_)


@given(st.integers(-20, 20), st.integers(1, 30))
def test_ratings_in_units_are_within_the_scale_and_come_back_exactly(lowest, width):
    ratings = Ratings.from_columns([1, 2], [1, 2], np.array([lowest, lowest + width]) / 10)
    unit = unit_for(deviation_of(ratings))
    counted = in_units(ratings, unit)
    assert counted.scale[0] <= counted.values[0]
    assert counted.values[1] <= counted.scale[1]
    np.testing.assert_array_equal(counted.values * np.float32(unit), ratings.values)


def test_stars_have_unit_one():
    assert in_units(RATINGS, unit_for(deviation_of(RATINGS))) is RATINGS
    counted = in_units(RATINGS, 0.5)
    np.testing.assert_array_equal(counted.values, 2 * RATINGS.values)
    assert counted.scale == (2, 10)


@pytest.mark.parametrize("factor", [32.0, 0.25])
@pytest.mark.parametrize("form", FORMS)
def test_another_scale_has_the_same_model_bit_for_bit(form, factor, tmp_path):
    one, other = fitted(form, 1), fitted(form, factor)
    assert (one.unit_, other.unit_) == (1, factor)
    users, items, timestamps = RATINGS.raw_users[:50], RATINGS.raw_items[:50], RATINGS.timestamps[:50]
    for when in (None, timestamps):
        predicted = one.predict(users, items, when)
        assert (factor * predicted).tobytes() == other.predict(users, items, when).tobytes()
    square = 1 if form == "ordinal" else factor**2  # -log P has no unit
    np.testing.assert_allclose(other.history_.train_loss, square * np.array(one.history_.train_loss))
    expected = (np.array(model.history_.expected_loss) for model in (other, one))
    np.testing.assert_allclose(next(expected), factor**2 * next(expected))
    np.testing.assert_array_equal(other.rating_steps_, factor * one.rating_steps_)

    rated = dict(zip([3, 4, 5, 6], [1.0, 5.0, 4.0, 2.0], strict=True))
    somebody, alike = one.fold_in(rated), other.fold_in({item: factor * r for item, r in rated.items()})
    np.testing.assert_allclose(other.predict(alike, items), factor * one.predict(somebody, items), rtol=1e-5)
    best, scores = one.recommend([1, 2], n=5, with_scores=True)
    same, larger = other.recommend([1, 2], n=5, with_scores=True)
    np.testing.assert_array_equal(same, best)
    np.testing.assert_allclose(larger, factor * scores, rtol=1e-6)

    other.save(tmp_path / "model.safetensors")
    loaded = load_model(tmp_path / "model.safetensors")
    assert loaded.unit_ == factor
    assert loaded.predict(users, items).tobytes() == other.predict(users, items).tobytes()

    more = times(Ratings.from_columns([1, 1, 999], [7, 8, 7], [5.0, 1.0, 4.0], scale=(1, 5)), factor)
    for model, given_ in ((one, times(more, 1 / factor)), (other, more)):
        model.partial_fit(given_)
    predicted = one.predict([1, 999], [9, 9])
    np.testing.assert_allclose(other.predict([1, 999], [9, 9]), factor * predicted, rtol=1e-5)


@pytest.mark.parametrize("form", FORMS)
def test_an_explanation_adds_up_on_another_scale(form):
    one, other = (fitted(form, factor).explain(3, 5) for factor in (1, 32))
    assert other.prediction == pytest.approx(32 * one.prediction)
    parts = other.mean + other.user_bias + other.item_bias + other.interaction + other.clipped
    assert parts == pytest.approx(other.prediction, rel=1e-5)
    for name in ("mean", "user_bias", "item_bias", "interaction", "clipped", "rest"):
        assert getattr(other, name) == pytest.approx(32 * getattr(one, name), rel=1e-4, abs=1e-4), name
    assert [r.item for r in other.reasons] == [r.item for r in one.reasons]
    weights = [r.weight for r in one.reasons]
    np.testing.assert_allclose(
        [r.weight for r in other.reasons], 32 * np.array(weights), rtol=1e-4, atol=1e-5
    )


def test_progress_is_reported_on_the_scale_of_the_ratings():
    told = []
    NeuralMF(FORMS["plain"], epochs=1).fit(times(RATINGS, 8), on_progress=told.append)
    assert told[-1].train_loss == pytest.approx(64 * RATINGS.values.var(), rel=0.3)


def test_a_file_with_an_invalid_unit_is_refused(tmp_path):
    fitted("plain", 1).save(tmp_path / "m")
    description, arrays = model_file.read(tmp_path / "m")
    description["settings"]["unit"] = -1
    model_file.write(tmp_path / "m", description, arrays)
    with pytest.raises(ValueError, match="unit must be a finite number from"):
        load_model(tmp_path / "m")


@pytest.mark.parametrize("scale", [(1, 6), (1, 3), (0, 3), (1, 10), (-5, 10), (0.1, 0.7)])
def test_a_rating_at_a_bound_stays_within_the_scale(scale):
    values = np.linspace(*scale, 7).round(1)
    ratings = Ratings.from_columns(range(7), range(7), values, scale=scale)
    NeuralMF(epochs=1, embedding_dim=2).fit(ratings)
    for exponent in np.arange(-6, 7):
        scaled = in_units(ratings, 2.0 ** (exponent / 2))
        assert scaled.scale[0] <= scaled.values.min()
        assert scaled.values.max() <= scaled.scale[1]
