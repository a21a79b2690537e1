"""Recommenders that predict the distribution of a rating: intervals and probabilities."""

from abc import abstractmethod
from typing import Any

import numpy as np
import scipy
from numpy.typing import ArrayLike

from ..utils.arrays import Float32Array
from ..utils.settings import check_number
from .base import Recommender
from .fold_in import Items, Located, Users, locate

MAX_STEPS = 20  # most distinct ratings that count as the categories of a scale
Pair = tuple[Float32Array, Float32Array]
TOO_MANY = f"expected at most {MAX_STEPS} distinct training ratings, found more"


class DistributionRecommender(Recommender):
    """A model that predicts the distribution of a rating, not only its mean.

    Its `rating_steps_` are the distinct training ratings, ascending; empty if there are more than 20 or they
    are unknown.
    """

    @property
    @abstractmethod
    def rating_steps_(self) -> Float32Array: ...

    @abstractmethod
    def _interval(self, coverage: float, located: Located) -> Pair: ...

    @abstractmethod
    def _probabilities(self, located: Located) -> Float32Array: ...

    def predict_interval(
        self, users: Users, items: Items, timestamps: ArrayLike | None = None, coverage: float = 0.9
    ) -> Pair:
        """Predict an interval for each rating: (low, high), float32, within the rating scale; see `predict`.

        `coverage` is the share of ratings that the interval should contain, or at least contain for ordinal
        categories. A coverage that is not between 0 and 1 is a ValueError.
        """
        check_number("coverage", coverage, above=0, below=1)
        return self._interval(coverage, locate(self.fitted_, users, items, timestamps))

    def predict_distribution(self, users: Users, items: Items, timestamps: ArrayLike | None = None) -> Pair:
        """Predict the probability of each category of the rating scale; pairs are as in `predict`.

        The result is the categories, ascending, shape (n_steps,), and probabilities, shape (..., n_steps),
        both float32. More than 20 distinct training ratings are a ValueError.
        """
        return self.rating_steps_, self._probabilities(locate(self.fitted_, users, items, timestamps))


def interval(
    mean: Float32Array,
    deviation: Float32Array,
    coverage: float,
    scale: tuple[float, float],
    degrees_of_freedom: float = np.inf,
) -> tuple[Float32Array, Float32Array]:
    """Return the central interval of Student's t, by default of a normal distribution, within the scale."""
    t = np.float32(scipy.special.stdtrit(degrees_of_freedom, (1 + coverage) / 2))
    half = t * _t_scale(deviation, degrees_of_freedom)
    low, high = (np.clip(mean + sign * half, *scale) for sign in (-1, 1))
    return low, high


def probabilities(
    mean: Float32Array, deviation: Float32Array, steps: Float32Array, degrees_of_freedom: float = np.inf
) -> Float32Array:
    """Return the probability that a value of this distribution is nearest to each step: (..., n_steps)."""
    if not len(steps):
        raise ValueError(TOO_MANY)
    edges = np.concatenate([[-np.inf], (steps[1:] + steps[:-1]) / 2, [np.inf]])
    t = (edges - mean[..., None]) / _t_scale(deviation, degrees_of_freedom)[..., None]
    return np.asarray(np.diff(scipy.special.stdtr(degrees_of_freedom, t), axis=-1), np.float32)


def degrees_of_freedom(errors: Float32Array) -> float:
    """Return ν of Student's t with the kurtosis of errors, 3 + 6/(ν - 4); at most 304, nearly normal."""
    squares = errors.astype(np.float64) ** 2
    kurtosis = float((squares**2).mean()) / max(float(squares.mean()) ** 2, float(np.finfo(np.float64).tiny))
    return 4 + 6 / max(kurtosis - 3, 0.02)


def _t_scale(deviation: Float32Array, degrees_of_freedom: float) -> Float32Array:
    """Return the scale of Student's t, whose deviation is √(ν / (ν - 2)) times the scale."""
    return np.asarray(deviation * np.float32(np.sqrt(1 - 2 / degrees_of_freedom)))


def checked_steps(steps: Any) -> Float32Array:
    """Return distinct ratings from a file, ascending; TypeError or ValueError for anything else."""
    if not isinstance(steps, list) or len(steps) > MAX_STEPS:
        raise ValueError(f"steps: expected a list of at most {MAX_STEPS} ratings, found {steps!r}")
    for step in steps:
        check_number("steps", step)
    with np.errstate(over="ignore"):
        found = np.array(steps, np.float32)
    if not (np.isfinite(found).all() and (found[1:] > found[:-1]).all()):
        raise ValueError(f"steps: expected an ascending list, found {steps}")
    return found


def few_steps(ratings: Float32Array) -> Float32Array:
    """Return the distinct ratings, ascending; empty if there are more than 20."""
    steps = np.unique(ratings)
    return steps if len(steps) <= MAX_STEPS else steps[:0]
