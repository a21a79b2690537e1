"""Reading tables of ratings, pairs, features and titles, from files or data frames, by column names."""

import os
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from ..utils.shortened import shortened
from .delimited import UNREADABLE, Place, Text
from .faults import RatingsError, listed
from .limits import MOST, most_unpacked
from .raw_values import as_series, as_text, whole_or_text
from .text_format import HEAD, open_text

# Usual column names, MovieLens' first, compared in lower case, without spaces, "_", "-" and ".".
NAMES = {
    "user": ("userid", "user", "uid", "reviewerid", "customerid"),
    "item": ("movieid", "itemid", "item", "iid", "movie", "productid", "product", "bookid", "asin", "isbn"),
    "rating": ("rating", "ratings", "score", "stars", "value", "overall", "bookrating"),
    "timestamp": ("timestamp", "time", "ts", "unixreviewtime", "unixtime", "datetime", "date"),
    "title": ("title", "name", "movietitle", "itemtitle", "itemname", "booktitle"),
}
USUAL = {"user": "user_id", "item": "item_id", "rating": "rating", "title": "title"}
# Roles of the columns of a file without a header, unless it has exactly the required columns.
POSITIONS = ("user", "item", "rating", "timestamp")
OPTIONAL = "timestamp"
# With more columns than this, a file without a header is taken for a matrix of ratings.
MOST_POSITIONS = 8
MATRIX = (
    "a matrix becomes ratings by polars.read_csv(path).unpivot(index='user', variable_name='item', "
    "value_name='rating').drop_nulls()"
)
# First bytes of binary table files, and the functions that read column names, length and columns.
BINARY = {b"PAR1": "Parquet", b"ARROW1": "Feather"}
READERS: dict[str, tuple[Callable[..., Any], Callable[..., Any], Callable[..., Any]]] = {
    "Parquet": (pl.read_parquet_schema, pl.scan_parquet, pl.read_parquet),
    "Feather": (pl.read_ipc_schema, pl.scan_ipc, pl.read_ipc),
}
VALUE = 8  # bytes of a value of most columns


@dataclass(frozen=True)
class Columns:
    """Columns of a table, by role and, on request, all by name; text files have text, except ids by role.

    `source` is the table's name in errors; `place` locates row n, from 0: "ratings.csv, line 3".
    """

    source: str
    roles: dict[str, Any]
    frame: dict[str, Any]
    place: Place


@dataclass(frozen=True)
class Frame:
    """A data frame, or a Parquet or Feather file of which only the requested columns are read."""

    name: str
    source: dict[str, Any] | Path
    kind: str = "data frame"
    has_header: bool = True

    def names(self) -> list[str]:
        return list(self.source if isinstance(self.source, dict) else self._in_file(self.source))

    def read(self, names: list[str]) -> tuple[dict[str, Any], Place]:
        columns = self.source
        if isinstance(columns, Path):
            columns = self._in_file(columns, names).to_dict()
        return {name: columns[name] for name in names}, lambda row: f"{self.name}, row {row + 1}"

    def _in_file(self, path: Path, names: list[str] | None = None) -> Any:
        """Return the names of all columns, or read some columns."""
        read_names, scan, read = READERS[self.kind]
        try:
            with path.open("rb") as file:  # polars cannot open a path that is not UTF-8
                if names is None:
                    return read_names(file)
                n_rows = scan(file).select(pl.len()).collect().item()
                if n_rows * len(names) * VALUE > most_unpacked(path):
                    found = f"found {n_rows:,}, over {MOST} times as much as the file has bytes"
                    advice = f"give the frame if it is right: polars.{read.__name__}(path)"
                    raise RatingsError(f"{self.name}: expected fewer rows, {found}; {advice}")
                file.seek(0)
                return read(file, columns=names)
        except UNREADABLE as error:
            reason = str(error).partition("\n")[0]
            raise RatingsError(f"{self.name}: expected a whole {self.kind} file, found: {reason}") from error


def path_of(source: str | os.PathLike[str]) -> Path:
    """Return a path that can be opened, with ``~`` expanded; a RatingsError for a URL or a pipe."""
    text = os.fspath(source)
    if address := re.match(r"[A-Za-z][\w+.-]+://", text):  # the rest may have a password
        advice = "download the file first, or give query for a database"
        raise RatingsError(f"{address[0]}…: expected a path, found an address; {advice}")
    try:
        path = Path(text).expanduser()
        if "\0" not in text and (path.is_file() or path.is_dir() or not path.exists()):
            return path
        reason = "a pipe, a device or a NUL"
    except (OSError, RuntimeError) as error:  # the name is too long, or there is no such home folder
        reason = str(getattr(error, "strerror", error))
    raise RatingsError(f"{text}: expected the path of a file, found: {reason}")


def open_table(
    source: Any, header: bool | None = None, expected: str = "a path or a data frame"
) -> Text | Frame:
    """Open a path (see `read_ratings`) or a data frame as a table; `header`: whether text has one, if known.

    TypeError for another type than `expected`, RatingsError for a file that is empty or not text, OSError
    for one that cannot be read.
    """
    if isinstance(source, str | os.PathLike):
        path = path_of(source)
        with path.open("rb") as file:
            head = file.read(HEAD)
        kind = next((kind for start, kind in BINARY.items() if head.startswith(start)), None)
        return Frame(path.name, path, kind) if kind else open_text(path, head, header)
    if hasattr(source, "read"):
        found = f"expected {expected}, found {type(source).__name__}"
        raise TypeError(f"{found}; give the frame: polars.read_csv(it)")
    return frame_of(source, expected)


def frame_of(source: Any, expected: str = "a data frame") -> Frame:
    """Return a data frame of any library, or a mapping of columns, as a table; a TypeError otherwise."""
    if not (isinstance(source, Mapping) or _names_its_columns(source)):
        raise TypeError(f"expected {expected}, found {type(source).__name__}")
    if isinstance(source, pl.LazyFrame):
        source = source.collect()
    # Polars needs pyarrow to convert a pandas frame; its columns are arrays anyway.
    if not isinstance(source, Mapping) and type(source).__module__.partition(".")[0] != "pandas":
        try:
            source = pl.DataFrame(source).to_dict()
        except (TypeError, ValueError, *UNREADABLE) as error:
            raise TypeError(f"expected {expected}, found {type(source).__name__}") from error
    names = [str(name) for name in source]
    if len(set(names)) < len(names):
        raise RatingsError(f"data frame: expected each column once, found {listed(names)}")
    columns = {str(name): source[name] for name in source}
    # An iterator becomes a list, and a scalar is repeated for all rows.
    columns = {name: list(one) if isinstance(one, Iterator) else one for name, one in columns.items()}
    is_one = {name: isinstance(one, str) or not hasattr(one, "__len__") for name, one in columns.items()}
    n = max((len(one) for name, one in columns.items() if not is_one[name]), default=1)
    return Frame("data frame", {name: [one] * n if is_one[name] else one for name, one in columns.items()})


def _names_its_columns(source: Any) -> bool:
    """Return whether this is a frame, a NumPy array with fields, or a list of mappings."""
    is_records = isinstance(source, list) and bool(source) and isinstance(source[0], Mapping)
    has_fields = bool(getattr(getattr(source, "dtype", None), "names", None))
    return is_records or has_fields or any(hasattr(type(source), one) for one in ("columns", "schema"))


def read_columns(
    table: Text | Frame,
    wanted: Mapping[str, str | None],
    *,
    text_ids: bool | Collection[str] = False,
    whole: bool = False,
) -> Columns:
    """Read the columns of some roles of a table and, if `whole`, all columns.

    `wanted` maps a role to the name of its column, or to None for the usual names; only a timestamp may be
    absent. `text_ids` keeps ids, of all or some roles, as text; otherwise `whole_or_text` converts those of
    text files.
    """
    roles = roles_of(table, wanted)
    # Columns without a role are not read, so that their content cannot cause errors.
    names = table.names() if whole else list(dict.fromkeys(roles.values()))
    frame, place = table.read(names)
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
    """Return the column name of each role; columns without a header have the order of `POSITIONS`."""
    names = table.names()
    named = {name: name for name in names}
    if not table.has_header:
        if len(names) > MOST_POSITIONS:
            asked = f"expected the columns {', '.join(POSITIONS)}"
            raise RatingsError(f"{table.name}: {asked}, found {len(names)} without a header; {MATRIX}")
        required = [role for role in wanted if role != OPTIONAL]
        named = dict(zip(required if len(names) == len(required) else POSITIONS, names, strict=False))
    chosen = {}
    for role, given in wanted.items():
        if given is not None:
            if given not in named:
                asked = f"expected a column {shortened(given)!r} as {role}"
                raise RatingsError(f"{table.name}: {asked}, found {listed(named)}")
            chosen[role] = named[given]
        elif found := named_as(named, NAMES[role]):
            chosen[role] = named[found[0]]
        elif role != OPTIONAL:
            asked = f"expected a column of {role}s, such as {USUAL[role]!r}, found"
            if len(named) > MOST_POSITIONS and not named_as(named, NAMES["rating"]):
                raise RatingsError(f"{table.name}: {asked} {len(named)} others; {MATRIX}")
            advice = f"the name of another can be given as {role}"
            raise RatingsError(f"{table.name}: {asked} {listed(named)}; {advice}")
    for role, column in chosen.items():
        if f"{column}_duplicated_0" in names:
            raise RatingsError(
                f"{table.name}: expected one column {shortened(column)!r} as {role}, found more"
            )
    return chosen


def named_as(names: Iterable[str], known: Iterable[str]) -> list[str]:
    """Return the names that are among the known names, in the order of these."""
    plain = {name: "".join(one for one in name.lower() if one not in " _-.") for name in names}
    return [name for one in known for name in plain if plain[name] == one]
