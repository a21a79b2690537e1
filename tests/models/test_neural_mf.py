"""NeuralMF: settings, history and learning."""

from dataclasses import replace

import numpy as np
import pytest

from numpy_neural_mf import (
    A_SMALL,
    B_MEDIUM,
    Architecture,
    GlobalMean,
    NeuralMF,
    Ratings,
    random_split,
    simulate_ratings,
)
from numpy_neural_mf.evaluation import rmse
from numpy_neural_mf.models.neural_mf_settings import batch_size_for, epochs_for, learning_rate_for
from numpy_neural_mf.models.neural_mf_training import prepare, validation_loss
from numpy_neural_mf.nn import OPTIMIZERS, SGD, Adam
from numpy_neural_mf.training.engines import ENGINES, Communicator, NumpyEngine

RATINGS = simulate_ratings(n_users=60, n_items=40, n_ratings=1_200, random_state=1)
EVERYTHING = RATINGS.user_ids[:, None], RATINGS.item_ids[None]


def fit(ratings=RATINGS, validation=None, **fields):
    return NeuralMF(**{"epochs": 2, "batch_size": 256} | fields).fit(ratings, validation)


def test_batches_grow_with_ratings_and_epochs_fall_with_ratings_per_row():
    n = [100, 10_000, 100_000, 200_000, 10_000_000]
    assert [batch_size_for(NeuralMF(), one) for one in n] == [32, 156, 1562, 3125, 8192]
    assert [epochs_for(NeuralMF(), RATINGS, one) for one in n] == [60, 60, 30, 15, 15]
    many = simulate_ratings(n_users=10_000, n_items=4_000, n_ratings=100_000)
    n_rows = many.n_users + many.n_items
    assert [epochs_for(NeuralMF(), many, m * n_rows) for m in (1, 7, 10, 20, 100)] == [60, 60, 45, 22, 15]
    assert batch_size_for(NeuralMF(batch_size=7), 100) == 7
    assert epochs_for(NeuralMF(epochs=2), RATINGS, 100) == 2


def test_the_learning_rate_grows_with_the_batch():
    rates = {64: 0.01, 1_600: 0.01, 2_400: 0.015, 3_200: 0.02, 65_536: 0.02}
    assert {n: learning_rate_for(NeuralMF(batch_size=n), 100) for n in rates} == pytest.approx(rates)
    assert learning_rate_for(NeuralMF(), 200_000) == pytest.approx(0.01 * 3125 / 1600)  # a batch is a 64th
    assert [learning_rate_for(NeuralMF(learning_rate=r), 10**7) for r in (0.0, 0.1)] == [0.0, 0.1]
    whole = RATINGS.part(slice(0, 1_200))
    large = {"batch_size": 5_000, "architecture": A_SMALL}
    found = [fit(whole, **large, **rate).predict(*EVERYTHING) for rate in ({}, {"learning_rate": 0.02})]
    np.testing.assert_array_equal(*found)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"epochs": "auto"}, "epochs must be an integer from 1 to 100000, or None, not 'auto'"),
        ({"weight_decay": None}, "weight_decay must be a finite number of at least 0, not None"),
        ({"epochs": 0}, "epochs must be an integer from 1 to 100000, or None, not 0"),
        ({"epochs": 100_001}, "epochs must be an integer from 1 to 100000, or None, not 100001"),
        ({"epochs": 2.5}, "epochs must be an integer from 1 to 100000, or None, not 2.5"),
        ({"batch_size": 0}, "batch_size must be an integer of at least 1, or None, not 0"),
        ({"optimizer": 3}, "optimizer must be one of .*adam.*, not 3"),
        ({"optimizer": "lbfgs"}, "optimizer must be one of .*adam.*, not 'lbfgs'"),
        ({"schedule": "linear"}, "schedule must be one of cosine, constant, not 'linear'"),
        ({"engine": "gpu"}, "engine must be one of .*numpy.*, not 'gpu'"),
        ({"learning_rate": -0.1}, "learning_rate must be .* at least 0, or None, not -0.1"),
        ({"learning_rate": float("inf")}, "learning_rate must be .* at least 0, or None, not inf"),
        ({"learning_rate": float("nan")}, "learning_rate must be .* at least 0, or None, not nan"),
        ({"weight_decay": -1.0}, "weight_decay must be a finite number of at least 0, not -1.0"),
        ({"embedding_dim": 0}, "embedding_dim must be an integer from 1 to 1000000, not 0"),
        ({"drift": True, "likelihood": "ordinal"}, 'drift: expected False with likelihood="ordinal"'),
        ({"biases": False, "product": False, "hidden_layer_sizes": ()}, "nothing depends on user or item"),
        ({"activation": "swish"}, "activation must be one of .*, not 'swish'"),
    ],
)
def test_a_setting_out_of_range_is_refused_by_name(setting, message):
    with pytest.raises((TypeError, ValueError), match=message):
        NeuralMF(**setting)


def test_a_setting_that_does_not_exist_is_refused():
    for name in ("embedding_dims", "regularization", "dropout", "validation_fraction", "patience"):
        with pytest.raises(TypeError, match=name):
            NeuralMF(**{name: 0.1})


def test_fields_of_the_architecture_are_given_by_keyword():
    model = NeuralMF(A_SMALL, embedding_dim=5, activation="tanh")
    assert model.architecture == replace(A_SMALL, embedding_dim=5, activation="tanh")
    assert NeuralMF(embedding_dim=5).architecture.embedding_dim == 5
    assert NeuralMF(B_MEDIUM).architecture == B_MEDIUM


def test_parameters_are_float32_under_the_names_of_the_architecture():
    model = fit()
    shapes = model.architecture.parameter_shapes(len(model.user_ids_), len(model.item_ids_))
    assert {n: v.shape for n, v in model.parameters_.items()} == shapes
    assert {v.dtype for v in model.parameters_.values()} == {np.dtype(np.float32)}


def test_a_prediction_is_the_formula():
    """r̂ = μ + b_u + b_i + p_u · q_i + W₂ relu(W₁ [p_u, q_i] + b₁), clipped."""
    model = fit(architecture=Architecture(embedding_dim=4, hidden_layer_sizes=(6,), activation="relu"))
    t = {name.removesuffix(".weight"): value.astype(np.float64) for name, value in model.parameters_.items()}
    u, i = 7, 11
    p, q = t["user_embedding"][u], t["item_embedding"][i]
    hidden = np.maximum(t["mlp.0"] @ np.concatenate([p, q]) + t["mlp.0.bias"], 0)
    expected = t["intercept"] + t["user_bias"][u] + t["item_bias"][i] + p @ q + t["mlp.1"] @ hidden
    prediction = model.predict(model.user_ids_[u], model.item_ids_[i])
    assert prediction == pytest.approx(np.clip(expected, *model.rating_scale_)[0], rel=1e-5)


def test_the_unknown_row_is_the_mean_of_the_learned_rows():
    tables = {n: v for n, v in fit().parameters_.items() if n.startswith(("user", "item"))}
    for table in tables.values():
        np.testing.assert_allclose(table[-1], table[:-1].mean(axis=0), atol=1e-6)


@pytest.mark.parametrize("scale", [(0.0, 10.0), (2.5, 3.5)])
def test_a_given_rating_scale_replaces_that_of_the_ratings(scale):
    model = fit(rating_scale=scale)
    assert model.rating_scale_ == scale
    assert model.predict(*EVERYTHING).min() >= scale[0]
    assert model.predict(*EVERYTHING).max() <= scale[1]


def test_the_history_has_an_entry_for_each_epoch():
    history = fit(epochs=4).history_
    assert len(history.train_loss) == len(history.expected_loss) == len(history.seconds) == 4
    assert history.validation_loss == []
    assert history.best_epoch == 4


def test_validation_ratings_do_not_change_the_model():
    train, validation = RATINGS.take(np.arange(900)), RATINGS.take(np.arange(900, 1200))
    model, unwatched = fit(train, validation, epochs=4), fit(train, epochs=4)
    assert len(model.history_.validation_loss) == 4
    prediction = model.predict(validation.raw_users, validation.raw_items)
    error = rmse(prediction, validation.values) ** 2
    assert model.history_.validation_loss[-1] == pytest.approx(error, rel=1e-5)
    assert model.history_.train_loss == unwatched.history_.train_loss
    assert prediction.tobytes() == unwatched.predict(validation.raw_users, validation.raw_items).tobytes()


def test_the_expected_loss_on_unseen_ratings_is_about_their_loss():
    ratings = simulate_ratings(n_users=300, n_items=100, n_ratings=9_000, random_state=2)
    train, test = random_split(ratings, 0.2)
    model = NeuralMF(Architecture(4), epochs=20).fit(train)
    error = rmse(model.predict(test.raw_users, test.raw_items), test.values) ** 2
    assert model.history_.expected_loss[-1] > 1.02 * model.history_.train_loss[-1]
    assert model.history_.expected_loss[-1] == pytest.approx(error, rel=0.15)


def test_progress_counts_up_to_the_total():
    seen = []
    NeuralMF(epochs=2, batch_size=100).fit(RATINGS, on_progress=seen.append)
    assert [p.n_trained for p in seen] == [*range(100, 2_401, 100)]
    assert {p.n_total for p in seen} == {2_400}


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("schedule", ["cosine", "constant"])
def test_every_optimizer_and_schedule_lowers_the_loss(name, schedule):
    rate = {"sgd": 0.1, "adagrad": 0.05}.get(name, 0.01)
    losses = fit(optimizer=name, schedule=schedule, learning_rate=rate, epochs=8).history_.train_loss
    assert losses[-1] < losses[0]


def test_a_given_optimizer_is_copied_and_not_changed():
    optimizer = Adam(learning_rate=0.7, beta1=0.8)
    first = fit(optimizer=optimizer)
    assert optimizer == Adam(learning_rate=0.7, beta1=0.8)
    assert optimizer.state == {}
    second = fit(optimizer=optimizer)
    assert first.predict(*EVERYTHING).tobytes() == second.predict(*EVERYTHING).tobytes()
    assert first.predict(*EVERYTHING).tobytes() != fit().predict(*EVERYTHING).tobytes()


def test_an_optimizer_by_name_is_that_of_its_class():
    by_name, instance = fit(optimizer="sgd", learning_rate=0.07), fit(optimizer=SGD(0.07))
    assert by_name.predict(*EVERYTHING).tobytes() == instance.predict(*EVERYTHING).tobytes()


def test_a_given_optimizer_has_its_own_learning_rate():
    one, other = fit(optimizer=Adam(0.01), learning_rate=0.5), fit(optimizer=Adam(0.01))
    assert one.predict(*EVERYTHING).tobytes() == other.predict(*EVERYTHING).tobytes()
    assert one.predict(*EVERYTHING).tobytes() != fit(optimizer=Adam(0.02)).predict(*EVERYTHING).tobytes()


def test_the_seed_decides_the_model():
    def predict(random_state):
        return fit(random_state=random_state).predict(*EVERYTHING).tobytes()

    assert predict(3) == predict(3) == predict(np.random.default_rng(3))
    assert predict(3) != predict(4)
    assert predict(None) != predict(None)


def test_a_learning_rate_too_high_is_an_error_with_advice():
    with pytest.raises(FloatingPointError, match="use a lower learning rate"):
        fit(optimizer="sgd", learning_rate=1e6, schedule="constant", epochs=5)


def test_validation_without_ratings_is_refused():
    with pytest.raises(TypeError, match="expected Ratings"):
        fit(validation=5)
    with pytest.raises(ValueError, match="at least one rating"):
        fit(validation=RATINGS.take([]))


def test_a_used_optimizer_starts_without_state():
    used = Adam(0.01)
    used.step({"intercept": np.ones(7)}, {"intercept": np.ones(7)})
    assert (
        fit(optimizer=used).predict(*EVERYTHING).tobytes()
        == fit(optimizer=Adam(0.01)).predict(*EVERYTHING).tobytes()
    )
    assert set(used.state) == {"intercept"}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    "architecture",
    [
        Architecture(4),
        Architecture(4, (16,), biases=False),
        Architecture(4, (24, 12), product=False),
    ],
    ids=["biased MF", "without biases", "without product"],
)
def test_a_planted_structure_of_low_rank_is_learned(engine, architecture):
    """Users like half of the items and dislike the other half; tested on held-out pairs."""
    rng = np.random.default_rng(0)
    users, items = np.indices((80, 60)).reshape(2, -1)
    values = 3 + rng.choice([-1, 1], 80)[users] * rng.choice([-1, 1], 60)[items]
    seen = rng.random(len(values)) < 0.6
    ratings = Ratings.from_columns(users[seen], items[seen], values[seen], scale=(1, 5))
    model = NeuralMF(
        architecture, epochs=40, batch_size=128, optimizer="adam", learning_rate=0.02, weight_decay=0.0,
        engine=engine,
    ).fit(ratings)  # fmt: skip
    unseen = users[~seen], items[~seen]
    assert rmse(GlobalMean().fit(ratings).predict(*unseen), values[~seen]) > 0.95
    assert rmse(model.predict(*unseen), values[~seen]) < 0.3


def test_processes_share_the_validation_ratings():
    model, judged = fit(), []

    class OneOfMany(NumpyEngine):
        def all_reduce(self, number):
            judged.append(number)
            return number

    process = Communicator()
    process.size = 3
    for process.rank in range(3):
        part = RATINGS.part(process.part(len(RATINGS)))
        data = prepare(model, RATINGS, part, Communicator())
        engine = OneOfMany(model.architecture, model.parameters_, Adam(), data.inference.objective)
        assert validation_loss(engine, replace(data, validation=part))() == judged[-1] / len(part)
        judged.pop(-2)  # their number
    error = model.predict(RATINGS.raw_users, RATINGS.raw_items) - RATINGS.values
    assert sum(judged) == pytest.approx(np.vdot(error, error), rel=1e-5)


@pytest.mark.parametrize("failure", ["an exception", "Ctrl-C", "divergence"])
def test_an_interrupted_fit_leaves_the_model_unchanged(failure):
    def fail(model):
        if failure == "divergence":
            model.learning_rate, model.optimizer, model.schedule = 1e6, "sgd", "constant"
            with pytest.raises(FloatingPointError):
                model.fit(other)
            return
        error = ZeroDivisionError if failure == "an exception" else KeyboardInterrupt

        def stop(progress):
            raise error

        with pytest.raises(error):
            model.fit(other, on_progress=stop)

    other = simulate_ratings(n_users=30, n_items=70, n_ratings=600, random_state=5)
    new = NeuralMF(epochs=2, batch_size=64)
    fail(new)
    with pytest.raises(RuntimeError, match="not fitted"):
        new.predict(1, 1)
    model = fit()
    before, fitted = model.predict(*EVERYTHING), model.fitted_
    fail(model)
    assert model.fitted_ is fitted
    assert model.predict(*EVERYTHING).tobytes() == before.tobytes()
