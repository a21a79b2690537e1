"""Operations on columns of millions of rows, block by block, without another array of that length."""

import tempfile
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .ids import index_of

# Number of rows processed at a time where an operation would otherwise make another array of full length.
BLOCK = 2**20


def coded_integers(numbers: NDArray[np.integer[Any]]) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Return sorted unique ids, and the index of each number among them; int32 numbers are overwritten."""
    codes: NDArray[Any] = numbers if numbers.dtype == np.int32 else np.empty(len(numbers), np.int32)
    lowest, highest = int(numbers.min()), int(numbers.max())
    if highest - lowest >= max(len(numbers), BLOCK):
        ids = np.unique(numbers).astype(np.int64)
        for block in blocks(len(numbers)):
            codes[block] = np.searchsorted(ids, numbers[block])
        return ids, codes
    occurs = np.zeros(highest - lowest + 1, bool)
    for block in blocks(len(numbers)):
        occurs[numbers[block] - lowest] = True
    code = np.cumsum(occurs, dtype=np.int32) - np.int32(1)
    for block in blocks(len(numbers)):
        # No number is out of range: mode="clip" skips the range check.
        code.take(numbers[block] - lowest, out=codes[block], mode="clip")
    return (np.flatnonzero(occurs) + lowest).astype(np.int64), codes


def blocks(n: int, size: int | None = None) -> Iterator[slice]:
    """Return slices of `size` rows, by default `BLOCK`, that cover n rows in order."""
    size = BLOCK if size is None else size
    return (slice(first, min(first + size, n)) for first in range(0, n, size))


def room_like(column: NDArray[Any], n: int, dtype: type) -> NDArray[Any]:
    """Return an empty array of n values: in memory or, for a mapped column, in an unnamed temporary file."""
    if not n or not is_mapped(column):
        return np.empty(n, dtype)
    with tempfile.TemporaryFile() as file:  # its space is released with the array
        return np.asarray(np.memmap(file, dtype, "w+", shape=n))


def is_mapped(column: Any) -> bool:
    """Return whether an array is mapped from a file."""
    return isinstance(column, np.memmap) or (isinstance(column, np.ndarray) and is_mapped(column.base))


def taken(column: NDArray[Any], rows: NDArray[Any]) -> NDArray[Any]:
    """Return ``column[rows]`` for indices or a mask; a mapped column is read block by block."""
    if not is_mapped(column):
        return np.asarray(column[rows])
    of_mask = rows.dtype == bool
    found = room_like(column, int(np.count_nonzero(rows)) if of_mask else len(rows), column.dtype.type)
    n = 0
    for block in blocks(len(rows)):
        part = column[block][rows[block]] if of_mask else column[rows[block]]
        found[n : n + len(part)] = part
        n += len(part)
    return found


def renumbered(indices: NDArray[np.int32], new: NDArray[np.int32]) -> NDArray[np.int32]:
    """Return ``new[indices]``, block by block; the same array if nothing changes."""
    if np.array_equal(new, np.arange(len(new))):
        return indices
    numbers = room_like(indices, len(indices), np.int32)
    for block in blocks(len(indices)):
        numbers[block] = new[indices[block]]
    return numbers


def occurring(
    indices: NDArray[np.int32], ids: NDArray[Any], anywhere: Callable[[NDArray[np.bool_]], NDArray[np.bool_]]
) -> tuple[NDArray[np.int32], NDArray[Any]]:
    """Return the ids that occur, and the indices among these; without sorting, as there may be millions."""
    occurs = anywhere(count(indices, len(ids)) > 0)
    return renumbered(indices, np.cumsum(occurs, dtype=np.int32) - np.int32(1)), ids[occurs]


def among(
    indices: NDArray[np.int32], ids: NDArray[Any], others: NDArray[Any]
) -> tuple[NDArray[np.int32], NDArray[Any]]:
    """Return the indices among the union of these ids and others, and the union."""
    together = np.union1d(ids, others)
    return renumbered(indices, index_of(together, ids)), together


def count(indices: NDArray[np.int32], n: int) -> NDArray[np.int64]:
    """Return ``numpy.bincount(indices)`` by blocks, as NumPy would make an int64 copy of all indices."""
    counts = np.zeros(n, np.int64)
    for block in blocks(len(indices)):
        counts += np.bincount(indices[block], minlength=n)
    return counts


def rows_by_code(
    codes: NDArray[np.int32], counts: NDArray[np.int64], at_once: int
) -> Iterator[tuple[int, int, NDArray[np.int64]]]:
    """Yield (first, end, rows): the ascending rows whose code is in first..end - 1, until all are covered."""
    # Code c >= 0 has counts[c] rows. At most `at_once` rows are yielded together, unless one code has more.
    ends = np.append(0, np.cumsum(counts))
    # If the rows are in the order of their codes, most blocks have none of the codes of a step.
    ranges = [(block, codes[block].min(), codes[block].max()) for block in blocks(len(codes))]
    first = 0
    while ends[first] < ends[-1]:
        end = max(int(np.searchsorted(ends, ends[first] + at_once, side="right")) - 1, first + 1)
        found = [
            block.start + np.flatnonzero((codes[block] >= first) & (codes[block] < end))
            for block, lowest, highest in ranges
            if lowest < end and highest >= first
        ]
        yield first, end, np.concatenate([np.empty(0, np.int64), *found])
        first = end
