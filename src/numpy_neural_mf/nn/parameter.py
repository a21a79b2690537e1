"""Parameters: the arrays that a layer learns, each with a gradient of the whole array or of some rows."""

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from ..utils import arrays

Array = arrays.FloatArray
IntArray = arrays.IntArray


def as_float(x: ArrayLike) -> Array:
    """Return x itself if it is a float array, otherwise x in float64, because integers wrap and truncate."""
    x = np.asarray(x)
    return x if x.dtype.kind == "f" else x.astype(np.float64)


def zeros_aligned(shape: tuple[int, ...], dtype: DTypeLike) -> Array:
    """Return zeros aligned to a cache line, so that a row of 16 float32 lies in one line, not in two."""
    dtype = np.dtype(dtype)
    size = math.prod(shape) * dtype.itemsize
    memory = np.zeros(size + 64, np.uint8)
    first = -memory.ctypes.data % 64
    return memory[first : first + size].view(dtype).reshape(shape)


class GroupedIds:
    """Integer row ids of a batch, shape (n,), which may repeat, and sums over equal ids.

    The ids are sorted once, at the first sum, so prediction does not sort.
    """

    def __init__(self, ids: IntArray) -> None:
        ids = np.asarray(ids)
        if ids.dtype.kind not in "iu" or ids.ndim != 1:
            raise TypeError(f"ids must be integers of shape (n,), not {ids.dtype} of shape {ids.shape}")
        self.ids = ids

    @cached_property
    def bounds(self) -> tuple[int, int]:
        """The lowest and the highest id; (0, -1) without ids."""
        return (int(self.ids.min()), int(self.ids.max())) if len(self.ids) else (0, -1)

    @cached_property
    def _order(self) -> IntArray:
        # NumPy sorts 16-bit keys by radix, several times faster than wider ones.
        narrow = self.bounds[0] >= 0 and self.bounds[1] < 2**16
        return np.argsort(self.ids.astype(np.uint16) if narrow else self.ids, kind="stable")

    @cached_property
    def _starts(self) -> IntArray:
        ids = self.ids[self._order]
        first = np.ones(len(ids), bool)
        np.not_equal(ids[1:], ids[:-1], out=first[1:])
        return np.flatnonzero(first)

    @cached_property
    def rows(self) -> IntArray:
        """The distinct ids, ascending, shape (m,)."""
        return self.ids[self._order[self._starts]]

    @cached_property
    def counts(self) -> IntArray:
        """Number of ids equal to each of `rows`, shape (m,)."""
        return np.diff(self._starts, append=len(self.ids))

    @cached_property
    def positions(self) -> IntArray:
        """Position of each id in `rows`, shape (n,)."""
        positions = np.empty(len(self.ids), np.intp)
        positions[self._order] = np.repeat(np.arange(len(self._starts)), self.counts)
        return positions

    def sum(self, values: Array) -> Array:
        """Sum the rows of `values`, shape (n, d), by id; return shape (m, d), in the order of `rows`."""
        if len(values) != len(self.ids):
            raise ValueError(f"expected {len(self.ids)} rows, one for each id, found {len(values)}")
        if self._one_hot is None:
            return np.add.reduceat(values.take(self._order, axis=0), self._starts, axis=0)
        return np.asarray(self._one_hot @ values)

    @cached_property
    def _one_hot(self) -> Any:
        """One-hot vectors of the ids as columns, sparse, shape (m, n); None without ids, or without SciPy."""
        n = len(self.ids)
        try:
            from scipy.sparse import csr_array
        except ModuleNotFoundError:
            return None  # sums then take several times as long
        if not n:
            return None
        ends = np.append(self._starts, n).astype(np.int32)
        return csr_array((np.ones(n, np.float32), self._order.astype(np.int32), ends), (len(self._starts), n))


def put_rows(table: Array, rows: IntArray, values: Array) -> None:
    """Set table[rows] = values, shapes (n, d), (m,) and (m, d); copying rows as bytes is twice as fast."""
    if table.flags.c_contiguous and values.flags.c_contiguous:
        row = np.dtype((np.void, table.itemsize * table.shape[1]))
        table.view(row).put(rows, values.view(row))
    else:
        table[rows] = values


@dataclass(eq=False)
class RowGradient:
    """Gradient of a table when a batch uses only some rows; it is zero in all other rows."""

    rows: IntArray  # distinct and ascending, shape (m,)
    values: Array  # shape (m, d)

    def __add__(self, other: "RowGradient") -> "RowGradient":
        if np.array_equal(self.rows, other.rows):
            return RowGradient(self.rows, self.values + other.values)
        both = GroupedIds(np.concatenate([self.rows, other.rows]))
        return RowGradient(both.rows, both.sum(np.concatenate([self.values, other.values])))

    def to_dense(self, shape: tuple[int, ...]) -> Array:
        """Return the same gradient as an array with the shape of the table."""
        dense = np.zeros(shape, self.values.dtype)
        dense[self.rows] = self.values
        return dense


Gradient = Array | RowGradient


@dataclass(eq=False)
class Parameter:
    """An array that a layer learns, and the sum of the gradients since the last optimisation step."""

    value: Array  # the optimiser changes it in place, so every layer that shares it is updated
    grad: Gradient | None = field(default=None, init=False)

    def accumulate(self, gradient: Gradient) -> None:
        """Add a gradient to the sum: a layer may be used more than once in a step."""
        self.grad = gradient if self.grad is None else self.grad + gradient  # type: ignore[operator]

    def pop_grad(self) -> Gradient:
        """Return the gradient and clear it; raise RuntimeError if no backward pass has added one since."""
        if self.grad is None:
            raise RuntimeError("the parameter has no gradient: call backward first")
        gradient, self.grad = self.grad, None
        return gradient
