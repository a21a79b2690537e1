"""Tables as plain text and in HTML, and the results that show themselves as such."""

import re
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from html import escape
from itertools import chain, repeat
from typing import NamedTuple

# Characters that a terminal obeys, but for line breaks and tabs; the last ones turn the direction of writing.
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


class Table(NamedTuple):
    """A caption, the names of the columns, and rows of values; names are left out where all are empty."""

    caption: str
    head: Sequence[str]
    rows: Sequence[Sequence[object]]


class Tabular:
    """A result that `print` shows as small tables, and a notebook as those in HTML."""

    __slots__ = ()

    @abstractmethod
    def tables(self) -> Iterator[Table]:
        """What is shown."""

    def __repr__(self) -> str:
        return "\n\n".join(map(text_table, self.tables()))

    def _repr_html_(self) -> str:
        return "".join(map(html_table, self.tables()))


def harmless(text: str) -> str:
    """Text of any origin for a terminal: a title cannot move the cursor or change colours."""
    return CONTROL.sub("\N{REPLACEMENT CHARACTER}", text)


def cell(value: object) -> str:
    """A value on one line; empty for None."""
    return "" if value is None else harmless(" ".join(str(value).splitlines()))


def text_table(table: Table) -> str:
    """A table as lines of text; all columns but the first are aligned to the right."""
    lines = [[cell(value) for value in row] for row in ([table.head] * any(table.head) + [*table.rows])]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]

    def line(values: Sequence[str]) -> str:
        right = [value.rjust(width) for value, width in zip(values, widths, strict=True)]
        return "  ".join([values[0].ljust(widths[0]), *right[1:]]).rstrip()

    return "\n".join([table.caption] * bool(table.caption) + [line(values) for values in lines])


def html_table(table: Table) -> str:
    """A table for a notebook, its values escaped; all columns but the first are aligned to the right."""

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
