"""Gradient check: compare the gradients of any layer, loss or model with central differences."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..utils.settings import check_number
from .layers import Layer
from .parameter import Array, Gradient, RowGradient


def check_gradients(
    layer: Layer, x: Any, *, epsilon: float = 1e-5, random_state: int = 0
) -> dict[str, float]:
    """Return the largest relative error of a layer's gradients, compared with central differences.

    Below about 1e-6 a gradient is right, above 1e-4 it is wrong.

    Parameters
    ----------
    layer : Layer with float64 parameters, which runs in prediction mode
    x : float64 array, or integer ids for an embedding, which have no derivative
    epsilon : float, default 1e-5, half the width of the central difference
    random_state : int, default 0, seed of the random dL/dy

    Returns
    -------
    dict of str to float
        The error of each parameter by name, as in `gradient_errors`, and of "input" if x is a float array.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> from numpy_neural_mf.nn import Dense
    >>> errors = check_gradients(Dense(3, 2, rng, dtype=np.float64), rng.standard_normal((5, 3)))
    >>> sorted(errors), max(errors.values()) < 1e-6
    (['bias', 'input', 'weight'], True)
    """
    y, backward = layer.forward(x)
    dy = np.random.default_rng(random_state).standard_normal(y.shape)
    for parameter in layer.parameters.values():
        parameter.grad = None
    dx = backward(dy)
    arrays = {name: p.value for name, p in layer.parameters.items()}
    gradients = {name: p.pop_grad() for name, p in layer.parameters.items()}
    if isinstance(x, np.ndarray) and np.issubdtype(x.dtype, np.floating):
        arrays["input"], gradients["input"] = x, dx
    return gradient_errors(
        lambda: float(np.vdot(layer.forward(x)[0], dy)), arrays, gradients, epsilon=epsilon
    )


def gradient_errors(
    loss: Callable[[], float],
    arrays: Mapping[str, Array],
    gradients: Mapping[str, Gradient],
    *,
    epsilon: float = 1e-5,
) -> dict[str, float]:
    """Return the largest relative error of a scalar function's gradients, compared with central differences.

    Raises TypeError for an array that is not float64 (in float32 these differences are noise), and ValueError
    if a gradient and its array differ in shape.

    Parameters
    ----------
    loss : callable
        Reads the arrays and returns a float; it is called twice for each element.
    arrays : mapping of str to float64 array
        Inputs of the loss; each element is varied and then restored, also when the loss raises.
    gradients : mapping of str to array or RowGradient, the gradients to check, by the same names
    epsilon : float, default 1e-5, half the width of the central difference

    Returns
    -------
    dict of str to float
        the largest abs(gradient - difference) over the largest derivative; infinite if either is not finite.
    """
    check_number("epsilon", epsilon, above=0)
    return {
        name: _relative_error(name, gradients[name], _differences(loss, array, epsilon, name))
        for name, array in arrays.items()
    }


def _differences(loss: Callable[[], float], array: Array, epsilon: float, name: str) -> Array:
    if array.dtype != np.float64:
        raise TypeError(f"gradients are checked in float64; {name!r} is {array.dtype}")
    derivative = np.empty_like(array)
    for index in np.ndindex(array.shape):
        x = array[index]
        try:
            array[index] = x + epsilon
            above = loss()
            array[index] = x - epsilon
            derivative[index] = (above - loss()) / (2 * epsilon)
        finally:
            array[index] = x
    return derivative


def _relative_error(name: str, gradient: Gradient, difference: Array) -> float:
    if isinstance(gradient, RowGradient):
        gradient = gradient.to_dense(difference.shape)
    if np.shape(gradient) != difference.shape:  # broadcasting could make them agree by chance
        raise ValueError(f"the gradient of {name!r} has shape {np.shape(gradient)}, not {difference.shape}")
    scale = max(np.abs(gradient).max(initial=0), np.abs(difference).max(initial=0), 1e-10)
    error = float(np.abs(gradient - difference).max(initial=0)) / float(scale)
    return math.inf if math.isnan(error) else error  # max(errors.values()) would lose a NaN
