"""Time-varying biases: Ornstein-Uhlenbeck processes of each user, of each item, or of all ratings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ..utils.arrays import Float64Array, IntArray
from .threads import Threads, parts_of

DAY = 86_400.0

# The time-varying biases of a model: entity, prior median of the timescale in seconds, and prior median of
# the variance, as a share of that of the ratings. A user's ratings are correlated within a session and, less
# so, within an evening.
DRIFTS = (("user", 120.0, 0.03), ("user", 3_600.0, 0.03), ("item", 365 * DAY, 0.03), ("all", 7 * DAY, 0.01))

# Standard deviations of the log-normal priors of variance and timescale.
VARIANCE_SPREAD, TIMESCALE_SPREAD = 1.5, 1.0

# Metropolis proposals of variance and timescale in a sweep, and the standard deviation of their log: during
# the burn-in, and after it.
PROPOSALS, STEPS = (3, 1), (0.3, 0.1)


@dataclass(frozen=True, slots=True, eq=False)
class Timeline:
    """Times of ratings in ascending order by group: those of group g are times[starts[g]:starts[g + 1]].

    `starts` has shape (n_groups + 1,), `times` shape (n,), in seconds since 1970.
    """

    starts: NDArray[np.int64]
    times: NDArray[np.int64]

    @classmethod
    def of(cls, groups: IntArray, times: NDArray[np.int64], n_groups: int) -> tuple[IntArray, Self]:
        """The order that sorts ratings by group and time, and their timeline."""
        order = np.lexsort((times, groups))
        starts = np.append(0, np.cumsum(np.bincount(groups, minlength=n_groups)))
        return order, cls(starts, np.asarray(times[order]))

    @classmethod
    def checked(cls, starts: NDArray[np.int64], times: NDArray[np.int64]) -> Self:
        """A timeline read from a file; raises ValueError if groups, or times within one, are not in order."""
        ascends = np.diff(times) >= 0
        ascends[starts[1:-1][(starts[1:-1] > 0) & (starts[1:-1] < len(times))] - 1] = True  # another group
        if starts[0] != 0 or starts[-1] != len(times) or (np.diff(starts) < 0).any() or not ascends.all():
            raise ValueError("starts and times: expected those of ratings in order, group by group")
        return cls(starts, times)

    def inserted(self, rows: IntArray, n_groups: int) -> Timeline:
        """The timeline after group g has become group rows[g] of n_groups; the others have no ratings."""
        counts = np.zeros(n_groups, np.int64)
        counts[rows] = np.diff(self.starts)
        return Timeline(np.append(0, np.cumsum(counts)), self.times)

    def interpolated(
        self, values: NDArray[np.floating[Any]], timescale: float, groups: IntArray, times: NDArray[np.int64]
    ) -> Float64Array:
        """Expected values of a process at other times, shape (m,), for groups (-1: unknown, value 0).

        `values` are those at the times of the ratings. An Ornstein-Uhlenbeck process is Markov: only the
        neighbours in time matter. Between two of them, at gaps g and h, with a = exp(-g/τ) and b = exp(-h/τ),
        its conditional mean is (a (1 - b²) d_before + b (1 - a²) d_after) / (1 - a² b²).
        """
        group = np.maximum(groups, 0)
        first, end = self.starts[group], self.starts[group + 1]
        after = self.first_after(first, end, times)
        has_before, has_after = (groups >= 0) & (after > first), (groups >= 0) & (after < end)
        before, after = np.maximum(after - 1, 0), np.minimum(after, len(self.times) - 1)
        a = np.where(has_before, np.exp(-np.abs(times - self.times[before]) / timescale), 0.0)
        b = np.where(has_after, np.exp(-np.abs(self.times[after] - times) / timescale), 0.0)
        a = np.minimum(a, 1 - 1e-9)  # avoids 0/0 at the time of a rating if b is 1, too
        total = a * (1 - b**2) * values[before] + b * (1 - a**2) * values[after]
        return np.asarray(total / (1 - (a * b) ** 2))

    def first_after(
        self, first: NDArray[np.int64], end: NDArray[np.int64], times: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """The first position in first:end with a later time, or `end`: a bisection of all groups at once."""
        low, high = first, end
        while (low < high).any():
            middle = (low + high) // 2  # below `end`, unless low == high already
            later = self.times[np.minimum(middle, len(self.times) - 1)] > times
            low, high = np.where(later | (low == high), low, middle + 1), np.where(later, middle, high)
        return low


@dataclass(frozen=True, slots=True, eq=False)
class TimeVaryingBias:
    """A bias d(t), known at the times of the ratings, that decays to zero away from them.

    Attributes
    ----------
    entity : {"user", "item", "all"}
        What the groups of the timeline are; "all" has one group.
    timeline : Timeline
    values : array of shape (n_ratings,), in the order of the timeline
    timescale : float, in seconds
    """

    entity: str
    timeline: Timeline
    values: NDArray[np.floating[Any]]
    timescale: float

    def at(self, users: IntArray, items: IntArray, times: NDArray[np.int64]) -> Float64Array:
        """The expected bias of pairs of rows (-1: unknown) at these times, shape (n,)."""
        groups = {"user": users, "item": items, "all": np.zeros(len(users), np.int64)}[self.entity]
        return self.timeline.interpolated(self.values, self.timescale, groups, times)


class Drift:
    """Samples a time-varying bias: one Ornstein-Uhlenbeck process for each group, with shared parameters.

    Parameters
    ----------
    entity : {"user", "item", "all"}
    groups, times : integer arrays of shape (n,)
        Group of each rating, and its time in seconds since 1970.
    n_groups : int
    timescale, variance : float
        Initial values, and medians of their log-normal priors: seconds, and the stationary variance.

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
        # Parts of about as many ratings, which do not divide a group.
        self._groups = np.unique(np.searchsorted(starts, parts_of(len(times))))

    def draw(
        self, residual: Float64Array, precision: Float64Array, rng: np.random.Generator, burn_in: bool,
        threads: Threads, scratch: Float64Array,
    ) -> None:  # fmt: skip
        """Draw variance and timescale, then the path; updates the residual.

        Variance and timescale are drawn by Metropolis steps on the likelihood with the path integrated out:
        given the path they would mix slowly. `scratch` is an array of shape (8, n).
        """
        from .kernels import draw_paths, filter_paths, observe

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
        """The last sample."""
        return TimeVaryingBias(self.entity, self.timeline, self.path, self.timescale)
