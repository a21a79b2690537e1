"""Work on columns of millions of rows, block by block, so that no other array as long is made."""

import tempfile
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .ids import index_of

# Rows worked on at a time where another array as long as the columns would be made.
BLOCK = 2**20


def coded_integers(numbers: NDArray[np.integer[Any]]) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Sorted unique ids, and for each number its index among them: in its place, if the numbers are int32."""
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
        # No number is out of range: "clip" leaves out the check for it.
        code.take(numbers[block] - lowest, out=codes[block], mode="clip")
    return (np.flatnonzero(occurs) + lowest).astype(np.int64), codes


def blocks(n: int, size: int | None = None) -> Iterator[slice]:
    """Slices of `size` of n rows, in order; by default of `BLOCK`."""
    size = BLOCK if size is None else size
    return (slice(first, min(first + size, n)) for first in range(0, n, size))


def room_like(column: NDArray[Any], n: int, dtype: type) -> NDArray[Any]:
    """Room for n values where a column is: in memory or, if it is mapped, in a nameless file in `TMPDIR`."""
    if not n or not is_mapped(column):
        return np.empty(n, dtype)
    with tempfile.TemporaryFile() as file:  # its space is free again when the array is
        return np.asarray(np.memmap(file, dtype, "w+", shape=n))


def is_mapped(column: Any) -> bool:
    """Whether an array lies in a file."""
    return isinstance(column, np.memmap) or (isinstance(column, np.ndarray) and is_mapped(column.base))


def taken(column: NDArray[Any], rows: NDArray[Any]) -> NDArray[Any]:
    """``column[rows]``, of indices or a mask; where a column is mapped, block by block."""
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
    """``new[indices]``: the same array where nothing changes, otherwise without another one as long."""
    if np.array_equal(new, np.arange(len(new))):
        return indices
    numbers = room_like(indices, len(indices), np.int32)
    for block in blocks(len(indices)):
        numbers[block] = new[indices[block]]
    return numbers


def occurring(
    indices: NDArray[np.int32], ids: NDArray[Any], anywhere: Callable[[NDArray[np.bool_]], NDArray[np.bool_]]
) -> tuple[NDArray[np.int32], NDArray[Any]]:
    """Indices among only those ids that occur, and these ids; without a sort, for there may be millions."""
    occurs = anywhere(count(indices, len(ids)) > 0)
    return renumbered(indices, np.cumsum(occurs, dtype=np.int32) - np.int32(1)), ids[occurs]


def among(
    indices: NDArray[np.int32], ids: NDArray[Any], others: NDArray[Any]
) -> tuple[NDArray[np.int32], NDArray[Any]]:
    """Indices among these ids and others, and all of them."""
    together = np.union1d(ids, others)
    return renumbered(indices, index_of(together, ids)), together


def count(indices: NDArray[np.int32], n: int) -> NDArray[np.int64]:
    """``numpy.bincount``, which would make an int64 copy of all the indices."""
    counts = np.zeros(n, np.int64)
    for block in blocks(len(indices)):
        counts += np.bincount(indices[block], minlength=n)
    return counts


def rows_by_code(
    codes: NDArray[np.int32], counts: NDArray[np.int64], at_once: int
) -> Iterator[tuple[int, int, NDArray[np.int64]]]:
    """All rows, ascending, of codes from `first` up to `end`: (first, end, rows), for all codes in turn."""
    # Code c >= 0 has counts[c] rows. At most `at_once` are yielded together, unless one code has more.
    ends = np.append(0, np.cumsum(counts))
    # Where the rows are in order of codes, most blocks have none of those asked for.
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
