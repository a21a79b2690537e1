"""Is backward right? Central differences against it, for any layer, loss or model."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from .layers import Layer
from .parameter import Array, Gradient, RowGradient


def check_gradients(
    layer: Layer, x: Any, *, epsilon: float = 1e-5, random_state: int = 0
) -> dict[str, float]:
    """Worst relative error of a layer's backward pass against central differences.

    Use float64 parameters and input; below about 1e-6 the derivative is right, above 1e-4 it is wrong.

    Parameters
    ----------
    layer : Layer
        Anything with `forward(x) -> (y, backward)` and `parameters`; it is run as in prediction.
    x : array
        Its input, float64; integer ids for an embedding, which have no derivative.
    epsilon : float, default 1e-5
        Half the width of the central difference.
    random_state : int, default 0
        Draws the direction dL/dy.

    Returns
    -------
    dict of str to float
        For each parameter by name, and for "input" if it is real: max |backward - difference| over the
        largest derivative; infinite where either is not finite.

    Raises
    ------
    TypeError
        A parameter or the input is real and not float64.
    ValueError
        A gradient has not the shape of what it is the gradient of.

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
    """Worst relative error of given gradients of any scalar function: what `check_gradients` is made of.

    Parameters
    ----------
    loss : callable
        Reads the arrays and returns a float; called twice for each element.
    arrays : mapping of str to float64 array
        What to vary; restored afterwards.
    gradients : mapping of str to array or RowGradient
        The derivatives to check, by the same names.
    epsilon : float, default 1e-5
        Half the width of the central difference.

    Returns
    -------
    dict of str to float
        By name: max |given - difference| over the largest derivative; infinite where either is not finite.

    Raises
    ------
    TypeError
        An array is not float64, in which differences this small are noise.
    ValueError
        A gradient has not the shape of its array.
    """
    return {
        name: _relative_error(name, gradients[name], _differences(loss, array, epsilon, name))
        for name, array in arrays.items()
    }


def _differences(loss: Callable[[], float], array: Array, epsilon: float, name: str) -> Array:
    if array.dtype != np.float64:
        raise TypeError(f"gradients are checked in float64; {name!r} is {array.dtype}")
    derivative = np.empty_like(array)
    for index in np.ndindex(array.shape):
        kept = array[index]
        array[index] = kept + epsilon
        above = loss()
        array[index] = kept - epsilon
        derivative[index] = (above - loss()) / (2 * epsilon)
        array[index] = kept
    return derivative


def _relative_error(name: str, given: Gradient, expected: Array) -> float:
    if isinstance(given, RowGradient):
        given = given.to_dense(expected.shape)
    if np.shape(given) != expected.shape:  # would broadcast, and agree by chance
        raise ValueError(f"the gradient of {name!r} has shape {np.shape(given)}, not {expected.shape}")
    scale = max(np.abs(given).max(initial=0), np.abs(expected).max(initial=0), 1e-10)
    error = float(np.abs(given - expected).max(initial=0)) / float(scale)
    return math.inf if math.isnan(error) else error  # a NaN would slip through max(errors.values())
