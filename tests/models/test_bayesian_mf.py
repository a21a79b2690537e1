"""BayesianMF: accuracy, intervals, model files, checkpoints, and no leak of held-out ratings."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from numpy_neural_mf import (
    BayesianMF,
    Features,
    LinearRegression,
    ModelFileError,
    NeuralMF,
    Ratings,
    leave_last_out,
    load_model,
    random_split,
    simulate_ratings,
)
from numpy_neural_mf.evaluation import rmse
from numpy_neural_mf.models import files as model_file
from numpy_neural_mf.training.checkpoint import FILE
from numpy_neural_mf.training.loop import MAX_EPOCHS

pytest.importorskip("numba")

DAY = 86_400
TIMED = simulate_ratings(n_users=60, n_items=40, n_ratings=1_200, drift=0.8, random_state=1)
PLAIN = replace(TIMED, timestamps=None)
quick = partial(BayesianMF, 3, n_samples=12, burn_in=4, rank=6)
EVERYTHING = TIMED.user_ids[:, None], TIMED.item_ids[None]
MODEL = quick().fit(TIMED)


def noises():
    """Draw the noise of 150 users, standard deviations from about 0.4 to 1.2."""
    return 0.7 / np.sqrt(np.random.default_rng(9).gamma(5.0, 1 / 5.0, 150))


def noisy(n=8_000, seed=0):
    """Ratings from biases, a product, and user-specific noise; any real number."""
    rng = np.random.default_rng(seed)
    pairs = rng.choice(150 * 120, n, replace=False)
    users, items = pairs // 120, pairs % 120
    b_u, b_i = 0.4 * rng.normal(size=150), 0.4 * rng.normal(size=120)
    p, q = rng.normal(size=(150, 2)), 0.4 * rng.normal(size=(120, 2))
    mean = b_u[users] + b_i[items] + np.einsum("nk,nk->n", p[users], q[items])
    return Ratings.from_columns(users, items, mean + noises()[users] * rng.normal(size=n), scale=(-20, 20))


@pytest.fixture(scope="module")
def of_noisy():
    train, test = random_split(noisy(), 0.3, 0)
    return BayesianMF(4, n_samples=120, burn_in=30).fit(train), test


# Predictions


def test_it_is_better_than_biases():
    train, test = random_split(simulate_ratings(150, 80, 5_000, random_state=2), 0.2, 0)
    bayesian, linear = (m.fit(train) for m in (BayesianMF(6, n_samples=60), LinearRegression()))
    bayesian, linear = (
        rmse(m.predict(test.raw_users, test.raw_items), test.values) for m in (bayesian, linear)
    )
    assert bayesian < linear - 0.02


@pytest.mark.parametrize("many", ["users", "items"])
def test_implicit_feedback_of_one_item_is_not_confused_with_the_item(many):
    """600 users each rate one of 20 items, or the reverse: only the smaller side has an effect."""
    rng = np.random.default_rng(1)
    rows, few, effect = np.arange(600), rng.integers(0, 20, 600), rng.uniform(2, 4, 20)
    sides = (rows, few) if many == "users" else (few, rows)
    ratings = Ratings.from_columns(*sides, effect[few] + rng.uniform(-1.5, 1.5, 600), scale=(0, 6))
    unknown, known = np.full(20, -1), np.arange(20)
    pairs = (unknown, known) if many == "users" else (known, unknown)

    def error(model):
        return np.sqrt(np.mean((model.fit(ratings).predict(*pairs) - effect) ** 2))

    assert error(BayesianMF(2, n_samples=100)) < error(LinearRegression()) + 0.05


def test_the_validation_loss_of_the_last_sample_is_that_of_the_model():
    """Validation includes cold-start users and items; the rank suffices for the exact mean."""
    train, validation = random_split(PLAIN, 0.3, 0)
    train = train.take(np.flatnonzero((train.users > 5) & (train.items > 5)))
    model = quick(rank=40).fit(train, validation)
    prediction = model.predict(validation.raw_users, validation.raw_items)
    assert model.history_.validation_loss[-1] == pytest.approx(
        rmse(prediction, validation.values) ** 2, rel=1e-3
    )
    assert len(model.history_.validation_loss) == 16
    same = quick(rank=40).fit(train)
    assert same.predict(*EVERYTHING).tobytes() == model.predict(*EVERYTHING).tobytes()


def test_each_sample_is_one_epoch():
    reports = []
    model = quick().fit(TIMED, on_progress=reports.append)
    assert [progress.epoch for progress in reports] == [*range(1, 17)]
    assert model.history_.best_epoch == len(model.history_.train_loss) == len(model.history_.seconds) == 16
    assert model.history_.validation_loss == []
    assert model.history_.train_loss == [progress.train_loss for progress in reports]


def test_the_same_seed_is_the_same_model():
    assert quick().fit(TIMED).predict(*EVERYTHING).tobytes() == MODEL.predict(*EVERYTHING).tobytes()
    other = quick(random_state=1).fit(TIMED)
    assert other.predict(*EVERYTHING).tobytes() != MODEL.predict(*EVERYTHING).tobytes()


def test_without_a_time_predictions_are_for_the_time_of_the_last_rating():
    model = quick(previous_item=False).fit(TIMED)
    now = model.predict(*EVERYTHING)
    last = TIMED.timestamps.max()
    np.testing.assert_allclose(model.predict(*EVERYTHING, last), now, atol=1e-4)
    assert np.abs(model.predict(*EVERYTHING, last - 200 * DAY) - now).max() > 0.01


def test_the_previous_item_changes_predictions_at_a_time():
    """A user who has just rated an even item rates the next one higher by two stars."""
    rng = np.random.default_rng(0)
    users = np.repeat(np.arange(60), 40)
    items = np.concatenate([rng.permutation(80)[:40] for _ in range(60)])
    after_even = np.append(False, items[:-1] % 2 == 0) & (np.arange(2_400) % 40 > 0)
    values = 3 + np.where(after_even, 1.0, -1.0) + 0.3 * rng.normal(size=2_400)
    ratings = Ratings.from_columns(users, items, values, np.arange(2_400) * 60, scale=(-5, 10))
    train, test = leave_last_out(ratings)
    model = BayesianMF(2, n_samples=60, implicit=False, drift=False).fit(train)
    pairs = test.raw_users, test.raw_items
    assert rmse(model.predict(*pairs, test.timestamps), test.values) < 0.5
    assert rmse(model.predict(*pairs), test.values) > 0.9
    without = BayesianMF(2, n_samples=60, implicit=False, drift=False, previous_item=False).fit(train)
    assert rmse(without.predict(*pairs, test.timestamps), test.values) > 0.9


def test_the_previous_item_has_an_earlier_time():
    """Ratings of the same second have no known order."""
    at_once = replace(TIMED, timestamps=np.zeros(len(TIMED), np.int64))
    model = quick().fit(at_once)
    categories = model.fitted_.model.mean.context.variables.categories(np.arange(60), np.zeros(60, np.int64))
    assert (categories[1] == model.fitted_.model.mean.context.variables.n_items).all()


def test_a_season_of_all_users_is_found():
    """All users like half of the items in even months, and the other half in odd months."""
    rng = np.random.default_rng(0)
    users, items = np.repeat(np.arange(100), 30), rng.integers(0, 60, 3_000)
    times = rng.integers(0, 720, 3_000) * DAY
    likes = (times // (30 * DAY)) % 2 == items % 2
    ratings = Ratings.from_columns(
        users, items, 3 + likes + 0.3 * rng.normal(size=3_000), times, scale=(-5, 10)
    )
    train, test = random_split(ratings, 0.2, 0)
    model = BayesianMF(2, n_samples=60, implicit=False).fit(train)
    assert rmse(model.predict(test.raw_users, test.raw_items, test.timestamps), test.values) < 0.4


def test_times_have_no_effect_on_a_model_without_time():
    for model in (quick().fit(PLAIN), quick(drift=False, previous_item=False).fit(TIMED)):
        assert model.predict(*EVERYTHING, 5).tobytes() == model.predict(*EVERYTHING).tobytes()


def test_a_bias_of_a_session_is_found():
    """Users rate in sessions of ten, each with a bias of up to 1.5."""
    rng = np.random.default_rng(0)
    users = np.repeat(np.arange(40), 60)
    items = np.concatenate([rng.permutation(200)[:60] for _ in range(40)])
    session = np.arange(2_400) // 10
    times = session * 3 * DAY + rng.integers(0, 600, 2_400)
    values = 3 + rng.uniform(-1.5, 1.5, 240)[session] + 0.5 * rng.normal(size=2_400)
    train, test = random_split(Ratings.from_columns(users, items, values, times, scale=(-5, 10)), 0.2, 0)
    model = BayesianMF(2, n_samples=60, implicit=False).fit(train)
    pairs = test.raw_users, test.raw_items
    assert rmse(model.predict(*pairs, test.timestamps), test.values) < 0.65
    assert rmse(model.predict(*pairs), test.values) > 0.9


@pytest.mark.parametrize("unit", [0.25, 32.0])
def test_predictions_scale_with_the_unit_of_the_ratings(unit):
    scale = tuple(unit * bound for bound in TIMED.scale)
    model = quick().fit(replace(TIMED, values=np.float32(unit) * TIMED.values, scale=scale))
    np.testing.assert_allclose(model.predict(*EVERYTHING) / unit, MODEL.predict(*EVERYTHING), atol=1e-4)
    np.testing.assert_allclose(model.deviation_ / unit, MODEL.deviation_, rtol=1e-4)


@pytest.mark.parametrize("n_users, n_items", [(1, 30), (30, 1), (1, 1), (2, 2)])  # noqa: PT006
def test_few_users_or_items_are_enough(n_users, n_items):
    users, items = np.indices((n_users, n_items)).reshape(2, -1)
    values = 1.0 + np.arange(len(users)) % 5
    model = quick().fit(Ratings.from_columns(users, items, values, np.arange(len(users)), scale=(1, 5)))
    assert np.isfinite(model.predict([0, 9_999], [0, 9_999])).all()
    assert np.isfinite(model.deviation_).all()


@pytest.mark.parametrize("times", [None, np.arange(12) * DAY, np.zeros(12, np.int64)])
def test_constant_ratings_are_predicted(times):
    users, items = np.indices((4, 3)).reshape(2, -1)
    ratings = Ratings.from_columns(users, items, np.full(12, 4.0), times, scale=(1, 5))
    with pytest.warns(UserWarning, match="all 12 ratings are 4"):
        model = quick(n_samples=50).fit(ratings)
    np.testing.assert_allclose(model.predict(users, items), 4.0, atol=0.2)


def test_dates_without_time_of_day_are_times():
    dates = replace(TIMED, timestamps=TIMED.timestamps // DAY * DAY)
    model = quick().fit(dates)
    assert np.isfinite(model.predict(*EVERYTHING, dates.timestamps.min())).all()


# Side information


def described():
    """Users like odd items or even ones; the last ten items have no ratings."""
    rng = np.random.default_rng(0)
    pairs = rng.choice(60 * 40, 1_500, replace=False)
    users, items = pairs // 40, pairs % 40
    values = np.where((users + items) % 2 == 0, 5.0, 1.0)
    films = Features.from_frame({"id": range(50), "parity": ["even", "odd"] * 25})
    return Ratings.from_columns(users, items, values, scale=(1, 5)).with_features(items=films)


def test_items_without_ratings_are_predicted_from_their_features():
    model = quick(n_samples=40, burn_in=20).fit(described())
    users, items = np.indices((60, 10)).reshape(2, -1)
    expected = np.where((users + items) % 2 == 0, 5.0, 1.0)
    assert model.known(users, items + 40).all()
    assert rmse(model.predict(users, items + 40), expected) < 1
    assert not quick(features=False).fit(described()).known(0, 45)


def test_validation_ratings_change_no_bit_of_the_model():
    """Whatever their values and times."""
    train, test = random_split(TIMED, 0.3, 0)
    anything = replace(test, values=np.full(len(test), 1.0, np.float32), timestamps=test.timestamps + 9)
    one, other, alone = (quick().fit(train, validation) for validation in (test, anything, None))
    for model in (other, alone):
        for name, value in one._saved().arrays.items():
            assert value.tobytes() == model._saved().arrays[name].tobytes(), name


# Intervals


@pytest.mark.parametrize("coverage", [0.5, 0.8, 0.9])
def test_intervals_cover_the_ratings_of_quiet_and_of_noisy_users(of_noisy, coverage):
    model, test = of_noisy
    low, high = model.predict_interval(test.raw_users, test.raw_items, coverage=coverage)
    is_within = (low <= test.values) & (test.values <= high)
    error = (coverage * (1 - coverage) / len(test)) ** 0.5
    assert is_within.mean() == pytest.approx(coverage, abs=4 * error)
    is_noisy = noises()[test.raw_users] > np.median(noises())
    for half in (is_noisy, ~is_noisy):
        assert is_within[half].mean() == pytest.approx(coverage, abs=8 * error)


def test_noisy_users_have_wide_intervals(of_noisy):
    model, _ = of_noisy
    deviation, planted = model.deviation_[:-1], noises()[model.user_ids_]
    assert np.corrcoef(deviation, planted)[0, 1] > 0.8
    assert deviation.mean() == pytest.approx(planted.mean(), rel=0.15)
    alike = BayesianMF(4, n_samples=20, user_noise=False).fit(random_split(noisy(), 0.3, 0)[0])
    assert alike.deviation_.std() < 0.3 * deviation.std()


def test_intervals_of_the_unknown_are_wider_and_cover_too():
    given = noisy(seed=1)
    is_new = (given.users % 5 == 0) | (given.items % 5 == 0)
    test = given.take(np.flatnonzero(is_new))
    model = BayesianMF(4, n_samples=60).fit(given.take(np.flatnonzero(~is_new)))
    assert not model.known(test.raw_users, test.raw_items).any()
    low, high = model.predict_interval(test.raw_users, test.raw_items, coverage=0.8)
    is_within = (low <= test.values) & (test.values <= high)
    assert is_within.mean() == pytest.approx(0.8, abs=0.05)


def test_a_folded_in_user_has_the_deviation_of_an_unknown_user():
    ann, film = MODEL.fold_in({1: 5.0, 2: 1.0}), MODEL.fold_in_item(9_999, {1: 5.0, 2: 1.0})
    half = 0.5 * float(np.subtract(*MODEL.predict_interval(ann, 3, coverage=0.1)[::-1]))
    assert half == pytest.approx(0.12566 * float(MODEL.deviation_[-1]), rel=1e-3)
    half = 0.5 * float(np.subtract(*MODEL.predict_interval(1, film, coverage=0.1)[::-1]))
    assert half == pytest.approx(0.12566 * float(MODEL.deviation_[0]), rel=1e-3)


def test_an_interval_lies_within_the_scale_around_the_prediction():
    low, high = MODEL.predict_interval(*EVERYTHING, coverage=0.99)
    prediction = MODEL.predict(*EVERYTHING)
    assert low.dtype == high.dtype == np.float32
    assert low.shape == high.shape == prediction.shape
    assert (TIMED.scale[0] <= low).all()
    assert (high <= TIMED.scale[1]).all()
    assert ((low <= prediction) & (prediction <= high)).all()


@pytest.mark.parametrize("coverage", [0, 1, -0.5, float("nan")])
def test_coverages_of_zero_and_one_are_refused(coverage):
    with pytest.raises(ValueError, match="coverage must be a finite number above 0 and below 1, not"):
        MODEL.predict_interval(1, 2, coverage=coverage)


def test_a_distribution_is_one_over_the_steps_of_the_scale():
    steps, probabilities = MODEL.predict_distribution(*EVERYTHING, TIMED.timestamps.min())
    assert steps.tolist() == [1, 2, 3, 4, 5]
    assert probabilities.shape == (*MODEL.predict(*EVERYTHING).shape, 5)
    assert (probabilities >= 0).all()
    np.testing.assert_allclose(probabilities.sum(axis=-1), 1, rtol=1e-5)
    inner = np.abs(MODEL.predict(*EVERYTHING, TIMED.timestamps.min()) - 3) < 0.7
    mean = probabilities @ steps
    np.testing.assert_allclose(
        mean[inner], MODEL.predict(*EVERYTHING, TIMED.timestamps.min())[inner], atol=0.2
    )


def test_a_distribution_is_calibrated_for_each_category():
    train, test = random_split(simulate_ratings(150, 80, 6_000, random_state=3), 0.3, 0)
    model = BayesianMF(4, n_samples=60).fit(train)
    steps, probabilities = model.predict_distribution(test.raw_users, test.raw_items)
    shares = np.mean(test.values[:, None] == steps, axis=0)
    np.testing.assert_allclose(probabilities.mean(axis=0), shares, atol=0.06)


def test_ratings_with_many_distinct_values_have_no_distribution(of_noisy):
    with pytest.raises(ValueError, match="at most 20 distinct training ratings"):
        of_noisy[0].predict_distribution(1, 2)


# Files


@pytest.fixture
def path(tmp_path):
    MODEL.save(tmp_path / "m")
    return tmp_path / "m"


@pytest.mark.parametrize("ratings", [TIMED, PLAIN], ids=["with times", "without"])
def test_a_loaded_model_has_the_same_drift_bit_for_bit(tmp_path, ratings):
    model = quick().fit(ratings)
    model.save(tmp_path / "m")
    again = load_model(tmp_path / "m")
    for times in (None, TIMED.timestamps.min() + 40 * DAY):
        assert again.predict(*EVERYTHING, times).tobytes() == model.predict(*EVERYTHING, times).tobytes()
        for a, b in zip(
            again.predict_interval(*EVERYTHING, times),
            model.predict_interval(*EVERYTHING, times),
            strict=True,
        ):
            assert a.tobytes() == b.tobytes()
    assert again.predict_distribution(1, 2)[0].tolist() == [1, 2, 3, 4, 5]
    assert again.history_ == model.history_
    assert repr(vars(again)).split("'_state'")[0] == repr(vars(model)).split("'_state'")[0]


def test_a_loaded_model_fits_as_the_saved_one(tmp_path):
    quick().fit(PLAIN).save(tmp_path / "m")  # without times: the settings of time must not be lost
    again = load_model(tmp_path / "m").fit(TIMED)
    assert again.predict(*EVERYTHING).tobytes() == MODEL.predict(*EVERYTHING).tobytes()


def setting(name, value):
    return lambda description, tensors: description["settings"].update({name: value})


def summary(name, value):
    return lambda description, tensors: description["summary"].update({name: value})


def element(name, index, value):
    return lambda description, tensors: tensors[name].__setitem__(index, value)


N = len(TIMED)
FORGERIES = {
    "no number of times": (lambda d, t: d["settings"].pop("n_timed"), "settings: missing n_timed; expected"),
    "times of words": (setting("n_timed", "1"), "n_timed must be an integer"),
    "fewer times than none": (setting("n_timed", -1), "n_timed must be an integer"),
    "true as a number of times": (setting("n_timed", True), "n_timed must be an integer"),
    "times that no setting uses": (
        lambda d, t: d["settings"].update(drift=False, previous_item=False),
        "n_timed: expected 0 without drift and previous_item",
    ),
    "another number of times": (setting("n_timed", N - 1), "expected int64 of shape"),
    "no times": (setting("n_timed", 0), "timescales: expected one for each drift"),
    "rank out of range": (setting("rank", 0), "rank must be an integer"),
    "another rank": (setting("rank", 7), "expected float32 of shape"),
    "setting unknown": (setting("learning_rate", 7), "settings: unknown learning_rate; expected"),
    "drift NaN": (element("level.0", 3, np.nan), "level.0: expected finite numbers"),
    "deviation of nothing": (
        element("deviation", 0, 0.0),
        "deviation: expected numbers of at least 1.18e-38",
    ),
    "times falling": (element("times.all", 0, 2**62), "starts and times: expected"),
    "an item that is not there": (element("context.rated", 0, 40), "context.rated: expected rows of items"),
    "context NaN": (element("context.bias", 0, np.nan), "context.bias: expected finite numbers"),
    "starts falling": (element("starts.user", 2, 10**6), "starts and times: expected"),
    "starts negative": (element("starts.item", 1, -5), "starts and times: expected"),
    "a timescale too few": (summary("timescales", [1.0]), "timescales: expected one for each drift"),
    "timescale zero": (
        summary("timescales", [0.0, 1.0, 1.0, 1.0]),
        "timescales must be a finite number",
    ),
    "timescale of words": (summary("timescales", ["a"] * 4), "BayesianMF: "),
    "steps falling": (summary("rating_steps", [2.0, 1.0]), "steps: expected an ascending list"),
    "steps nested": (summary("rating_steps", [[1.0]]), "steps must be a finite number"),
    "history of words": (
        lambda d, t: d["summary"]["history"].update(train_loss=["x"]), "train_loss must be a finite number"
    ),
    "history unknown": (summary("history", {"code": [1.0]}), "history: missing best_epoch, "),
    "history no object": (summary("history", 3), "history: expected best_epoch, .* found 3"),
    "more in the summary": (summary("code", "1"), "summary: unknown code; expected history, "),
}  # fmt: skip


@pytest.mark.parametrize("name", FORGERIES)
def test_forged(path, name):
    change, message = FORGERIES[name]
    description, tensors = model_file.read(path)
    tensors = {key: array.copy() for key, array in tensors.items()}
    change(description, tensors)
    model_file.write(path, description, tensors)
    with pytest.raises(ModelFileError, match=message) as caught:
        load_model(path)
    assert str(caught.value).startswith(str(path))


def test_the_history_of_the_longest_training_is_restored(path):
    numbers = [1.2345678901234567e-100] * 2 * MAX_EPOCHS  # burn-in and samples
    description, tensors = model_file.read(path)
    names = ("train_loss", "validation_loss", "seconds")
    description["summary"]["history"] |= dict.fromkeys(names, numbers)
    model_file.write(path, description, tensors)
    assert load_model(path).history_.seconds == numbers


# More ratings


def test_an_update_changes_users_with_new_ratings_but_no_time_varying_bias(tmp_path):
    more = Ratings.from_columns([1, 1, 777], [2, 999, 2], [5.0, 5.0, 1.0], scale=(1, 5))
    model = quick().fit(TIMED)
    before = model.predict(5, 7, TIMED.timestamps[:50])
    model.partial_fit(more)
    np.testing.assert_array_equal(model.predict(5, 7, TIMED.timestamps[:50]), before)
    assert model.known(777, 999)
    assert model.predict_interval(777, 2)[0] < model.predict(777, 2)
    model.save(tmp_path / "m")
    assert load_model(tmp_path / "m").predict(777, 999) == model.predict(777, 999)


# Checkpoints


class InterruptedFitError(Exception):
    """Stand-in for anything that interrupts a fit."""


def interrupt_at(sample):
    def on_progress(progress):
        if progress.epoch == sample:
            raise InterruptedFitError

    return on_progress


@pytest.mark.parametrize("sample", [3, 10, 25, 31])
@pytest.mark.parametrize("validated", [True, False])
def test_an_interrupted_training_resumes_bit_for_bit(tmp_path, sample, validated):
    train, validation = random_split(TIMED, 0.2, 0)
    validation = validation if validated else None
    undisturbed = quick(n_samples=27).fit(train, validation)
    with pytest.raises(InterruptedFitError):
        quick(n_samples=27).fit(train, validation, interrupt_at(sample), checkpoint_dir=tmp_path)
    reports = []
    resumed = quick(n_samples=27).fit(train, validation, reports.append, checkpoint_dir=tmp_path)
    saved = 31 if sample == 31 else sample // 10 * 10  # every tenth sample and the last
    assert [progress.epoch for progress in reports] == [*range(saved + 1, 32)]
    for name, value in undisturbed._saved().arrays.items():
        assert value.tobytes() == resumed._saved().arrays[name].tobytes(), name
    assert undisturbed.history_.train_loss == resumed.history_.train_loss
    assert undisturbed.history_.validation_loss == resumed.history_.validation_loss
    timescales = [
        [drift.timescale for drift in model.fitted_.model.mean.drifts] for model in (undisturbed, resumed)
    ]
    assert timescales[0] == timescales[1]


@pytest.mark.parametrize(
    ("settings", "ratings"),
    [({"n_samples": 13}, TIMED), ({"random_state": 1}, TIMED), ({"rank": 5}, TIMED), ({}, PLAIN),
     ({}, replace(TIMED, timestamps=TIMED.timestamps + np.arange(N)))],
    ids=["samples", "seed", "rank", "without times", "other times"],
)  # fmt: skip
def test_the_checkpoint_of_another_training_is_refused(tmp_path, settings, ratings):
    quick().fit(TIMED, checkpoint_dir=tmp_path)
    with pytest.raises(ValueError, match="found one of other ratings or settings"):
        quick(**settings).fit(ratings, checkpoint_dir=tmp_path)


def test_the_checkpoint_of_another_model_is_refused(tmp_path):
    NeuralMF(embedding_dim=2, epochs=1).fit(TIMED, checkpoint_dir=tmp_path)
    with pytest.raises(ValueError, match="found one of other ratings or settings"):
        quick().fit(TIMED, checkpoint_dir=tmp_path)
    assert (tmp_path / FILE).exists()


# Faults


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"embedding_dim": 0}, "embedding_dim must be an integer from 1 to 1000000, not 0"),
        ({"n_samples": 2.5}, "n_samples must be an integer from 1 to 100000, not 2.5"),
        ({"rank": -1}, "rank must be an integer"),
        ({"burn_in": -1}, "burn_in must be an integer from 0 to 100000, not -1"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises((TypeError, ValueError), match=message):
        BayesianMF(**settings)


def test_booleans_are_required_where_a_part_is_on_or_off():
    with pytest.raises(TypeError, match="drift must be True or False, not 2"):
        BayesianMF(drift=2)


# Former names


def test_former_names_of_parameters_work_with_a_warning():
    with pytest.warns(DeprecationWarning, match="is now named") as caught:
        model = BayesianMF(kinds=3, warm_up=7)
    assert [str(w.message).split()[0] for w in caught] == ["kinds", "warm_up"]
    assert (model.latent_clusters, model.burn_in) == (3, 7)
    with pytest.warns(DeprecationWarning, match="kinds is now named latent_clusters"):
        assert model.kinds == 3
    with pytest.warns(DeprecationWarning, match="warm_up is now named burn_in"):
        model.warm_up = 9
    assert model.burn_in == 9


def test_a_file_with_the_former_names_of_settings_is_loaded_without_a_warning(path):
    description, tensors = model_file.read(path)
    former = {"latent_clusters": "kinds", "burn_in": "warm_up"}
    settings = description["settings"]
    description["settings"] = {former.get(name, name): value for name, value in settings.items()}
    model_file.write(path, description, {name: array.copy() for name, array in tensors.items()})
    again = load_model(path)
    assert (again.latent_clusters, again.burn_in) == (MODEL.latent_clusters, MODEL.burn_in)
    assert again.predict(*EVERYTHING).tobytes() == MODEL.predict(*EVERYTHING).tobytes()


# Interrupted training


def test_an_interrupted_fit_leaves_the_model_unchanged():
    model = quick().fit(PLAIN)
    before = model.predict(*EVERYTHING)
    with pytest.raises(InterruptedFitError):
        model.fit(TIMED, on_progress=interrupt_at(6))
    assert model.predict(*EVERYTHING).tobytes() == before.tobytes()
    assert len(model.history_.train_loss) == 16


def test_without_numba_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setattr("numpy_neural_mf.models.bayesian_mf.find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match=r'pip install "numpy-neural-mf\[fast\]"'):
        quick().fit(TIMED)
