"""What moves with time: a level for each user, each item or everybody, that wanders and returns to zero."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

Float64Array = NDArray[np.float64]
IntArray = NDArray[np.integer[Any]]

# Spread, in e-folds, of what is thought of a timescale and of a variance before the ratings have spoken.
TIMESCALE_SPREAD = 1.0
VARIANCE_SPREAD = 1.5

# Proposals of variance and timescale in a sweep, and their step in e-folds, while warming up and after.
PROPOSALS = (3, 1)
STEPS = (0.3, 0.1)


@dataclass(frozen=True, slots=True, eq=False)
class Timeline:
    """Times of ratings in order, group by group: those of group g are at starts[g]:starts[g + 1].

    Attributes
    ----------
    starts : int64 array of shape (n_groups + 1,)
    times : int64 array of shape (n,)
        Seconds since 1970, ascending within a group.
    """

    starts: NDArray[np.int64]
    times: NDArray[np.int64]

    @classmethod
    def of(cls, groups: IntArray, times: NDArray[np.int64], n_groups: int) -> tuple[IntArray, Self]:
        """The order of ratings of these groups at these times, and their timeline."""
        order = np.lexsort((times, groups))
        starts = np.append(0, np.cumsum(np.bincount(groups, minlength=n_groups)))
        return order, cls(starts, np.asarray(times[order]))

    @classmethod
    def checked(cls, starts: NDArray[np.int64], times: NDArray[np.int64]) -> Self:
        """One from a file.

        Raises
        ------
        ValueError
            Groups are not in order, or times within one.
        """
        later = np.diff(times) >= 0
        later[starts[1:-1][(starts[1:-1] > 0) & (starts[1:-1] < len(times))] - 1] = True  # another group
        if starts[0] != 0 or starts[-1] != len(times) or (np.diff(starts) < 0).any() or not later.all():
            raise ValueError("starts and times: expected those of ratings in order, group by group")
        return cls(starts, times)

    def among(self, rows: IntArray, n_groups: int) -> Timeline:
        """The same with groups that have no rating among the others: group g becomes rows[g]."""
        counts = np.zeros(n_groups, np.int64)
        counts[rows] = np.diff(self.starts)
        return Timeline(np.append(0, np.cumsum(counts)), self.times)

    def levels_at(
        self, level: NDArray[np.floating[Any]], timescale: float, groups: IntArray, times: NDArray[np.int64]
    ) -> Float64Array:
        """The expected level at other times, given that at the times of the ratings.

        An Ornstein-Uhlenbeck process forgets: beyond its neighbours in time nothing counts. Between two, at
        gaps g and h, with a = exp(-g/τ) and b = exp(-h/τ), it is expected at
        (a (1 - b²) d_before + b (1 - a²) d_after) / (1 - a² b²).

        Parameters
        ----------
        level : array of shape (n,)
        timescale : float
            τ, in seconds.
        groups : integer array of shape (m,)
            -1 for an unknown one, whose level is 0.
        times : int64 array of shape (m,)

        Returns
        -------
        float64 array of shape (m,)
        """
        group = np.maximum(groups, 0)
        first, end = self.starts[group], self.starts[group + 1]
        after = self.first_after(first, end, times)
        has_before, has_after = (groups >= 0) & (after > first), (groups >= 0) & (after < end)
        before, after = np.maximum(after - 1, 0), np.minimum(after, len(self.times) - 1)
        a = np.where(has_before, np.exp(-np.abs(times - self.times[before]) / timescale), 0.0)
        b = np.where(has_after, np.exp(-np.abs(self.times[after] - times) / timescale), 0.0)
        a = np.minimum(a, 1 - 1e-9)  # at the very time of a rating: 0/0 otherwise, should b be 1, too
        total = a * (1 - b**2) * level[before] + b * (1 - a**2) * level[after]
        return np.asarray(total / (1 - (a * b) ** 2))

    def first_after(
        self, first: NDArray[np.int64], end: NDArray[np.int64], times: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """The first place from `first` on with a later time, or `end`: a bisection of all groups at once."""
        low, high = first, end
        while (low < high).any():
            middle = (low + high) // 2  # below the end of all, but where low is high already
            later = self.times[np.minimum(middle, len(self.times) - 1)] > times
            low, high = np.where(later | (low == high), low, middle + 1), np.where(later, middle, high)
        return low


@dataclass(frozen=True, slots=True, eq=False)
class Levels:
    """A drift at the times of the ratings, and how fast it is forgotten.

    Attributes
    ----------
    whose : {"user", "item", "all"}
        What the groups are; of "all" there is one.
    timeline : Timeline
    level : array of shape (n_ratings,)
    timescale : float
        In seconds.
    """

    whose: str
    timeline: Timeline
    level: NDArray[np.floating[Any]]
    timescale: float

    def at(self, users: IntArray, items: IntArray, times: NDArray[np.int64]) -> Float64Array:
        """The level expected for pairs of rows, -1 for the unknown, at other times: shape (m,)."""
        groups = {"user": users, "item": items, "all": np.zeros(len(users), np.int64)}[self.whose]
        return self.timeline.levels_at(self.level, self.timescale, groups, times)


class Drift:
    """An Ornstein-Uhlenbeck process for each group, of one variance and one timescale, all drawn.

    Parameters
    ----------
    whose : {"user", "item", "all"}
    groups : integer array of shape (n,)
        Group of each rating.
    times : int64 array of shape (n,)
        Seconds since 1970.
    n_groups : int
    timescale : float
        Where to begin, in seconds; a log-normal prior is centred there.
    variance : float
        The same of the variance of a level.
    """

    def __init__(
        self,
        whose: str,
        groups: IntArray,
        times: NDArray[np.int64],
        n_groups: int,
        timescale: float,
        variance: float,
    ) -> None:
        self.whose = whose
        self.order, self.timeline = Timeline.of(groups, times, n_groups)
        starts = self.timeline.starts
        self.timescale = self.prior_timescale = timescale
        self.variance = self.prior_variance = variance
        self.level = np.zeros(len(times))  # in the order of the timeline
        self._gaps = np.diff(self.timeline.times, prepend=self.timeline.times[:1]).astype(np.float64)
        self._gaps[starts[:-1][np.diff(starts) > 0]] = 0.0  # the first of a group is at the stationary law
        self._moments = np.empty((2, len(times)))

    def draw(
        self, residual: Float64Array, precision: Float64Array, rng: np.random.Generator, warming_up: bool
    ) -> None:
        """Draw variance and timescale, then the levels; `residual` is brought up to date.

        The first two by a random walk of Metropolis on the likelihood with the levels integrated out: given
        the levels they would hardly move.
        """
        from .kernels import draw_levels, log_likelihood

        residual[self.order] += self.level
        place = self.timeline.starts, self.order, self._gaps, residual, precision
        old = log_likelihood(*place, self.variance, self.timescale) + self._log_prior(
            self.variance, self.timescale
        )
        for _ in range(PROPOSALS[0 if warming_up else 1]):
            step = STEPS[0 if warming_up else 1]
            variance = self.variance * math.exp(step * rng.standard_normal())
            timescale = self.timescale * math.exp(step * rng.standard_normal())
            new = log_likelihood(*place, variance, timescale) + self._log_prior(variance, timescale)
            if math.log(rng.random()) < new - old:
                self.variance, self.timescale, old = variance, timescale, new
        z = rng.standard_normal(len(self.level))
        draw_levels(*place, self.variance, self.timescale, z, *self._moments, self.level)
        residual[self.order] -= self.level

    @property
    def levels(self) -> Levels:
        """As drawn last."""
        return Levels(self.whose, self.timeline, self.level, self.timescale)

    def _log_prior(self, variance: float, timescale: float) -> float:
        by_variance = math.log(variance / self.prior_variance) / VARIANCE_SPREAD
        by_timescale = math.log(timescale / self.prior_timescale) / TIMESCALE_SPREAD
        return -0.5 * (by_variance**2 + by_timescale**2)
