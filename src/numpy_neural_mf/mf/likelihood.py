"""From the score r̂ of a pair to the rating that is predicted, and how well scores tell known ratings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from ..nn import CumulativeLogit
from ..nn.parameter import Array


class Terms(NamedTuple):
    """The loss of some ratings, summed, and how it pulls on each score, as a squared error would.

    Attributes
    ----------
    total : float
    pull : array of shape (n,)
        Minus half the derivative: r - r̂ of the squared error.
    weight : array of shape (n,)
        Half the second derivative: 1 of the squared error.
    """

    total: float
    pull: NDArray[np.floating[Any]]
    weight: NDArray[np.floating[Any]]


class Likelihood(Protocol):
    """What scores mean; a score of 1 is worth `unit` of a rating."""

    @property
    def unit(self) -> float: ...

    def rating(self, scores: Array) -> Array:
        """What is predicted where these are the scores, which it may write over: of their shape."""
        ...

    def terms(self, scores: Array, ratings: Array) -> Terms:
        """Of ratings of shape (n,) with these scores."""
        ...


@dataclass(frozen=True, slots=True)
class Normal:
    """A score is the mean rating, but for the ends of the scale; the loss is the squared error."""

    scale: tuple[float, float]
    unit: float = 1.0

    def rating(self, scores: Array) -> Array:
        """Clipped to the scale."""
        return np.clip(np.multiply(scores, self.unit, out=scores), *self.scale, out=scores)

    def terms(self, scores: Array, ratings: Array) -> Terms:
        """Of (r - r̂)², in units."""
        error = ratings / self.unit - scores
        return Terms(float((error**2).sum()), error, np.ones_like(error))


@dataclass(frozen=True, slots=True, eq=False)
class Ordinal:
    """A score is a place on a scale of steps; the loss is -log P.

    Attributes
    ----------
    model : CumulativeLogit
        Of steps in units.
    cutpoints : array of shape (n_steps - 1,)
        As it learns them.
    scale : (float, float)
    unit : float
    """

    model: CumulativeLogit
    cutpoints: Array
    scale: tuple[float, float]
    unit: float

    def rating(self, scores: Array) -> Array:
        """The mean over the steps."""
        mean = self.model.expected(scores, self.cutpoints.astype(scores.dtype))
        return np.clip(np.multiply(mean, self.unit, out=mean), *self.scale, out=mean)

    def terms(self, scores: Array, ratings: Array) -> Terms:
        """Of -log P."""
        in_units = (ratings / self.unit).astype(self.model.steps.dtype)
        found = self.model.terms(scores, in_units, self.cutpoints)
        return Terms(float(found.value.sum()), -found.dy / 2, found.d2y / 2)
