"""The context of a rating: its time bin and the item that the user rated before."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data.timestamps import TimeBins
from ..mf.drift import Timeline
from ..mf.previous_item import previous_items
from ..utils.arrays import Float64Array, IntArray

# Time bins of equal length, from the first rating to the last.
TIME_BINS = 24


def variable_names(time_bin: bool, previous_item: bool) -> tuple[str, ...]:
    """Return the names of the context variables, in the order in which they are stored."""
    return ("time_bin",) * time_bin + ("previous_item",) * previous_item


@dataclass(frozen=True, slots=True, eq=False)
class ContextVariables:
    """Categorical variables that describe the context of a rating, as functions of user and time.

    Attributes
    ----------
    names : tuple of {"time_bin", "previous_item"}
    timeline : Timeline
        Each user's ratings in time order.
    items : int32 array of shape (n_ratings,), in the order of the timeline
    n_items : int
    """

    names: tuple[str, ...]
    timeline: Timeline
    items: NDArray[np.int32]
    n_items: int

    @property
    def sizes(self) -> list[int]:
        """Number of categories of each variable; the last previous item means no earlier rating."""
        return [{"time_bin": TIME_BINS, "previous_item": self.n_items + 1}[name] for name in self.names]

    def categories(self, users: IntArray, times: NDArray[np.int64]) -> list[NDArray[np.int32]]:
        """Return each variable's category, shape (n,), for ratings by users (-1: unknown) at these times."""
        bins = TimeBins(int(self.timeline.times.min()), int(self.timeline.times.max()), TIME_BINS)
        functions = {
            "time_bin": lambda: bins.of(times),
            "previous_item": lambda: previous_items(self.timeline, self.items, self.n_items, users, times),
        }
        return [functions[name]() for name in self.names]


@dataclass(frozen=True, slots=True, eq=False)
class ContextEffects:
    """The effect of the context on a rating: Σ_c (w_c + (g_u + g_i) · z_c) over the categories c.

    See Rendle et al., 2011, "Fast context-aware recommendations with factorization machines".

    Attributes
    ----------
    variables : ContextVariables
    bias, factors : arrays of shape (n_categories,), (n_categories, r)
        w and z; the categories of all variables are concatenated.
    user, item : arrays of shape (n_users + 1, r), (n_items + 1, r)
        g; the last row stands for the unknown.
    """

    variables: ContextVariables
    bias: NDArray[np.floating[Any]]
    factors: NDArray[np.floating[Any]]
    user: NDArray[np.floating[Any]]
    item: NDArray[np.floating[Any]]

    def at(self, users: IntArray, items: IntArray, times: NDArray[np.int64]) -> Float64Array:
        """Return the effect for pairs of rows (-1: unknown) at these times, shape (n,)."""
        bias, factors = self._summed(self.variables.categories(users, times))
        return np.asarray(bias + np.einsum("nr,nr->n", self.user[users] + self.item[items], factors))

    def in_last_time_bin(self) -> tuple[float, Float64Array]:
        """Return Σ w and Σ z in the last time bin, averaged over the previous items of all ratings."""
        timeline, names = self.variables.timeline, self.variables.names
        users = np.repeat(np.arange(len(timeline.starts) - 1), np.diff(timeline.starts))
        categories = self.variables.categories(users, timeline.times)
        if "time_bin" in names:
            categories[names.index("time_bin")][:] = TIME_BINS - 1
        bias, factors = self._summed(categories)
        return float(bias.mean()), factors.mean(axis=0)

    def inserted(self, users: IntArray, n_users: int, items: IntArray, n_items: int) -> ContextEffects:
        """Return them with user u moved to row users[u] of n_users, items likewise; others are unknown."""
        old = self.variables
        *of_time, of_items = np.split(np.column_stack([self.bias, self.factors]), np.cumsum(old.sizes)[:-1])
        if "previous_item" in old.names:  # the last variable
            of_items = with_rows_inserted(of_items, items, n_items)
        bias, factors = np.split(np.concatenate([*of_time, of_items]), [1], axis=1)
        rated = np.asarray(items)[old.items].astype(np.int32)
        variables = ContextVariables(old.names, old.timeline.inserted(users, n_users), rated, n_items)
        user = with_rows_inserted(self.user, users, n_users)
        return ContextEffects(
            variables, bias[:, 0], factors, user, with_rows_inserted(self.item, items, n_items)
        )

    def _summed(self, categories: list[NDArray[np.int32]]) -> tuple[Float64Array, Float64Array]:
        """Return Σ w, shape (n,), and Σ z, shape (n, r), over the variables."""
        first = np.cumsum([0, *self.variables.sizes[:-1]])
        rows = [start + category for start, category in zip(first, categories, strict=True)]
        tables = self.bias.astype(np.float64), self.factors.astype(np.float64)
        bias, factors = (np.asarray(sum(table[of] for of in rows)) for table in tables)
        return bias, factors


def with_rows_inserted(table: NDArray[Any], rows: IntArray, n: int) -> NDArray[Any]:
    """Return a table of n + 1 rows with old row k at rows[k]; other rows are copies of the last one."""
    wider = np.repeat(table[-1:], n + 1, axis=0)
    wider[rows] = table[:-1]
    return wider
