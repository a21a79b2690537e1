"""The delimiter and the header of a text file, from its first lines."""

from __future__ import annotations

import csv
import gzip
import zlib
from itertools import islice
from pathlib import Path

from .delimited import BOM, UNIT, Text, not_utf8
from .faults import RatingsError

GZIP = b"\x1f\x8b"
# Bytes and records from which the delimiter is found.
HEAD = 2**16
SAMPLE = 100


def open_text(path: Path, head: bytes, header: bool | None = None) -> Text:
    """Delimiter and header of a text file that begins with `head`.

    The delimiter is the one that divides most of the first records as it divides the first, and into most
    fields. A first record is no header if its third field is a number or, of fewer fields, all are.
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
    if not (is_cut and len(lines) == 1) and (fault := not_utf8(first)):
        raise RatingsError(f"{path.name}, line {number}: {fault}")
    text = [line.decode("utf-8", errors="replace") for line in lines[number - 1 :]]
    records = {delimiter: _records(text, delimiter) for delimiter in (",", ";", "\t", "|", UNIT)}
    delimiter = max(records, key=lambda delimiter: _agreement(records[delimiter]))
    fields = next(iter(records[delimiter]), [])
    if header is None:
        header = not (_is_number(fields[2]) if len(fields) > 2 else all(map(_is_number, fields)))
    return Text(path, delimiter, header, is_gzip)


def _records(lines: list[str], delimiter: str) -> list[list[str]]:
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
    if n_fields < 2:
        return 0, 1
    return sum(len(record) == n_fields for record in records), n_fields


def _is_number(field: str) -> bool:
    try:
        float(field)
    except ValueError:
        return False
    return True
