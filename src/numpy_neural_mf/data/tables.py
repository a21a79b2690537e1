"""One reader for every table: ratings, pairs, features and titles, from a file or a data frame, by name."""

import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from .delimited import HEAD, Place, Text, open_text
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
# What the columns of a file without a header are, unless there are as many as are asked for.
POSITIONS = ("user", "item", "rating", "timestamp")
OPTIONAL = "timestamp"


@dataclass(frozen=True)
class Columns:
    """Columns of a table, by role and, if asked for, all by name; of text files text, but for ids by role.

    `source` is what errors call the table, `place` where row n, from 0, is: "ratings.csv, line 3".
    """

    source: str
    roles: dict[str, Any]
    frame: dict[str, Any]
    place: Place


@dataclass(frozen=True)
class Frame:
    """The columns of a data frame, or a Parquet file of which only those that are asked for are read."""

    name: str
    source: dict[str, Any] | Path
    has_header: bool = True

    def names(self) -> list[str]:
        return list(self.source if isinstance(self.source, dict) else self._parquet(pl.read_parquet_schema))

    def read(self, names: list[str], whole: bool = False) -> tuple[dict[str, Any], Place]:
        columns = self.source
        if isinstance(columns, Path):
            columns = self._parquet(pl.read_parquet, columns=names, glob=False).to_dict()
        return {name: columns[name] for name in names}, lambda row: f"{self.name}, row {row + 1}"

    def _parquet(self, reader: Callable[..., Any], **settings: Any) -> Any:
        try:
            return reader(self.source, **settings)
        except pl.exceptions.PolarsError as error:
            reason = str(error).partition("\n")[0]
            raise RatingsError(f"{self.name}: expected a whole Parquet file, found: {reason}") from error


def open_table(source: Any, header: bool | None = None) -> Text | Frame:
    """A path (see `read_ratings`) or data frame as a table; `header` says whether text has one, if known.

    RatingsError for neither, an empty file or one that is not text, OSError for one that cannot be read.
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
    if not isinstance(source, dict) and type(source).__module__.partition(".")[0] != "pandas":
        try:
            source = pl.DataFrame(source).to_dict()
        except (TypeError, ValueError, pl.exceptions.PolarsError) as error:
            raise RatingsError(f"expected {expected}, found {type(source).__name__}") from error
    columns = {str(name): source[name] for name in source}
    # What is iterated over once becomes a list, and one value is repeated for all rows.
    columns = {name: list(one) if isinstance(one, Iterator) else one for name, one in columns.items()}
    is_one = {name: isinstance(one, str) or not hasattr(one, "__len__") for name, one in columns.items()}
    n = max((len(one) for name, one in columns.items() if not is_one[name]), default=1)
    return Frame("data frame", {name: [one] * n if is_one[name] else one for name, one in columns.items()})


def read_columns(
    table: Text | Frame,
    wanted: Mapping[str, str | None],
    *,
    text_ids: bool | Collection[str] = False,
    whole: bool = False,
) -> Columns:
    """The columns of some roles of a table, or if `whole` all columns, too.

    `wanted` maps a role to the name of its column, or to None for the usual ones; only a timestamp may be
    absent. `text_ids` keeps ids, of all or some roles, as text; else those of text files are `whole_or_text`.
    """
    roles = roles_of(table, wanted)
    # A column of no role is not looked at, so that nothing in it stops the read.
    names = table.names() if whole else list(dict.fromkeys(roles.values()))
    frame, place = table.read(names, whole)
    by_role = {role: frame[name] for role, name in roles.items()}
    for role in {"user", "item"}.intersection(by_role):
        is_text = text_ids if isinstance(text_ids, bool) else role in text_ids
        if is_text:
            by_role[role] = as_text(as_series(by_role[role]))
        if isinstance(table, Text):
            ids = by_role[role]
            by_role[role] = ids.str.strip_chars() if is_text else whole_or_text(ids)
    return Columns(table.name, by_role, {name: frame[name] for name in names} if whole else {}, place)


def roles_of(table: Text | Frame, wanted: Mapping[str, str | None]) -> dict[str, str]:
    """Role to the name of its column; columns without a header have the order of `POSITIONS`."""
    names = table.names()
    named = {name: name for name in names}
    if not table.has_header:
        required = [role for role in wanted if role != OPTIONAL]
        named = dict(zip(required if len(names) == len(required) else POSITIONS, names, strict=False))
    chosen = {}
    for role, name in wanted.items():
        if name is not None:
            if name not in named:
                asked = f"expected a column {shortened(name)!r} as {role}"
                raise RatingsError(f"{table.name}: {asked}, found {listed(named)}")
            chosen[role] = named[name]
        elif found := named_as(named, NAMES[role]):
            chosen[role] = named[found[0]]
        elif role != OPTIONAL:
            raise RatingsError(
                f"{table.name}: expected a column of {role}s, such as {USUAL[role]!r}, found {listed(named)}"
                f"; the name of another can be given as {role}"
            )
    return chosen


def named_as(names: Iterable[str], known: Iterable[str]) -> list[str]:
    """Those of the names that are known, the best known first."""
    plain = {name: "".join(one for one in name.lower() if one not in " _-.") for name in names}
    return [name for one in known for name in plain if plain[name] == one]
