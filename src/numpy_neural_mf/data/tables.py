"""One reader for every table: ratings, pairs, features and titles, from a file or a data frame, by name."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from .delimited import Place, Text
from .delimiter import HEAD, open_text
from .faults import RatingsError, listed, shortened
from .raw_values import as_series, as_text, whole_or_text

# Names in common use, MovieLens' first; compared in lower case, without spaces, "_", "-" and ".".
NAMES = {
    "user": ("userid", "user", "uid", "reviewerid", "customerid"),
    "item": ("movieid", "itemid", "item", "iid", "movie", "productid", "product", "bookid", "asin", "isbn"),
    "rating": ("rating", "ratings", "score", "stars", "value", "overall", "bookrating"),
    "timestamp": ("timestamp", "time", "ts", "unixreviewtime", "unixtime", "datetime", "date"),
    "title": ("title", "name", "movietitle", "itemtitle", "itemname", "booktitle"),
}
USUAL = {"user": "user_id", "item": "item_id", "rating": "rating", "title": "title"}
IDS = ("user", "item")
# What the columns of a file without a header are, unless there are as many as are asked for.
POSITIONS = ("user", "item", "rating", "timestamp")
OPTIONAL = "timestamp"


@dataclass(frozen=True)
class Columns:
    """Columns of a table, read.

    Attributes
    ----------
    source : str
        What to call the table in errors.
    roles : dict of str to column
        The columns of the roles that were asked for. Those of text files are text, ids apart.
    frame : dict of str to column
        All columns by name, if they were asked for; those of text files as they are written.
    place : callable
        Where a row, counted from 0, is: "ratings.csv, line 3".
    """

    source: str
    roles: dict[str, Any]
    frame: dict[str, Any]
    place: Place


@dataclass(frozen=True)
class Frame:
    """A data frame, or a Parquet file of which only the columns that are asked for are read."""

    name: str
    source: Any
    has_header: bool = True

    def names(self) -> list[str]:
        if not isinstance(self.source, Path):
            return [str(name) for name in self._columns()]
        try:
            return list(pl.read_parquet_schema(self.source))
        except pl.exceptions.PolarsError as error:
            raise self._not_whole(error) from error

    def read(self, names: list[str], whole: bool = False) -> tuple[dict[str, Any], Place]:
        if isinstance(self.source, Path):
            try:
                columns = pl.read_parquet(self.source, columns=names, glob=False).to_dict()
            except pl.exceptions.PolarsError as error:
                raise self._not_whole(error) from error
        else:
            by_name = {str(name): name for name in self._columns()}
            columns = {name: self.source[by_name[name]] for name in names}
        return columns, lambda row: f"{self.name}, row {row + 1}"

    def _columns(self) -> list[Any]:
        return list(self.source if isinstance(self.source, dict) else self.source.columns)

    def _not_whole(self, error: Exception) -> RatingsError:
        reason = str(error).partition("\n")[0]
        return RatingsError(f"{self.name}: expected a whole Parquet file, found: {reason}")


def open_table(source: Any, header: bool | None = None) -> Text | Frame:
    """A table by its content, not by its name.

    Parameters
    ----------
    source : path, or data frame (polars, pandas, Arrow, or a dict of columns)
        A file is Parquet, or UTF-8 text, plain or compressed by gzip, with a comma, semicolon, tab, "|" or
        "::" between the fields.
    header : bool, optional
        Whether a text file has one; by default found.

    Raises
    ------
    RatingsError
        It is neither a path nor a data frame, or the file is empty or not text.
    OSError
        The file cannot be read.
    """
    if isinstance(source, str | os.PathLike):
        path = Path(source)
        with path.open("rb") as file:
            head = file.read(HEAD)
        return Frame(path.name, path) if head.startswith(b"PAR1") else open_text(path, head, header)
    return frame_of(source, "a path or a data frame")


def frame_of(source: Any, expected: str = "a data frame") -> Frame:
    """A data frame of any library, or a dict of columns, as a table."""
    if isinstance(source, pl.LazyFrame):
        source = source.collect()
    # Polars converts a pandas frame only where pyarrow is installed; its columns are arrays anyway.
    is_known = isinstance(source, dict | pl.DataFrame)
    if not is_known and type(source).__module__.partition(".")[0] != "pandas":
        try:
            source = pl.DataFrame(source)
        except (TypeError, ValueError, pl.exceptions.PolarsError) as error:
            raise RatingsError(f"expected {expected}, found {type(source).__name__}") from error
    return Frame("data frame", _with_lengths(source) if isinstance(source, dict) else source)


def _with_lengths(columns: dict[Any, Any]) -> dict[Any, Any]:
    """The same columns, with what is iterated over once as a list, and one value for all rows repeated."""
    columns = {name: list(one) if isinstance(one, Iterator) else one for name, one in columns.items()}
    is_one = {name: isinstance(one, str) or not hasattr(one, "__len__") for name, one in columns.items()}
    n = max((len(one) for name, one in columns.items() if not is_one[name]), default=1)
    return {name: [one] * n if is_one[name] else one for name, one in columns.items()}


def read_columns(
    table: Text | Frame,
    wanted: Mapping[str, str | None],
    *,
    text_ids: bool | Collection[str] = False,
    whole: bool = False,
) -> Columns:
    """The columns of some roles of a table.

    Parameters
    ----------
    table : Text or Frame
        See `open_table`.
    wanted : dict of str to str or None
        Role ("user", "item", "rating", "timestamp", "title") to the name of its column, or None for the usual
        ones. Only a timestamp may be absent.
    text_ids : bool or collection of str, default False
        Keep ids as text, all or those of these roles. Otherwise those of a text file are integers if all are
        (see `whole_or_text`), and those of a data frame what they are.
    whole : bool, default False
        Read all columns, too.

    Raises
    ------
    RatingsError
        A column is not there, or the file is malformed.
    """
    roles = roles_of(table, wanted)
    # A column of no role is not looked at, so that nothing in it stops the read.
    names = table.names() if whole else list(dict.fromkeys(roles.values()))
    frame, place = table.read(names, whole)
    by_role = {role: frame[name] for role, name in roles.items()}
    for role in set(by_role).intersection(IDS):
        is_text = text_ids is True or (text_ids is not False and role in text_ids)
        if is_text:
            by_role[role] = as_text(as_series(by_role[role]))
        if isinstance(table, Text):
            ids = by_role[role]
            by_role[role] = ids.str.strip_chars() if is_text else whole_or_text(ids)
    return Columns(table.name, by_role, {name: frame[name] for name in names} if whole else {}, place)


def roles_of(table: Text | Frame, wanted: Mapping[str, str | None]) -> dict[str, str]:
    """Role to the name of its column; columns without a header have the order of `POSITIONS`."""
    names = table.names()
    if table.has_header:
        return chosen_columns(names, wanted, table.name)
    required = [role for role in wanted if role != OPTIONAL]
    named = dict(zip(required if len(names) == len(required) else POSITIONS, names, strict=False))
    return {role: named[name] for role, name in chosen_columns(list(named), wanted, table.name).items()}


def chosen_columns(names: list[str], wanted: Mapping[str, str | None], source: str) -> dict[str, str]:
    """Role to the column of that role; only a timestamp may be absent."""
    chosen = {}
    for role, name in wanted.items():
        if name is not None:
            if name not in names:
                asked = f"expected a column {shortened(name)!r} as {role}"
                raise RatingsError(f"{source}: {asked}, found {listed(names)}")
            chosen[role] = name
            continue
        found = named_as(names, NAMES[role])
        if found:
            chosen[role] = found[0]
        elif role != OPTIONAL:
            raise RatingsError(
                f"{source}: expected a column of {role}s, such as {USUAL[role]!r}, found {listed(names)}"
                f"; the name of another can be given as {role}"
            )
    return chosen


def named_as(names: Iterable[str], known: Iterable[str]) -> list[str]:
    """Those of the names that are known, the best known first."""
    return [name for one in known for name in names if _plain(name) == one]


def _plain(name: str) -> str:
    return "".join(character for character in name.lower() if character not in " _-.")
