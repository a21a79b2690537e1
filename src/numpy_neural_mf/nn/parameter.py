"""What a layer learns: an array, the gradient of the loss with respect to it, and gradients of a few rows."""

from __future__ import annotations

import math
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

Array = NDArray[np.floating[Any]]
IntArray = NDArray[np.integer[Any]]


def zeros_aligned(shape: tuple[int, ...], dtype: DTypeLike) -> Array:
    """Zeros that begin where a cache line does: a row of 16 float32 is then one line, never two."""
    dtype = np.dtype(dtype)
    size = math.prod(shape) * dtype.itemsize
    memory = np.zeros(size + 64, np.uint8)
    first = -memory.ctypes.data % 64
    return memory[first : first + size].view(dtype).reshape(shape)


class GroupedIds:
    """Row ids of a batch, and the sums over equal ids: sort once, reduce as often as needed.

    Nothing is sorted before the first sum, so prediction pays nothing.

    Parameters
    ----------
    ids : integer array of shape (n,)
        Row numbers, repeated at will.
    """

    def __init__(self, ids: IntArray) -> None:
        self.ids = ids

    @cached_property
    def _order(self) -> IntArray:
        # NumPy sorts 16-bit keys by radix, several times faster than wider ones.
        narrow = len(self.ids) > 0 and self.ids.min() >= 0 and self.ids.max() < 2**16
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
        """How often each of `rows` is among the ids, shape (m,)."""
        return np.diff(self._starts, append=len(self.ids))

    @cached_property
    def positions(self) -> IntArray:
        """Where each id is among `rows`, shape (n,)."""
        positions = np.empty(len(self.ids), np.intp)
        positions[self._order] = np.repeat(np.arange(len(self._starts)), self.counts)
        return positions

    def sum(self, values: Array) -> Array:
        """Sum the rows of `values`, shape (n, d), that share an id: shape (m, d), in the order of `rows`."""
        values = values.take(self._order, axis=0)
        if values.dtype == np.float32 and values.shape[1] % 2 == 0:
            # Addition of complex numbers is addition of pairs of floats, and halves reduceat's overhead.
            return np.add.reduceat(values.view(np.complex64), self._starts, axis=0).view(np.float32)
        return np.add.reduceat(values, self._starts, axis=0)


def put_rows(table: Array, rows: IntArray, values: Array) -> None:
    """table[rows] = values, of shapes (n, d), (m,) and (m, d): twice as fast, by rows as blocks of bytes."""
    if table.flags.c_contiguous and values.flags.c_contiguous:
        row = np.dtype((np.void, table.itemsize * table.shape[1]))
        table.view(row).put(rows, values.view(row))
    else:
        table[rows] = values


class RowGradient:
    """Gradient of a table of which a batch touched only some rows; zero everywhere else.

    Parameters
    ----------
    rows : integer array of shape (m,)
        Distinct row numbers, ascending.
    values : array of shape (m, d)
        The gradient of each of those rows.
    """

    def __init__(self, rows: IntArray, values: Array) -> None:
        self.rows = rows
        self.values = values

    def __add__(self, other: RowGradient) -> RowGradient:
        if np.array_equal(self.rows, other.rows):
            return RowGradient(self.rows, self.values + other.values)
        both = GroupedIds(np.concatenate([self.rows, other.rows]))
        return RowGradient(both.rows, both.sum(np.concatenate([self.values, other.values])))

    def to_dense(self, shape: tuple[int, ...]) -> Array:
        """The same gradient as an array of the table's shape."""
        dense = np.zeros(shape, self.values.dtype)
        dense[self.rows] = self.values
        return dense


Gradient = Array | RowGradient


class Parameter:
    """An array that a layer learns, and the gradient that backward passes have added up since it was cleared.

    Parameters
    ----------
    value : array
        Changed in place by the optimiser, so that whoever holds it sees it learn.
    """

    def __init__(self, value: Array) -> None:
        self.value = value
        self.grad: Gradient | None = None

    def accumulate(self, gradient: Gradient) -> None:
        """Add a gradient: a layer may be used more than once in a step."""
        self.grad = gradient if self.grad is None else self.grad + gradient  # type: ignore[operator]

    def pop_grad(self) -> Gradient:
        """Hand the gradient over and clear it.

        Raises
        ------
        RuntimeError
            No backward pass has reached the parameter since it was last cleared.
        """
        if self.grad is None:
            raise RuntimeError("the parameter has no gradient: call backward first")
        gradient, self.grad = self.grad, None
        return gradient
