"""Time-varying biases: Ornstein-Uhlenbeck processes of each user, of each item, or of all ratings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ..utils.arrays import Float64Array, IntArray


@dataclass(frozen=True, slots=True, eq=False)
class Timeline:
    """Times of ratings, ascending within each group: group g has times[starts[g]:starts[g + 1]].

    `starts` has shape (n_groups + 1,), `times` shape (n,), in seconds since 1970.
    """

    starts: NDArray[np.int64]
    times: NDArray[np.int64]

    @classmethod
    def of(cls, groups: IntArray, times: NDArray[np.int64], n_groups: int) -> tuple[IntArray, Self]:
        """Return the order that sorts ratings by group and time, and their timeline."""
        order = np.lexsort((times, groups))
        starts = np.append(0, np.cumsum(np.bincount(groups, minlength=n_groups)))
        return order, cls(starts, np.asarray(times[order]))

    @classmethod
    def checked(cls, starts: NDArray[np.int64], times: NDArray[np.int64]) -> Self:
        """Build a timeline from a file; raise ValueError if groups, or times in a group, are not in order."""
        ascends = times[1:] >= times[:-1]
        ascends[starts[1:-1][(starts[1:-1] > 0) & (starts[1:-1] < len(times))] - 1] = True  # another group
        if starts[0] != 0 or starts[-1] != len(times) or (np.diff(starts) < 0).any() or not ascends.all():
            raise ValueError("starts and times: expected those of ratings in order, group by group")
        return cls(starts, times)

    def inserted(self, rows: IntArray, n_groups: int) -> Timeline:
        """Return the timeline with group g moved to group rows[g] of n_groups; others have no ratings."""
        counts = np.zeros(n_groups, np.int64)
        counts[rows] = np.diff(self.starts)
        return Timeline(np.append(0, np.cumsum(counts)), self.times)

    def interpolated(
        self, values: NDArray[np.floating[Any]], timescale: float, groups: IntArray, times: NDArray[np.int64]
    ) -> Float64Array:
        """Return the expected values of a process at other times, shape (m,), and 0 for group -1 (unknown).

        `values` are the values at the times of the ratings. An Ornstein-Uhlenbeck process is Markov, so only
        the neighbours in time matter. Between two of them, at gaps g and h, with a = exp(-g/τ) and
        b = exp(-h/τ), its conditional mean is (a (1 - b²) d_before + b (1 - a²) d_after) / (1 - a² b²).
        """
        group = np.maximum(groups, 0)
        first, end = self.starts[group], self.starts[group + 1]
        after = self.first_after(first, end, times)
        has_before, has_after = (groups >= 0) & (after > first), (groups >= 0) & (after < end)
        before, after = np.maximum(after - 1, 0), np.minimum(after, len(self.times) - 1)
        a = np.where(has_before, np.exp(-np.abs(times - self.times[before]) / timescale), 0.0)
        b = np.where(has_after, np.exp(-np.abs(self.times[after] - times) / timescale), 0.0)
        a = np.minimum(a, 1 - 1e-9)  # avoids 0/0 at the time of a rating if b is also 1
        total = a * (1 - b**2) * values[before] + b * (1 - a**2) * values[after]
        return np.asarray(total / (1 - (a * b) ** 2))

    def first_after(
        self, first: NDArray[np.int64], end: NDArray[np.int64], times: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """Return the first position in first:end with a later time, or `end`, by bisection in all groups."""
        low, high = first, end
        while (low < high).any():
            middle = (low + high) // 2  # below `end`, unless low == high already
            later = self.times[np.minimum(middle, len(self.times) - 1)] > times
            low, high = np.where(later | (low == high), low, middle + 1), np.where(later, middle, high)
        return low


@dataclass(frozen=True, slots=True, eq=False)
class TimeVaryingBias:
    """A bias d(t) that is known at the times of the ratings and decays to zero away from them.

    Attributes
    ----------
    entity : {"user", "item", "all"}
        The kind of groups in the timeline; "all" has one group.
    timeline : Timeline
    values : array of shape (n_ratings,), in the order of the timeline
    timescale : float, in seconds
    """

    entity: str
    timeline: Timeline
    values: NDArray[np.floating[Any]]
    timescale: float

    def at(self, users: IntArray, items: IntArray, times: NDArray[np.int64]) -> Float64Array:
        """Return the expected bias of pairs of rows (-1: unknown) at these times, shape (n,)."""
        groups = {"user": users, "item": items, "all": np.zeros(len(users), np.int64)}[self.entity]
        return self.timeline.interpolated(self.values, self.timescale, groups, times)
