"""Sampling of time-varying biases: Ornstein-Uhlenbeck processes of users, of items, or of all ratings."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..mf.drift import Timeline, TimeVaryingBias
from ..utils.arrays import Float64Array, IntArray
from .threads import Threads, parts_of

DAY = 86_400.0

# The time-varying biases of a model: entity, prior median of the timescale in seconds, and prior median of
# the variance, as a share of the ratings' variance. A user's ratings are correlated within a session and,
# less so, within an evening.
DRIFTS = (("user", 120.0, 0.03), ("user", 3_600.0, 0.03), ("item", 365 * DAY, 0.03), ("all", 7 * DAY, 0.01))

# Standard deviations of the log-normal priors of variance and timescale.
VARIANCE_SPREAD, TIMESCALE_SPREAD = 1.5, 1.0

# Number of Metropolis proposals of variance and timescale per sweep, and the standard deviation of their log;
# each during the burn-in and after it.
PROPOSALS, STEPS = (3, 1), (0.3, 0.1)


class Drift:
    """Sampler of a time-varying bias: one Ornstein-Uhlenbeck process per group, with shared parameters.

    Parameters
    ----------
    entity : {"user", "item", "all"}
    groups, times : integer arrays of shape (n,)
        Group of each rating, and its time in seconds since 1970.
    n_groups : int
    timescale, variance : float
        Initial timescale in seconds and stationary variance; also the medians of their log-normal priors.

    Attributes
    ----------
    path : float64 array of shape (n,), the last sample of d, in the order of the timeline
    """

    def __init__(
        self, entity: str, groups: IntArray, times: NDArray[np.int64], n_groups: int, timescale: float,
        variance: float,
    ) -> None:  # fmt: skip
        self.entity = entity
        self.order, self.timeline = Timeline.of(groups, times, n_groups)
        starts = self.timeline.starts
        self.timescale = self.prior_timescale = timescale
        self.variance = self.prior_variance = variance
        self.path = np.zeros(len(times))
        self._gaps = np.diff(self.timeline.times, prepend=self.timeline.times[:1]).astype(np.float64)
        self._gaps[starts[:-1][np.diff(starts) > 0]] = 0.0  # a group starts in the stationary distribution
        # Parts with about the same number of ratings, which do not split a group.
        self._groups = np.unique(np.searchsorted(starts, parts_of(len(times))))

    def draw(
        self, residual: Float64Array, precision: Float64Array, rng: np.random.Generator, burn_in: bool,
        threads: Threads, scratch: Float64Array,
    ) -> None:  # fmt: skip
        """Draw variance and timescale, then the path, and update the residual.

        Variance and timescale are drawn by Metropolis steps on the likelihood with the path integrated out,
        because they would mix slowly given the path. `scratch` is an array of shape (8, n).
        """
        from ..training.kernels import filter_paths
        from .kernels import draw_paths, observe

        n_parts, bounds, starts = len(self._groups) - 1, parts_of(len(residual)), self.timeline.starts
        observed, filtered = scratch[:2], scratch[2:].reshape(2, 3, -1)
        threads.run(observe, len(bounds) - 1, bounds, self.order, residual, precision, self.path, *observed)
        medians = np.array([self.prior_variance, self.prior_timescale])
        chosen, log_p = 0, np.empty((2, n_parts))
        for _ in range(PROPOSALS[not burn_in]):
            now = np.array([self.variance, self.timescale])
            pair = np.stack([now, now * np.exp(STEPS[not burn_in] * rng.standard_normal(2))])
            threads.run(
                filter_paths, 2 * n_parts, self._groups, starts, self._gaps, *observed, pair, filtered, log_p
            )
            log_prior = -0.5 * (np.log(pair / medians) / (VARIANCE_SPREAD, TIMESCALE_SPREAD)) ** 2
            old, new = log_p.sum(axis=1) + log_prior.sum(axis=1)
            chosen = int(-rng.standard_exponential() < new - old)
            self.variance, self.timescale = pair[chosen].tolist()
        z = threads.normals(len(residual), rng)
        threads.run(
            draw_paths, n_parts, self._groups, starts, self.order, self.variance, filtered[chosen], z,
            observed[0], self.path, residual,
        )  # fmt: skip

    @property
    def bias(self) -> TimeVaryingBias:
        """The time-varying bias of the last sample."""
        return TimeVaryingBias(self.entity, self.timeline, self.path, self.timescale)
