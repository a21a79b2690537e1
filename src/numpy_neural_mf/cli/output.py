"""Print results to standard output and the log to standard error; read ratings and models."""

import json
import shlex
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import track
from rich.status import Status

from ..data import Ratings, read_ratings
from ..models import load_model
from ..reporting.console import rich_table
from ..utils.tables import harmless

if TYPE_CHECKING:
    import polars as pl

T = TypeVar("T")
LARGE = 100_000_000  # bytes above which the parsed columns of a file are kept
ROLES = ("user", "item", "rating", "timestamp")


def stderr() -> Console:
    """Return the console of the log, standard error."""
    return Console(stderr=True)


def log(text: str, style: str = "") -> None:
    """Write a line to the log, without wrapping it."""
    stderr().print(harmless(text), style=style, highlight=False, soft_wrap=True, markup=False)


def remark(text: str) -> None:
    """Write a line to the log that the user should not miss."""
    log(text, "yellow")


def fail(message: str, code: int) -> NoReturn:
    """End the program with one sentence in the log."""
    log(f"numpy-neural-mf: {message}", "red")
    sys.exit(code)


def working(on: str) -> Status:
    """Return a context that shows a spinner on a terminal."""
    return stderr().status(escape(harmless(on)))


def progress(over: Sequence[T], on: str) -> Iterable[T]:
    """Iterate over the elements with a progress bar and the time left on a terminal."""
    console = stderr()
    return track(over, escape(harmless(on)), console=console, transient=True, disable=not console.is_terminal)


def say(text: str) -> None:
    """Print a result as text, without wrapping it."""
    Console().print(harmless(text), highlight=False, soft_wrap=True, markup=False)


def report(text: str, facts: dict[str, Any], as_json: bool) -> None:
    """Print the result of a command as text, or as one JSON object."""
    if as_json:
        print_json(facts)
    else:
        say(text)


def show(frame: "pl.DataFrame", as_json: bool = False, prose: str | None = None) -> None:
    """Print a table, or a JSON list of its rows; the column `prose` has text, wrapped if it is long."""
    if as_json:
        print_json(frame.to_dicts())
    else:
        Console().print(rich_table(frame, prose))


def print_json(value: Any) -> None:
    """Print a value as JSON, with null for NaN."""
    print(json.dumps(json.loads(json.dumps(value), parse_constant=lambda name: None)))


def command_line() -> str:
    """Return the running command as it can be typed again."""
    return shlex.join(["numpy-neural-mf", *sys.argv[1:]])


def read(context: typer.Context, **more: Any) -> Ratings:
    """Read the ratings of a command; cache the parsed columns of a large file, unless --no-cache is given."""
    path, given = Path(context.params["ratings"]), context.params
    settings = {name: given[name] for name in (*ROLES, "scale") if name in given}
    keeps = given.get("cache", False) and path.is_file() and path.stat().st_size >= LARGE
    with working(f"reading {path.name}"):
        return read_ratings(path, cache=keeps, **settings | more)


def load(path: Path, method: str) -> Any:
    """Load a model; raise ValueError if it lacks a method."""
    model = load_model(path)
    if not hasattr(model, method):
        raise ValueError(f"{path}: expected a model with {method}, found a {type(model).__name__}")
    return model
