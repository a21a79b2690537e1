"""NeuralNetwork: scikit-learn's contract, the quality of MLPRegressor, and custom parts."""

import doctest
import pickle

import numpy as np
import pytest
from sklearn import datasets
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPRegressor
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from numpy_neural_mf.nn import (
    ACTIVATIONS,
    INITIALIZERS,
    OPTIMIZERS,
    SGD,
    Adam,
    Dense,
    NeuralNetwork,
    he_normal,
    network,
    step_decay,
    tanh,
)


def waves(n=120, dtype=np.float64):
    """A smooth function of two variables with a little noise."""
    rng = np.random.default_rng(0)
    X = rng.uniform(-2, 2, (n, 2))
    return X.astype(dtype), (np.sin(X[:, 0]) + X[:, 1] ** 2 / 4 + 0.1 * rng.standard_normal(n)).astype(dtype)


def fit(X=None, y=None, **settings):
    if X is None:
        X, y = waves()
    settings = {"hidden_layer_sizes": (8,), "epochs": 5, "random_state": 0} | settings
    return NeuralNetwork(**settings).fit(X, y)


def weights(model):
    return {name: p.value for name, p in model.network_.parameters.items()}


def assert_same_weights(first, second):
    assert weights(first).keys() == weights(second).keys()
    for name, value in weights(first).items():
        np.testing.assert_array_equal(value, weights(second)[name])


# One of scikit-learn's checks, array API input, is skipped unless SCIPY_ARRAY_API is set before the start.
@parametrize_with_checks(
    [NeuralNetwork(), NeuralNetwork((10, 10), "tanh", dropout=0.1, early_stopping=True, patience=50)]
)
def test_it_passes_scikit_learns_estimator_checks(estimator, check):
    check(estimator)


def scaled_split(name, seed):
    """(X, y) for training and for testing, standardised with the statistics of the training rows."""
    X, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    X_train, X_test, y_train, y_test = train_test_split(X, y[:, None], random_state=seed)
    X_scale, y_scale = StandardScaler().fit(X_train), StandardScaler().fit(y_train)
    train = X_scale.transform(X_train), y_scale.transform(y_train)[:, 0]
    return train, (X_scale.transform(X_test), y_scale.transform(y_test)[:, 0])


@pytest.mark.parametrize("name", ["diabetes", "wine", "digits"])
def test_r2_is_not_worse_than_with_mlp_regressor(name):
    """Mean over 6 splits: better with MLPRegressor's initialiser, and less than 0.01 worse with ours."""
    differences = []
    for seed in range(6):
        train, test = scaled_split(name, seed)
        settings = {"hidden_layer_sizes": (50,), "batch_size": 32, "random_state": seed}
        theirs = MLPRegressor(**settings, max_iter=40, n_iter_no_change=41, alpha=0)
        with pytest.warns(ConvergenceWarning):  # it trains all epochs, like ours
            reference = theirs.fit(*train).score(*test)
        differences.append(
            [
                NeuralNetwork(**settings, epochs=40, initializer=initializer).fit(*train).score(*test)
                - reference
                for initializer in ("xavier_uniform", None)
            ]
        )
    same_initializer, our_default = np.mean(differences, axis=0)
    assert same_initializer > 0
    assert our_default > -0.01


@pytest.mark.parametrize("sizes", [(), (5,), (7, 5, 3)])
def test_any_number_of_hidden_layers_is_allowed(sizes):
    model = fit(hidden_layer_sizes=sizes)
    dense = [layer for layer in model.network_.layers if isinstance(layer, Dense)]
    widths = [2, *sizes, 1]
    assert [layer.weight.value.shape for layer in dense] == list(zip(widths[1:], widths[:-1], strict=True))


def test_without_hidden_layers_it_is_linear_regression():
    X, y = waves()
    model = fit(hidden_layer_sizes=(), learning_rate=0.01, epochs=300, batch_size=120)
    np.testing.assert_allclose(weights(model)["0.weight"][0], LinearRegression().fit(X, y).coef_, atol=1e-3)


def test_training_begins_at_the_mean_of_y():
    X, y = waves()
    model = fit(X, 1000 + y, learning_rate=1e-12, epochs=1)
    np.testing.assert_allclose(model.predict(X), np.mean(1000 + y), rtol=1e-9)


def test_predictions_have_the_shape_of_y():
    X, y = waves()
    assert fit(X, y).predict(X).shape == (120,)
    assert fit(X, y[:, None]).predict(X).shape == (120, 1)
    assert fit(X, np.column_stack([y, -y, y])).predict(X).shape == (120, 3)


def test_each_of_several_outputs_is_learned():
    X, y = waves()
    both = np.column_stack([y, 3 - y])
    prediction = fit(X, both, epochs=300, learning_rate=0.01, hidden_layer_sizes=(20,)).predict(X)
    assert (1 - ((both - prediction) ** 2).mean(axis=0) / both.var(axis=0) > 0.9).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_everything_has_the_precision_of_x(dtype):
    X, y = waves(dtype=dtype)
    model = fit(X, y.astype(np.float64), dropout=0.2, weight_decay=0.1)
    assert {value.dtype for value in weights(model).values()} == {np.dtype(dtype)}
    assert model.predict(X.astype(np.float64)).dtype == dtype


@pytest.mark.parametrize("settings", [{}, {"dropout": 0.3, "early_stopping": True}])
def test_the_same_random_state_gives_the_same_bits(settings):
    first, second = (fit(**settings) for _ in range(2))
    assert_same_weights(first, second)
    assert first.history_ == second.history_
    assert (weights(fit(random_state=1))["0.weight"] != weights(first)["0.weight"]).any()


def test_fitting_again_starts_from_scratch():
    model = fit(optimizer=Adam(0.01))
    model.fit(*waves(50)).fit(*waves())
    assert_same_weights(model, fit(optimizer=Adam(0.01)))


def test_the_callers_optimizer_is_copied_and_never_used():
    optimizer = SGD(0.01, momentum=0.9)
    fit(optimizer=optimizer)
    assert optimizer.state == {}


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_an_activation_by_name_is_that_function(activation):
    assert_same_weights(fit(activation=activation), fit(activation=ACTIVATIONS[activation]))


@pytest.mark.parametrize("initializer", INITIALIZERS)
def test_an_initializer_by_name_is_that_function(initializer):
    assert_same_weights(fit(initializer=initializer), fit(initializer=INITIALIZERS[initializer]))


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_an_optimizer_by_name_is_its_class_at_the_learning_rate(optimizer):
    by_name = fit(optimizer=optimizer, learning_rate=0.02)
    assert_same_weights(by_name, fit(optimizer=OPTIMIZERS[optimizer](learning_rate=0.02)))


def test_custom_parts_are_used():
    def softplus(x):
        return np.logaddexp(x, 0), lambda dy: dy / (1 + np.exp(-x))

    def ones(rng, shape):
        return np.ones(shape)

    own = {"activation": softplus, "initializer": ones}
    start = fit(**own, optimizer=SGD(0.0), epochs=1)
    np.testing.assert_array_equal(weights(start)["0.weight"], 1)
    history = fit(**own, optimizer=SGD(0.1, momentum=0.9), epochs=50).history_["loss"]
    assert history[-1] < history[0] / 2


def test_the_default_initializer_follows_the_activation():
    assert_same_weights(fit(), fit(initializer="he_uniform"))
    assert_same_weights(fit(activation=tanh), fit(activation=tanh, initializer="xavier_uniform"))
    assert (weights(fit())["0.weight"] != weights(fit(initializer=he_normal))["0.weight"]).any()


def test_a_schedule_sets_the_rate_of_every_step():
    stopped = fit(learning_rate=lambda step: 0.01 if step < 4 else 0.0, epochs=5)  # 4 steps an epoch
    assert_same_weights(stopped, fit(learning_rate=0.01, epochs=1))
    decayed = fit(learning_rate=step_decay(0.01, every=4), optimizer=SGD(99.0), epochs=2)
    assert_same_weights(decayed, fit(learning_rate=step_decay(0.01, every=4), optimizer="sgd", epochs=2))


def test_every_epoch_sees_every_row_once_in_a_new_order():
    seen = []

    def record(x):
        seen.append(x[:, 0].copy())
        return x, lambda dy: dy

    X = np.arange(10.0)[:, None]
    fit(X, X[:, 0], hidden_layer_sizes=(1,), activation=record, initializer=lambda rng, shape: np.ones(shape),
        optimizer=SGD(0.0), batch_size=4, epochs=2)  # fmt: skip
    assert [len(batch) for batch in seen] == [4, 3, 3] * 2 + [
        3
    ]  # the final loss is computed on the last batch
    first, second = np.concatenate(seen[:3]), np.concatenate(seen[3:6])
    assert sorted(first) == sorted(second) == list(range(10))
    assert list(first) != list(second)


def test_weight_decay_shrinks_weights_but_not_biases():
    X, y = waves()
    settings = {"optimizer": SGD(0.5), "hidden_layer_sizes": (), "epochs": 1, "batch_size": 120}
    plain, decayed = fit(X, y, **settings), fit(X, y, **settings, weight_decay=0.4)
    np.testing.assert_array_equal(weights(decayed)["0.bias"], weights(plain)["0.bias"])
    two_plain = fit(X, y, **settings | {"epochs": 2})
    two_decayed = fit(X, y, **settings | {"epochs": 2}, weight_decay=0.4)
    np.testing.assert_allclose(  # the second step starts from the same weights and decays them first
        weights(two_decayed)["0.weight"], weights(two_plain)["0.weight"] - 0.2 * weights(plain)["0.weight"]
    )


def test_dropout_acts_only_in_training():
    X, _ = waves()
    model = fit(dropout=0.5)
    np.testing.assert_array_equal(model.predict(X), model.predict(X))
    assert (weights(model)["0.weight"] != weights(fit())["0.weight"]).any()


def test_history_has_a_loss_for_every_epoch():
    history = fit(epochs=30, learning_rate=0.01).history_
    assert list(history) == ["loss"]
    assert len(history["loss"]) == 30
    assert history["loss"][-1] < history["loss"][0]


def overfitting(**settings):
    """Noise, which no network can predict for unseen rows."""
    rng = np.random.default_rng(3)
    X, y = rng.standard_normal((60, 10)), rng.standard_normal(60)
    settings = {"early_stopping": True, "validation_fraction": 0.3, "patience": 5, "epochs": 500} | settings
    return fit(X, y, hidden_layer_sizes=(50,), learning_rate=0.01, **settings)


def test_early_stopping_waits_exactly_its_patience():
    losses = overfitting().history_["validation_loss"]
    assert len(losses) == np.argmin(losses) + 1 + 5 < 500


def test_a_loss_that_stays_the_same_is_no_improvement():
    history = fit(early_stopping=True, patience=3, optimizer=SGD(0.0), epochs=50).history_
    assert len(history["validation_loss"]) == 1 + 3


def test_early_stopping_restores_the_best_epoch():
    model = overfitting()
    best = int(np.argmin(model.history_["validation_loss"])) + 1
    assert best < len(model.history_["loss"])
    assert_same_weights(model, overfitting(epochs=best))


def test_held_out_rows_are_never_trained_on():
    X, y = waves()
    order = np.random.default_rng(0).permutation(len(X))
    corrupted = y.copy()
    corrupted[order[:12]] = 1e6
    first, second = (fit(X, target, early_stopping=True, epochs=1) for target in (y, corrupted))
    assert_same_weights(first, second)
    assert first.history_["validation_loss"] != second.history_["validation_loss"]


DIVERGING = {"optimizer": "sgd", "learning_rate": 1e6}


def test_divergence_raises_an_error_that_names_it():
    with pytest.raises(FloatingPointError, match="diverged in epoch"):
        fit(**DIVERGING, epochs=50)


def test_divergence_in_the_last_step_raises_an_error():
    with pytest.raises(FloatingPointError, match="diverged in epoch 1"):
        fit(optimizer=SGD(1e300), epochs=1, batch_size=120)  # the only loss of history_ is finite


def raises_in_step_7(error):
    def schedule(step):
        if step == 7:
            raise error
        return 0.01

    return {"learning_rate": schedule}


FAILING = {
    "an exception": (raises_in_step_7(ZeroDivisionError()), ZeroDivisionError),
    "Ctrl-C": (raises_in_step_7(KeyboardInterrupt()), KeyboardInterrupt),
    "divergence": (DIVERGING | {"epochs": 50}, FloatingPointError),
    "a setting out of range": ({"epochs": 0}, ValueError),
    "a setting of the wrong type": ({"epochs": "auto"}, TypeError),
    "no row to train on": ({"early_stopping": True, "validation_fraction": 1 - 1e-9}, ValueError),
}
each_failure = pytest.mark.parametrize(("settings", "error"), FAILING.values(), ids=FAILING)


@each_failure
def test_a_fit_that_fails_leaves_the_estimator_as_it_was(settings, error):
    """The second data set has more columns and outputs; the estimator must keep none of them."""
    X, y = waves()
    model = fit(X, y)
    prediction, history, state = model.predict(X), dict(model.history_), vars(model).keys()
    more = np.column_stack([X, X]), np.column_stack([y, y])
    with pytest.raises(error):
        model.set_params(**settings).fit(*more)
    np.testing.assert_array_equal(model.predict(X), prediction)
    assert model.history_ == history
    assert model.n_features_in_ == 2
    assert vars(model).keys() == state


@each_failure
def test_a_first_fit_that_fails_leaves_the_estimator_not_fitted(settings, error):
    X, y = waves()
    model = NeuralNetwork((8,), random_state=0).set_params(**settings)
    before = dict(vars(model))
    with pytest.raises(error):
        model.fit(X, y)
    assert vars(model) == before
    with pytest.raises(NotFittedError):
        model.predict(X)


def test_a_fit_without_column_names_forgets_earlier_names():
    pandas = pytest.importorskip("pandas")
    X, y = waves()
    model = fit(pandas.DataFrame(X, columns=["a", "b"]), y)
    assert list(model.feature_names_in_) == ["a", "b"]
    assert not hasattr(model.fit(X, y), "feature_names_in_")


def test_the_state_of_the_callers_optimizer_is_not_used():
    optimizer = Adam(0.01)
    optimizer.step({"0.weight": np.zeros(3)}, {"0.weight": np.ones(3)})  # for another network
    assert_same_weights(fit(optimizer=optimizer), fit(optimizer=Adam(0.01)))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"hidden_layer_sizes": (5, 0)}, "hidden_layer_sizes must be"),
        ({"activation": "swish"}, "activation must be one of .*relu"),
        ({"initializer": "lecun"}, "initializer must be one of .*he_normal"),
        ({"optimizer": "lion"}, "optimizer must be one of .*adam"),
        ({"learning_rate": 0.0}, "learning_rate must be"),
        ({"batch_size": 0}, "batch_size must be"),
        ({"epochs": 0}, "epochs must be"),
        ({"weight_decay": -1e-3}, "weight_decay must be"),
        ({"dropout": 1.0}, "dropout must be"),
        ({"validation_fraction": 1.0}, "validation_fraction must be"),
        ({"patience": 0}, "patience must be"),
        ({"random_state": -1}, "random_state must be"),
    ],
)
def test_a_setting_out_of_range_is_named(settings, message):
    with pytest.raises(ValueError, match=message):
        fit(**settings)


@pytest.mark.parametrize("setting", sorted(NeuralNetwork().get_params().keys()))
def test_a_setting_of_the_wrong_type_is_named(setting):
    wrong = [object(), [None], "auto", None]
    if setting in ("activation", "initializer", "loss", "optimizer"):
        wrong.remove("auto")  # a name, but not a known one
    if setting in ("initializer", "random_state"):
        wrong.remove(None)
    for value in wrong:
        with pytest.raises(TypeError, match=f"^{setting} must be .*, not "):
            fit(**{setting: value})


@pytest.mark.parametrize("sizes", [10, 2.5, "ab", (8, 2.5), iter([8]), {8}])
def test_layer_sizes_are_a_sequence_of_integers(sizes):
    with pytest.raises(TypeError, match="hidden_layer_sizes must be a sequence of integers"):
        NeuralNetwork(sizes).fit(*waves())


def test_settings_may_be_numpy_numbers():
    settings = {"hidden_layer_sizes": np.array([8]), "batch_size": np.int64(32), "epochs": np.int8(5)}
    assert_same_weights(fit(**settings, dropout=np.float32(0)), fit())


def test_early_stopping_needs_a_row_to_train_on():
    with pytest.raises(ValueError, match="n_samples=1"):
        fit(np.ones((1, 2)), np.ones(1), early_stopping=True)


def test_the_docstring_example_holds():
    results = doctest.testmod(network)
    assert results.attempted > 0
    assert results.failed == 0


def test_a_pickled_network_predicts_the_same():
    X, _ = waves()
    model = fit(dropout=0.1)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(model)).predict(X), model.predict(X))


def test_binary_cross_entropy_learns_xor_and_predicts_probabilities():
    X, y = np.array([[0, 0], [0, 1], [1, 0], [1, 1]]), np.array([0, 1, 1, 0])
    model = NeuralNetwork(
        (8,), "tanh", loss="binary_cross_entropy", learning_rate=0.05, epochs=300, random_state=0
    )
    probability = model.fit(X, y).predict(X)
    np.testing.assert_allclose(probability, y, atol=0.05)
    assert model.history_["loss"][0] == pytest.approx(np.log(2))  # the first prediction is the mean


def test_softmax_cross_entropy_classifies_digits_and_predicts_probabilities():
    X, classes = load_digits(return_X_y=True)
    X, y = X / 16, np.eye(10)[classes]
    model = NeuralNetwork((32,), loss="softmax_cross_entropy", epochs=20, random_state=0).fit(
        X[:1200], y[:1200]
    )
    probability = model.predict(X[1200:])
    np.testing.assert_allclose(probability.sum(axis=1), 1)
    assert (probability.argmax(axis=1) == classes[1200:]).mean() > 0.88


@pytest.mark.parametrize("loss", ["binary_cross_entropy", "softmax_cross_entropy"])
def test_the_untrained_prediction_of_a_cross_entropy_is_the_mean_of_y(loss):
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((64, 3)), np.eye(2)[rng.integers(2, size=64)]
    model = NeuralNetwork((4,), loss=loss, learning_rate=1e-12, epochs=1, random_state=0).fit(X, y)
    np.testing.assert_allclose(model.predict(X), np.tile(y.mean(axis=0), (64, 1)), rtol=1e-6)


def test_invalid_targets_of_a_cross_entropy_are_refused():
    X = np.zeros((2, 1))
    with pytest.raises(ValueError, match=r"expected y in \[0, 1\], found 0 to 2"):
        NeuralNetwork(loss="binary_cross_entropy").fit(X, [0, 2])
    with pytest.raises(ValueError, match="rows that sum to 1, such as"):
        NeuralNetwork(loss="softmax_cross_entropy").fit(X, [0, 1])
    with pytest.raises(ValueError, match="loss"):
        NeuralNetwork(loss="hinge").fit(X, [0, 1])


def test_a_custom_loss_is_minimised():
    X, y = np.zeros((100, 1)), np.r_[np.zeros(60), np.full(40, 10.0)]

    def pinball(output, y):  # for the 0.3 quantile
        error = output - y
        slope = np.where(error > 0, 0.7, -0.3)
        return float((slope * error).mean()), slope / error.size

    model = NeuralNetwork((), loss=pinball, learning_rate=0.1, epochs=200, random_state=0).fit(X, y)
    assert abs(model.predict(X)[0]) < 0.5
