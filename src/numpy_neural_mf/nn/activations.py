"""Activation functions with their derivatives: f(x) returns (y, backward), and backward(dy) returns dx."""

from collections.abc import Callable

import numpy as np

from .parameter import Array, as_float

Backward = Callable[[Array], Array]
ActivationFunction = Callable[[Array], tuple[Array, Backward]]


def identity(x: Array) -> tuple[Array, Backward]:
    """Return y = x."""
    return x, lambda dy: dy


def relu(x: Array) -> tuple[Array, Backward]:
    """Return y = max(x, 0) (Nair and Hinton, 2010); the derivative at 0 is taken to be 0."""
    y = np.maximum(x, 0)
    return y, lambda dy: dy * (y > 0)


def leaky_relu(x: Array, slope: float = 0.01) -> tuple[Array, Backward]:
    """Return y = x where x > 0, `slope` · x elsewhere (Maas, Hannun and Ng, 2013)."""
    x = as_float(x)
    gate = np.where(x > 0, x.dtype.type(1), x.dtype.type(slope))
    return x * gate, lambda dy: dy * gate


def sigmoid(x: Array) -> tuple[Array, Backward]:
    """Return y = 1 / (1 + exp(-x)), in a form that overflows on neither side; y' = y (1 - y)."""
    x = as_float(x)
    decay = np.exp(-np.abs(x))
    y = np.where(x >= 0, 1, decay) / (1 + decay)
    return y, lambda dy: dy * y * (1 - y)


def tanh(x: Array) -> tuple[Array, Backward]:
    """Return y = tanh(x); y' = 1 - y²."""
    y = np.tanh(x)
    return y, lambda dy: dy * (1 - y * y)


def gelu(x: Array) -> tuple[Array, Backward]:
    """Return y = x Φ(x) in its tanh approximation (Hendrycks and Gimpel, 2016, section 2)."""
    x = as_float(x)
    a, b = float(np.sqrt(2 / np.pi)), 0.044715
    t = np.tanh(a * (x + b * x**3))
    slope = 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * a * (1 + 3 * b * x**2)
    return 0.5 * x * (1 + t), lambda dy: dy * slope


ACTIVATIONS: dict[str, ActivationFunction] = {
    f.__name__: f for f in (identity, relu, leaky_relu, sigmoid, tanh, gelu)
}
