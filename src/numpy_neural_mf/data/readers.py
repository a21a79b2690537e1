"""Ratings from a file or a data frame, told by its content, with its faults told by their line."""

from __future__ import annotations

import logging
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl

from .column_cache import identity_of, load_columns, save_columns, store_path
from .columns import RatingsError, as_series
from .delimited import read_delimited
from .ratings import Ratings

logger = logging.getLogger(__name__)

# Names in common use, MovieLens' first; compared in lower case, without spaces, "_", "-" and ".".
USUAL = {"user": "user_id", "item": "item_id", "rating": "rating"}
NAMES = {
    "user": ("userid", "user", "uid", "reviewerid", "customerid"),
    "item": ("movieid", "itemid", "item", "iid", "movie", "productid", "product", "bookid", "asin", "isbn"),
    "rating": ("rating", "ratings", "score", "stars", "value", "overall", "bookrating"),
    "timestamp": ("timestamp", "time", "ts", "unixreviewtime", "unixtime", "datetime", "date"),
}


# Where the ratings are in the folder of a MovieLens set.
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
    cache: bool | str | os.PathLike[str] = False,
) -> Ratings:
    """Read ratings from a file or a data frame.

    A file may be Parquet, or UTF-8 text with a comma, semicolon, tab or ``::`` between the fields:
    MovieLens' ``ratings.csv``, ``ratings.dat``, ``u.data`` and their like. The content decides, not
    the name. A first line whose third field is a number is no header: the columns are then user, item,
    rating and, if there is a fourth, timestamp. Further columns are ignored, and so are blank lines.

    Ids in a text file are integers if all of the column are 64-bit integers, otherwise strings. Where a
    user rated an item more than once the last rating counts (see `Ratings.from_columns`).

    Parameters
    ----------
    source : str, path, or data frame (polars, pandas, Arrow, or a dict of columns)
        Or the folder of a MovieLens set, with ``ratings.csv``, ``ratings.dat`` or ``u.data``.
    user, item, rating, timestamp : str, optional
        Names of the columns, where they are not among the usual ones (``userId``, ``item_id``, ``score``,
        …, in any case). A timestamp is optional.
    scale : (float, float), optional
        Lowest and highest rating possible; by default found (see `Ratings.from_columns`).
    timestamps : bool, default True
        Whether to keep them, where there are any: they are 8 of the 20 bytes of a rating.
    cache : bool or path, default False
        Keep the columns of a file in another one beside it, ``ratings.csv.columns``, or in this folder. The
        next time they are mapped from there at once, read-only, unless the file has changed since or the
        copy is not whole; then it is written anew. Where it cannot be written, that is logged.

    Returns
    -------
    Ratings

    Raises
    ------
    RatingsError
        If the file cannot be read, lacks a column or has a bad value. The message names the file, the
        line (the row for Parquet and data frames), what was expected and what was found.
    """
    wanted = {"user": user, "item": item, "rating": rating, "timestamp": timestamp}
    if not isinstance(source, str | os.PathLike):
        ratings = _from_frame(source, wanted, scale)
    elif cache is False:
        ratings = _from_file(_file_of(Path(source)), wanted, scale)
    else:
        folder = None if cache is True else Path(cache)
        ratings = _cached(_file_of(Path(source)), folder, wanted, scale)
    return ratings if timestamps else replace(ratings, timestamps=None)


def _cached(
    path: Path, folder: Path | None, wanted: dict[str, str | None], scale: tuple[float, float] | None
) -> Ratings:
    try:
        identity = identity_of(path, {**wanted, "scale": scale})
    except OSError:
        return _from_file(path, wanted, scale)  # which says what is wrong
    copy = store_path(path, folder)
    ratings = load_columns(copy, identity)
    if ratings is None:
        ratings = _from_file(path, wanted, scale)
        try:
            save_columns(copy, ratings, identity)
        except OSError as error:
            logger.warning("%s was not written: %s", copy, error.strerror)
    return ratings


def _file_of(path: Path) -> Path:
    """The path itself, or the file of ratings in the folder that it is."""
    if path.is_dir():
        found = ratings_file(path)
        if found is None:
            raise RatingsError(f"{path}: expected a file of ratings, found a folder without any of "
                               f"{', '.join(RATINGS_FILES)}")  # fmt: skip
        return found
    return path


def _from_file(path: Path, wanted: dict[str, str | None], scale: tuple[float, float] | None) -> Ratings:
    head = _head(path)
    if head.startswith(b"PAR1"):
        return _from_parquet(path, wanted, scale)
    return read_delimited(path, head, lambda names: chosen_columns(names, wanted, path.name), scale)


def ratings_file(folder: Path) -> Path | None:
    """The file of ratings in the folder of a MovieLens set, if there is one."""
    return next((folder / name for name in RATINGS_FILES if (folder / name).is_file()), None)


def chosen_columns(names: list[str], wanted: dict[str, str | None], source: str) -> dict[str, str]:
    """Role (user, item, rating, timestamp) → the column of that role; only a timestamp may be absent."""
    chosen = {}
    for role, name in wanted.items():
        if name is not None:
            if name not in names:
                raise RatingsError(f"{source}: expected a column {name!r} as {role}, found {_listed(names)}")
            chosen[role] = name
            continue
        found = [column for known in NAMES[role] for column in names if _plain(column) == known]
        if found:
            chosen[role] = found[0]
        elif role != "timestamp":
            raise RatingsError(
                f"{source}: expected a column of {role}s, such as {USUAL[role]!r}, found {_listed(names)}"
                f'; name it: read_ratings(..., {role}="...")'
            )
    return chosen


def _from_frame(frame: Any, wanted: dict[str, str | None], scale: tuple[float, float] | None) -> Ratings:
    if isinstance(frame, pl.LazyFrame):
        frame = frame.collect()
    # Polars converts a pandas frame only where pyarrow is installed; its columns are arrays anyway.
    if not isinstance(frame, pl.DataFrame) and type(frame).__module__.partition(".")[0] != "pandas":
        try:
            frame = pl.DataFrame(frame)
        except (TypeError, ValueError, pl.exceptions.PolarsError) as error:
            raise RatingsError(f"expected a path or a data frame, found {type(frame).__name__}") from error
    names = {str(name): name for name in frame.columns}
    chosen = chosen_columns(list(names), wanted, "data frame")
    return _from_columns({role: frame[names[name]] for role, name in chosen.items()}, scale, "data frame")


def _from_parquet(path: Path, wanted: dict[str, str | None], scale: tuple[float, float] | None) -> Ratings:
    try:
        names = chosen_columns(list(pl.read_parquet_schema(path)), wanted, path.name)
        frame = pl.read_parquet(path, columns=list(dict.fromkeys(names.values())), glob=False)
    except pl.exceptions.PolarsError as error:
        reason = str(error).partition("\n")[0]
        raise RatingsError(f"{path.name}: expected a whole Parquet file, found: {reason}") from error
    return _from_columns({role: frame[name] for role, name in names.items()}, scale, path.name)


def _from_columns(columns: dict[str, Any], scale: tuple[float, float] | None, source: str) -> Ratings:
    series = {role: as_series(column) for role, column in columns.items()}
    return Ratings.from_columns(
        series["user"], series["item"], series["rating"], series.get("timestamp"), scale, source
    )


def _head(path: Path) -> bytes:
    """The first 64 KiB, enough to tell what the file is."""
    try:
        with path.open("rb") as file:
            head = file.read(1 << 16)
    except OSError as error:
        raise RatingsError(f"{path}: expected a file of ratings, found: {error.strerror}") from error
    if not head.strip(b"\xef\xbb\xbf \t\r\n"):
        raise RatingsError(f"{path.name}: expected ratings, found an empty file")
    return head


def _plain(name: str) -> str:
    return "".join(character for character in name.lower() if character not in " _-.")


def _listed(names: list[str]) -> str:
    return "the columns " + ", ".join(repr(name) for name in names) if names else "no columns"
