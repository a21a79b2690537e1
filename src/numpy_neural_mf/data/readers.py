"""Read ratings from files, data frames, arrays and matrices; errors name the line.

Modules that read tables need polars, so functions import them when they read a table.
"""

import logging
import os
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

import scipy

from .column_cache import identity_of, load_columns, save_columns, store_path
from .faults import RatingsError
from .from_columns import ratings_from, ratings_of_numbers, warn_of_dropped
from .ratings import Ratings
from .titles import titles_file

logger = logging.getLogger(__name__)

RatingsLike = Any  # what `read_ratings` takes
EXPECTED = "Ratings, a path, a data frame, a mapping or a tuple of columns, or a sparse matrix"

# Files of ratings in the folders of data sets.
RATINGS_FILES = ("ratings.csv", "ratings.dat", "u.data")


def read_ratings(
    source: RatingsLike,
    *,
    query: str | None = None,
    user: str | None = None,
    item: str | None = None,
    rating: str | None = None,
    timestamp: str | None = None,
    scale: tuple[float, float] | None = None,
    timestamps: bool = True,
    text_ids: bool | Collection[str] = False,
    cache: bool | str | os.PathLike[str] = False,
) -> Ratings:
    """Read ratings from a file, a data frame, columns or a matrix; an impossible setting is a ValueError.

    Every function that takes ratings, such as `fit`, `evaluate` and the splits, takes the same. A file may be
    Parquet, Feather, or UTF-8 text, plain or compressed by gzip, with a comma, semicolon, tab, "|" or "::"
    between the fields. The content decides, not the file name. A first line whose third field is a number is
    not a header: the columns are then user, item, rating and, if there is a fourth, timestamp. Other columns
    are ignored, and blank lines are skipped. A line with more or fewer fields than the first is an error.

    Ids in a text file are integers if the whole column has 64-bit integers, otherwise stripped strings. Ids
    that are written differently are never merged: leading zeros, as in 007, make the whole column strings,
    and so do 1 and 1.0 in one column. If a user rated an item more than once, the last rating counts (see
    `Ratings.from_columns`); a UserWarning says if most rows are dropped.

    Parameters
    ----------
    source : str, path, or data frame (polars, pandas, Arrow, or a mapping of columns)
        Or the folder of a data set, with ``ratings.csv``, ``ratings.dat`` or ``u.data`` and, for titles,
        ``movies.csv`` or ``books.csv``; a tuple (users, items, ratings) or (users, items, ratings,
        timestamps) of columns; a SciPy sparse matrix of any format, whose stored entries are ratings, with
        row numbers as user ids and column numbers as item ids; or `Ratings`, which are returned unchanged.
        With `query`, the address of a database, ``sqlite:///ratings.db`` (with four "/" an absolute path) or
        ``postgresql://user:password@host/name``, which needs the extra "database".
    query : str, optional
        SQL whose result has the columns of ratings: ``SELECT user, item, rating FROM ratings``. It is run
        read-only. Errors never show the address. For any other database, pass the frame that
        ``polars.read_database(query, connection)`` returns.
    user, item, rating, timestamp : str, optional
        Names of the columns, if they are not among the usual names (``userId``, ``item_id``, ``score``, …, in
        upper or lower case). A timestamp is optional.
    scale : (float, float), optional, lowest and highest possible rating; default: see `Ratings.from_columns`
    timestamps : bool, default True
        Whether to keep timestamps, 8 of the 20 bytes of a rating. If False, a column with a usual name, such
        as "date", need not contain times.
    text_ids : bool or collection of {"user", "item"}, default False
        Keep all ids, or those of users or items, as strings, to match the ids of a fitted model.
    cache : bool or path, default False
        Cache the columns of a file in ``ratings.csv.columns`` next to it, or in this folder. The next read
        maps them from there at once, read-only. If the file has changed or the cache is damaged, the cache is
        written again. If it cannot be written, that is logged.

    Raises
    ------
    RatingsError
        The file cannot be read, lacks a column or has a bad value. The message names the file, the line (for
        Parquet and data frames: the row), what was expected and what was found, in at most 300 characters.
    TypeError
        The source is none of these.
    """
    columns = {"user": user, "item": item, "rating": rating, "timestamp": timestamp}
    if isinstance(source, Ratings):
        if given := [name for name, value in {**columns, "scale": scale}.items() if value is not None]:
            raise ValueError(
                f"expected no settings with Ratings, which are returned as they are, found {given}"
            )
        return source
    text_ids = text_ids if isinstance(text_ids, bool) else sorted(text_ids)
    if not isinstance(text_ids, bool) and not set(text_ids) <= {"user", "item"}:
        raise ValueError(f'text_ids: expected a bool, or of "user" and "item", found {text_ids}')
    titles = None
    if query is not None:
        source = _of_query(source, query)
    elif isinstance(source, str | os.PathLike):
        source, titles = _files_of(source)

    def read(**wanted: str | None) -> Ratings:
        settings = wanted, scale, text_ids
        if cache is False or not isinstance(source, Path):
            return _parsed(source, *settings)
        return _cached(source, None if cache is True else Path(cache), *settings)

    try:
        # Also if timestamps are not kept, as they decide which of two ratings of a pair is the last.
        ratings = read(**columns)
    except RatingsError:
        if timestamps or timestamp is not None:
            raise
        ratings = read(**{role: name for role, name in columns.items() if role != "timestamp"})
    warn_of_dropped(ratings)
    ratings = ratings if timestamps else replace(ratings, timestamps=None)
    return ratings if titles is None else _with_titles(ratings, titles)


def _files_of(source: str | os.PathLike[str]) -> tuple[Path, Path | None]:
    """Return the file of ratings at a path, and the file of titles if that is a folder."""
    from .tables import path_of

    path = path_of(source)
    if not path.is_dir():
        return path, None
    ratings = ratings_file(path)
    if ratings is None:
        found = f"found a folder without any of {', '.join(RATINGS_FILES)}"
        raise RatingsError(f"{path}: expected a file of ratings, {found}")
    return ratings, titles_file(path)


def _with_titles(ratings: Ratings, path: Path) -> Ratings:
    try:
        return ratings.with_titles(path)
    except (RatingsError, OSError) as error:  # titles were not asked for
        logger.warning("no titles were read: %s", error)
        return ratings


def ratings_file(folder: Path) -> Path | None:
    """Return the file of ratings in the folder of a data set, if there is one."""
    return next((folder / name for name in RATINGS_FILES if (folder / name).is_file()), None)


def _cached(path: Path, folder: Path | None, *settings: Any) -> Ratings:
    wanted, scale, text_ids = settings
    try:
        identity = identity_of(path, {**wanted, "scale": scale, "text_ids": text_ids})
    except OSError:
        return _parsed(path, *settings)  # raises the error with its cause
    copy = store_path(path, folder)
    ratings = load_columns(copy, identity)
    if ratings is None:
        ratings = _parsed(path, *settings)
        try:
            save_columns(copy, ratings, identity)
        except OSError as error:
            logger.warning("%s was not written: %s", copy, error.strerror)
    return ratings


def _parsed(
    source: Any,
    wanted: dict[str, str | None],
    scale: tuple[float, float] | None,
    text_ids: bool | Collection[str],
) -> Ratings:
    from .delimited import Text
    from .tables import POSITIONS, Frame, open_table, read_columns, roles_of

    if scipy.sparse.issparse(source):
        if any(wanted.values()):
            raise ValueError(
                f"expected no names of columns with a sparse matrix, which has none, found {wanted}"
            )
        return _of_entries(source, scale)
    if isinstance(source, tuple):
        if len(source) not in (3, 4):
            expected = "expected (users, items, ratings) or (users, items, ratings, timestamps)"
            raise RatingsError(f"{expected}, found a tuple of {len(source)}")
        source = dict(zip(POSITIONS, source, strict=False))
    try:
        table = source if isinstance(source, Frame) else open_table(source, expected=EXPECTED)
    except OSError as error:
        raise RatingsError(f"{source}: expected a file of ratings, found: {error.strerror}") from error
    if isinstance(table, Text) and not text_ids:
        numbers = table.numbers(roles_of(table, wanted))
        ratings = None if numbers is None else ratings_of_numbers(numbers, scale)
        if ratings is not None:
            return ratings
    columns = read_columns(table, wanted, text_ids=text_ids)
    return ratings_from(columns.roles, scale, table.name, columns.place)


def _of_query(address: Any, query: str) -> Any:
    """Return what a query finds, as a table with the name "query" in errors."""
    from .database import frame_of_query
    from .tables import frame_of

    return replace(frame_of(frame_of_query(address, query)), name="query")


def _of_entries(matrix: Any, scale: tuple[float, float] | None) -> Ratings:
    """Return ratings from the stored entries of a sparse matrix, except zeros that pad the blocks of BSR."""
    if matrix.ndim != 2:
        raise RatingsError(
            f"sparse matrix: expected rows of users, columns of items, found {matrix.ndim} axes"
        )
    entries = matrix.tocsr() if matrix.format == "bsr" else matrix
    if matrix.format == "bsr":
        entries.eliminate_zeros()
    entries = entries.tocoo()
    columns = {"user": entries.row, "item": entries.col, "rating": entries.data}
    return ratings_from(
        columns,
        scale,
        "sparse matrix",
        lambda n: f"sparse matrix, row {entries.row[n]}, column {entries.col[n]}",
    )
