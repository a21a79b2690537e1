"""Database queries return ratings; errors are one sentence without the password."""

import datetime as dt
import os
import sqlite3
import sys
from contextlib import closing

import numpy as np
import pytest

from numpy_neural_mf import GlobalMean, RatingsError, read_ratings

ROWS = [("ann", 7, 4.0, 1112486027), ("bob", 7, 2.5, 1112486028), ("bob", 9, 5.0, 1112486029)]
QUERY = "SELECT user, item, rating, at AS timestamp FROM ratings"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with closing(sqlite3.connect("ratings.db")) as connection, connection:
        connection.execute("CREATE TABLE ratings (user, item, rating, at)")
        connection.executemany("INSERT INTO ratings VALUES (?, ?, ?, ?)", ROWS)
    return tmp_path


def as_rows(ratings):
    return list(zip(*(column.to_list() for column in ratings.to_polars()), strict=True))


class TestSqlite:
    def test_the_rows_of_a_query_are_ratings(self, folder):
        for address in ("sqlite:///ratings.db", f"sqlite:///{folder}/ratings.db"):
            assert as_rows(read_ratings(address, query=QUERY)) == ROWS

    def test_columns_have_any_name_and_a_scale_can_be_given(self, folder):
        query = "WITH r AS (SELECT user AS u, item, rating FROM ratings) SELECT * FROM r WHERE item = 7"
        ratings = read_ratings(
            "sqlite:///ratings.db", query=query, user="u", scale=(0, 10), text_ids=["item"]
        )
        assert ratings.to_polars().rows() == [("ann", "7", 4.0), ("bob", "7", 2.5)]
        assert ratings.scale == (0, 10)

    def test_batches_are_one_table(self, folder, monkeypatch):
        monkeypatch.setattr("numpy_neural_mf.data.database.AT_ONCE", 2)
        with closing(sqlite3.connect("ratings.db")) as connection, connection:
            connection.execute("UPDATE ratings SET rating = 4 WHERE rating = 4.0")  # an integer, then others
        assert as_rows(read_ratings("sqlite:///ratings.db", query=QUERY)) == ROWS

    def test_a_model_learns_from_it(self, folder):
        assert GlobalMean().fit(read_ratings("sqlite:///ratings.db", query=QUERY)).mean_ == np.mean(
            [4, 2.5, 5]
        )

    @pytest.mark.parametrize(
        ("query", "message"),
        [
            ("SELECT * FROM films", "ratings.db: no such table: films"),
            ("SELECT film FROM ratings", "ratings.db: no such column: film"),
            ("SELECT user, item FROM ratings", "query: expected a column of ratings, .* 'user', 'item'"),
            ("SELECT user, item, at + NULL AS rating FROM ratings", "query, row 1: expected a finite number"),
            (
                "SELECT user, item, rating FROM ratings WHERE 0",
                "query: expected at least one rating, found none",
            ),
            (
                "WITH one AS (SELECT 1) DELETE FROM ratings",
                "ratings.db: attempt to write a readonly database",
            ),
            ("DELETE FROM ratings", "ratings.db: .*DELETE"),
            ("SELECT 1; SELECT 2", "ratings.db: You can only execute one statement at a time"),
            ("", "query: expected SQL such as SELECT .*, found ''"),
            (5, "query: expected SQL such as SELECT .*, found 5"),
        ],
    )
    def test_a_query_that_finds_no_ratings_is_refused(self, folder, query, message):
        with pytest.raises(RatingsError, match=f"^{message}"):
            read_ratings("sqlite:///ratings.db", query=query)
        assert len(read_ratings("sqlite:///ratings.db", query=QUERY)) == len(ROWS)

    @pytest.mark.parametrize("address", ["sqlite:///none.db", "sqlite://", "sqlite:///."])
    def test_a_missing_file_is_refused_and_not_created(self, folder, address):
        with pytest.raises(
            RatingsError, match=r"expected the address of a file, such as sqlite:///ratings\.db"
        ):
            read_ratings(address, query=QUERY)
        assert [path.name for path in folder.iterdir()] == ["ratings.db"]

    def test_a_file_of_another_kind_is_refused(self, folder):
        (folder / "ratings.csv").write_text("user,item,rating\n" * 50)
        with pytest.raises(RatingsError, match=r"^ratings\.csv: file is not a database$"):
            read_ratings("sqlite:///ratings.csv", query=QUERY)


def test_an_address_needs_a_query_and_a_query_an_address():
    with pytest.raises(RatingsError, match=r"^sqlite://…: expected a path, .* or give query for a database"):
        read_ratings("sqlite:///ratings.db")
    for source in ("ratings.csv", "mysql://ann:secret@host/name"):
        with pytest.raises(
            RatingsError, match=r"^query: expected an address .* polars\.read_database"
        ) as raised:
            read_ratings(source, query=QUERY)
        assert "secret" not in str(raised.value)
    with pytest.raises(TypeError, match="query: expected the address of a database with it, found dict"):
        read_ratings({"user": [1]}, query=QUERY)


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://ann:secret@127.0.0.1:1/name",
        "postgresql+psycopg://ann:sec:ret@127.0.0.1:1/name",
        "postgres://ann:sec/ret@host/name",
        "postgresql://ann:sec@ret@host/name",
        "postgresql://ann:sec%zzret@host/name",
        "postgresql://ann:12/sec@host",
        "postgresql://127.0.0.1:1/name?password=secret",
        "postgresql://127.0.0.1:1/name?pasword=secret",
    ],
)
@pytest.mark.parametrize("query", [QUERY, None])
def test_no_error_shows_a_password(address, query):
    pytest.importorskip("psycopg")
    with pytest.raises(RatingsError) as raised:
        read_ratings(address, query=query)
    assert not any(part in str(raised.value) for part in ("sec", "ret", "ann:1"))
    assert raised.value.__suppress_context__ or raised.value.__context__ is None
    assert "\n" not in str(raised.value)


def test_without_psycopg_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(
        ModuleNotFoundError, match=r'PostgreSQL .* needs psycopg: .*"numpy-neural-mf\[database\]"'
    ):
        read_ratings("postgresql://ann@host/name", query=QUERY)


@pytest.mark.skipif(
    "NUMPY_NEURAL_MF_POSTGRES" not in os.environ,
    reason="NUMPY_NEURAL_MF_POSTGRES does not hold the address of a PostgreSQL server",
)
class TestPostgresql:
    @pytest.fixture
    def address(self):
        psycopg = pytest.importorskip("psycopg")
        address = os.environ["NUMPY_NEURAL_MF_POSTGRES"]
        with psycopg.connect(address) as connection:
            connection.execute("DROP TABLE IF EXISTS tried")
            connection.execute(
                "CREATE TABLE tried (who text, item smallint, rating numeric(3, 1), at timestamptz, id uuid)"
            )
            for user, item, rating, at in ROWS:
                values = user, item, rating, dt.datetime.fromtimestamp(at, dt.UTC)
                connection.execute("INSERT INTO tried VALUES (%s, %s, %s, %s, gen_random_uuid())", values)
        yield address
        with psycopg.connect(address) as connection:
            connection.execute("DROP TABLE tried")

    def test_the_rows_of_a_query_are_ratings(self, address):
        query = "SELECT who, item, rating, at AS timestamp FROM tried WHERE who NOT LIKE '%x' ORDER BY at"
        for kind in ("postgresql", "postgres", "postgresql+psycopg"):
            ratings = read_ratings(address.replace("postgresql", kind, 1), query=query, user="who")
            assert as_rows(ratings) == ROWS

    @pytest.mark.parametrize(
        ("query", "message"),
        [
            ("SELECT * FROM films", 'PostgreSQL: relation "films" does not exist'),
            ("SELECT film FROM tried", 'PostgreSQL: column "film" does not exist'),
            ("SELECT item, rating FROM tried", "query: expected a column of users, .* 'item', 'rating'"),
            (
                "SELECT who AS user, item, rating FROM tried WHERE false",
                "query: expected at least one rating",
            ),
            (
                "SELECT id AS user, item, rating FROM tried",
                "query, row 1: expected a user id, an integer or a str",
            ),
            (
                "WITH gone AS (DELETE FROM tried RETURNING *) SELECT * FROM gone",
                "PostgreSQL: cannot execute (DELETE|SELECT) in a read-only transaction",
            ),
        ],
    )
    def test_a_query_that_finds_no_ratings_is_refused(self, address, query, message):
        with pytest.raises(RatingsError, match=f"^{message}"):
            read_ratings(address, query=query)
        assert len(read_ratings(address, query="SELECT * FROM tried", user="who")) == len(ROWS)
