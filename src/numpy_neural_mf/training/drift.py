"""Time-varying biases of users: processes that are smoothed between epochs, given everything else."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from ..data import Ratings
from ..mf.drift import Timeline, TimeVaryingBias
from ..utils.extras import naming_the_extra
from .distributed import Communicator
from .objective import MOST, Objective

# Prior medians of the timescale, in seconds, and of the variance, as a share of the ratings' variance: a
# user's ratings are correlated within a session. SPREADS are the prior standard deviations of the logarithms.
TIMESCALE, VARIANCE = 600.0, 0.03
SPREADS = (0.5, 1.0)
# The step by which log variance and log timescale change in the first epoch, its decay, and its minimum.
FIRST_STEP, FALL, LAST_STEP = 0.5, 0.9, 0.1


class UserDrift:
    """An Ornstein-Uhlenbeck process d_u(t) for each user; all users share variance and timescale.

    A Kalman smoother gives the posterior of a path, given the residuals of the user's ratings. The engine
    learns from ratings minus the posterior mean. Variance and timescale climb the likelihood of the
    residuals, with the path integrated out, by one step per epoch.
    """

    def __init__(self, ratings: Ratings, deviation: float, communicator: Communicator) -> None:
        """Take this process's ratings, in units; every process keeps the paths of all ratings."""
        if ratings.timestamps is None:
            raise ValueError("ratings: expected timestamps, since the architecture has drift, found none")
        with naming_the_extra("drift", "fast"):
            from .kernels import filter_paths, smooth_paths
        self._filter, self._smooth = filter_paths, smooth_paths
        self._own = communicator.place(len(ratings))
        self._given = ratings.values.copy()
        users, times = communicator.all_gather(ratings.users), communicator.all_gather(ratings.timestamps)
        self._users, self._n_users = users, ratings.n_users
        self._order, self._timeline = Timeline.of(users, times, ratings.n_users)
        starts = self._timeline.starts
        self._gaps = np.diff(self._timeline.times, prepend=self._timeline.times[:1]).astype(np.float64)
        self._gaps[starts[:-1][np.diff(starts) > 0]] = 0.0  # a group starts in the stationary distribution
        variance = VARIANCE * max(deviation**2, float(np.finfo(np.float32).tiny))
        self._medians = np.array([variance, TIMESCALE])
        self._parameters = np.append(self._medians, FIRST_STEP)  # variance, timescale and step
        self._mean, self._spread = np.zeros(len(users)), np.zeros(len(users))

    @property
    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """The arrays that change, to be saved."""
        return {"drift.parameters": self._parameters, "drift.mean": self._mean}

    @property
    def bias(self) -> TimeVaryingBias:
        """The time-varying bias d of the fitted model."""
        values = self._mean.astype(np.float32)  # the dtype in a file
        return TimeVaryingBias("user", self._timeline, values, float(self._parameters[1]))

    def follow(
        self, objective: Objective, ratings: Ratings, residual: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Smooth all paths given the residuals of all ratings, and subtract their means from `ratings`.

        Returns a factor for each user's squared errors, because a rating also has a share in its own path,
        which the engine does not take into account.
        """
        noise = objective.noise[0] / objective.weight.astype(np.float64)[self._users]
        target, of_target = residual[self._order] + self._mean, noise[self._order]
        filtered = self._climb(target, of_target)
        self._smooth(self._timeline.starts, self._parameters[0], filtered, self._mean, self._spread)
        self.subtract(ratings)
        n = np.maximum(np.diff(self._timeline.starts), 1)
        users = np.repeat(np.arange(self._n_users), np.diff(self._timeline.starts))
        factor = np.bincount(users, 1 / (1 - np.minimum(self._spread / of_target, MOST)), self._n_users) / n
        return np.append(np.where(factor > 0, factor, 1), 1)

    def resume(self, ratings: Ratings) -> None:
        """Subtract the restored means; raise ValueError for parameters that training cannot reach."""
        if not ((self._parameters > 0).all() and self._parameters[2] <= FIRST_STEP):
            raise ValueError(f"drift.parameters: {self._parameters.tolist()}")
        self.subtract(ratings)

    def subtract(self, ratings: Ratings) -> None:
        """Set `ratings` to the given ratings minus the means of the paths."""
        path = np.empty(len(self._mean), np.float32)
        path[self._order] = self._mean
        ratings.values[:] = self._given - path[self._own]

    def _climb(self, target: NDArray[np.float64], noise: NDArray[np.float64]) -> NDArray[np.float64]:
        """Take one step of variance and timescale; return the filtered moments with them."""
        best = self._filtered(self._parameters[:2], target, noise)
        step = self._parameters[2]
        for place in (0, 1):
            for sign in (1, -1):
                tried = self._parameters[:2].copy()
                tried[place] *= math.exp(sign * step)
                found = self._filtered(tried, target, noise)
                if found[0] > best[0]:
                    best, self._parameters[:2] = found, tried
                    break
        self._parameters[2] = max(FALL * step, LAST_STEP)
        return best[1]

    def _filtered(
        self, parameters: NDArray[np.float64], target: NDArray[np.float64], noise: NDArray[np.float64]
    ) -> tuple[float, NDArray[np.float64]]:
        """Return the log posterior density of variance and timescale, and the filtered moments."""
        filtered, log_p = np.empty((1, 3, len(target))), np.empty((1, 1))
        starts, given = self._timeline.starts, parameters[None]
        groups = np.array([0, len(starts) - 1])
        self._filter(0, groups, starts, self._gaps, target, noise, given, filtered, log_p)
        log_prior = -0.5 * float(((np.log(parameters / self._medians) / SPREADS) ** 2).sum())
        return float(log_p[0, 0]) + log_prior, filtered[0]
