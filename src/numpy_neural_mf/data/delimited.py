"""Delimited text: numbers in one fast pass where there is nothing else, otherwise text with its lines."""

from __future__ import annotations

import csv
import gzip
import io
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
import polars as pl
from numpy.typing import NDArray

from .columns import blocks
from .faults import RatingsError
from .prefetch import one_ahead

BOM = b"\xef\xbb\xbf"
# Bytes parsed at a time where the file is nothing but numbers.
PIECE = 2**24
# Pairs of characters compared at a time: few enough for the cache of the processor.
PAIRS = 2**17
# Stands for "::" in memory, as polars and csv want one character between fields.
UNIT = "\x1f"
NEGATIVE_ZERO = re.compile(rb"-0[^0-9.]")

Place = Callable[[int], str]


@dataclass(frozen=True)
class Text:
    """A text file, plain or compressed by gzip, what is between its fields, and whether it has a header."""

    path: Path
    delimiter: str
    has_header: bool
    is_gzip: bool = False

    @property
    def name(self) -> str:
        return self.path.name

    def open(self) -> BinaryIO:
        return cast(BinaryIO, gzip.open(self.path)) if self.is_gzip else self.path.open("rb")

    def lines(self) -> Iterator[str]:
        """Lines as the csv module wants them: with their ends, and one character between fields."""
        with io.TextIOWrapper(self.open(), encoding="utf-8-sig", errors="replace", newline="") as file:
            yield from (line.replace("::", UNIT) for line in file) if self.delimiter == UNIT else file

    def scan(self, truncate: bool = True) -> pl.LazyFrame:
        """All columns as text; what a short row lacks is null, what a long row adds is cut."""
        source: Path | bytes = self.path
        if self.is_gzip or self.delimiter == UNIT:
            with self.open() as file:
                source = file.read()
            source = source.replace(b"::", UNIT.encode()) if self.delimiter == UNIT else source
        return pl.scan_csv(
            source,
            separator=self.delimiter,
            has_header=self.has_header,
            infer_schema=False,
            truncate_ragged_lines=truncate,
            glob=False,
        )

    def names(self) -> list[str]:
        """The names of the columns; polars' where there is no header."""
        try:
            return self.scan().collect_schema().names()
        except pl.exceptions.PolarsError as error:
            raise RatingsError(self._fault(str(error))) from error

    def read(self, names: list[str], whole: bool = False) -> tuple[pl.DataFrame, Place]:
        """Some columns as text, without blank lines, and where a row of them is in the file.

        Parameters
        ----------
        names : list of str
        whole : bool, default False
            A row with more fields than the header is then an error, since its fields may be anything.
        """
        try:
            frame = self.scan(truncate=not whole).select(names).collect()
        except pl.exceptions.PolarsError as error:
            raise RatingsError(self._fault(str(error), len(names) if whole else None)) from error
        nothing = pl.all().is_null() | (pl.all().str.strip_chars() == "")
        is_blank = frame.select(pl.all_horizontal(nothing)).to_series()
        rows = (~is_blank).arg_true() if is_blank.any() else None
        frame = frame if rows is None else frame[rows]
        if frame.is_empty():
            raise RatingsError(f"{self.name}: expected at least one row, found only a header")

        def place(row: int) -> str:
            record = row if rows is None else int(rows[row])
            line = self._line_of(record)
            return f"{self.name}, row {record + 1}" if line is None else f"{self.name}, line {line}"

        return frame, place

    def numbers(self, roles: dict[str, str]) -> dict[str, NDArray[Any]] | None:
        """An array for each role: int32 ids, int64 if they must, float32 ratings and int64 timestamps.

        None where something is quoted, missing, no number, or an integer that is written in an unusual way,
        such as 007. The file is parsed piece by piece, so that memory holds the arrays and little more.
        """
        if len(set(roles.values())) < len(roles):  # one column in two roles has no one type
            return None
        names = self.names()
        for id_type in (np.int32, np.int64):
            types = {"user": id_type, "item": id_type, "rating": np.float32, "timestamp": np.int64}
            columns = {role: np.empty(0, types[role]) for role in roles}
            try:
                return columns if self._fill(columns, names, roles) else None
            except pl.exceptions.PolarsError:
                continue
        return None

    def _pieces(self) -> Iterator[bytes]:
        """Whole lines below the header, some `PIECE` bytes at a time."""
        with self.open() as file:
            if file.read(len(BOM)) != BOM:
                file.seek(0)
            while self.has_header and not file.readline().strip():
                pass
            while piece := file.read(PIECE):
                yield piece if piece.endswith(b"\n") else piece + file.readline()

    def _fill(self, columns: dict[str, NDArray[Any]], names: list[str], roles: dict[str, str]) -> bool:
        """Put the numbers of the file into arrays, which grow; False where there is something else."""
        polars_types = {np.int32: pl.Int32, np.int64: pl.Int64, np.float32: pl.Float32}
        types = {name: polars_types[columns[role].dtype.type] for role, name in roles.items()}
        schema = dict.fromkeys(names, pl.String) | types
        indices = sorted({names.index(name) for name in roles.values()})

        def parsed() -> Iterator[tuple[bytes, pl.DataFrame | None]]:
            for piece in self._pieces():
                if b'"' in piece:
                    yield piece, None
                    return
                lines = piece.replace(b"::", UNIT.encode()) if self.delimiter == UNIT else piece
                yield lines, pl.read_csv(lines, separator=self.delimiter, has_header=False, schema=schema,
                                         columns=indices, truncate_ragged_lines=True)  # fmt: skip

        n, n_bytes, size = 0, 0, self.path.stat().st_size
        for lines, frame in one_ahead(parsed()):
            # Looked for here, while the other thread parses the next lines.
            if frame is None or has_unusual_integers(lines, self.delimiter.encode()):
                return False
            n_bytes += len(lines)
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

    def _line_of(self, row: int) -> int | None:
        """The line, from 1, on which a row of `scan` begins; None where the csv module loses track."""
        reader = csv.reader(self.lines(), delimiter=self.delimiter)
        try:
            # Above the header blank lines are skipped, below it they are rows.
            while self.has_header and not next(reader):
                pass
            for _ in range(row):
                next(reader)
        except (StopIteration, csv.Error):
            return None
        return reader.line_num + 1

    def _fault(self, reason: str, n_fields: int | None = None) -> str:
        """The first line that is not UTF-8, is quoted wrongly or has too many fields; otherwise `reason`."""
        with self.open() as file:
            for number, line in enumerate(file, 1):
                if fault := not_utf8(line):
                    return f"{self.name}, line {number}: {fault}"
        with self.open() as file:
            for number, line in enumerate(file, 1):
                if line.count(b'"') % 2:
                    return (
                        f"{self.name}, line {number}: expected quotes in pairs, found one without its other"
                    )
        reader = csv.reader(self.lines(), delimiter=self.delimiter, strict=True)
        try:
            for fields in reader:
                if n_fields is not None and len(fields) > n_fields:
                    found = f"expected {n_fields} fields, as in the header, found {len(fields)}"
                    return f"{self.name}, line {reader.line_num}: {found}"
        except csv.Error as error:
            return f"{self.name}, line {reader.line_num}: expected quotes around whole fields, found: {error}"
        return f"{self.name}: expected delimited text, found: {reason.partition(chr(10))[0]}"


def has_unusual_integers(lines: bytes, delimiter: bytes) -> bool:
    """Whether a field may be an integer with a sign or zeros that its number does not have: 007, +7, -0."""
    if b"+" in lines and (lines.startswith(b"+") or any(a + b"+" in lines for a in (delimiter, b"\n", b" "))):
        return True
    if b"-" in lines and NEGATIVE_ZERO.search(lines):
        return True
    if lines[:1] == b"0" and lines[1:2].isdigit():
        return True
    leads = [delimiter, b"\n", b" "] if b" " in lines else [delimiter, b"\n"]
    zeros = [int.from_bytes(lead + b"0", "little") for lead in leads]
    characters, is_zero = np.frombuffer(lines, np.uint8), np.empty(PAIRS, bool)
    for start in (0, 1):  # two characters at a time, which is faster than a search for three
        pairs = np.frombuffer(lines, "<u2", (len(lines) - start) // 2, start)
        for block in blocks(len(pairs), PAIRS):
            part = pairs[block]
            for zero in zeros:
                found = np.equal(part, zero, out=is_zero[: len(part)])
                if found.any():
                    after = start + 2 * (block.start + np.flatnonzero(found)) + 2
                    following = characters[after[after < len(lines)]]
                    if ((following >= ord("0")) & (following <= ord("9"))).any():
                        return True
    return False


def not_utf8(line: bytes) -> str | None:
    """What is wrong with a line that is not UTF-8."""
    try:
        line.decode("utf-8")
    except UnicodeDecodeError as error:
        return f"expected UTF-8 text, found the byte 0x{line[error.start]:02x}"
    return None
