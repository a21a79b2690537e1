"""Activations: the same values and derivatives as PyTorch, for numbers of every size and dtype."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from numpy_neural_mf.nn import ACTIVATIONS, Activation, check_gradients, leaky_relu, relu, sigmoid

TORCH = {
    "identity": lambda x: x * 1,
    "relu": torch.relu,
    "leaky_relu": torch.nn.functional.leaky_relu,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "gelu": lambda x: torch.nn.functional.gelu(x, approximate="tanh"),
}

each = pytest.mark.parametrize("name", ACTIVATIONS)


def value_and_derivative(name, x):
    y, backward = ACTIVATIONS[name](x)
    return y, backward(np.ones_like(x))


def torch_value_and_derivative(name, x):
    x = torch.tensor(x, requires_grad=True)
    y = TORCH[name](x)
    y.sum().backward()
    return y.detach().numpy(), x.grad.numpy()


@each
def test_backward_is_the_derivative(name):
    x = np.random.default_rng(0).standard_normal((6, 5)) * 3
    assert check_gradients(Activation(ACTIVATIONS[name]), x)["input"] <= 1e-6


@each
@given(
    x=arrays(
        np.float64,
        array_shapes(max_dims=2, max_side=4),
        elements=st.floats(-1000, 1000, allow_subnormal=False),
    )
)
def test_value_and_derivative_equal_those_of_torch(name, x):
    for ours, theirs in zip(value_and_derivative(name, x), torch_value_and_derivative(name, x), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-15)


@each
def test_float32_stays_float32(name):
    x = np.random.default_rng(0).standard_normal((20, 3)).astype(np.float32)
    for ours, theirs in zip(value_and_derivative(name, x), torch_value_and_derivative(name, x), strict=True):
        assert ours.dtype == np.float32
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


@each
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_large_inputs_raise_no_floating_point_error(name, dtype):
    x = np.array([-1000, -100, -1, 0, 1, 100, 1000], dtype)
    with np.errstate(all="raise", under="ignore"):
        y, derivative = value_and_derivative(name, x)
    assert np.isfinite(y).all()
    assert np.isfinite(derivative).all()


@each
@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int64])
def test_integers_have_the_values_of_the_same_floats(name, dtype):
    x = np.array([0, 1, 2, 100], dtype)
    x = -x if dtype != np.uint8 else x
    np.testing.assert_allclose(ACTIVATIONS[name](x)[0], ACTIVATIONS[name](x.astype(float))[0], rtol=1e-2)


@each
def test_the_input_is_left_as_it_was(name):
    x = np.linspace(-2, 2, 9)
    kept = x.copy()
    value_and_derivative(name, x)
    np.testing.assert_array_equal(x, kept)


@each
def test_a_backward_pass_belongs_to_its_own_forward_pass(name):
    f = ACTIVATIONS[name]
    _, backward = f(np.array([2.0]))
    before = backward(np.ones(1))
    f(np.array([-3.0]))
    np.testing.assert_array_equal(backward(np.ones(1)), before)


def test_sigmoid_of_the_extremes_is_zero_and_one():
    np.testing.assert_array_equal(sigmoid(np.array([-1000.0, 0, 1000]))[0], [0, 0.5, 1])


def test_the_derivative_at_the_kink_is_the_left_one():
    zero, one = np.zeros(1), np.ones(1)
    assert relu(zero)[1](one) == 0
    assert leaky_relu(zero, slope=0.2)[1](one) == 0.2
