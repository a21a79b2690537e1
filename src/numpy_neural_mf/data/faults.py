"""Faults of a table, in one sentence of bounded length: where, what was expected and what was found."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..utils.shortened import shortened

if TYPE_CHECKING:
    import polars as pl

# Most characters of an error message.
MAX_MESSAGE = 300
# Most column names that an error lists.
MAX_NAMES = 8


class RatingsError(ValueError):
    """A table that cannot be used; the message says where, what was expected and what was found."""

    def __init__(self, message: str) -> None:
        # Names of files and columns may have any characters, even lone surrogates.
        plain = "".join(one if one.isprintable() else ascii(one)[1:-1] for one in message[:MAX_MESSAGE])
        super().__init__(shortened(plain + message[MAX_MESSAGE:], MAX_MESSAGE))


@dataclass
class Faults:
    """The faults of several columns, as (row, sentence); the fault of the first row is reported."""

    found: list[tuple[int, str]] = field(default_factory=list)

    def add(self, bad: pl.Series, series: pl.Series, expected: str) -> bool:
        """Record the first row where `bad` is true, with its value; return whether there is one."""
        row = bad.fill_null(False).arg_max()
        if row is None or not bad[row]:
            return False
        self.found.append((row, f"expected {expected}, found {in_words(series[row])}"))
        return True

    def first(self) -> tuple[int, str]:
        return min(self.found, key=lambda fault: fault[0])

    def refuse(self, place: Callable[[int], str]) -> None:
        """Raise the first fault, if there is one; `place` locates a row."""
        if self.found:
            row, fault = self.first()
            raise RatingsError(f"{place(row)}: {fault}")


def in_words(value: object) -> str:
    """Return a value as an error shows it."""
    if value is None or (isinstance(value, str) and not value):
        return "nothing"
    if isinstance(value, float) and math.isnan(value):
        return "NaN"
    # Cut before it is quoted: a value may have millions of characters.
    return repr(shortened(value)) if isinstance(value, str) else shortened(f"{value}")


def listed(names: Iterable[str]) -> str:
    """Return column names as an error shows them."""
    names = list(names)
    if not names:
        return "no columns"
    shown = ", ".join(repr(shortened(name, 20)) for name in names[:MAX_NAMES])
    more = f" and {len(names) - MAX_NAMES} others" if len(names) > MAX_NAMES else ""
    return f"the columns {shown}{more}"
