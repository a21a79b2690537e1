"""Delimited text into ratings: typed and fast when all is well, line by line to say what is not."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from .columns import RatingsError
from .prefetch import one_ahead
from .ratings import Ratings, ratings_from, ratings_of_numbers

FAST_TYPES = {"user": pl.Int64, "item": pl.Int64, "rating": pl.Float32, "timestamp": pl.Int64}
BOM = b"\xef\xbb\xbf"
# Bytes parsed at a time where the file is nothing but numbers.
PIECE = 2**24
# Stands for "::" in memory, as polars and csv want one character between fields.
UNIT = "\x1f"


@dataclass(frozen=True)
class Text:
    """A text file, what stands between its fields, and whether its first line names them."""

    path: Path
    delimiter: str
    has_header: bool

    def scan(self, types: dict[str, type[pl.DataType]] | None = None) -> pl.LazyFrame:
        """All columns, as text but for those in `types`; what a short row or a blank line lacks is null."""
        return pl.scan_csv(
            self.path.read_bytes().replace(b"::", UNIT.encode()) if self.delimiter == UNIT else self.path,
            separator=self.delimiter,
            has_header=self.has_header,
            infer_schema=False,
            schema_overrides=types,
            truncate_ragged_lines=True,
            glob=False,
        )

    def pieces(self) -> Iterator[bytes]:
        """Whole lines below the header, some `PIECE` bytes at a time."""
        with self.path.open("rb") as file:
            if file.read(len(BOM)) != BOM:
                file.seek(0)
            while self.has_header and not file.readline().strip():
                pass
            while piece := file.read(PIECE):
                yield piece if piece.endswith(b"\n") else piece + file.readline()

    def line_of(self, row: int) -> int | None:
        """The line, from 1, on which a row of `scan` begins; None where the csv module loses track."""
        with self.path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
            lines = (line.replace("::", UNIT) for line in file) if self.delimiter == UNIT else file
            reader = csv.reader(lines, delimiter=self.delimiter)
            try:
                # Above the header blank lines are skipped, below it they are rows.
                while self.has_header and not next(reader):
                    pass
                for _ in range(row):
                    next(reader)
            except (StopIteration, csv.Error):
                return None
            return reader.line_num + 1


def read_delimited(
    path: Path,
    head: bytes,
    choose: Callable[[list[str]], dict[str, str]],
    scale: tuple[float, float] | None,
) -> Ratings:
    """Ratings from a text file that begins with `head`; `choose` maps roles to the names of columns."""
    text = text_of(path, head)
    try:
        names = text.scan().collect_schema().names()
        roles = _roles(text, names, choose)
        columns = _plain_numbers(text, names, roles)
        if columns is not None:
            ratings = ratings_of_numbers(columns, scale)
            if ratings is not None:
                return ratings
        frame = _role_columns(text, roles)
    except pl.exceptions.PolarsError as error:
        raise RatingsError(_what_is_malformed(path, str(error), text.delimiter)) from error

    is_blank = frame.select(pl.all_horizontal(pl.all().is_null())).to_series()
    rows = (~is_blank).arg_true() if is_blank.any() else None
    frame = frame if rows is None else frame[rows]
    if frame.is_empty():
        raise RatingsError(f"{path.name}: expected ratings, found only a header")

    def place(row: int) -> str:
        record = row if rows is None else int(rows[row])
        line = text.line_of(record)
        return f"{path.name}, row {record + 1}" if line is None else f"{path.name}, line {line}"

    timestamps = frame["timestamp"] if "timestamp" in frame.columns else None
    return ratings_from(frame["user"], frame["item"], frame["rating"], timestamps, scale, path.name, place)


def text_of(path: Path, head: bytes) -> Text:
    """Delimiter and header of a text file, from its first line that is not blank."""
    if b"\x00" in head:
        raise RatingsError(f"{path.name}: expected UTF-8 text or Parquet, found binary data")
    first = next(line for line in head.removeprefix(BOM).splitlines() if line.strip())
    try:
        # The head may end within a character, which then is no fault of the file.
        line = first.decode("utf-8", errors="ignore" if head.endswith(first) else "strict")
    except UnicodeDecodeError as error:
        raise RatingsError(_what_is_malformed(path, str(error))) from error
    divided = {delimiter: _fields(line, delimiter) for delimiter in ",;\t"}
    divided[UNIT] = _fields(line.replace("::", UNIT), UNIT)
    delimiter = max(divided, key=lambda delimiter: len(divided[delimiter]))
    fields = divided[delimiter]
    return Text(path, delimiter, has_header=len(fields) < 3 or not _is_number(fields[2]))


def _roles(text: Text, names: list[str], choose: Callable[[list[str]], dict[str, str]]) -> dict[str, str]:
    """Role to the name of its column; columns without a header have the order of the roles."""
    if text.has_header:
        return choose(names)
    named = dict(zip(FAST_TYPES, names, strict=False))
    return {role: named[name] for role, name in choose(list(named)).items()}


def _plain_numbers(text: Text, names: list[str], roles: dict[str, str]) -> dict[str, NDArray[Any]] | None:
    """An array for each role: int32 ids, int64 if they must, float32 ratings and int64 timestamps.

    None where something is quoted, missing or no number. The file is parsed piece by piece, so that memory
    holds the arrays and little more.
    """
    if len(set(roles.values())) < len(roles):  # one column in two roles has no one type
        return None
    for id_type in (np.int32, np.int64):
        types = {"user": id_type, "item": id_type, "rating": np.float32, "timestamp": np.int64}
        columns = {role: np.empty(0, types[role]) for role in roles}
        try:
            return columns if _fill(columns, text, names, roles) else None
        except pl.exceptions.PolarsError:
            continue
    return None


def _fill(columns: dict[str, NDArray[Any]], text: Text, names: list[str], roles: dict[str, str]) -> bool:
    """Put the numbers of a file into arrays, which grow; False where something is quoted or missing."""
    polars_types = {np.int32: pl.Int32, np.int64: pl.Int64, np.float32: pl.Float32}
    types = {name: polars_types[columns[role].dtype.type] for role, name in roles.items()}
    schema = dict.fromkeys(names, pl.String) | types
    indices = sorted({names.index(name) for name in roles.values()})

    def parsed() -> Iterator[tuple[int, pl.DataFrame | None]]:
        for piece in text.pieces():
            if b'"' in piece:
                yield 0, None
                return
            lines = piece.replace(b"::", UNIT.encode()) if text.delimiter == UNIT else piece
            yield len(piece), pl.read_csv(lines, separator=text.delimiter, has_header=False, schema=schema,
                                          columns=indices, truncate_ragged_lines=True)  # fmt: skip

    n, n_bytes, size = 0, 0, text.path.stat().st_size
    for n_more_bytes, frame in one_ahead(parsed()):
        if frame is None:
            return False
        n_bytes += n_more_bytes
        for role, name in roles.items():
            series, column = frame[name], columns[role]
            if series.has_nulls() or series.dtype != types[name]:
                return False
            if n + len(frame) > len(column):  # as many lines to a byte as so far, and some more
                expected = int(1.01 * (n + len(frame)) * size / n_bytes)
                column.resize(max(n + len(frame), expected), refcheck=False)
            column[n : n + len(frame)] = series.to_numpy()
        n += len(frame)
    for column in columns.values():
        column.resize(n, refcheck=False)
    return n > 0


def _role_columns(text: Text, roles: dict[str, str]) -> pl.DataFrame:
    """One column for each role, typed if every value allows it, otherwise as text but for whole ids."""
    columns = [pl.col(name).alias(role) for role, name in roles.items()]
    try:
        types: dict[str, type[pl.DataType]] = {name: FAST_TYPES[role] for role, name in roles.items()}
        return text.scan(types).select(columns).collect()
    except pl.exceptions.ComputeError:
        frame = text.scan().select(columns).collect()
        return frame.with_columns(_whole_or_text(frame["user"]), _whole_or_text(frame["item"]))


def _whole_or_text(ids: pl.Series) -> pl.Series:
    whole = ids.str.strip_chars().cast(pl.Int64, strict=False)
    return whole if whole.null_count() == ids.null_count() else ids


def _what_is_malformed(path: Path, reason: str, delimiter: str = ",") -> str:
    """The first line that is not UTF-8 or is quoted wrongly; `reason` if there is none."""
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError as error:
                byte = line[error.start]
                return f"{path.name}, line {number}: expected UTF-8 text, found the byte 0x{byte:02x}"
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if line.count(b'"') % 2:
                return f"{path.name}, line {number}: expected quotes in pairs, found one without its other"
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, delimiter=delimiter, strict=True)
        try:
            for _ in reader:
                pass
        except csv.Error as error:
            return f"{path.name}, line {reader.line_num}: expected quotes around whole fields, found: {error}"
    return f"{path.name}: expected delimited text, found: {reason.partition(chr(10))[0]}"


def _fields(line: str, delimiter: str) -> list[str]:
    return next(csv.reader([line], delimiter=delimiter), [])


def _is_number(field: str) -> bool:
    try:
        float(field)
    except ValueError:
        return False
    return True
