"""The gradient check: it passes right derivatives, catches wrong ones and refuses unsuitable input."""

import doctest
import math

import numpy as np
import pytest

from numpy_neural_mf.nn import Activation, Dense, Embedding, check_gradients, gradcheck, gradient_errors


def dense(dtype=np.float64):
    return Dense(3, 2, np.random.default_rng(0), dtype=dtype)


def inputs(dtype=np.float64):
    return np.random.default_rng(1).standard_normal((5, 3)).astype(dtype)


def square_with(derivative):
    return Activation(lambda x: (x * x, lambda dy: dy * derivative(x)))


def test_a_right_derivative_passes():
    assert check_gradients(square_with(lambda x: 2 * x), inputs())["input"] <= 1e-8


@pytest.mark.parametrize(
    "wrong", [lambda x: x, lambda x: -2 * x, lambda x: 2 * x + 1e-3, np.zeros_like], ids=range(4)
)
def test_a_wrong_derivative_is_caught(wrong):
    assert check_gradients(square_with(wrong), inputs())["input"] > 1e-4


def test_one_wrong_element_among_many_is_caught():
    def derivative(x):
        d = 2 * x
        d[3, 1] *= 1.01
        return d

    assert check_gradients(square_with(derivative), inputs())["input"] > 1e-4


@pytest.mark.parametrize("parameter", ["weight", "bias"])
def test_a_wrong_parameter_gradient_is_named(parameter):
    layer = dense()
    layer.parameters[parameter].accumulate = lambda g: setattr(layer.parameters[parameter], "grad", 0.9 * g)
    errors = check_gradients(layer, inputs())
    assert [name for name, error in errors.items() if error > 1e-6] == [parameter]


def test_a_derivative_that_is_not_a_number_is_an_infinite_error():
    # A NaN would be lost: max([0.0, nan]) is 0.0.
    errors = check_gradients(square_with(lambda x: np.full_like(x, np.nan)), inputs())
    assert errors["input"] == math.inf


def test_a_gradient_of_another_shape_is_refused_and_not_broadcast():
    bias = np.zeros(2)
    with pytest.raises(ValueError, match=r"'bias' has shape \(1,\), not \(2,\)"):
        gradient_errors(lambda: float(bias.sum()), {"bias": bias}, {"bias": np.ones(1)})


@pytest.mark.parametrize(
    ("layer", "x"),
    [(dense(np.float32), inputs()), (dense(), inputs(np.float32))],
    ids=["float32 parameters", "float32 input"],
)
def test_single_precision_is_refused(layer, x):
    with pytest.raises(TypeError, match="float64"):
        check_gradients(layer, x)


@pytest.mark.parametrize(("epsilon", "error"), [(0, ValueError), (-1e-5, ValueError), (None, TypeError)])
def test_epsilon_is_a_number_above_zero(epsilon, error):
    with pytest.raises(error, match="epsilon must be a finite number above 0"):
        check_gradients(dense(), inputs(), epsilon=epsilon)


def test_a_loss_that_raises_leaves_the_arrays_as_they_were():
    x, calls = np.array([1.0, 2.0]), iter(range(3))

    def loss():
        next(calls)  # ends in the second element
        return float(x @ x)

    with pytest.raises(StopIteration):
        gradient_errors(loss, {"x": x}, {"x": 2 * x})
    np.testing.assert_array_equal(x, [1, 2])


def test_ids_have_no_derivative():
    table = Embedding(4, 2, np.random.default_rng(0), dtype=np.float64)
    assert set(check_gradients(table, np.array([3, 0]))) == {"weight"}


def test_checking_leaves_everything_as_it_was():
    layer, x = dense(), inputs()
    layer.weight.accumulate(np.full((2, 3), 100.0))  # from an earlier step: not counted
    kept = [x.copy(), *(p.value.copy() for p in layer.parameters.values())]
    assert max(check_gradients(layer, x).values()) <= 1e-6
    for before, after in zip(kept, [x, *(p.value for p in layer.parameters.values())], strict=True):
        np.testing.assert_array_equal(after, before)


def test_the_docstring_example_holds():
    results = doctest.testmod(gradcheck)
    assert results.attempted > 0
    assert results.failed == 0
