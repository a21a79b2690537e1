"""Losses: (prediction, target) -> (mean over all elements, its gradient with respect to prediction)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .activations import sigmoid
from .parameter import Array

Loss = Callable[[Array, Array], tuple[float, Array]]


def mse(prediction: Array, target: Array) -> tuple[float, Array]:
    """Mean of e², e = prediction - target."""
    error = prediction - target
    return float(np.vdot(error, error)) / error.size, error * (2 / error.size)


def mae(prediction: Array, target: Array) -> tuple[float, Array]:
    """Mean of |e|; the derivative at 0 is taken to be 0."""
    error = prediction - target
    return float(np.abs(error).mean()), np.sign(error) / error.size


def huber(prediction: Array, target: Array, delta: float = 1.0) -> tuple[float, Array]:
    """Mean of e²/2 where |e| ≤ delta, and of delta (|e| - delta/2) beyond (Huber, 1964)."""
    error = prediction - target
    clipped = np.clip(error, -delta, delta)
    return float((clipped * (error - clipped / 2)).mean()), clipped / error.size


def binary_cross_entropy(logit: Array, target: Array) -> tuple[float, Array]:
    """Mean of -t log σ(z) - (1 - t) log(1 - σ(z)), from logits z so that nothing overflows; t in [0, 1]."""
    value = np.maximum(logit, 0) - logit * target + np.log1p(np.exp(-np.abs(logit)))
    return float(value.mean()), (sigmoid(logit)[0] - target) / logit.size
