"""Delimited text: numbers in one fast pass where there is nothing else, otherwise text with its lines."""

import csv
import gzip
import io
import re
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
import polars as pl
from numpy.typing import NDArray

from .columns import blocks
from .faults import RatingsError
from .prefetch import one_ahead

BOM = b"\xef\xbb\xbf"
GZIP = b"\x1f\x8b"
# Bytes and records from which the delimiter is found.
HEAD = 2**16
SAMPLE = 100
# Bytes parsed at a time where the file is nothing but numbers.
PIECE = 2**24
# Characters compared at a time: few enough for the cache of the processor.
CHARACTERS = 2**17
# Stands for "::" in memory, as polars and csv want one character between fields.
UNIT = "\x1f"
# The sign comes first, which a search finds fast, then what is not before it.
PLUS = re.compile(rb"\+(?<!\w.)[0-9]")
MINUS_ZERO = re.compile(rb"-0(?<!\w..)(?!\.)")

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

    def with_units(self, text: bytes) -> bytes:
        return text.replace(b"::", UNIT.encode()) if self.delimiter == UNIT else text

    def records(self, strict: bool = False) -> Any:
        """A reader of the csv module, which counts its lines."""

        def lines() -> Iterator[str]:
            with io.TextIOWrapper(self.open(), encoding="utf-8-sig", errors="replace", newline="") as file:
                yield from (line.replace("::", UNIT) for line in file) if self.delimiter == UNIT else file

        return csv.reader(lines(), delimiter=self.delimiter, strict=strict)

    def scan(self, truncate: bool = True) -> pl.LazyFrame:
        """All columns as text; what a short row lacks is null, what a long row adds is cut."""
        source: Path | bytes = self.path
        if self.is_gzip or self.delimiter == UNIT:
            with self.open() as file:
                source = self.with_units(file.read())
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
            raise RatingsError(self._fault(error)) from error

    def read(self, names: list[str], whole: bool = False) -> tuple[pl.DataFrame, Place]:
        """Some columns as text, without blank lines, and where a row of them is in the file.

        If `whole`, a row with more fields than the header is an error, since its fields may be anything.
        """
        try:
            frame = self.scan(truncate=not whole).select(names).collect()
        except pl.exceptions.PolarsError as error:
            raise RatingsError(self._fault(error, len(names) if whole else None)) from error
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

        None where something is quoted, missing, no number, or an integer in an unusual form, such as 007.
        """
        if len(set(roles.values())) < len(roles):  # one column in two roles has no one type
            return None
        for id_type in (pl.Int32(), pl.Int64()):
            try:
                return self._numbers(roles, id_type)
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
                yield self.with_units(piece if piece.endswith(b"\n") else piece + file.readline())

    def _numbers(self, roles: dict[str, str], id_type: pl.DataType) -> dict[str, NDArray[Any]] | None:
        of_role: dict[str, Any] = {
            "user": id_type,
            "item": id_type,
            "rating": pl.Float32(),
            "timestamp": pl.Int64(),
        }
        names, types = self.names(), {name: of_role[role] for role, name in roles.items()}
        read = partial(
            pl.read_csv,
            schema=dict.fromkeys(names, pl.String) | types,
            has_header=False,
            columns=sorted(map(names.index, types)),
            separator=self.delimiter,
            truncate_ragged_lines=True,
        )
        parsed = ((lines, read(lines)) for lines in self._pieces())
        columns: dict[str, NDArray[Any]] = {}
        n, n_bytes, size = 0, 0, self.path.stat().st_size
        for lines, frame in one_ahead(parsed):
            # Looked for here, while the other thread parses the next lines.
            if b'"' in lines or has_unusual_integers(lines, self.delimiter):
                return None
            n_bytes += len(lines)
            for role, name in roles.items():
                series = frame[name]
                if series.has_nulls() or series.dtype != types[name]:
                    return None
                numbers = series.to_numpy()
                column = columns.setdefault(role, np.empty(0, numbers.dtype))
                if n + len(numbers) > len(column):  # as many lines to a byte as so far, and some more
                    expected = int(1.01 * (n + len(numbers)) * size / n_bytes)
                    column.resize(max(n + len(numbers), expected), refcheck=False)
                column[n : n + len(numbers)] = numbers
            n += len(frame)
        for column in columns.values():
            column.resize(n, refcheck=False)
        return columns if n else None

    def _line_of(self, row: int) -> int | None:
        """The line, from 1, on which a row of `scan` begins; None where the csv module loses track."""
        records = self.records()
        try:
            # Above the header blank lines are skipped, below it they are rows.
            while self.has_header and not next(records):
                pass
            for _ in range(row):
                next(records)
        except (StopIteration, csv.Error):
            return None
        return int(records.line_num) + 1

    def _fault(self, error: Exception, n_fields: int | None = None) -> str:
        """The first line that is not UTF-8, is quoted wrongly or has too many fields; else the error."""
        for fault_of in (_not_utf8, _unpaired_quote):
            with self.open() as file:
                for number, line in enumerate(file, 1):
                    if fault := fault_of(line):
                        return f"{self.name}, line {number}: {fault}"
        records = self.records(strict=True)
        try:
            for fields in records:
                if n_fields is not None and len(fields) > n_fields:
                    found = f"expected {n_fields} fields, as in the header, found {len(fields)}"
                    return f"{self.name}, line {records.line_num}: {found}"
        except csv.Error as fault:
            return (
                f"{self.name}, line {records.line_num}: expected quotes around whole fields, found: {fault}"
            )
        return f"{self.name}: expected delimited text, found: {str(error).partition(chr(10))[0]}"


def open_text(path: Path, head: bytes, header: bool | None = None) -> Text:
    """A text file that begins with `head`; its delimiter divides most records as the first, into most fields.

    A first record is no header if its third field is a number or, of fewer fields, all are.
    """
    is_gzip = head.startswith(GZIP)
    if is_gzip:
        try:
            with gzip.open(path) as file:
                head = file.read(HEAD)
        except (OSError, EOFError, zlib.error) as error:
            raise RatingsError(f"{path.name}: expected a whole gzip file, found: {error}") from error
    if not head.strip(BOM + b" \t\r\n"):
        raise RatingsError(f"{path.name}: expected a table, found an empty file")
    if b"\x00" in head:
        raise RatingsError(f"{path.name}: expected UTF-8 text or Parquet, found binary data")
    lines = head.removeprefix(BOM).splitlines(keepends=True)
    is_cut = len(head) == HEAD
    lines = lines[:-1] if is_cut and len(lines) > 1 else lines
    number, first = next((n, line) for n, line in enumerate(lines, 1) if line.strip())
    if not (is_cut and len(lines) == 1) and (fault := _not_utf8(first)):
        raise RatingsError(f"{path.name}, line {number}: {fault}")
    text = [line.decode("utf-8", errors="replace") for line in lines[number - 1 :]]
    samples = {delimiter: _sample(text, delimiter) for delimiter in (",", ";", "\t", "|", UNIT)}
    delimiter = max(samples, key=lambda delimiter: _agreement(samples[delimiter]))
    fields = next(iter(samples[delimiter]), [])
    if header is None:
        header = not (_is_number(fields[2]) if len(fields) > 2 else all(map(_is_number, fields)))
    return Text(path, delimiter, header, is_gzip)


def _sample(lines: list[str], delimiter: str) -> list[list[str]]:
    """The first records that are not blank."""
    if delimiter == UNIT:
        lines = [line.replace("::", UNIT) for line in lines]
    records: list[list[str]] = []
    try:
        for record in islice(csv.reader(lines, delimiter=delimiter), SAMPLE):
            if any(field.strip() for field in record):
                records.append(record)
    except csv.Error:  # which the read will report
        pass
    return records


def _agreement(records: list[list[str]]) -> tuple[int, int]:
    """How many records have as many fields as the first, and how many these are; (0, 1) for one field."""
    n_fields = len(records[0]) if records else 0
    return (sum(len(record) == n_fields for record in records), n_fields) if n_fields > 1 else (0, 1)


def _is_number(field: str) -> bool:
    try:
        float(field)
    except ValueError:
        return False
    return True


def has_unusual_integers(lines: bytes, delimiter: str) -> bool:
    """Whether a field may be an integer with a sign or zeros that its number does not have: 007, +7, -0."""
    if (b"+" in lines and PLUS.search(lines)) or (b"-" in lines and MINUS_ZERO.search(lines)):
        return True
    characters = np.frombuffer(lines, np.uint8)
    for block in blocks(len(lines), CHARACTERS):
        part = characters[block.start : block.stop + 2]
        begins = (part <= ord(" ")) | (part == ord(delimiter))
        is_digit = part - np.uint8(ord("0")) < 10
        if (begins[:-2] & (part[1:-1] == ord("0")) & is_digit[2:]).any():
            return True
    return lines[:1] == b"0" and lines[1:2].isdigit()


def _not_utf8(line: bytes) -> str | None:
    try:
        line.decode("utf-8")
    except UnicodeDecodeError as error:
        return f"expected UTF-8 text, found the byte 0x{line[error.start]:02x}"
    return None


def _unpaired_quote(line: bytes) -> str | None:
    return "expected quotes in pairs, found one without its other" if line.count(b'"') % 2 else None
