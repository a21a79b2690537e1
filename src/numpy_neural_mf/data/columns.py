"""Raw columns become ids, ratings and seconds; here alone it is decided what is wrong with a value."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

# Lowest, highest and step of the scales in common use; the first that holds every rating is taken.
KNOWN_SCALES = (
    (1.0, 5.0, 1.0),
    (0.5, 5.0, 0.5),
    (0.0, 1.0, 1.0),
    (0.0, 5.0, 0.5),
    (1.0, 10.0, 0.5),
    (0.0, 10.0, 0.5),
    (1.0, 100.0, 1.0),
    (0.0, 100.0, 1.0),
)

# Rows worked on at a time where another array as long as the columns would be made.
BLOCK = 2**20


class RatingsError(ValueError):
    """Ratings that cannot be used; the message says where, what was expected and what was found."""


@dataclass
class Faults:
    """The faults of several columns; the first by row is the one to report."""

    found: list[tuple[int, str]] = field(default_factory=list)

    def add(self, bad: pl.Series, series: pl.Series, expected: str) -> bool:
        """Note the first row where `bad` is true, if there is one, with the value that `series` has there."""
        row = bad.fill_null(False).arg_max()
        if row is None or not bad[row]:
            return False
        self.found.append((row, f"expected {expected}, found {_words(series[row])}"))
        return True

    def first(self) -> tuple[int, str]:
        return min(self.found, key=lambda fault: fault[0])


def as_series(raw: Any) -> pl.Series:
    """Raw values as a polars Series; None, NaN among objects, and pandas' NA are null."""
    if isinstance(raw, pl.Series):
        return raw
    array = raw if isinstance(raw, list | tuple) else np.asarray(raw)
    if isinstance(array, np.ndarray) and array.dtype != object:
        return pl.Series(array)
    return pl.Series([None if _is_missing(value) else value for value in array], strict=False)


def coded_ids(raw: pl.Series, expected: str, faults: Faults) -> tuple[NDArray[Any], NDArray[np.int32]]:
    """Sorted unique ids, int64 or strings, and for each row the index of its id among them."""
    ids = _integers(raw) if raw.dtype.is_numeric() else raw
    if isinstance(raw.dtype, pl.Categorical | pl.Enum):
        ids = raw.cast(pl.String)
    if ids.dtype not in (pl.Int64, pl.String, pl.Null):
        is_wrong = raw % 1 != 0 if raw.dtype.is_float() else raw.is_not_null()
        faults.add(is_wrong, raw, f"{expected}, an integer or a string")
        return np.empty(0, np.int64), np.empty(0, np.int32)
    missing = ids.is_null() if ids.dtype != pl.String else ids.is_null() | (ids == "")
    if faults.add(missing, raw, expected):
        return np.empty(0, np.int64), np.empty(0, np.int32)
    if ids.dtype == pl.Int64:
        return coded_integers(ids.to_numpy())
    vocabulary = ids.unique().sort()
    codes = ids.replace_strict(vocabulary, pl.int_range(len(vocabulary), dtype=pl.Int32, eager=True))
    # Not StringDType: its searchsorted fails on strings of another array (NumPy 2.4).
    faults.add(ids.str.ends_with("\0"), raw, f"{expected} that does not end in NUL")
    return np.array(vocabulary.to_list(), dtype=str), codes.to_numpy(writable=True)


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


def rating_values(raw: pl.Series, scale: tuple[float, float] | None, faults: Faults) -> NDArray[np.float32]:
    """Ratings as float32: finite numbers, within `scale` if one is given."""
    numbers = raw.str.strip_chars() if raw.dtype == pl.String else raw
    if not (numbers.dtype.is_numeric() or numbers.dtype in (pl.String, pl.Boolean, pl.Null)):
        faults.add(raw.is_not_null(), raw, "a number as rating")
        return np.empty(0, np.float32)
    if numbers.dtype != pl.Float32:
        numbers = numbers.cast(pl.Float64, strict=False).cast(pl.Float32)
    values = numbers
    if faults.add(values.is_null() | ~values.is_finite(), raw, "a finite number as rating"):
        return np.empty(0, np.float32)
    if scale is not None:
        lowest, highest = np.float32(scale[0]), np.float32(scale[1])
        outside = (values < lowest) | (values > highest)
        faults.add(outside, raw, f"a rating from {scale[0]:g} to {scale[1]:g}")
    return values.to_numpy(writable=True)


def timestamp_seconds(raw: pl.Series, faults: Faults) -> NDArray[np.int64]:
    """Timestamps as int64: numbers are truncated and keep their unit, dates become seconds since 1970."""
    if raw.dtype == pl.String:
        text = raw.str.strip_chars()
        dates = text.str.to_datetime("%Y-%m-%d %H:%M:%S", strict=False).dt.epoch("s")
        # Straight to integers first: a float would round nanoseconds since 1970.
        seconds = text.cast(pl.Int64, strict=False).fill_null(_truncated(text)).fill_null(dates)
    elif isinstance(raw.dtype, pl.Datetime | pl.Date):
        seconds = raw.cast(pl.Datetime("us")).dt.epoch("s")
    elif raw.dtype.is_numeric() or raw.dtype == pl.Null:
        seconds = _truncated(raw) if raw.dtype.is_float() else raw.cast(pl.Int64, strict=False)
    else:
        seconds = pl.repeat(None, len(raw), dtype=pl.Int64, eager=True)
    if faults.add(seconds.is_null(), raw, "a timestamp, a number or YYYY-MM-DD HH:MM:SS"):
        return np.empty(0, np.int64)
    return seconds.to_numpy(writable=True)


def scale_of(values: NDArray[np.float32]) -> tuple[float, float]:
    """The first of `KNOWN_SCALES` that holds every value, otherwise the lowest and the highest value.

    A single value that fits no known scale makes a scale from it to 0.
    """
    distinct = np.unique(np.concatenate([np.unique(values[block]) for block in blocks(len(values))]))
    for lowest, highest, step in KNOWN_SCALES:
        on_grid = bool(np.all(distinct % step == 0))
        if on_grid and lowest <= distinct[0] and distinct[-1] <= highest:
            return lowest, highest
    lowest, highest = float(distinct[0]), float(distinct[-1])
    return (lowest, highest) if lowest < highest else (min(lowest, 0.0), max(highest, 0.0))


def blocks(n: int) -> Iterator[slice]:
    """Slices of `BLOCK` rows, in order."""
    return (slice(first, min(first + BLOCK, n)) for first in range(0, n, BLOCK))


def room_like(column: NDArray[Any], n: int, dtype: type) -> NDArray[Any]:
    """Room for n values where a column is: in memory or, if it is mapped, in a temporary file without a name.

    So what is made of mapped ratings is mapped, too, and memory does not grow with them. `TMPDIR` says where
    such files are.
    """
    if not n or not is_mapped(column):
        return np.empty(n, dtype)
    with tempfile.TemporaryFile() as file:  # its space is free again when the array is
        return np.asarray(np.memmap(file, dtype, "w+", shape=n))


def is_mapped(column: Any) -> bool:
    """Whether an array lies in a file."""
    return isinstance(column, np.memmap) or (
        isinstance(column, np.ndarray) and column.base is not None and is_mapped(column.base)
    )


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


def count(indices: NDArray[np.int32], n: int) -> NDArray[np.int64]:
    """``numpy.bincount``, which would make an int64 copy of all the indices."""
    counts = np.zeros(n, np.int64)
    for block in blocks(len(indices)):
        counts += np.bincount(indices[block], minlength=n)
    return counts


def rows_by_code(
    codes: NDArray[np.int32], counts: NDArray[np.int64], at_once: int
) -> Iterator[tuple[int, int, NDArray[np.int64]]]:
    """All rows of some codes at a time, so that what is done by code needs no order of all rows.

    Parameters
    ----------
    codes : int32 array of shape (n,)
        Rows with a negative code are left out.
    counts : int64 array
        How many rows each code has.
    at_once : int
        Rows at a time, unless one code has more.

    Yields
    ------
    first, end, rows
        All rows of the codes from `first` up to `end`, ascending.
    """
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


def _is_missing(value: Any) -> bool:
    return (
        value is None
        or (isinstance(value, float) and math.isnan(value))
        or type(value).__name__ in ("NAType", "NaTType")
    )


def _integers(raw: pl.Series) -> pl.Series:
    """Numeric ids as Int64, as strings if one is beyond 64 bits, unchanged if one is not whole."""
    if raw.dtype.is_float():
        raw = raw.fill_nan(None)
        if not (raw.drop_nulls() % 1 == 0).all():
            return raw
    narrow = raw.cast(pl.Int64, strict=False)
    if narrow.null_count() == raw.null_count():
        return narrow
    # Python's own: early polars 1 cannot write 128-bit integers as text.
    return pl.Series([None if number is None else str(int(number)) for number in raw])


def _truncated(numbers: pl.Series) -> pl.Series:
    return numbers.cast(pl.Float64, strict=False).cast(pl.Int64, strict=False)


def _words(value: object) -> str:
    if value is None or (isinstance(value, str) and not value):
        return "nothing"
    if isinstance(value, float) and math.isnan(value):
        return "NaN"
    text = repr(value) if isinstance(value, str) else f"{value}"
    return text if len(text) <= 60 else f"{text[:60]}…"
