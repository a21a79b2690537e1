"""A NeuralMF with time bins, drift or previous items predicts at a time, and needs ratings with times."""

import sys
from dataclasses import replace

import numpy as np
import pytest

from numpy_neural_mf import (
    Architecture,
    NeuralMF,
    Ratings,
    leave_last_out,
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


def test_drift_is_found():
    train, test = random_split(simulate_ratings(300, 150, 12_000, drift=0.5, random_state=0))
    with_time, without = (
        NeuralMF(Architecture(8), periods=n, epochs=30)
        .fit(train)
        .predict(test.raw_users, test.raw_items, test.timestamps)
        for n in (12, 0)
    )
    assert rmse(with_time, test.values) < rmse(without, test.values) - 0.05


def test_without_drift_accuracy_hardly_decreases():
    still = simulate_ratings(300, 150, 12_000, random_state=0)
    still = replace(still, timestamps=np.random.default_rng(0).integers(0, 10**9, len(still)))
    train, test = random_split(still)
    with_time, without = (
        NeuralMF(Architecture(8), periods=n, epochs=30)
        .fit(train)
        .predict(test.raw_users, test.raw_items, test.timestamps)
        for n in (12, 0)
    )
    assert rmse(with_time, test.values) < rmse(without, test.values) + 0.01


def test_predictions_are_at_a_time_by_default_the_last():
    first, last = DRIFTING.timestamps.min(), DRIFTING.timestamps.max()
    np.testing.assert_array_equal(MODEL.predict(*PAIRS), MODEL.predict(*PAIRS, last))
    np.testing.assert_array_equal(MODEL.predict(*PAIRS, last), MODEL.predict(*PAIRS, last + 10**9))
    assert np.abs(MODEL.predict(*PAIRS, first) - MODEL.predict(*PAIRS, last)).max() > 0.05


def test_lists_and_explanations_use_the_last_time_bin():
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


def test_a_file_whose_time_runs_backwards_is_refused(tmp_path):
    MODEL.save(tmp_path / "m")
    description, tensors = model_file.read(tmp_path / "m")
    model_file.write(tmp_path / "m", description, tensors | {"periods": tensors["periods"][::-1].copy()})
    with pytest.raises(ModelFileError, match="expected the first time and the last"):
        load_model(tmp_path / "m")


def test_more_ratings_do_not_change_time_bins():
    model = NeuralMF(FORM, epochs=5, batch_size=256).fit(DRIFTING)
    first, last = DRIFTING.timestamps.min(), DRIFTING.timestamps.max()
    new = DRIFTING.take(DRIFTING.users == 7)
    others = np.setdiff1d(model.item_ids_, new.raw_items)
    before = model.predict(2, others, last) - model.predict(2, others, first)
    model.partial_fit(new)
    after = model.predict(2, others, last) - model.predict(2, others, first)
    np.testing.assert_allclose(after, before, atol=1e-5)
    assert model.parameters_.keys() == MODEL.parameters_.keys()


def test_a_training_resumes_only_from_a_checkpoint_of_the_same_times(tmp_path):
    model = NeuralMF(FORM, epochs=2, batch_size=256)
    model.fit(DRIFTING, checkpoint_dir=tmp_path)
    with pytest.raises(ValueError, match="checkpoint"):
        model.fit(replace(DRIFTING, timestamps=DRIFTING.timestamps[::-1]), checkpoint_dir=tmp_path)


def test_ratings_without_times_are_refused():
    with pytest.raises(ValueError, match="expected timestamps, since the architecture has periods"):
        NeuralMF(FORM).fit(replace(DRIFTING, timestamps=None))


@pytest.mark.parametrize("engine", ["numba", "torch"])
def test_every_engine_learns_the_same(engine):
    ours, theirs = (
        NeuralMF(FORM, epochs=3, batch_size=256, engine=e).fit(DRIFTING).predict(*PAIRS, 0)
        for e in ("numpy", engine)
    )
    np.testing.assert_allclose(theirs, ours, atol=1e-4)


def in_sessions(n_users=80, n_items=60, n_sessions=4, size=8, seed=0):
    """Each session of a user has its own bias; within a session, ratings are a minute apart."""
    rng, shape = np.random.default_rng(seed), (n_users, n_sessions, size)
    users, sessions, place = (a.ravel() for a in np.indices(shape))
    items = np.concatenate([rng.permutation(n_items)[: n_sessions * size] for _ in range(n_users)])
    mood = rng.normal(0, 1.2, (n_users, n_sessions))[users, sessions]
    values = 3 + rng.normal(0, 0.4, n_users)[users] + rng.normal(0, 0.4, n_items)[items]
    values += mood + rng.normal(0, 0.4, len(users))
    times = 10**6 * (1 + users + n_users * sessions) + 60 * place
    return Ratings.from_columns(users, items, np.clip(values, -2, 8), times, (-2, 8))


MOODS = in_sessions()
DRIFTS = Architecture(2, drift=True)


@pytest.fixture
def moody():
    """A model trained on sessions, with every fourth rating left out."""
    return NeuralMF(DRIFTS, epochs=15).fit(MOODS.take(np.arange(len(MOODS)) % 4 != 0))


LEFT_OUT = MOODS.take(np.arange(len(MOODS)) % 4 == 0)
LEFT_OUT_PAIRS = LEFT_OUT.raw_users, LEFT_OUT.raw_items


def test_the_bias_of_a_session_is_found_from_its_other_ratings(moody):
    at_the_time = rmse(moody.predict(*LEFT_OUT_PAIRS, LEFT_OUT.timestamps), LEFT_OUT.values)
    assert at_the_time < 0.7 < 1.0 < rmse(moody.predict(*LEFT_OUT_PAIRS), LEFT_OUT.values)
    assert moody.fitted_.model.timed.drift.timescale > 300


def test_long_after_a_session_and_without_a_time_the_bias_of_a_user_is_its_long_term_mean(moody):
    usual = moody.predict(*LEFT_OUT_PAIRS)
    np.testing.assert_allclose(moody.predict(*LEFT_OUT_PAIRS, 10**10), usual, atol=1e-5)
    low, high = moody.predict_interval(*LEFT_OUT_PAIRS, LEFT_OUT.timestamps)
    at_the_time = moody.predict(*LEFT_OUT_PAIRS, LEFT_OUT.timestamps)
    assert ((low <= at_the_time) & (at_the_time <= high)).all()


def test_new_users_do_not_drift(moody):
    times, items = LEFT_OUT.timestamps[:4], [1, 2, 3, 4]
    ann = moody.fold_in({1: 8.0, 2: 8.0})
    for user in (ann, "nobody"):
        np.testing.assert_array_equal(
            moody.predict(user, [1, 2, 3, 4], times), moody.predict(user, [1, 2, 3, 4])
        )
    drift = moody.predict(5, 3, times) - moody.predict(5, 3)
    more = Ratings.from_columns([-1, -1], [1, 2], [8.0, 8.0], times[:2], (-2, 8))
    moody.partial_fit(more)
    np.testing.assert_array_equal(moody.predict(-1, items, times), moody.predict(-1, items))
    np.testing.assert_allclose(moody.predict(5, 3, times) - moody.predict(5, 3), drift, atol=1e-5)


def test_a_file_keeps_the_drift(moody, tmp_path):
    moody.save(tmp_path / "m")
    again = load_model(tmp_path / "m")
    for model in (moody, again):
        model.partial_fit(MOODS.take([0, 1, 40]))
    ours, theirs = (m.predict(*LEFT_OUT_PAIRS, LEFT_OUT.timestamps) for m in (moody, again))
    assert theirs.tobytes() == ours.tobytes()


def require_refusal(model, path, name, change, message):
    """Require that a file of the model with a changed array is refused with the message."""
    model.save(path)
    description, tensors = model_file.read(path)
    model_file.write(path, description, tensors | {name: change(tensors[name])})
    with pytest.raises(ModelFileError, match=message):
        load_model(path)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("drift.times", lambda times: times[::-1].copy(), "expected those of ratings in order"),
        ("drift.starts", lambda starts: starts[:-1], "drift.starts: expected int64 of shape"),
        ("drift.values", lambda values: values * np.nan, "drift.values: expected finite numbers"),
    ],
)
def test_a_file_of_a_drift_that_is_out_of_order_is_refused(moody, tmp_path, name, change, message):
    require_refusal(moody, tmp_path / "m", name, change, message)


def test_a_timescale_that_is_not_above_zero_is_refused(moody, tmp_path):
    moody.save(tmp_path / "m")
    description, tensors = model_file.read(tmp_path / "m")
    description["settings"]["timescale"] = 0.0
    model_file.write(tmp_path / "m", description, tensors)
    with pytest.raises(ModelFileError, match="timescale must be a finite number from"):
        load_model(tmp_path / "m")


def test_drift_needs_times():
    with pytest.raises(ValueError, match="expected timestamps, since the architecture has drift"):
        NeuralMF(DRIFTS).fit(replace(MOODS, timestamps=None))


def test_drift_without_numba_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "numba", None)
    for compiled in ("kernels", "engines.numba_compat"):
        monkeypatch.delitem(sys.modules, f"numpy_neural_mf.training.{compiled}", raising=False)
    with pytest.raises(
        ModuleNotFoundError, match=r'drift needs numba: pip install "numpy-neural-mf\[fast\]"'
    ):
        NeuralMF(DRIFTS, epochs=1, engine="numpy").fit(MOODS)


AFTER_ANOTHER = Architecture(4, previous_item=True)
SEQUENCES = simulate_ratings(400, 60, 12_000, sequence=1.0, random_state=0)


@pytest.fixture(scope="module")
def after_another():
    return NeuralMF(AFTER_ANOTHER, epochs=10).fit(SEQUENCES)


def test_the_effect_of_the_previous_item_is_found():
    train, test = leave_last_out(SEQUENCES)
    errors = []
    for has_it in (True, False):
        model = NeuralMF(AFTER_ANOTHER, previous_item=has_it, epochs=30).fit(train)
        errors.append(rmse(model.predict(test.raw_users, test.raw_items, test.timestamps), test.expected))
    assert errors[0] < 0.8 * errors[1]


def test_without_a_time_and_before_any_rating_the_previous_item_has_no_effect(after_another):
    model, users, items = after_another, SEQUENCES.user_ids[:20, None], SEQUENCES.item_ids[None]
    usual = model.predict(users, items)
    np.testing.assert_array_equal(model.predict(users, items, SEQUENCES.timestamps.min()), usual)
    np.testing.assert_array_equal(model.predict("nobody", items, 10**10), model.predict("nobody", items))
    later = model.predict(users, items, 10**10)
    assert np.abs(later - usual).max() > 0.1
    assert abs(float((later - usual).mean())) < 0.05  # it is centred
    listed, scores = model.recommend(users.ravel(), n=3, with_scores=True)
    np.testing.assert_allclose(scores, model.predict(users, listed), rtol=1e-5)
    ann = model.fold_in({1: 5.0, 2: 1.0})
    np.testing.assert_array_equal(model.predict(ann, items, 10**10), model.predict(ann, items))


def test_a_file_and_an_update_keep_the_effect_of_the_previous_item(after_another, tmp_path):
    after_another.save(tmp_path / "m")
    again = load_model(tmp_path / "m")
    columns = SEQUENCES.raw_users[:500], SEQUENCES.raw_items[:500], SEQUENCES.timestamps[:500]
    assert again.predict(*columns).tobytes() == after_another.predict(*columns).tobytes()
    effect = again.predict(3, 5, 10**10) - again.predict(3, 5)
    again.partial_fit(Ratings.from_columns([-1, -1], [1, -7], [5.0, 1.0], [1, 2], (1, 5)))
    assert again.predict(3, 5, 10**10) - again.predict(3, 5) == pytest.approx(effect, abs=1e-5)
    np.testing.assert_array_equal(again.predict(-1, [1, 5, -7], 10**10), again.predict(-1, [1, 5, -7]))


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("previous_item.items", lambda items: items + 60, "previous_item.items: expected rows of items"),
        ("previous_item.items", lambda items: items - 60, "previous_item.items: expected rows of items"),
        ("previous_item.items", lambda items: items[1:], "previous_item.items: expected int32 of shape"),
        ("previous_item.vectors", lambda y: y[:, 1:].copy(), "previous_item.vectors: expected float32 of"),
        ("previous_item.vectors", lambda y: y * np.nan, "previous_item.vectors: expected finite numbers"),
    ],
)
def test_a_file_with_invalid_previous_items_is_refused(after_another, tmp_path, name, change, message):
    require_refusal(after_another, tmp_path / "m", name, change, message)


@pytest.mark.parametrize("engine", ["numba", "torch"])
def test_every_engine_learns_the_same_from_the_previous_item(engine):
    form = replace(AFTER_ANOTHER, periods=3, drift=True)
    ours, theirs = (
        NeuralMF(form, epochs=3, batch_size=256, engine=e).fit(SEQUENCES).predict([1, 2, 3], 4, 10**9)
        for e in ("numpy", engine)
    )
    np.testing.assert_allclose(theirs, ours, atol=1e-4)


def test_the_validation_loss_is_that_of_predictions_at_their_times(after_another):
    train, test = leave_last_out(SEQUENCES)
    model = NeuralMF(AFTER_ANOTHER, epochs=4).fit(train, test)
    predicted = model.predict(test.raw_users, test.raw_items, test.timestamps)
    assert model.history_.validation_loss[-1] == pytest.approx(rmse(predicted, test.values) ** 2, rel=1e-4)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"likelihood": "ordinal"}, 'previous_item: expected False with likelihood="ordinal"'),
        ({"product": False, "hidden_layer_sizes": (4,)}, "previous_item: expected False without the product"),
        ({"batch_size": 1}, "previous_item: expected batches of more than one rating, found batch_size 1"),
    ],
)
def test_the_previous_item_needs_residuals_a_product_and_batches(settings, message):
    with pytest.raises(ValueError, match=message):
        NeuralMF(AFTER_ANOTHER, **settings)


def test_the_previous_item_needs_times():
    with pytest.raises(ValueError, match="expected timestamps, since the architecture has previous_item"):
        NeuralMF(AFTER_ANOTHER).fit(replace(SEQUENCES, timestamps=None))
