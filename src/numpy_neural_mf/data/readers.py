"""Ratings from a file or a data frame; the content decides what it is, and a fault is named by its line.

What reads tables is imported where a table is read: it needs polars.
"""

import logging
import os
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

from .column_cache import identity_of, load_columns, save_columns, store_path
from .faults import RatingsError
from .from_columns import ratings_from, ratings_of_numbers, warn_of_dropped
from .ratings import Ratings

logger = logging.getLogger(__name__)

# Where the ratings are in the folder of a data set.
RATINGS_FILES = ("ratings.csv", "ratings.dat", "u.data")


def read_ratings(
    source: Any,
    *,
    user: str | None = None,
    item: str | None = None,
    rating: str | None = None,
    timestamp: str | None = None,
    scale: tuple[float, float] | None = None,
    timestamps: bool = True,
    text_ids: bool | Collection[str] = False,
    cache: bool | str | os.PathLike[str] = False,
) -> Ratings:
    """Read ratings from a file or a data frame; a setting that is impossible is a ValueError.

    A file may be Parquet, Feather, or UTF-8 text, plain or compressed by gzip, with a comma, semicolon, tab,
    "|" or "::" between the fields. The content decides, not the name. A first line whose third field is a
    number is no header: the columns are then user, item, rating and, if there is a fourth, timestamp. Other
    columns are not looked at, and blank lines are skipped. A line with more or fewer fields than the first is
    an error.

    Ids in a text file are integers if all of the column are 64-bit integers, otherwise strings without the
    spaces around them. Ids that are written differently are never one: leading zeros, as in 007, make all of
    the column strings, and so do 1 and 1.0 in one column. Where a user rated an item more than once the last
    rating counts (see `Ratings.from_columns`); a UserWarning says if most rows are left out.

    Parameters
    ----------
    source : str, path, or data frame (polars, pandas, Arrow, or a dict of columns)
        Or the folder of a data set, with ``ratings.csv``, ``ratings.dat`` or ``u.data``.
    user, item, rating, timestamp : str, optional
        Names of the columns, where they are not among the usual ones (``userId``, ``item_id``, ``score``,
        …, in any case). A timestamp is optional.
    scale : (float, float), optional, lowest and highest rating possible; else as in `Ratings.from_columns`
    timestamps : bool, default True
        Whether to keep them, 8 of the 20 bytes of a rating. If False, a column that is found by its usual
        name, such as "date", need not be one of times.
    text_ids : bool or collection of {"user", "item"}, default False
        Keep all ids, or those of users or of items, as strings, as has a model that is given new ratings.
    cache : bool or path, default False
        Keep the columns of a file in another one next to it, ``ratings.csv.columns``, or in this folder. The
        next time they are mapped from there at once, read-only, unless the file has changed since or the
        copy is not whole; then it is written again. Where it cannot be written, that is logged.

    Raises
    ------
    RatingsError
        The file cannot be read, lacks a column or has a bad value. The message names the file, the line (the
        row for Parquet and data frames), what was expected and what was found, in at most 300 characters.
    """
    from .tables import path_of

    text_ids = text_ids if isinstance(text_ids, bool) else sorted(text_ids)
    if not isinstance(text_ids, bool) and not set(text_ids) <= {"user", "item"}:
        raise ValueError(f'text_ids: expected a bool, or of "user" and "item", found {text_ids}')
    if isinstance(source, str | os.PathLike):
        source = path_of(source)
        if source.is_dir():
            expected = f"{source}: expected a file of ratings"
            source = ratings_file(source)
            if source is None:
                raise RatingsError(f"{expected}, found a folder without any of {', '.join(RATINGS_FILES)}")

    def read(**wanted: str | None) -> Ratings:
        settings = wanted, scale, text_ids
        if cache is False or not isinstance(source, Path):
            return _parsed(source, *settings)
        return _cached(source, None if cache is True else Path(cache), *settings)

    try:
        # Even without timestamps, since which of two ratings is the last is known from the times.
        ratings = read(user=user, item=item, rating=rating, timestamp=timestamp)
    except RatingsError:
        if timestamps or timestamp is not None:
            raise
        ratings = read(user=user, item=item, rating=rating)
    warn_of_dropped(ratings)
    return ratings if timestamps else replace(ratings, timestamps=None)


def ratings_file(folder: Path) -> Path | None:
    """The file of ratings in the folder of a data set, if there is one."""
    return next((folder / name for name in RATINGS_FILES if (folder / name).is_file()), None)


def _cached(path: Path, folder: Path | None, *settings: Any) -> Ratings:
    wanted, scale, text_ids = settings
    try:
        identity = identity_of(path, {**wanted, "scale": scale, "text_ids": text_ids})
    except OSError:
        return _parsed(path, *settings)  # which says what is wrong
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
    from .tables import open_table, read_columns, roles_of

    try:
        table = open_table(source)
    except OSError as error:
        raise RatingsError(f"{source}: expected a file of ratings, found: {error.strerror}") from error
    if isinstance(table, Text) and not text_ids:
        numbers = table.numbers(roles_of(table, wanted))
        ratings = None if numbers is None else ratings_of_numbers(numbers, scale)
        if ratings is not None:
            return ratings
    columns = read_columns(table, wanted, text_ids=text_ids)
    return ratings_from(columns.roles, scale, table.name, columns.place)
