"""A time is the same number of seconds in every format."""

import datetime as dt
from dataclasses import replace

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from numpy_neural_mf.data import Ratings, read_ratings
from numpy_neural_mf.data.timestamps import TimeBins, as_timestamps

MOMENT = dt.datetime(2005, 4, 2, 23, 53, 47)
SECONDS = 1112486027
MADRID = dt.timezone(dt.timedelta(hours=2))

COLUMNS = {
    "integers": [SECONDS],
    "floats": [SECONDS + 0.9],
    "text of a number": [f"{SECONDS}"],
    "datetimes": [MOMENT],
    "datetimes with a zone": [MOMENT.replace(tzinfo=dt.UTC).astimezone(MADRID)],
    **{f"NumPy's {unit}": np.array([MOMENT], f"datetime64[{unit}]") for unit in ("s", "ms", "us", "ns")},
    **{f"polars' {unit}": pl.Series([MOMENT]).cast(pl.Datetime(unit)) for unit in ("ms", "us", "ns")},
    "polars' zone": pl.Series([MOMENT]).dt.replace_time_zone("UTC").dt.convert_time_zone("Europe/Madrid"),
    "pandas": pd.Series([pd.Timestamp(MOMENT)]),
    "pandas' zone": pd.Series([pd.Timestamp(MOMENT, tz="UTC").tz_convert("Europe/Madrid")]),
    "pandas' index": pd.DatetimeIndex([MOMENT]),
    "pandas' Arrow": pd.Series([MOMENT]).astype("timestamp[ms][pyarrow]"),
    "Arrow": pa.array([MOMENT], pa.timestamp("ms", "Europe/Madrid")),
    "list of NumPy's": [np.datetime64(MOMENT)],
    "list of NumPy's ns": [np.datetime64(MOMENT, "ns")],
    "text": ["2005-04-02 23:53:47"],
    "text with T": [" 2005-04-02T23:53:47"],
    "text in UTC": ["2005-04-02T23:53:47Z"],
    "text with a zone and a fraction": ["2005-04-03T01:53:47.5+02:00"],
}


@pytest.mark.parametrize("column", COLUMNS.values(), ids=COLUMNS)
def test_all_formats_of_a_time_are_equivalent(column):
    found = as_timestamps(column)
    assert (found.dtype, found.tolist()) == (np.int64, [SECONDS])
    assert Ratings.from_columns([1], [1], [3], column).timestamps.tolist() == [SECONDS]
    assert read_ratings(([1], [1], [3], column)).timestamps.tolist() == [SECONDS]
    frame = pd.DataFrame({"user": [1], "item": [1], "rating": [3], "date": column})
    assert read_ratings(frame).timestamps.tolist() == [SECONDS]


def test_a_column_may_mix_time_zones():
    times = [
        MOMENT,
        MOMENT.replace(tzinfo=dt.UTC),
        MOMENT.replace(tzinfo=MADRID),
        MOMENT.date(),
        "2005-04-02",
    ]
    assert as_timestamps(times).tolist() == [SECONDS, SECONDS, SECONDS - 7200, 1112400000, 1112400000]
    assert as_timestamps(pd.Series(times[:4])).tolist() == [SECONDS, SECONDS, SECONDS - 7200, 1112400000]


@pytest.mark.parametrize(
    "days",
    [
        [dt.date(1970, 1, 2)],
        ["1970-01-02"],
        np.array(["1970-01-02"], "M8[D]"),
        pl.Series([dt.date(1970, 1, 2)]),
    ],
)
def test_a_day_begins_at_midnight(days):
    assert as_timestamps(days).tolist() == [86400]


@pytest.mark.parametrize(
    "moment", [SECONDS, MOMENT, "2005-04-02 23:53:47", pd.Timestamp(MOMENT), np.datetime64(MOMENT)]
)
def test_one_time_has_no_dimension(moment):
    assert (as_timestamps(moment).shape, int(as_timestamps(moment))) == ((), SECONDS)


def test_the_shape_stays():
    assert as_timestamps([[1, 2], [3, 4]]).tolist() == [[1, 2], [3, 4]]
    assert as_timestamps([]).shape == (0,)


@pytest.mark.parametrize(
    ("times", "message"),
    [
        ([1, None], "timestamps, row 2: expected a timestamp, .* found nothing"),
        (["soon"], "timestamps, row 1: expected a timestamp, .* found 'soon'"),
        (None, "timestamps: expected a timestamp, .* found nothing"),
        (True, "timestamps: expected a timestamp, .* found True"),
        ([dt.datetime(2005, 4, 2), pd.NaT], "timestamps, row 2: expected a timestamp"),
        ([float("nan")], "timestamps, row 1: expected a timestamp"),
        ([MOMENT, MOMENT.replace(tzinfo=MADRID), 5], "timestamps, row 3: expected a timestamp, .* found 5"),
        ([dt.timedelta(1)], "timestamps, row 1: expected a timestamp, .* found 1 day"),
        (np.array([5], "m8[s]"), "timestamps, row 1: expected a timestamp, .* found 0:00:05"),
        ([dt.datetime(9999, 12, 31)], "timestamps, row 1: expected a time before the year 5138, found 9999"),
        (
            ["1970-01-01", "9999-12-31"],
            "timestamps, row 2: expected a time before the year 5138, found '9999",
        ),
        ([dt.date(9999, 12, 31)], "timestamps, row 1: expected a time before the year 5138, found 9999"),
    ],
)
def test_a_value_that_is_not_a_time_is_refused_with_its_place(times, message):
    with pytest.raises(ValueError, match=message):
        as_timestamps(times)


def test_bins_have_equal_length_and_include_times_outside():
    times = np.array([-50, 0, 24, 25, 49, 50, 99, 100, 10**18])
    assert TimeBins(0, 99, 4).of(times).tolist() == [0, 0, 0, 1, 1, 2, 3, 3, 3]
    assert TimeBins(7, 7, 3).of(np.array([7])).tolist() == [0]


@pytest.mark.parametrize("per_second", [10**3, 10**6, 10**9])
@pytest.mark.parametrize("form", [list, np.array, lambda times: [str(time) for time in times]])
def test_milli_micro_and_nanoseconds_since_1970_are_seconds(tmp_path, per_second, form):
    times = form([SECONDS * per_second, -SECONDS * per_second])
    assert as_timestamps(times).tolist() == [SECONDS, -SECONDS]
    assert Ratings.from_columns([1, 2], [1, 2], [3, 4], times).timestamps.tolist() == [SECONDS, -SECONDS]
    (tmp_path / "r").write_text("".join(f"{n},1,3,{time}\n" for n, time in enumerate(times)))
    assert read_ratings(tmp_path / "r").timestamps.tolist() == [SECONDS, -SECONDS]


def test_no_accepted_time_makes_a_model_fail():
    ends = [-(2**63), 2**63 - 1]
    assert np.abs(as_timestamps(ends)).max() < 10**11
    ratings = Ratings.from_columns([1, 2], [1, 2], [3, 4], [0, 1])
    with pytest.raises(ValueError, match="timestamps: expected seconds since 1970"):
        replace(ratings, timestamps=np.array(ends))
