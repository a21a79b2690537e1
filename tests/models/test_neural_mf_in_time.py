"""A NeuralMF with time bins finds drift, predicts at a time, and refuses ratings without times."""

from dataclasses import replace

import numpy as np
import pytest

from numpy_neural_mf import (
    Architecture,
    NeuralMF,
    load_model,
    random_split,
    simulate_ratings,
)
from numpy_neural_mf.evaluation import rmse
from numpy_neural_mf.models import files as model_file
from numpy_neural_mf.models.files import ModelFileError

DRIFTING = simulate_ratings(n_users=200, n_items=100, n_ratings=6_000, drift=0.4, random_state=1)
FORM = Architecture(8, periods=8)
MODEL = NeuralMF(FORM, epochs=10, batch_size=256).fit(DRIFTING)
PAIRS = MODEL.user_ids_[:, None], MODEL.item_ids_[None, :20]


def test_what_drifts_is_found():
    train, test = random_split(simulate_ratings(400, 200, 16_000, drift=0.5, random_state=0))
    with_time, without = (
        NeuralMF(periods=n).fit(train).predict(test.raw_users, test.raw_items, test.timestamps)
        for n in (12, 0)
    )
    assert rmse(with_time, test.values) < rmse(without, test.values) - 0.05


def test_where_nothing_drifts_hardly_anything_is_lost():
    still = simulate_ratings(400, 200, 16_000, random_state=0)
    still = replace(still, timestamps=np.random.default_rng(0).integers(0, 10**9, len(still)))
    train, test = random_split(still)
    with_time, without = (
        NeuralMF(periods=n).fit(train).predict(test.raw_users, test.raw_items, test.timestamps)
        for n in (12, 0)
    )
    assert rmse(with_time, test.values) < rmse(without, test.values) + 0.006


def test_predictions_are_of_a_time_by_default_of_the_last():
    first, last = DRIFTING.timestamps.min(), DRIFTING.timestamps.max()
    np.testing.assert_array_equal(MODEL.predict(*PAIRS), MODEL.predict(*PAIRS, last))
    np.testing.assert_array_equal(MODEL.predict(*PAIRS, last), MODEL.predict(*PAIRS, last + 10**9))
    assert np.abs(MODEL.predict(*PAIRS, first) - MODEL.predict(*PAIRS, last)).max() > 0.05


def test_lists_and_explanations_are_of_the_last_time_bin():
    items, scores = MODEL.recommend(MODEL.user_ids_[:3], n=5, with_scores=True)
    predicted = MODEL.predict(MODEL.user_ids_[:3, None], items)
    np.testing.assert_allclose(scores, predicted, rtol=1e-5)
    parts = MODEL.explain(MODEL.user_ids_[0], MODEL.item_ids_[0])
    assert parts.prediction == pytest.approx(float(MODEL.predict(MODEL.user_ids_[0], MODEL.item_ids_[0])))


def test_a_file_keeps_the_time_bins(tmp_path):
    MODEL.save(tmp_path / "m")
    again = load_model(tmp_path / "m")
    times = DRIFTING.timestamps[: len(MODEL.user_ids_), None]
    np.testing.assert_array_equal(again.predict(*PAIRS, times), MODEL.predict(*PAIRS, times))


def test_a_file_of_an_older_version_is_read(tmp_path):
    """Its tables of time bins have the names of tables of features, and its settings those of sequences."""
    MODEL.save(tmp_path / "m")
    description, tensors = model_file.read(tmp_path / "m")
    former = {"sequence": "", "sequence_length": 50, "next_item_weight": 0.0, "negatives": 0}
    description["settings"]["architecture"] |= former
    renamed = {name.replace("_time_", "_feature_"): array for name, array in tensors.items()}
    assert renamed.keys() != tensors.keys()
    model_file.write(tmp_path / "old", description, renamed)
    times = DRIFTING.timestamps[: len(MODEL.user_ids_), None]
    old = load_model(tmp_path / "old")
    np.testing.assert_array_equal(old.predict(*PAIRS, times), MODEL.predict(*PAIRS, times))
    assert old.parameters_.keys() == MODEL.parameters_.keys()


def test_a_file_of_a_model_with_a_sequence_is_refused(tmp_path):
    MODEL.save(tmp_path / "m")
    description, tensors = model_file.read(tmp_path / "m")
    description["settings"]["architecture"]["sequence"] = "gru"
    model_file.write(tmp_path / "m", description, tensors)
    with pytest.raises(ModelFileError, match="sequence: expected '', found 'gru'"):
        load_model(tmp_path / "m")


def test_a_file_whose_time_runs_backwards_is_refused(tmp_path):
    MODEL.save(tmp_path / "m")
    description, tensors = model_file.read(tmp_path / "m")
    model_file.write(tmp_path / "m", description, tensors | {"periods": tensors["periods"][::-1].copy()})
    with pytest.raises(ModelFileError, match="expected the first time and the last"):
        load_model(tmp_path / "m")


def test_more_ratings_leave_time_bins_as_they_are():
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


@pytest.mark.parametrize("engine", ["numba", "torch"])
def test_every_engine_learns_the_same(engine):
    form = replace(FORM, dropout=0.0)
    ours, theirs = (
        NeuralMF(form, epochs=3, batch_size=256, engine=e).fit(DRIFTING).predict(*PAIRS, 0)
        for e in ("numpy", engine)
    )
    np.testing.assert_allclose(theirs, ours, atol=1e-4)
