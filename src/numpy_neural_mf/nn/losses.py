"""Losses: (prediction, target) -> (mean over all elements, its gradient with respect to the prediction).

Cross-entropies take logits, the output of a linear last layer, in place of the prediction.

Targets have the shape of the predictions and are converted to their dtype, so integers become floats.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from ..utils.settings import check_number
from .activations import sigmoid
from .parameter import Array, as_float

Loss = Callable[[Array, Array], tuple[float, Array]]


def mse(prediction: Array, target: ArrayLike) -> tuple[float, Array]:
    """Return the mean of e², with e = prediction - target, and its gradient."""
    prediction, target = _same_shape(prediction, target)
    error = prediction - target
    return float(np.vdot(error, error)) / error.size, error * (2 / error.size)


def mae(prediction: Array, target: ArrayLike) -> tuple[float, Array]:
    """Return the mean of abs(e) and its gradient; the derivative at 0 is taken to be 0."""
    prediction, target = _same_shape(prediction, target)
    error = prediction - target
    return float(np.abs(error).mean()), np.sign(error) / error.size


def huber(prediction: Array, target: ArrayLike, delta: float = 1.0) -> tuple[float, Array]:
    """Return the mean of e²/2 where abs(e) ≤ delta and delta (abs(e) - delta/2) elsewhere (Huber, 1964)."""
    check_number("delta", delta, above=0)
    prediction, target = _same_shape(prediction, target)
    error = prediction - target
    clipped = np.clip(error, -delta, delta)
    return float((clipped * (error - clipped / 2)).mean()), clipped / error.size


def binary_cross_entropy(logit: Array, target: ArrayLike) -> tuple[float, Array]:
    """Return the mean of -t log σ(z) - (1 - t) log(1 - σ(z)), t in [0, 1]; no logit z overflows."""
    logit, target = _same_shape(logit, target)
    value = np.maximum(logit, 0) - logit * target + np.log1p(np.exp(-np.abs(logit)))
    return float(value.mean()), (sigmoid(logit)[0] - target) / logit.size


def softmax_cross_entropy(logit: Array, target: ArrayLike) -> tuple[float, Array]:
    """Return the mean over rows of -Σ_k t_k log p_k, with p = softmax(z); no logit z overflows.

    z and t have shape (n, n_classes). Each row of t holds probabilities: np.eye(n_classes)[classes] for
    class numbers.
    """
    logit, target = _same_shape(logit, target)
    log_p = log_softmax(logit)
    return -float(np.vdot(target, log_p)) / len(logit), (
        np.exp(log_p) * target.sum(axis=1, keepdims=True) - target
    ) / len(logit)


def log_softmax(logit: Array) -> Array:
    """Return log p by row, with p_k = exp(z_k) / Σ_j exp(z_j); the largest z of a row is subtracted first."""
    z = logit - logit.max(axis=1, keepdims=True)
    return np.asarray(z - np.log(np.exp(z).sum(axis=1, keepdims=True)))


def _same_shape(prediction: ArrayLike, target: ArrayLike) -> tuple[Array, Array]:
    """Return both in the prediction's float dtype; raise ValueError for shapes that would broadcast."""
    prediction = as_float(prediction)
    target = np.asarray(target, prediction.dtype)
    if prediction.shape != target.shape:
        raise ValueError(f"expected one shape, found predictions {prediction.shape}, targets {target.shape}")
    return prediction, target


LOSSES: dict[str, Loss] = {
    f.__name__: f for f in (mse, mae, huber, binary_cross_entropy, softmax_cross_entropy)
}
