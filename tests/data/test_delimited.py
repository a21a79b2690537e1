"""Text is read according to RFC 4180 or refused with its line; nothing is silently read differently."""

import csv
import importlib
import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from numpy_neural_mf import RatingsError, read_ratings

ROOT = Path(__file__).parents[2]
HEADER = "user,item,rating\n"


def rows_of(ratings):
    return list(
        zip(ratings.raw_users.tolist(), ratings.raw_items.tolist(), ratings.values.tolist(), strict=True)
    )


@pytest.fixture
def read(tmp_path):
    def write_and_read(text):
        (tmp_path / "r").write_bytes(text.encode())
        return rows_of(read_ratings(tmp_path / "r"))

    return write_and_read


@pytest.mark.parametrize("user", ["1", "x"])
@pytest.mark.parametrize("end", ["\r", "\n\r", "\r\r"])
@pytest.mark.parametrize("header", ["", HEADER])
def test_a_carriage_return_ends_a_line(read, user, end, header):
    expected = [(int(user) if user == "1" else user, 2, 3.0), (3 if user == "1" else "3", 4, 5.0)]
    assert read(f"{header}{user},2,3\n3,4,5\n".replace("\n", end)) == expected
    assert read(f"{header}{user},2,3\r3,4,5\n") == expected


@pytest.mark.parametrize("user", ["1", "x"])
@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ('1,2,3\n3,4,"4.5', "line 3: expected quotes in pairs"),
        ("1,2,3\n1,4,3,5\n", "line 3: expected 3 fields, as in the first line, found 4"),
        ("1,2,3\n1,4,3,\n", "line 3: expected 3 fields, as in the first line, found 4"),
        ("1,2,3\n\n1,4\n1,4,3,5\n", "line 4: expected 3 fields, as in the first line, found 2"),
        ('1,2,3\n"', "line 3: expected quotes in pairs"),
        ('1,2,3\n4,"5"6,3\n', "line 3: expected quotes around whole fields"),
    ],
)
def test_a_line_that_is_cut_or_too_long_is_an_error_with_its_number(read, user, rows, message):
    with pytest.raises(RatingsError, match=message):
        read(HEADER + rows.replace("1", user))


def test_a_quote_in_a_column_that_is_not_used_swallows_no_row(read):
    header, rows = "user,item,rating,note\n", '1,2,3,"x\n1,3,4,y\n1,4,4,"z"\n'
    with pytest.raises(RatingsError, match="line 2: expected quotes around whole fields"):
        read(header + rows)
    assert len(read(header + '1,2,3,5" disk\n1,3,4,6" disk\n1,4,4,z\n')) == 3


def test_a_name_of_two_columns_is_refused(read):
    with pytest.raises(RatingsError, match="expected one column 'rating' as rating, found more"):
        read("user,item,rating,rating\n1,2,3,4\n")


def test_two_colons_within_quotes_are_text(read):
    assert read('"a::b"::2::3\nc::2::4\n') == [("a::b", 2, 3.0), ("c", 2, 4.0)]


TEXT = st.text(st.sampled_from('ab1 ,;"\n|é'), max_size=5).map(lambda text: f"x{text}x")
ROWS = st.lists(
    st.tuples(
        st.integers(-5, 5) | TEXT,
        st.integers(0, 2**40),
        st.sampled_from(["1", "2.5", "5.0"]),
        TEXT | st.just(""),
    ),
    min_size=1,
    max_size=12,
    unique_by=lambda row: row[:2],
)


@given(
    rows=ROWS,
    delimiter=st.sampled_from(",;\t|"),
    end=st.sampled_from(["\n", "\r\n"]),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]),
)
def test_every_file_is_read_as_pandas_reads_it(tmp_path_factory, rows, delimiter, end, quoting):
    path, text = tmp_path_factory.mktemp("r") / "r", io.StringIO(newline="")
    writer = csv.writer(text, delimiter=delimiter, lineterminator=end, quoting=quoting)
    writer.writerows([("user", "item", "rating", "note"), *rows])
    path.write_bytes(text.getvalue().encode())
    judge = pd.read_csv(path, sep=delimiter, dtype=str, keep_default_na=False, encoding="utf-8")
    ratings = read_ratings(path, text_ids=True)
    assert ratings.raw_users.tolist() == judge["user"].str.strip().tolist()
    assert ratings.raw_items.tolist() == judge["item"].tolist()
    assert ratings.values.tolist() == judge["rating"].astype(np.float32).tolist()


def test_damaged_files_are_read_as_the_reference_reads_them_or_refused(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))
    fuzzer = importlib.import_module("benchmarks.accuracy.reading")
    rng = np.random.default_rng(2026)
    for _ in range(300):
        file = fuzzer.made(rng)
        outcome = fuzzer.outcome(file, tmp_path / "r")
        assert not outcome.startswith("WRONG"), (file, outcome)
