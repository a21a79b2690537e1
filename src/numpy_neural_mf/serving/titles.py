"""Titles of items, and the search for them."""

import csv
import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path


def read_titles(path: str | Path) -> dict[str, str]:
    """Read titles by id from a CSV file with an id first and a column title, such as movies.csv."""
    with Path(path).open(encoding="utf-8-sig", newline="") as file:
        rows = csv.reader(file)
        header = next(rows, [])
        if "title" not in header[1:]:
            raise ValueError(
                f"{path}: expected a column title after the ids, found {', '.join(header)[:200]!r}"
            )
        at = header.index("title")
        titles = {}
        for row in rows:
            if len(row) != len(header):
                expected = f"{path}: line {rows.line_num}: expected {len(header)} fields"
                raise ValueError(f"{expected}, found {len(row)}")
            titles[row[0]] = row[at]
        return titles


class Titles:
    """Titles of all items, "" for items without title, searched regardless of case and accents."""

    def __init__(self, titles: Sequence[str], counts: Sequence[int]) -> None:
        self.titles = titles
        self._folded = [f" {folded(title)}" for title in titles]
        self._by_count = sorted(range(len(titles)), key=lambda row: -counts[row])

    def find(self, text: str) -> list[int]:
        """Return rows of titles with words that begin with each word of a text, most rated items first."""
        words = [f" {word}" for word in folded(text).split()]
        return [row for row in self._by_count if all(word in self._folded[row] for word in words)]


def folded(text: str) -> str:
    """Remove case, accents and punctuation from a text.

    >>> folded("Amélie (2001)")
    'amelie 2001'
    """
    plain = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    return " ".join(re.findall(r"\w+", plain.casefold()))
