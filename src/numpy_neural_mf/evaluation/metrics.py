"""Errors of predicted ratings, over all ratings together: not a mean of means over users."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike


def rmse(prediction: ArrayLike, rating: ArrayLike) -> float:
    """Root of the mean squared error, in rating steps.

    Parameters
    ----------
    prediction, rating : array-likes of shape (n,)

    Returns
    -------
    float

    Raises
    ------
    ValueError
        The shapes differ or there is nothing to compare.
    """
    return float(np.sqrt(np.mean(_errors(prediction, rating) ** 2)))


def mae(prediction: ArrayLike, rating: ArrayLike) -> float:
    """Mean absolute error, in rating steps; parameters, result and errors as those of `rmse`."""
    return float(np.mean(np.abs(_errors(prediction, rating))))


def _errors(prediction: ArrayLike, rating: ArrayLike) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    predicted, actual = np.asarray(prediction, np.float64), np.asarray(rating, np.float64)
    if predicted.shape != actual.shape or not predicted.size:
        raise ValueError(f"expected equal, non-empty shapes, found {predicted.shape} and {actual.shape}")
    return predicted - actual
