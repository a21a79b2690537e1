"""Results of database queries as data frames. Messages omit the address, as it may contain a password."""

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

import polars as pl

from ..utils.extras import naming_the_extra
from .delimited import UNREADABLE
from .faults import RatingsError

EXPECTED = "expected an address such as sqlite:///ratings.db or postgresql://user@host/name"
AT_ONCE = 2**18  # number of rows held as Python objects at a time


def frame_of_query(address: Any, query: str) -> pl.DataFrame:
    """Return the rows that a query finds; a RatingsError if there are none or they cannot be read."""
    if not (isinstance(query, str) and query.strip()):
        raise RatingsError(
            f"query: expected SQL such as SELECT user, item, rating FROM ratings, found {query!r}"
        )
    if not isinstance(address, str):
        raise TypeError(f"query: expected the address of a database with it, found {type(address).__name__}")
    kind, _, rest = address.partition("://")
    kind = kind.partition("+")[0]  # SQLAlchemy writes postgresql+psycopg
    if kind == "sqlite":
        return _of_sqlite(rest, query)
    if kind in ("postgresql", "postgres"):
        return _of_postgresql(f"postgresql://{rest}", query)
    advice = "give what polars.read_database(query, connection) finds in any other database"
    raise RatingsError(f"query: {EXPECTED}, found {f'one of {kind}' if rest else 'another source'}; {advice}")


def _of_sqlite(rest: str, query: str) -> pl.DataFrame:
    path = Path(rest.removeprefix("/"))
    if not path.is_file():
        raise RatingsError(f"sqlite:///{path}: expected the address of a file, such as sqlite:///ratings.db")
    # Read-only, so that a query changes nothing.
    uri = f"file:{quote(str(path))}?mode=ro"
    try:
        with closing(sqlite3.connect(uri, uri=True)) as connection:
            return _found(query, connection)
    except (sqlite3.Error, *UNREADABLE, TypeError) as error:
        raise RatingsError(f"{path.name}: {_reason(error)}") from None


def _of_postgresql(address: str, query: str) -> pl.DataFrame:
    with naming_the_extra("a PostgreSQL database", "database"):
        import psycopg
        from psycopg.conninfo import conninfo_to_dict
    try:
        parts = conninfo_to_dict(address)
    except psycopg.Error:
        parts = {"dbname": "@"}
    if address.count("@") > 1 or "@" in str(parts.get("dbname", "")):
        written = "with %40 for @ and %2F for / in the password"
        raise RatingsError(f"expected postgresql://user:password@host/name, {written}, found another address")
    try:
        with psycopg.connect(address, client_encoding="UTF8") as connection:
            connection.read_only = True
            return _found(query, connection)
    except (psycopg.Error, *UNREADABLE, TypeError) as error:
        reason = _reason(error).replace(str(parts.get("password") or "\0"), "…")
        raise RatingsError(f"PostgreSQL: {reason}") from None


def _found(query: str, connection: Any) -> pl.DataFrame:
    batches: Iterator[pl.DataFrame] = pl.read_database(
        query, connection, iter_batches=True, batch_size=AT_ONCE, infer_schema_length=None
    )
    found = list(batches)
    if not found:
        raise RatingsError("query: expected at least one rating, found none")
    return pl.concat(found, how="vertical_relaxed")


def _reason(error: BaseException) -> str:
    """Return the first line of a database's error message."""
    return re.sub(r"\s+", " ", str(error).strip().partition("\n")[0])
