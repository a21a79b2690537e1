"""Convert raw ids and ratings to arrays; only this module decides which values are invalid."""

import math
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from .columns import blocks, coded_integers
from .faults import Faults, in_words
from .limits import MAX_ID, MAX_RATING

# Lowest, highest and step of the scales in common use; the first that holds every rating is taken.
KNOWN_SCALES = (
    (0.0, 1.0, 1.0),
    (1.0, 5.0, 1.0),
    (0.5, 5.0, 0.5),
    (0.0, 5.0, 0.5),
    (1.0, 7.0, 1.0),
    (1.0, 10.0, 0.5),
    (0.0, 10.0, 0.5),
    (1.0, 100.0, 1.0),
    (0.0, 100.0, 1.0),
)
# NumPy's types of times and durations in a unit that polars knows.
UNITS = {"M": "datetime64[us]", "m": "timedelta64[us]"}
# Texts that other programs write where a value is missing.
MISSING = ("", "NaN", "nan", "NAN", "null", "NULL", "None", "<NA>")


def as_series(raw: Any) -> pl.Series:
    """Return raw values as a polars Series; None, NaN among objects, and pandas' NA become null."""
    if isinstance(raw, pl.Series):
        return raw
    array = raw if isinstance(raw, list | tuple) else np.asarray(raw)
    if isinstance(array, np.ndarray) and array.dtype.kind in UNITS:
        array = array.astype(UNITS[array.dtype.kind])
    if isinstance(array, np.ndarray) and array.dtype != object:
        return pl.Series(array)
    values = [_plain(value) for value in array]
    try:
        return pl.Series(values, strict=False)
    except pl.exceptions.PolarsError:  # times in several zones, or only some with a zone
        return pl.Series(values, dtype=pl.Object)


def _plain(value: Any) -> Any:
    """Return an object in a type that polars knows."""
    if isinstance(value, set | frozenset):
        return sorted(value, key=str)
    if isinstance(value, np.datetime64):
        return value.astype(UNITS["M"]).item()
    return None if is_missing(value) else value


def as_id_series(raw: Any, expected: str, faults: Faults) -> pl.Series:
    """Return raw ids as `as_series` does; strings mixed with integers are a fault: 7 and "7" differ."""
    if not isinstance(raw, pl.Series | list | tuple):
        raw = np.asarray(raw)
    if isinstance(raw, list | tuple) or raw.dtype == object:
        known = ((row, value) for row, value in enumerate(raw) if not is_missing(value))
        _, first = next(known, (0, None))
        for row, value in known:
            if isinstance(value, str) != isinstance(first, str):
                kind = "a string" if isinstance(first, str) else "an integer"
                fault = f"expected {expected}, {kind} as the first, found {in_words(value)}"
                faults.found.append((row, fault))
                break
    return as_series(raw)


def whole_or_text(raw: pl.Series) -> pl.Series:
    """Return text ids, stripped, as integers if all are integers, each written in one way; otherwise as text.

    So 007 makes the whole column text, and so do 1 and 1.0 in one column. If all are numbers and one is
    fractional, they become floats, which `coded_ids` refuses, as in a data frame.
    """
    ids = raw.str.strip_chars()
    texts = ids.drop_nulls().unique()
    digits = texts.str.replace(r"\.0+$", "")
    if not digits.str.contains(r"^(?:0|-?[1-9][0-9]*)$").all():
        are_numbers = digits.str.contains(r"^-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?$").all()
        return ids.cast(pl.Float64) if are_numbers and digits.str.contains(r"\.").any() else ids
    numbers = digits.cast(pl.Int64, strict=False)
    if numbers.has_nulls() or numbers.n_unique() < len(texts):
        return ids
    return ids.str.replace(r"\.0+$", "").cast(pl.Int64)


def as_text(ids: pl.Series) -> pl.Series:
    """Return ids of any type as text."""
    return (_integers(ids) if ids.dtype.is_numeric() else ids).cast(pl.String)


def coded_ids(raw: pl.Series, expected: str, faults: Faults) -> tuple[NDArray[Any], NDArray[np.int32]]:
    """Return sorted unique ids, int64 or strings, and for each row the index of its id among them."""
    nothing = np.empty(0, np.int64), np.empty(0, np.int32)
    ids = _integers(raw) if raw.dtype.is_numeric() else raw
    if isinstance(raw.dtype, pl.Categorical | pl.Enum):
        ids = raw.cast(pl.String)
    if ids.dtype not in (pl.Int64, pl.String, pl.Null):
        is_wrong = raw % 1 != 0 if raw.dtype.is_float() else raw.is_not_null()
        faults.add(is_wrong, raw, f"{expected}, an integer or a string")
        return nothing
    if ids.dtype != pl.String:
        return nothing if faults.add(ids.is_null(), raw, expected) else coded_integers(ids.to_numpy())
    if faults.add(ids.is_null() | ids.str.strip_chars().is_in(MISSING), raw, expected):
        return nothing
    if faults.add(ids.str.len_chars() > MAX_ID, raw, f"{expected} of at most {MAX_ID} characters"):
        return nothing
    vocabulary = ids.unique().sort()
    codes = ids.replace_strict(vocabulary, pl.int_range(len(vocabulary), dtype=pl.Int32, eager=True))
    # Not StringDType, whose searchsorted fails on strings of another array (NumPy 2.4).
    faults.add(ids.str.ends_with("\0"), raw, f"{expected} that does not end in NUL")
    stripped = vocabulary.str.strip_chars()
    is_twice = ids.is_in(vocabulary.filter(stripped.is_duplicated() & (stripped != vocabulary)).implode())
    faults.add(is_twice, raw, f"{expected} that differs from others by more than spaces around it")
    return np.array(vocabulary.to_list(), dtype=str), codes.to_numpy(writable=True)


def rating_values(raw: pl.Series, scale: tuple[float, float] | None, faults: Faults) -> NDArray[np.float32]:
    """Return ratings as float32: finite numbers, within `scale` if it is given."""
    expected = "a finite number as rating"
    numbers = raw.str.strip_chars() if raw.dtype == pl.String else raw
    if not (numbers.dtype.is_numeric() or numbers.dtype in (pl.String, pl.Boolean, pl.Null)):
        faults.add(raw.is_not_null(), raw, "a number as rating")
        return np.empty(0, np.float32)
    numbers = numbers if numbers.dtype == pl.Float32 else numbers.cast(pl.Float64, strict=False)
    values = numbers.cast(pl.Float32)
    is_wrong = faults.add(numbers.is_null(), raw, expected)
    if faults.add(~values.is_finite(), numbers, expected) or is_wrong:
        return np.empty(0, np.float32)
    if faults.add(values.abs() > MAX_RATING, numbers, f"a rating from -{MAX_RATING:g} to {MAX_RATING:g}"):
        return np.empty(0, np.float32)
    if scale is not None:
        outside = (values < np.float32(scale[0])) | (values > np.float32(scale[1]))
        faults.add(outside, numbers, f"a rating from {scale[0]:g} to {scale[1]:g}")
    return values.to_numpy(writable=True)


def scale_of(values: NDArray[np.float32]) -> tuple[float, float]:
    """Return the first of `KNOWN_SCALES` that holds every value, otherwise the lowest and highest value.

    For a single distinct value that fits no known scale, the scale extends from it to 0.
    """
    distinct = np.unique(np.concatenate([np.unique(values[block]) for block in blocks(len(values))]))
    lowest, highest = float(distinct[0]), float(distinct[-1])
    for low, high, step in KNOWN_SCALES:
        if low <= lowest and highest <= high and np.all(distinct % step == 0):
            return low, high
    return (lowest, highest) if lowest < highest else (min(lowest, 0.0), max(highest, 0.0))


def is_missing(value: Any) -> bool:
    """Return whether an object is a missing value: None, NaN, pandas' NA and NaT."""
    is_nan = isinstance(value, float) and math.isnan(value)
    return value is None or is_nan or type(value).__name__ in ("NAType", "NaTType")


def _integers(raw: pl.Series) -> pl.Series:
    """Return numeric ids as Int64, as strings if one exceeds 64 bits, unchanged if one is fractional."""
    if raw.dtype.is_float():
        raw = raw.fill_nan(None)
        if not (raw.drop_nulls() % 1 == 0).all():
            return raw
    narrow = raw.cast(pl.Int64, strict=False)
    if narrow.null_count() == raw.null_count():
        return narrow
    # By Python's str: early versions of polars 1 cannot write 128-bit integers as text.
    return pl.Series([None if number is None else str(int(number)) for number in raw])
