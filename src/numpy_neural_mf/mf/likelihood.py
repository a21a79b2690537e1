"""Likelihoods: from the score r̂ of a pair to the predicted rating, and how well scores fit known ratings."""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..nn import CumulativeLogit
from ..nn.parameter import Array


class Terms(NamedTuple):
    """The losses of n ratings, or their weighted sum, and derivatives by each score, shape (n,)."""

    value: Array | float
    pull: Array  # minus half the first derivative: r - r̂ for the squared error
    weight: Array  # half the second derivative: 1 for the squared error


@dataclass(frozen=True, slots=True)
class Normal:
    """A score times `unit`, clipped to the scale, is the mean rating; the loss is the squared error."""

    scale: tuple[float, float]
    unit: float = 1.0
    curvature: ClassVar[float] = 1.0  # half of the second derivative of the loss by the score

    def rating(self, scores: Array) -> Array:
        """Return the prediction for these scores, in their shape; the scores may be overwritten."""
        return np.clip(np.multiply(scores, self.unit, out=scores), *self.scale, out=scores)

    def terms(self, scores: Array, ratings: Array) -> Terms:
        """Return the loss of ratings, shape (n,), with these scores, and its derivatives."""
        error = ratings / self.unit - scores
        return Terms(error**2, error, np.ones_like(error))


@dataclass(frozen=True, slots=True, eq=False)
class Ordinal:
    """A score is a position among ordinal categories; the loss is -log P."""

    model: CumulativeLogit  # its categories are in units
    cutpoints: Array  # as the model learns them, shape (n_categories - 1,)
    scale: tuple[float, float]
    unit: float

    @property
    def curvature(self) -> float:
        """About half of the second derivative of the loss by the score, as for a normal distribution."""
        return 1 / (2 * self.model.deviation**2)

    @property
    def categories(self) -> NDArray[np.float32]:
        """The distinct ratings, ascending."""
        return np.asarray(self.model.steps * self.unit, np.float32)

    def rating(self, scores: Array) -> Array:
        mean = self.model.expected(scores, self.cutpoints.astype(scores.dtype))
        return np.clip(np.multiply(mean, self.unit, out=mean), *self.scale, out=mean)

    def terms(self, scores: Array, ratings: Array) -> Terms:
        in_units = (ratings / self.unit).astype(self.model.steps.dtype)
        found = self.model.terms(scores, in_units, self.cutpoints)
        return Terms(found.value, -found.dy / 2, found.d2y / 2)

    def probabilities(self, scores: Array, variance: Array) -> NDArray[np.float32]:
        """Return P of each category, shape (..., n_categories), if scores have this variance."""
        return np.asarray(self.model.probabilities(scores, self.cutpoints, variance))

    def interval(
        self, scores: Array, variance: Array, coverage: float
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return the categories where the cumulative probability reaches (1 ± coverage) / 2, lower first."""
        below = self.probabilities(scores, variance).cumsum(axis=-1)[..., :-1]
        out = (1 - coverage) / 2
        low, high = ((below < share).sum(axis=-1) for share in (out, 1 - out))
        return self.categories[low], self.categories[high]


Likelihood = Normal | Ordinal
