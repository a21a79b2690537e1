"""Conversion of times of any type to whole seconds since 1970 in UTC, and of times to bins."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .columns import blocks
from .faults import Faults

if TYPE_CHECKING:
    import polars as pl

EXPECTED = "a timestamp, a number or a date such as YYYY-MM-DD HH:MM:SS"
EARLIER = "a time before the year 5138"
# Seconds from 1970 to the year 5138, and milliseconds to March 1973.
LATEST = 10**11
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def as_timestamps(raw: Any) -> NDArray[np.int64]:
    """Return times as an int64 array of the shape of `raw`, a scalar or array-like.

        Numbers are truncated; numbers too large for seconds since 1970 are taken as milli-, micro- or
        nanoseconds (see `in_seconds`). Dates, datetimes and ISO 8601 text, such as "2005-04-02 23:53:47" and
    "2005-04-02T23:53:47+02:00", become seconds since 1970, rounded down; a time without a zone is taken as
    UTC, a date as its midnight. A missing value, a value that is not a time, or a time from the year 5138 on
    is a ValueError that names its position, from 1.

    Examples
    --------
    >>> as_timestamps(["1970-01-02", "1970-01-01T00:00:01Z"]).tolist()
    [86400, 1]
    >>> as_timestamps([1112486027, 1112486027999]).tolist()
    [1112486027, 1112486027]
    """
    from .raw_values import as_series

    array = raw if hasattr(raw, "__array__") else np.asarray(raw, dtype=object)
    shape, faults = np.shape(array), Faults()
    found = timestamp_seconds(as_series(array if len(shape) == 1 else np.asarray(array).ravel()), faults)
    faults.refuse(lambda row: f"timestamps, row {row + 1}" if shape else "timestamps")
    return found.reshape(shape)


def timestamp_seconds(raw: pl.Series, faults: Faults) -> NDArray[np.int64]:
    """Return `as_timestamps` of a column; its faults are added to `faults`."""
    import polars as pl

    numbers = moments = pl.repeat(None, len(raw), dtype=pl.Int64, eager=True)
    if raw.dtype == pl.String:
        text = raw.str.strip_chars()
        # Straight to integers first: a float would round nanoseconds since 1970.
        numbers = text.cast(pl.Int64, strict=False).fill_null(_truncated(text))
        moments = text.str.to_datetime("%Y-%m-%d %H:%M:%S", strict=False).dt.epoch("s")
        is_other = numbers.is_null() & moments.is_null()
        if is_other.any():
            rest = text.filter(is_other).drop_nulls().unique()
            iso = pl.Series([_moment_seconds(one) for one in rest.to_list()], dtype=pl.Int64)
            moments = moments.fill_null(text.replace_strict(rest, iso, default=None))
    elif isinstance(raw.dtype, pl.Datetime | pl.Date):
        moments = raw.dt.epoch("s")  # in UTC, whatever the zone
    elif raw.dtype == pl.Object:
        moments = pl.Series([_moment_seconds(one) for one in raw], dtype=pl.Int64)
    elif raw.dtype.is_numeric():
        numbers = _truncated(raw) if raw.dtype.is_float() else raw.cast(pl.Int64, strict=False)
    seconds = numbers.fill_null(moments)
    if faults.add(seconds.is_null(), raw, EXPECTED) or faults.add(moments.abs() >= LATEST, raw, EARLIER):
        return np.empty(0, np.int64)
    return in_seconds(seconds.to_numpy(writable=True))


def in_seconds(times: NDArray[np.int64]) -> NDArray[np.int64]:
    """Scale times in place: while a time is `LATEST` or more from 1970, divide it by 1000."""
    for block in blocks(len(times)):
        part = times[block]
        while (is_finer := (part >= LATEST) | (part <= -LATEST)).any():
            part[is_finer] //= 1000
    return times


def _moment_seconds(moment: Any) -> int | None:
    """Return the seconds of a datetime, a date or ISO 8601 text; None for anything else."""
    if isinstance(moment, str):
        try:
            moment = datetime.fromisoformat(moment)
        except ValueError:
            return None
    if isinstance(moment, date) and not isinstance(moment, datetime):
        moment = datetime.combine(moment, time())
    if not isinstance(moment, datetime):
        return None
    return ((moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - EPOCH) // timedelta(seconds=1)


def _truncated(numbers: pl.Series) -> pl.Series:
    import polars as pl

    return numbers.cast(pl.Float64, strict=False).cast(pl.Int64, strict=False)


@dataclass(frozen=True, slots=True)
class TimeBins:
    """n bins between two timestamps; earlier times are in the first bin, later times in the last."""

    first: int
    last: int
    n: int

    def of(self, times: NDArray[np.int64]) -> NDArray[np.int32]:
        """Return the bin of each time, from 0."""
        # Not in integers, which could overflow.
        passed = (times.astype(np.float64) - self.first) / (float(self.last) - self.first + 1)
        return np.clip(np.floor(self.n * passed), 0, self.n - 1).astype(np.int32)
