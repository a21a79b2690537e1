"""A source is opened as one table; addresses, pipes and matrices are refused."""

import io
import os
from contextlib import suppress

import numpy as np
import pandas as pd
import polars as pl
import pytest

from numpy_neural_mf import RatingsError, read_ratings
from numpy_neural_mf.data import limits, tables

TABLE = "user,item,rating\n1,2,3\n4,5,2\n"


def test_a_feather_file_is_read(tmp_path):
    pl.DataFrame({"user": [1], "item": [2], "rating": [3.5], "more": ["x"]}).write_ipc(tmp_path / "r")
    assert read_ratings(tmp_path / "r").values.tolist() == [3.5]


def test_the_home_folder_is_found(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "r.csv").write_text(TABLE)
    assert len(read_ratings("~/r.csv")) == 2


@pytest.mark.parametrize("kind", ["text", "text ids", "Parquet"])
def test_a_name_that_is_not_utf8_is_opened_and_printed(tmp_path, kind):
    path = os.fsdecode(os.fsencode(tmp_path) + b"/r\xff")
    with open(path, "wb") as file:  # noqa: PTH123
        if kind == "Parquet":
            pl.DataFrame({"user": [1, 4], "item": [2, 5], "rating": [3, 2]}).write_parquet(file)
        else:
            file.write(TABLE.replace("4", "x" if kind == "text ids" else "4").encode())
    assert len(read_ratings(path)) == 2
    with open(path, "wb") as file:  # noqa: PTH123
        file.write(TABLE.replace("2", "x").encode())
    with pytest.raises(RatingsError, match=r"r\\udcff, line 3: ") as error:
        read_ratings(path)
    assert str(error.value).isprintable()


def test_a_name_with_a_star_is_of_one_file(tmp_path):
    for name, user in (("r*.csv", "x"), ("ra.csv", "y")):
        (tmp_path / name).write_text(TABLE.replace("1", user))
    assert read_ratings(tmp_path / "r*.csv").user_ids.tolist() == ["4", "x"]


def test_a_pipe_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "r")
    with pytest.raises(RatingsError, match="expected the path of a file, found: a pipe"):
        read_ratings(tmp_path / "r")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (
            "https://example.org/r.csv",
            "^https://…: expected a path, found an address; download the file first, or give query for",
        ),
        ("a\0b", r"a\\x00b: expected the path of a file"),
        ("x" * 5000, "x: expected the path of a file, found: File name too long|x…"),
        (io.StringIO(TABLE), r"found StringIO; give the frame: polars.read_csv\(it\)"),
        (
            pd.DataFrame([[1, 2, 3, 4]], columns=["user", "item", "rating", "rating"]),
            "expected each column once",
        ),
        (pd.DataFrame(np.ones((20, 50)), columns=range(50)), r"found 50 others; .*unpivot\(index='user'"),
    ],
    ids=["address", "NUL", "too long", "open file", "column twice", "matrix"],
)
def test_another_source_is_refused_with_advice(source, message):
    with pytest.raises((RatingsError, TypeError), match=message) as error:
        read_ratings(source)
    assert len(str(error.value)) <= 300
    assert str(error.value).isprintable()


@pytest.mark.parametrize("header", ["", "user," + ",".join(f"joke{n}" for n in range(49)) + "\n"])
def test_a_matrix_of_ratings_is_refused_with_advice(tmp_path, header):
    matrix = np.random.default_rng(0).integers(1, 6, (200, 50))
    (tmp_path / "r").write_text(header + "\n".join(",".join(map(str, row)) for row in matrix))
    with pytest.raises(RatingsError, match=r"a matrix becomes ratings by .*unpivot"):
        read_ratings(tmp_path / "r")


def test_a_narrow_matrix_is_read_with_a_warning(tmp_path):
    matrix = np.random.default_rng(0).integers(1, 6, (200, 4))
    (tmp_path / "r").write_text("\n".join(",".join(map(str, row)) for row in matrix))
    with pytest.warns(UserWarning, match=r"of 200 rows were left out: .* are these the columns of users"):
        read_ratings(tmp_path / "r")


def test_a_matrix_is_read_after_following_the_advice(tmp_path):
    (tmp_path / "r").write_text("user,7,9\n1,4,\n2,5,3\n")
    frame = pl.read_csv(tmp_path / "r").unpivot(index="user", variable_name="item", value_name="rating")
    assert len(read_ratings(frame.drop_nulls())) == 3


def test_any_damage_to_parquet_is_an_error(tmp_path):
    path, rng = tmp_path / "r", np.random.default_rng(0)
    pl.DataFrame({"user": range(300), "item": range(300), "rating": [1.0, 2.0] * 150}).write_parquet(path)
    whole = np.frombuffer(path.read_bytes(), np.uint8)
    for _ in range(200):
        damaged = whole.copy()
        damaged[rng.integers(4, len(whole), 5)] = rng.integers(0, 256, 5)
        path.write_bytes(damaged.tobytes())
        with suppress(RatingsError):
            read_ratings(path)


@pytest.mark.parametrize("kind", ["Parquet", "Feather"])
def test_a_small_file_of_very_many_rows_is_refused_before_they_are_read(tmp_path, monkeypatch, kind):
    def read(file, columns):
        pytest.fail("the rows are read")

    monkeypatch.setattr(limits, "ALWAYS", 2**16)
    monkeypatch.setitem(tables.READERS, kind, (*tables.READERS[kind][:2], read))
    frame = pl.DataFrame({"user": [1], "item": [2], "rating": [3.0]}).sample(10**5, with_replacement=True)
    if kind == "Parquet":
        frame.write_parquet(tmp_path / "r")
    else:
        frame.write_ipc(tmp_path / "r", compression="zstd")
    with pytest.raises(RatingsError, match=r"^r: expected fewer rows, found 100,000, over 100 times as much"):
        read_ratings(tmp_path / "r")
