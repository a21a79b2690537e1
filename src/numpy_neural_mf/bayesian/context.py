"""The context of a rating: its time bin, and the item that the user rated before."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data.timestamps import TimeBins
from ..utils.arrays import Float64Array, IntArray
from .drift import Timeline

# Time bins of equal length, from the first rating to the last.
TIME_BINS = 24


def variable_names(time_bin: bool, previous_item: bool) -> tuple[str, ...]:
    """Names of the context variables, in the order in which they are stored."""
    has = {"time_bin": time_bin, "previous_item": previous_item}
    return tuple(name for name in has if has[name])


@dataclass(frozen=True, slots=True, eq=False)
class ContextVariables:
    """Categorical variables that describe the context of a rating, as functions of user and time.

    Attributes
    ----------
    names : tuple of {"time_bin", "previous_item"}
    timeline : Timeline
        The ratings of each user in the order of time.
    items : int32 array of shape (n_ratings,)
        The item of each rating, in the order of the timeline.
    n_items : int
    """

    names: tuple[str, ...]
    timeline: Timeline
    items: NDArray[np.int32]
    n_items: int

    @property
    def sizes(self) -> list[int]:
        """Number of categories of each variable; the last previous item stands for no earlier rating."""
        return [{"time_bin": TIME_BINS, "previous_item": self.n_items + 1}[name] for name in self.names]

    def categories(self, users: IntArray, times: NDArray[np.int64]) -> list[NDArray[np.int32]]:
        """The category of each variable, shape (n,), for ratings by users (-1: unknown) at these times."""
        functions = {"time_bin": self._time_bins, "previous_item": self._previous_items}
        return [functions[name](users, times).astype(np.int32) for name in self.names]

    def inserted(self, users: IntArray, n_users: int, items: IntArray, n_items: int) -> ContextVariables:
        """The variables after user u has become row users[u] of n_users, and likewise for items."""
        rated = np.asarray(items)[self.items].astype(np.int32)
        return ContextVariables(self.names, self.timeline.inserted(users, n_users), rated, n_items)

    def _time_bins(self, users: IntArray, times: NDArray[np.int64]) -> IntArray:
        return TimeBins(int(self.timeline.times.min()), int(self.timeline.times.max()), TIME_BINS).of(times)

    def _previous_items(self, users: IntArray, times: NDArray[np.int64]) -> IntArray:
        """The last item of an earlier time; ratings of the same time have no known order."""
        user = np.maximum(users, 0)
        first, end = self.timeline.starts[user], self.timeline.starts[user + 1]
        position = self.timeline.first_after(first, end, times - 1) - 1
        exists = (users >= 0) & (position >= first)
        return np.where(exists, self.items[np.where(exists, position, 0)], self.n_items)


@dataclass(frozen=True, slots=True, eq=False)
class ContextEffects:
    """The effect of the context on a rating: Σ_c (w_c + (g_u + g_i) · z_c) over the categories c.

    A context interacts with user and item as in a factorisation machine (Rendle et al., 2011, "Fast
    context-aware recommendations with factorization machines").

    Attributes
    ----------
    variables : ContextVariables
    bias : array of shape (n_categories,)
        w, the categories of one variable after those of another.
    factors : array of shape (n_categories, r)
        z.
    user : array of shape (n_users + 1, r)
        g; the last row stands for unknown users.
    item : array of shape (n_items + 1, r)
    """

    variables: ContextVariables
    bias: NDArray[np.floating[Any]]
    factors: NDArray[np.floating[Any]]
    user: NDArray[np.floating[Any]]
    item: NDArray[np.floating[Any]]

    def at(self, users: IntArray, items: IntArray, times: NDArray[np.int64]) -> Float64Array:
        """The effect for pairs of rows (-1: unknown) at these times, shape (n,)."""
        bias, factors = self._summed(self.variables.categories(users, times))
        return np.asarray(bias + np.einsum("nr,nr->n", self.user[users] + self.item[items], factors))

    def in_last_time_bin(self) -> tuple[float, Float64Array]:
        """Σ w and Σ z in the last time bin, averaged over the previous items of all ratings."""
        timeline, names = self.variables.timeline, self.variables.names
        users = np.repeat(np.arange(len(timeline.starts) - 1), np.diff(timeline.starts))
        categories = self.variables.categories(users, timeline.times)
        if "time_bin" in names:
            categories[names.index("time_bin")][:] = TIME_BINS - 1
        bias, factors = self._summed(categories)
        return float(bias.mean()), factors.mean(axis=0)

    def inserted(self, users: IntArray, n_users: int, items: IntArray, n_items: int) -> ContextEffects:
        """The effects with rows inserted, which are equal to those of the unknown: see `ContextVariables`."""
        tables, first = [], 0
        for name, size in zip(self.variables.names, self.variables.sizes, strict=True):
            table = np.column_stack([self.bias, self.factors])[first : first + size]
            tables.append(with_rows_inserted(table, items, n_items) if name == "previous_item" else table)
            first += size
        bias, factors = np.split(np.concatenate(tables), [1], axis=1)
        user = with_rows_inserted(self.user, users, n_users)
        item = with_rows_inserted(self.item, items, n_items)
        variables = self.variables.inserted(users, n_users, items, n_items)
        return ContextEffects(variables, bias[:, 0], factors, user, item)

    def _summed(self, categories: list[NDArray[np.int32]]) -> tuple[Float64Array, Float64Array]:
        """Σ w, shape (n,), and Σ z, shape (n, r), over the variables."""
        n = len(categories[0])
        first, bias, factors = 0, np.zeros(n), np.zeros((n, self.factors.shape[1]))
        for category, size in zip(categories, self.variables.sizes, strict=True):
            bias += self.bias[first + category]
            factors += self.factors[first + category]
            first += size
        return bias, factors


def with_rows_inserted(table: NDArray[Any], rows: IntArray, n: int) -> NDArray[Any]:
    """A table of n + 1 rows in which row k is row rows[k]; the other rows are copies of the last one."""
    wider = np.repeat(table[-1:], n + 1, axis=0)
    wider[rows] = table[:-1]
    return wider
