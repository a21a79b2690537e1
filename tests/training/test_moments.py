"""Periods: what drifts is found, what is predicted is of a time, and what has no time is refused."""

from dataclasses import replace

import numpy as np
import pytest

from numpy_neural_mf import (
    Architecture,
    NeuralMF,
    Ratings,
    load_model,
    random_split,
    simulate_ratings,
)
from numpy_neural_mf.data.time_bins import Periods
from numpy_neural_mf.evaluation import rmse
from numpy_neural_mf.models.model_file import ModelFileError
from numpy_neural_mf.training.distributed import OneProcess
from numpy_neural_mf.training.moments import at_moments, find_periods

DRIFTING = simulate_ratings(n_users=200, n_items=100, n_ratings=6_000, drift=0.4, random_state=1)
FORM = Architecture(8, periods=8)
MODEL = NeuralMF(FORM, epochs=10, batch_size=256).fit(DRIFTING)
PAIRS = MODEL.user_ids_[:, None], MODEL.item_ids_[None, :20]


def test_periods_are_of_equal_length_and_take_what_is_beyond():
    times = np.array([-50, 0, 24, 25, 49, 50, 99, 100, 10**18])
    assert Periods(0, 99, 4).of(times).tolist() == [0, 0, 0, 1, 1, 2, 3, 3, 3]
    assert Periods(7, 7, 3).of(np.array([7])).tolist() == [0]


def test_a_moment_is_a_user_at_a_period():
    ratings = Ratings.from_columns([5, 5, 9], [1, 2, 2], [3, 4, 5], [0, 99, 50], scale=(1, 5))
    periods, n_in_each = find_periods(ratings, 4, OneProcess())
    assert (periods, n_in_each.tolist()) == (Periods(0, 99, 4), [1, 0, 1, 1])
    told = at_moments(ratings, periods)
    assert told.users.tolist() == [0, 3, 4 + 2]
    assert told.items.tolist() == [0, 4 + 3, 4 + 2]


def test_what_drifts_is_found():
    train, test = random_split(simulate_ratings(400, 200, 16_000, drift=0.5, random_state=0))
    told, untold = (
        NeuralMF(periods=n).fit(train).predict(test.raw_users, test.raw_items, test.timestamps)
        for n in (12, 0)
    )
    assert rmse(told, test.values) < rmse(untold, test.values) - 0.05


def test_where_nothing_drifts_next_to_nothing_is_lost():
    still = simulate_ratings(400, 200, 16_000, random_state=0)
    still = replace(still, timestamps=np.random.default_rng(0).integers(0, 10**9, len(still)))
    train, test = random_split(still)
    told, untold = (
        NeuralMF(periods=n).fit(train).predict(test.raw_users, test.raw_items, test.timestamps)
        for n in (12, 0)
    )
    assert rmse(told, test.values) < rmse(untold, test.values) + 0.006


def test_predictions_are_of_a_time_by_default_of_the_last():
    first, last = DRIFTING.timestamps.min(), DRIFTING.timestamps.max()
    np.testing.assert_array_equal(MODEL.predict(*PAIRS), MODEL.predict(*PAIRS, last))
    np.testing.assert_array_equal(MODEL.predict(*PAIRS, last), MODEL.predict(*PAIRS, last + 10**9))
    assert np.abs(MODEL.predict(*PAIRS, first) - MODEL.predict(*PAIRS, last)).max() > 0.05


def test_lists_and_explanations_are_of_the_last_period():
    items, scores = MODEL.recommend(MODEL.user_ids_[:3], n=5, with_scores=True)
    predicted = MODEL.predict(MODEL.user_ids_[:3, None], items)
    np.testing.assert_allclose(scores, predicted, rtol=1e-5)
    parts = MODEL.explain(MODEL.user_ids_[0], MODEL.item_ids_[0])
    assert parts.prediction == pytest.approx(float(MODEL.predict(MODEL.user_ids_[0], MODEL.item_ids_[0])))


def test_a_file_keeps_what_time_tells(tmp_path):
    MODEL.save(tmp_path / "m")
    again = load_model(tmp_path / "m")
    times = DRIFTING.timestamps[: len(MODEL.user_ids_), None]
    np.testing.assert_array_equal(again.predict(*PAIRS, times), MODEL.predict(*PAIRS, times))


def test_a_file_whose_time_runs_backwards_is_refused(tmp_path):
    model = NeuralMF(FORM, epochs=1).fit(DRIFTING)
    model._periods = replace(model._periods, last=model._periods.first - 1)
    model.save(tmp_path / "m")
    with pytest.raises(ModelFileError, match="expected the first time and the last"):
        load_model(tmp_path / "m")


def test_more_ratings_leave_what_time_tells_as_it_is():
    model = NeuralMF(FORM, epochs=5, batch_size=256).fit(DRIFTING)
    first, last = DRIFTING.timestamps.min(), DRIFTING.timestamps.max()
    before = model.predict(2, PAIRS[1], last) - model.predict(2, PAIRS[1], first)
    model.partial_fit(DRIFTING.take(DRIFTING.users == 7))
    after = model.predict(2, PAIRS[1], last) - model.predict(2, PAIRS[1], first)
    np.testing.assert_allclose(after, before, atol=2e-2)
    assert model.parameters_.keys() == MODEL.parameters_.keys()


def test_a_training_goes_on_from_a_checkpoint_of_the_same_times_alone(tmp_path):
    model = NeuralMF(FORM, epochs=2, batch_size=256)
    model.fit(DRIFTING, checkpoint_dir=tmp_path)
    with pytest.raises(ValueError, match="checkpoint"):
        model.fit(replace(DRIFTING, timestamps=DRIFTING.timestamps[::-1]), checkpoint_dir=tmp_path)


def test_ratings_without_times_are_refused():
    with pytest.raises(ValueError, match="expected timestamps, since the architecture has periods"):
        NeuralMF(FORM).fit(replace(DRIFTING, timestamps=None))


def test_moments_that_int32_cannot_count_are_refused():
    with pytest.raises(ValueError, match="expected at most 1 users, or items"):
        at_moments(DRIFTING, Periods(0, 1, 2**30))


@pytest.mark.parametrize("engine", ["numba", "torch"])
def test_every_engine_learns_the_same(engine):
    form = replace(FORM, dropout=0.0)
    ours, theirs = (
        NeuralMF(form, epochs=3, batch_size=256, engine=e).fit(DRIFTING).predict(*PAIRS, 0)
        for e in ("numpy", engine)
    )
    np.testing.assert_allclose(theirs, ours, atol=1e-4)
