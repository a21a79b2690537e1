"""What commands print: tables for people, JSON for machines."""

from __future__ import annotations

import json
import math
import shlex
import sys
from pathlib import Path
from typing import Any, NoReturn

import polars as pl
from numpy.typing import NDArray
from rich.console import Console
from rich.markup import escape
from rich.status import Status

from ..data import Features, Ratings, read_features, read_ratings
from ..reporting.console import rich_table
from ..reporting.page import save_report

# Bytes of a file that takes longer to parse than one likes to wait for twice.
LARGE = 100_000_000


def stderr() -> Console:
    """Where remarks and errors go, so that standard output holds results alone."""
    return Console(stderr=True)


def remark(text: str) -> None:
    """A line beside the results, that must not be missed."""
    stderr().print(text, style="yellow", highlight=False, soft_wrap=True, markup=False)


def working(on: str) -> Status:
    """A sign of life, on a terminal, while a block of code takes its time."""
    return stderr().status(escape(on))


def read(path: Path, cache: bool = False, /, **settings: Any) -> Ratings:
    """The ratings of a file; the columns of a large one may be kept beside it."""
    keeps = cache and path.is_file() and path.stat().st_size >= LARGE
    with working(f"reading {path.name}"):
        return read_ratings(path, cache=keeps, **settings)


def described(ratings: Ratings, user_features: Path | None, item_features: Path | None) -> Ratings:
    """The ratings with the features of files, where such are given."""

    def features(path: Path | None, ids: NDArray[Any]) -> Features | None:
        return None if path is None else read_features(path, text_ids=ids.dtype.kind == "U")

    return ratings.with_features(
        features(user_features, ratings.user_ids), features(item_features, ratings.item_ids)
    )


def command_line() -> str:
    """The command at work, for somebody to type again."""
    return shlex.join(["numpy-neural-mf", *sys.argv[1:]])


def write_report(html: str, path: Path) -> None:
    """A page to its file, and a line to say so."""
    save_report(html, path)
    stderr().print(f"Wrote {path}", highlight=False, soft_wrap=True, markup=False)


def fail(message: str, code: int) -> NoReturn:
    """One sentence on standard error, then the end."""
    stderr().print(f"numpy-neural-mf: {message}", style="red", highlight=False, soft_wrap=True, markup=False)
    sys.exit(code)


def print_json(value: Any) -> None:
    """Anything as JSON, in which a number that is none is null."""
    print(json.dumps(_without_nan(value)))


def show(frame: pl.DataFrame, as_json: bool, prose: str | None = None) -> None:
    """A table, or a JSON list of its rows; the column `prose` is text, on several lines where long."""
    if as_json:
        print_json(frame.to_dicts())
    else:
        Console().print(rich_table(frame, prose))


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_without_nan(one) for one in value]
    return None if isinstance(value, float) and math.isnan(value) else value
