"""Detection of the format of a text file from its beginning: delimiter, header, or that it is not a table."""

import csv
import re
from itertools import islice
from pathlib import Path

from .delimited import BOM, OTHER_ENCODING, UNIT, Text, not_utf8
from .faults import RatingsError
from .gzip_text import GZIP, unpacked

# Number of bytes, and of records, from which the delimiter is detected.
HEAD = 2**16
SAMPLE = 100
# First bytes of files that are not UTF-8 text, with the format and advice.
OTHER_FILES = (
    (b"PK\x03\x04", "a zip archive; unpack it first"),
    (b"BZh", "a bzip2 file; unpack it first"),
    (b"\xfd7zXZ", "an xz file; unpack it first"),
    (b"(\xb5/\xfd", "a zstd file; unpack it first"),
    (b"SQLite format 3", "a SQLite database; give the frame: polars.read_database_uri(query, uri)"),
    (b"\xff\xfe", f"UTF-16; {OTHER_ENCODING.replace('latin-1', 'utf-16')}"),
    (b"\xfe\xff", f"UTF-16; {OTHER_ENCODING.replace('latin-1', 'utf-16')}"),
)
# Beginnings of text that is not a table with a rating per line.
OTHER_TEXTS = (
    (re.compile(rb"\s*\[\s*[\[{]"), "JSON; give the frame: polars.read_json(path)"),
    (re.compile(rb"\s*\{"), "JSON; give the frame: polars.read_ndjson(path)"),
    (
        re.compile(rb"\s*\d+:\s*[\r\n]"),
        "ratings below the number of their item, as Netflix wrote them; write it into each line: "
        "awk -F'[:,]' '/:/{i=$1;next}{print $1\",\"i\",\"$2\",\"$3}' file > ratings.csv",
    ),
)  # fmt: skip


def open_text(path: Path, head: bytes, header: bool | None = None) -> Text:
    """Return a text file that begins with `head`, after detecting its delimiter and header.

    The delimiter is the one with which most records have as many fields as the first; ties go to the larger
    number of fields. A first record is not a header if its third field is a number or, with fewer than three
    fields, if all are.
    """
    is_gzip = head.startswith(GZIP)
    if is_gzip:
        with unpacked(path) as file:
            head = file.read(HEAD)
    if not head.strip(BOM + b" \t\r\n"):
        raise RatingsError(f"{path.name}: expected a table, found an empty file")
    for start, found in OTHER_FILES:
        if head.startswith(start):
            raise RatingsError(f"{path.name}: expected UTF-8 text or Parquet, found {found}")
    if b"\x00" in head:
        raise RatingsError(f"{path.name}: expected UTF-8 text or Parquet, found binary data")
    head = head.removeprefix(BOM)
    for pattern, found in OTHER_TEXTS:
        if pattern.match(head):
            raise RatingsError(f"{path.name}: expected a table with a line for each row, found {found}")
    lines = head.splitlines(keepends=True)
    is_cut = len(head) >= HEAD - len(BOM)
    lines = lines[:-1] if is_cut and len(lines) > 1 else lines
    number, first = next((n, line) for n, line in enumerate(lines, 1) if line.strip())
    if not (is_cut and len(lines) == 1) and (fault := not_utf8(first)):
        raise RatingsError(f"{path.name}, line {number}: {fault}")
    text = [line.decode("utf-8", errors="replace") for line in lines[number - 1 :]]
    samples = {delimiter: _sample(text, delimiter) for delimiter in (",", ";", "\t", "|", UNIT)}
    delimiter = max(samples, key=lambda delimiter: _agreement(samples[delimiter]))
    fields = next(iter(samples[delimiter]), [])
    if header is None:
        header = not (_is_number(fields[2]) if len(fields) > 2 else all(map(_is_number, fields)))
    return Text(path, delimiter, header, is_gzip)


def _sample(lines: list[str], delimiter: str) -> list[list[str]]:
    """Return the first records that are not blank."""
    if delimiter == UNIT:
        lines = [line.replace("::", UNIT) for line in lines]
    records: list[list[str]] = []
    try:
        for record in islice(csv.reader(lines, delimiter=delimiter), SAMPLE):
            if any(field.strip() for field in record):
                records.append(record)
    except csv.Error:  # reading the file will report it
        pass
    return records


def _agreement(records: list[list[str]]) -> tuple[int, int]:
    """Return (number of records with as many fields as the first, number of fields); (0, 1) for one field."""
    n_fields = len(records[0]) if records else 0
    return (sum(len(record) == n_fields for record in records), n_fields) if n_fields > 1 else (0, 1)


def _is_number(field: str) -> bool:
    try:
        float(field)
    except ValueError:
        return False
    return True
