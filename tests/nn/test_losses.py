"""Losses: the mean over all elements and its gradient, as in PyTorch, with targets of any size and dtype."""

import re

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from numpy_neural_mf.nn import (
    binary_cross_entropy,
    gradient_errors,
    huber,
    mae,
    mse,
    softmax_cross_entropy,
)

LOSSES = {
    mse: torch.nn.functional.mse_loss,
    mae: torch.nn.functional.l1_loss,
    huber: torch.nn.functional.huber_loss,
    binary_cross_entropy: torch.nn.functional.binary_cross_entropy_with_logits,
}
each = pytest.mark.parametrize("loss", LOSSES, ids=lambda f: f.__name__)


def draw(seed, shape, dtype=np.float64):
    """Predictions on both sides of their targets, and targets in [0, 1], which suit every loss."""
    rng = np.random.default_rng(seed)
    return (3 * rng.standard_normal(shape)).astype(dtype), rng.random(shape).astype(dtype)


def torch_value_and_gradient(loss, prediction, target, **settings):
    prediction = torch.tensor(prediction, requires_grad=True)
    value = LOSSES[loss](prediction, torch.tensor(target), **settings)
    value.backward()
    return float(value.detach()), prediction.grad.numpy()


@each
def test_the_gradient_is_the_derivative_of_the_value(loss):
    prediction, target = draw(0, (5, 2))
    gradient = loss(prediction, target)[1]
    errors = gradient_errors(
        lambda: loss(prediction, target)[0], {"prediction": prediction}, {"prediction": gradient}
    )
    assert errors["prediction"] <= 1e-6


@each
@given(seed=st.integers(0, 2**32 - 1), shape=st.sampled_from([(1,), (7,), (4, 3)]))
def test_value_and_gradient_equal_those_of_torch(loss, seed, shape):
    prediction, target = draw(seed, shape)
    value, gradient = loss(prediction, target)
    torch_value, torch_gradient = torch_value_and_gradient(loss, prediction, target)
    assert value == pytest.approx(torch_value, rel=1e-12)
    np.testing.assert_allclose(gradient, torch_gradient, rtol=1e-11, atol=1e-16)


@pytest.mark.parametrize("delta", [0.1, 1.0, 2.5])
def test_huber_is_linear_beyond_delta(delta):
    prediction, target = draw(1, (50,))
    value, gradient = huber(prediction, target, delta=delta)
    torch_value, torch_gradient = torch_value_and_gradient(huber, prediction, target, delta=delta)
    assert value == pytest.approx(torch_value, rel=1e-12)
    np.testing.assert_allclose(gradient, torch_gradient, rtol=1e-12)


@each
def test_float32_stays_float32(loss):
    prediction, target = draw(2, (9, 2), np.float32)
    value, gradient = loss(prediction, target)
    assert isinstance(value, float)
    assert gradient.dtype == np.float32


@each
def test_a_perfect_prediction_has_no_gradient(loss):
    target = np.array([0.0, 0.25, 1.0])
    prediction = np.array([-1000, np.log(1 / 3), 1000]) if loss is binary_cross_entropy else target.copy()
    np.testing.assert_allclose(loss(prediction, target)[1], 0, atol=1e-15)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_cross_entropy_of_extreme_logits_does_not_overflow(dtype):
    logit, target = np.array([-1000, 1000, -1000, 1000], dtype), np.array([0, 1, 1, 0], dtype)
    with np.errstate(all="raise", under="ignore"):
        value, gradient = binary_cross_entropy(logit, target)
    assert value == 500
    np.testing.assert_array_equal(gradient, [0, 0, -0.25, 0.25])


@each
@pytest.mark.parametrize(
    ("prediction", "target"), [((3, 1), (3,)), ((3,), (1,)), ((2, 3), (3, 2)), ((), (1,))]
)
def test_targets_of_another_shape_are_refused_and_not_broadcast(loss, prediction, target):
    message = rf"predictions {re.escape(str(prediction))}, targets {re.escape(str(target))}"
    with pytest.raises(ValueError, match=message):
        loss(np.zeros(prediction), np.ones(target))


@each
@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.uint64, bool])
def test_integers_are_subtracted_as_floats(loss, dtype):
    prediction, target = np.array([0, 1, 0, 1], dtype), np.array([1, 0, 0, 1], dtype)
    value, gradient = loss(prediction, target)
    expected, expected_gradient = loss(prediction.astype(float), target.astype(float))
    assert value == expected
    assert gradient.dtype == np.float64
    np.testing.assert_array_equal(gradient, expected_gradient)


@each
@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float64])
def test_the_gradient_has_the_dtype_of_the_prediction_whatever_the_target(loss, dtype):
    gradient = loss(np.array([0.5, -2.0], np.float32), np.array([1, 0], dtype))[1]
    assert gradient.dtype == np.float32


@pytest.mark.parametrize(("delta", "error"), [(0, ValueError), (-1.0, ValueError), (None, TypeError)])
def test_delta_is_a_number_above_zero(delta, error):
    with pytest.raises(error, match="delta must be a finite number above 0"):
        huber(np.ones(2), np.zeros(2), delta=delta)


def test_the_derivative_of_the_absolute_error_at_zero_is_zero():
    np.testing.assert_array_equal(mae(np.ones(3), np.ones(3))[1], np.zeros(3))


def test_softmax_cross_entropy_and_its_derivative_equal_those_of_torch():
    rng = np.random.default_rng(0)
    logit, target = 3 * rng.standard_normal((6, 4)), rng.dirichlet(np.ones(4), 6)
    value, gradient = softmax_cross_entropy(logit, target)
    z = torch.tensor(logit, requires_grad=True)
    expected = torch.nn.functional.cross_entropy(z, torch.tensor(target))
    expected.backward()
    assert value == pytest.approx(float(expected.detach()), rel=1e-12)
    np.testing.assert_allclose(gradient, z.grad.numpy(), rtol=1e-11, atol=1e-16)
    # also with targets that are not probabilities
    target = rng.random((6, 4))
    errors = gradient_errors(
        lambda: softmax_cross_entropy(logit, target)[0],
        {"logit": logit},
        {"logit": softmax_cross_entropy(logit, target)[1]},
    )
    assert errors["logit"] <= 1e-6


def test_softmax_cross_entropy_of_large_logits_does_not_overflow():
    value, gradient = softmax_cross_entropy(np.array([[1e4, -1e4]]), np.array([[0.0, 1.0]]))
    assert value == 2e4
    assert gradient.tolist() == [[1.0, -1.0]]
