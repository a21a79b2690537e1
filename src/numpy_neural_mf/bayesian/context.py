"""On which occasion a rating is given: in which period, and after which item its user has rated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data.time_bins import Periods
from .drift import Timeline

Float64Array = NDArray[np.float64]
IntArray = NDArray[np.integer[Any]]

# Of a timeline.
PERIODS = 24


def sizes_of(kinds: tuple[str, ...], n_items: int) -> list[int]:
    """Occasions of each kind. The last one of "previous" is to have rated nothing before."""
    return [{"period": PERIODS, "previous": n_items + 1}[kind] for kind in kinds]


@dataclass(frozen=True, slots=True, eq=False)
class Occasions:
    """What was rated when, and what that tells of a rating at any time.

    Attributes
    ----------
    kinds : tuple of {"period", "previous"}
        What is told apart: the period of the time, the item that the user rated before.
    timeline : Timeline
        Of the users.
    items : int32 array of shape (n,)
        What was rated, in the order of the timeline.
    n_items : int
    """

    kinds: tuple[str, ...]
    timeline: Timeline
    items: NDArray[np.int32]
    n_items: int

    @property
    def sizes(self) -> list[int]:
        """See `sizes_of`."""
        return sizes_of(self.kinds, self.n_items)

    def rows(self, users: IntArray, times: NDArray[np.int64]) -> list[NDArray[np.int32]]:
        """Of each kind, the occasion of a rating by these users, -1 for the unknown, at these times."""
        found = {"period": self._period, "previous": self._previous}
        return [found[kind](users, times).astype(np.int32) for kind in self.kinds]

    def _period(self, users: IntArray, times: NDArray[np.int64]) -> IntArray:
        return Periods(int(self.timeline.times.min()), int(self.timeline.times.max()), PERIODS).of(times)

    def _previous(self, users: IntArray, times: NDArray[np.int64]) -> IntArray:
        """Of an earlier time: of the same time nobody knows which was first."""
        user = np.maximum(users, 0)
        first, end = self.timeline.starts[user], self.timeline.starts[user + 1]
        place = self.timeline.first_after(first, end, times - 1) - 1
        has_any = (users >= 0) & (place >= first)
        return np.where(has_any, self.items[np.where(has_any, place, 0)], self.n_items)


@dataclass(frozen=True, slots=True, eq=False)
class Context:
    """What occasions tell of ratings: w_c + (g_u + g_i) · z_c, for each occasion c of a rating.

    Attributes
    ----------
    occasions : Occasions
    bias : array of shape (n_occasions,)
        w, of the kinds one after another.
    factors : array of shape (n_occasions, r)
        z.
    user : array of shape (n_users + 1, r)
        g, the last row that of the unknown.
    item : array of shape (n_items + 1, r)
    """

    occasions: Occasions
    bias: NDArray[np.floating[Any]]
    factors: NDArray[np.floating[Any]]
    user: NDArray[np.floating[Any]]
    item: NDArray[np.floating[Any]]

    def at(self, users: IntArray, items: IntArray, times: NDArray[np.int64]) -> Float64Array:
        """What the occasions of pairs of rows, -1 for the unknown, at these times add: shape (m,)."""
        bias, factors = self._of(self.occasions.rows(users, times))
        return np.asarray(bias + np.einsum("mr,mr->m", self.user[users] + self.item[items], factors))

    def usual(self) -> tuple[float, Float64Array]:
        """w and z of the last period, after whatever item: those of the mean of all ratings."""
        timeline, kinds = self.occasions.timeline, self.occasions.kinds
        users = np.repeat(np.arange(len(timeline.starts) - 1), np.diff(timeline.starts))
        rows = self.occasions.rows(users, timeline.times)
        if "period" in kinds:
            rows[kinds.index("period")][:] = PERIODS - 1
        bias, factors = self._of(rows)
        return float(bias.mean()), factors.mean(axis=0)

    def among(self, users: IntArray, n_users: int, items: IntArray, n_items: int) -> Context:
        """The same with more users and items, who are as the unknown: user u becomes users[u], items too."""
        known = self.occasions
        of_kinds, first = [], 0
        for kind, size in zip(known.kinds, known.sizes, strict=True):
            rows = np.column_stack([self.bias, self.factors])[first : first + size]
            of_kinds.append(spread(rows, items, n_items) if kind == "previous" else rows)
            first += size
        bias, factors = np.split(np.concatenate(of_kinds), [1], axis=1)
        rated = np.asarray(items)[known.items].astype(np.int32)
        occasions = Occasions(known.kinds, known.timeline.among(users, n_users), rated, n_items)
        tables = spread(self.user, users, n_users), spread(self.item, items, n_items)
        return Context(occasions, bias[:, 0], factors, *tables)

    def _of(self, rows: list[NDArray[np.int32]]) -> tuple[Float64Array, Float64Array]:
        """w and z of ratings, those of all kinds added up."""
        first, bias, factors = 0, np.zeros(len(rows[0])), np.zeros((len(rows[0]), self.factors.shape[1]))
        for of_kind, size in zip(rows, self.occasions.sizes, strict=True):
            bias += self.bias[first + of_kind]
            factors += self.factors[first + of_kind]
            first += size
        return bias, factors


def spread(table: NDArray[Any], rows: IntArray, n: int) -> NDArray[Any]:
    """`table` with its rows among n: the others are as its last one, that of the unknown."""
    wider = np.repeat(table[-1:], n + 1, axis=0)
    wider[rows] = table[:-1]
    return wider
