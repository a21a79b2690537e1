"""Tables as plain text and HTML, and results that display themselves as tables."""

import re
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from html import escape
from itertools import chain, repeat
from typing import NamedTuple

# Control characters of terminals, except line breaks and tabs; the last ranges change the text direction.
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


class Table(NamedTuple):
    """A caption, column names and rows of values; the names are left out if all are empty."""

    caption: str
    head: Sequence[str]
    rows: Sequence[Sequence[object]]


class Tabular:
    """A result that `print` shows as small tables and a notebook as HTML tables."""

    __slots__ = ()

    @abstractmethod
    def tables(self) -> Iterator[Table]:
        """Yield the tables to show."""

    def __repr__(self) -> str:
        return "\n\n".join(map(text_table, self.tables()))

    def _repr_html_(self) -> str:
        return "".join(map(html_table, self.tables()))


def harmless(text: str) -> str:
    """Return text that is safe to print on a terminal: it cannot move the cursor or change colours."""
    return CONTROL.sub("\N{REPLACEMENT CHARACTER}", text)


def cell(value: object) -> str:
    """Return a value as one line of text; empty for None."""
    return "" if value is None else harmless(" ".join(str(value).splitlines()))


def text_table(table: Table) -> str:
    """Return a table as lines of text; all columns except the first are right-aligned."""
    lines = [[cell(value) for value in row] for row in ([table.head] * any(table.head) + [*table.rows])]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]

    def line(values: Sequence[str]) -> str:
        right = [value.rjust(width) for value, width in zip(values, widths, strict=True)]
        return "  ".join([values[0].ljust(widths[0]), *right[1:]]).rstrip()

    return "\n".join([table.caption] * bool(table.caption) + [line(values) for values in lines])


def html_table(table: Table) -> str:
    """Return a table as HTML with escaped values; all columns except the first are right-aligned."""

    def row(tag: str, values: Iterable[object]) -> str:
        cells = (
            f'<{tag} style="text-align: {side}">{escape(cell(value))}</{tag}>'
            for value, side in zip(values, chain(["left"], repeat("right")), strict=False)
        )
        return f"<tr>{''.join(cells)}</tr>"

    head = f"<thead>{row('th', table.head)}</thead>" if any(table.head) else ""
    body = "".join(row("td", values) for values in table.rows)
    caption = f'<caption style="text-align: left">{escape(table.caption)}</caption>'
    shown = f"<table>{caption}{head}<tbody>{body}</tbody></table>"
    return f'<div style="overflow-x: auto">{shown}</div>'
