"""Tables in a terminal and in Markdown."""

from __future__ import annotations

import os
import re
import sys
from typing import IO, TYPE_CHECKING, Any, TextIO, cast

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..utils.tables import cell, harmless

if TYPE_CHECKING:
    import polars as pl

# Characters that Markdown would interpret, including tags and underscores that are not inside a word.
MARKUP = re.compile(r"[\\`*\[\]|~]|<(?=[A-Za-z/!?])|(?<!\w)_|_(?!\w)")


class _ReplacingStream:
    """A text stream that writes a question mark in place of each character that its encoding lacks."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        encoding = self._stream.encoding
        return self._stream.write(text.encode(encoding, "replace").decode(encoding))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def terminal() -> Console:
    """Return a console on standard output that prints every table in every encoding."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    is_unicode = encoding.lower().startswith("utf")
    width = 80 if os.environ.get("COLUMNS") == "0" else None  # with zero columns, rich prints nothing
    return Console(file=None if is_unicode else cast(IO[str], _ReplacingStream(sys.stdout)), width=width)


def rich_table(frame: pl.DataFrame, prose: str | None = None) -> Table:
    """Return a data frame as a table for the terminal; all columns but the first are aligned to the right.

    The column `prose` has text: it is aligned to the left and wrapped if it is long.
    """
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 0, 0, 1))
    longest = {name: max((len(cell(value)) for value in frame[name]), default=0) for name in frame.columns}
    is_wide = sum(max(len(name), longest[name]) + 2 for name in frame.columns) > 80
    # Cells are Text, since names may contain square brackets, which rich reads as markup in a str.
    for name in frame.columns:
        is_left = name in (frame.columns[0], prose)
        # Wide tables wrap titles, and names if necessary, so that no number is truncated.
        title = name.replace(" ", "\n") if is_wide and len(name) > longest[name] else name
        table.add_column(Text(harmless(title)), justify="left" if is_left else "right", no_wrap=not is_left)
    for row in frame.iter_rows():
        table.add_row(*(Text(cell(value)) for value in row))
    return table


def markdown_table(frame: pl.DataFrame) -> str:
    """Return a data frame as a Markdown table."""
    rows = [frame.columns, ["---"] * frame.width, *frame.iter_rows()]
    cells = ([markdown(cell(value)) for value in row] for row in rows)
    return "\n".join(f"| {' | '.join(row)} |" for row in cells)


def markdown(text: str) -> str:
    """Escape text, so that Markdown shows it literally."""
    return MARKUP.sub(r"\\\g<0>", text)
