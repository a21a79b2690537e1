"""What commands print: tables for people, JSON for machines."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, NoReturn

import polars as pl
from rich.console import Console

from ..data import Ratings, read_ratings
from ..display import rich_table


def stderr() -> Console:
    """Where remarks and errors go, so that standard output holds results alone."""
    return Console(stderr=True)


def read(path: Path, **settings: Any) -> Ratings:
    """The ratings of a file, with a sign of life while a large one is read."""
    with stderr().status(f"Reading {path.name}"):
        return read_ratings(path, **settings)


def fail(message: str, code: int) -> NoReturn:
    """One sentence on standard error, then the end."""
    stderr().print(f"numpy-neural-mf: {message}", style="red", highlight=False, soft_wrap=True, markup=False)
    sys.exit(code)


def show(frame: pl.DataFrame, as_json: bool, prose: str | None = None) -> None:
    """A table, or a JSON list of its rows; the column `prose` is text, on several lines where long."""
    if as_json:
        print(json.dumps(frame.to_dicts()))
    else:
        Console().print(rich_table(frame, prose))
