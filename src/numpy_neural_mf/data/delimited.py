"""Delimited text: polars reads files without quotes, in pieces; the csv module reads the others, strictly."""

import csv
import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import polars as pl
from numpy.typing import NDArray

from .columns import blocks
from .faults import RatingsError
from .gzip_text import unpacked
from .prefetch import one_ahead

BOM = b"\xef\xbb\xbf"
# Number of bytes that polars parses at a time, and of records that the csv module does.
PIECE = 2**24
RECORDS = 2**16
# Number of characters compared at a time: few enough for the processor's cache.
CHARACTERS = 2**17
OTHER_ENCODING = "of another encoding, give the frame: polars.read_csv(path, encoding='latin-1')"
# Stands for "::" in memory, as polars and csv need a delimiter of one character.
UNIT = "\x1f"
# The sign comes first, as a search finds it fast; the look-behind then excludes what precedes it.
PLUS = re.compile(rb"\+(?<!\w.)[0-9]")
BLANK_LINE = re.compile(rb"^ *\r?(?:\n|\Z)", re.MULTILINE)
MINUS_ZERO = re.compile(rb"-0(?<!\w..)(?!\.)")

Place = Callable[[int], str]

# What polars raises; its panics are not subclasses of Exception.
UNREADABLE = (pl.exceptions.PolarsError, pl.exceptions.PanicException)


class _NotPlainError(Exception):
    """The text has quotes, or line ends that polars does not know."""


@dataclass(frozen=True)
class Text:
    """A text file, plain or compressed by gzip, with its delimiter and whether it has a header."""

    path: Path
    delimiter: str
    has_header: bool
    is_gzip: bool = False

    @property
    def name(self) -> str:
        return self.path.name

    def open(self) -> BinaryIO:
        return unpacked(self.path) if self.is_gzip else self.path.open("rb")

    def names(self) -> list[str]:
        """Return the column names, made distinct as polars does, and numbered if there is no header."""
        fields = self._first[0]
        if not self.has_header:
            return [f"column_{n}" for n in range(1, len(fields) + 1)]
        names: list[str] = []
        n_same: dict[str, int] = {}
        for field in fields:
            n = n_same[field] = n_same.get(field, -1) + 1
            names.append(f"{field}_duplicated_{n - 1}" if n else field)
        return names

    def read(self, names: list[str]) -> tuple[pl.DataFrame, Place]:
        """Read some columns as text, without blank lines; return them and a function that locates a row.

        An empty field is null; a row with more or fewer fields than the first is an error.
        """
        chosen = [self.names().index(name) for name in names]
        frame = self._frame(chosen)
        blank = frame.select(pl.all_horizontal(_is_blank(pl.all()))).to_series()
        frame = frame.filter(~blank) if blank.any() else frame
        if frame.is_empty():
            raise RatingsError(f"{self.name}: expected at least one row, found only a header")
        frame.columns = names
        return frame, lambda row: f"{self.name}, line {self._line_of(row, chosen)}"

    def numbers(self, roles: dict[str, str]) -> dict[str, NDArray[Any]] | None:
        """Return an array for each role: int32 (if needed int64) ids, float32 ratings and int64 timestamps.

        None if a field is quoted, missing, not a number, or an integer in an unusual form, such as 007.
        """
        if len(set(roles.values())) < len(roles):  # a column with two roles has two types
            return None
        for id_type in (pl.Int32(), pl.Int64()):
            try:
                return self._numbers(roles, id_type)
            except _NotPlainError:
                return None
            except UNREADABLE:
                continue
        return None

    @cached_property
    def _first(self) -> tuple[list[str], int]:
        """Fields of the first record that is not blank, and the number of the line below it."""
        records = self._records()
        for _, fields in records:
            if any(field.strip() for field in fields):
                return fields, next(records)[0]
        return [], 1

    def _records(self) -> Iterator[tuple[int, list[str]]]:
        """Yield (first line, from 1, fields) of each record; at the end, the line below and no fields."""

        def lines() -> Iterator[str]:
            with io.TextIOWrapper(self.open(), "utf-8-sig", "surrogateescape", newline="") as file:
                yield from file if self.delimiter != UNIT else map(self._with_units_as_text, file)

        reader, line = csv.reader(lines(), delimiter=self.delimiter, strict=True), 1
        try:
            for fields in reader:
                yield line, [field.replace(UNIT, "::") for field in fields]
                line = reader.line_num + 1
        except csv.Error as error:
            expected = f"around whole fields, found: {error}"
            if "unexpected end" in expected:
                expected = "in pairs, found one without its other"
            raise RatingsError(f"{self.name}, line {line}: expected quotes {expected}") from error
        yield line, []

    def _rows(self) -> Iterator[tuple[int, list[str]]]:
        """Yield the records below the header that are not blank."""
        n = len(self._first[0])
        for line, fields in self._records():
            if line < self._first_line or not any(map(str.strip, fields)):
                continue
            if len(fields) != n:
                expected = f"expected {n} fields, as in the first line"
                raise RatingsError(f"{self.name}, line {line}: {expected}, found {len(fields)}")
            yield line, fields

    @property
    def _first_line(self) -> int:
        return self._first[1] if self.has_header else 1

    def _line_of(self, row: int, chosen: Sequence[int]) -> int | None:
        """Return the first line of a row of the table that `read` returns."""
        rows = self._rows()
        lines = (line for line, fields in rows if any(fields[position].strip() for position in chosen))
        return next(islice(lines, row, None), None)

    def _frame(self, chosen: Sequence[int]) -> pl.DataFrame:
        """Read some columns, by position, as text."""
        schema = {str(position): pl.String() for position in chosen}
        frames = [pl.DataFrame(schema=schema)]
        try:
            try:
                frames += [frame for _, frame in self._parsed(dict.fromkeys(chosen, pl.String()))]
            except _NotPlainError:
                rows = ([fields[one] or None for one in chosen] for _, fields in self._rows())
                while part := list(islice(rows, RECORDS)):
                    frames.append(pl.DataFrame(part, schema, orient="row"))
        except (UnicodeEncodeError, pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
            raise RatingsError(self._fault(error)) from error
        return pl.concat([frame.select(list(schema)) for frame in frames])

    def _parsed(self, types: Mapping[int, pl.DataType]) -> Iterator[tuple[bytes, pl.DataFrame]]:
        """Yield complete lines and some of their columns, by position; _NotPlainError if not plain."""
        n = len(self._first[0])
        positions = [str(position) for position in range(n)]
        schema = dict.fromkeys(positions, pl.String()) | {str(one): kind for one, kind in types.items()}
        header = self.delimiter.join(positions).encode() + b"\n"  # below a header, blank lines are rows
        with self.open() as file:
            skipped = [file.readline() for _ in range(1, self._first_line)]
            if has_other_ends(b"".join(skipped)):
                raise _NotPlainError
            while piece := file.read(PIECE):
                lines = piece if piece.endswith(b"\n") else piece + file.readline()
                if not skipped:
                    lines = lines.removeprefix(BOM)
                    skipped = [BOM]
                lines = self._with_units(lines)
                if b'"' in lines or has_other_ends(lines):
                    raise _NotPlainError
                if not is_regular(lines, self.delimiter, n):
                    lines = BLANK_LINE.sub(b"", lines)
                    if not is_regular(lines, self.delimiter, n):
                        raise _NotPlainError
                frame = pl.read_csv(
                    header + lines,
                    columns=[str(position) for position in sorted(types)],
                    schema=schema,
                    separator=self.delimiter,
                    quote_char=None,
                )
                yield lines, frame

    def _numbers(self, roles: dict[str, str], id_type: pl.DataType) -> dict[str, NDArray[Any]] | None:
        of_role: dict[str, Any] = {
            "user": id_type,
            "item": id_type,
            "rating": pl.Float32(),
            "timestamp": pl.Int64(),
        }
        names = self.names()
        positions = {role: names.index(name) for role, name in roles.items()}
        types = {position: of_role[role] for role, position in positions.items()}
        columns: dict[str, NDArray[Any]] = {}
        n, n_bytes, size = 0, 0, self.path.stat().st_size
        for lines, frame in one_ahead(self._parsed(types)):
            # Checked here, while the other thread parses the next lines.
            if has_unusual_integers(lines, self.delimiter):
                return None
            n_bytes += len(lines)
            for role, position in positions.items():
                series = frame[str(position)]
                if series.has_nulls() or series.dtype != types[position]:
                    return None
                numbers = series.to_numpy()
                column = columns.setdefault(role, np.empty(0, numbers.dtype))
                if n + len(numbers) > len(column):  # extrapolate the lines per byte so far, plus 1 %
                    expected = int(1.01 * (n + len(numbers)) * size / n_bytes)
                    column.resize(max(n + len(numbers), expected), refcheck=False)
                column[n : n + len(numbers)] = numbers
            n += len(frame)
        for column in columns.values():
            column.resize(n, refcheck=False)
        return columns if n else None

    def _with_units(self, lines: bytes) -> bytes:
        if self.delimiter != UNIT:
            return lines
        if UNIT.encode() in lines:
            raise RatingsError(f"{self.name}: expected text, found the control character 0x1f")
        return lines.replace(b"::", UNIT.encode())

    def _with_units_as_text(self, line: str) -> str:
        return self._with_units(line.encode("utf-8", "surrogateescape")).decode("utf-8", "surrogateescape")

    def _fault(self, error: BaseException) -> str:
        """Return a message about the first line that is not UTF-8, otherwise about the error."""
        with self.open() as file:
            for number, line in enumerate(file, 1):
                if fault := not_utf8(line):
                    return f"{self.name}, line {number}: {fault}"
        return f"{self.name}: expected delimited text, found: {str(error).partition(chr(10))[0]}"


def is_regular(lines: bytes, delimiter: str, n_fields: int) -> bool:
    """Return whether each line has `n_fields` fields, for lines without quotes."""
    lines = lines if lines.endswith(b"\n") or not lines else lines + b"\n"
    characters = np.frombuffer(lines, np.uint8)
    parts = (characters[block] for block in blocks(len(lines), CHARACTERS))
    marks = [part[(part == ord(delimiter)) | (part == ord("\n"))] for part in parts]
    ends = np.concatenate([np.empty(0, np.uint8), *marks]) == ord("\n")
    n_lines = len(ends) // n_fields
    return len(ends) == n_lines * n_fields and bool(
        ends[n_fields - 1 :: n_fields].all() and np.count_nonzero(ends) == n_lines
    )


def has_other_ends(lines: bytes) -> bool:
    """Return whether a line ends in a carriage return without a line feed."""
    return lines.count(b"\r") != lines.count(b"\r\n")


def not_utf8(line: bytes) -> str | None:
    """Return a message about the first byte of a line that is not UTF-8, None if all are."""
    try:
        line.decode("utf-8")
    except UnicodeDecodeError as error:
        found = f"expected UTF-8 text, found the byte 0x{line[error.start]:02x}"
        return f"{found}; {OTHER_ENCODING}"
    return None


def has_unusual_integers(lines: bytes, delimiter: str) -> bool:
    """Return whether a field may be an integer with a redundant sign or leading zeros: 007, +7, -0."""
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


def _is_blank(text: Any) -> Any:
    """Return where a Series or an expression is null or only spaces."""
    return text.is_null() | (text.str.strip_chars() == "")
