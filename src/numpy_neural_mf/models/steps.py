"""A NeuralMF with an ordinal likelihood: the steps of its scale, and how probable each is."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from ..data import Ratings
from ..mf.likelihood import Likelihood, Normal, Ordinal
from ..nn import CumulativeLogit
from ..training.engines import Engine, OneProcess
from .neural_mf_settings import NeuralMFSettings
from .uncertainty import TOO_MANY, steps_of

# How far a rating is expected from its score, by the deviation of all ratings.
DEVIATION = 0.8

# By how much the deviation may turn out to be another.
MAX_LOG_TIMES = math.log(4)


def find_steps(ratings: Ratings, deviation: float, processes: OneProcess) -> CumulativeLogit:
    """The steps of the ratings of all processes, which have this standard deviation.

    Raises
    ------
    ValueError
        They are more than 20, or one.
    """
    steps = steps_of(processes.joined(np.unique(ratings.values)))
    if not len(steps):
        raise ValueError(TOO_MANY)
    return CumulativeLogit(steps, DEVIATION * deviation)


def calibrated(
    ordinal: CumulativeLogit, scores: NDArray[Any], ratings: NDArray[Any], cutpoints: NDArray[Any]
) -> CumulativeLogit:
    """The same model as sure of itself as held out ratings, shape (n,), say with these scores.

    What was learned by heart, too, makes scores differ more than the ratings of others do. One number, the
    deviation, at which these are most probable, is enough to make up for that (Guo, Pleiss, Sun and
    Weinberger, 2017, "On calibration of modern neural networks", temperature scaling).
    """
    y, raw = scores.astype(np.float64), cutpoints.astype(np.float64)

    def loss(log_times: float) -> float:
        return replace(ordinal, deviation=ordinal.deviation * math.exp(log_times)).loss(y, ratings, raw)[0]

    times = math.exp(minimize_scalar(loss, bounds=(-MAX_LOG_TIMES, MAX_LOG_TIMES), method="bounded").x)
    return replace(ordinal, deviation=ordinal.deviation * times)


class PredictsSteps(NeuralMFSettings):
    """What `NeuralMF`, where it is documented, makes of an ordinal likelihood.

    Without one, a score is the mean rating, and no interval is known.
    """

    rating_steps_: NDArray[np.float32]
    unit_: float
    _ordinal: CumulativeLogit | None
    _engine: Engine

    def _hold_steps(self, ordinal: CumulativeLogit | None) -> None:
        self._ordinal = ordinal
        self.rating_steps_ = np.zeros(0, np.float32) if ordinal is None else ordinal.steps * self.unit_

    @property
    def _lambda(self) -> float:
        """λ beside the loss: a squared error is -log P of a normal distribution, times twice its variance."""
        return self.regularization / (2 * self._ordinal.deviation**2 if self._ordinal else 1)

    @property
    def _likelihood(self) -> Likelihood:
        if self._ordinal is None:
            return Normal(self.rating_scale_, self.unit_)
        return Ordinal(self._ordinal, self._engine.parameters["cutpoints"], self.rating_scale_, self.unit_)

    def _interval(self, coverage: float, *asked: Any) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The steps at which the probability of no higher one reaches half of what may be left out."""
        below = self._probabilities(*asked).cumsum(axis=-1)[..., :-1]
        out = (1 - coverage) / 2
        low, high = ((below < share).sum(axis=-1) for share in (out, 1 - out))
        return self.rating_steps_[low], self.rating_steps_[high]

    def _probabilities(self, *asked: Any) -> NDArray[np.float32]:
        scores = self._scores(*asked)
        if self._ordinal is None:
            raise ValueError('expected a NeuralMF with likelihood="ordinal", found one that predicts means')
        return np.asarray(self._ordinal.probabilities(scores, self._engine.parameters["cutpoints"]))
