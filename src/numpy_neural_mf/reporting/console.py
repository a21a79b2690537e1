"""Tables and progress in a terminal, and tables in Markdown and HTML."""

from __future__ import annotations

import math
import os
import re
import sys
from collections.abc import Iterable, Iterator
from html import escape
from itertools import chain, repeat
from typing import IO, TYPE_CHECKING, Any, TextIO, cast

from rich import box
from rich.console import Console, RenderableType
from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from rich.table import Table
from rich.text import Text

from ..training.loop import Progress

if TYPE_CHECKING:
    import polars as pl

# Characters that a terminal obeys, but for line breaks and tabs; the last ones turn the direction of writing.
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
# What Markdown would not show as it is: also tags, and underscores that are not inside of a word.
MARKUP = re.compile(r"[\\`*\[\]|~]|<(?=[A-Za-z/!?])|(?<!\w)_|_(?!\w)")


class _ReplacingStream:
    """A text stream that writes a question mark for each character that its encoding lacks."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        encoding = self._stream.encoding
        return self._stream.write(text.encode(encoding, "replace").decode(encoding))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def terminal() -> Console:
    """A console on standard output that prints every table, whatever its encoding lacks."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    is_unicode = encoding.lower().startswith("utf")
    width = 80 if os.environ.get("COLUMNS") == "0" else None  # in no columns, rich prints nothing
    return Console(file=None if is_unicode else cast(IO[str], _ReplacingStream(sys.stdout)), width=width)


def harmless(text: str) -> str:
    """Text of any origin for a terminal: a title cannot move the cursor or change colours."""
    return CONTROL.sub("\N{REPLACEMENT CHARACTER}", text)


class ProgressBar(Bar):
    """Live lines with the number of finished runs, the epoch of the current training, its losses and speed.

    On a console that is not a terminal, only results of finished runs are printed.
    """

    def __init__(self, n_runs: int, console: Console) -> None:
        self._n_runs, self._n_done, self._run, self._text = n_runs, 0, "", ""
        columns = TextColumn("{task.description}"), BarColumn(bar_width=24), TimeRemainingColumn()
        super().__init__(*columns, console=console, transient=True, disable=not console.is_terminal)
        self._runs = self.add_task(f"run 1 of {n_runs}", total=n_runs)
        self._training = self.add_task("", total=None, visible=False)

    def get_renderables(self) -> Iterator[RenderableType]:
        """The bars, and text of any length below them, which columns would truncate."""
        yield self.make_tasks_table(self.tasks)
        yield Text(self._text, style="cyan")

    def start_run(self, description: str) -> None:
        self._run = self._text = harmless(description)
        self.update(self._runs, description=f"run {self._n_done + 1} of {self._n_runs}")
        self.reset(self._training, description="", total=None, visible=False)

    def on_progress(self, progress: Progress) -> None:
        """Show epoch, losses and speed; to be passed as `on_progress` to a model's `fit`."""
        done, total = progress.n_trained, progress.n_total
        parts = [f"loss {progress.train_loss:.4f}"]
        if not math.isnan(progress.validation_loss):
            parts.append(f"validation {progress.validation_loss:.4f}")
        if elapsed := self.tasks[self._training].elapsed:
            parts.append(f"{_short(done / elapsed)} ratings/s")
        self._text = f"{self._run}: {', '.join(parts)}"
        # The bars count ratings, so that the estimated time is right within an epoch and within a run.
        epoch = f"epoch {progress.epoch} of {progress.epochs}"
        self.update(self._training, description=epoch, completed=done, total=total, visible=True)
        self.update(self._runs, completed=self._n_done + done / total)

    def end_run(self, result: str = "") -> None:
        """Count a run; its result, if given, is a line that remains, on a console of any kind."""
        self._n_done += 1
        if result:
            line = f"run {self._n_done} of {self._n_runs}: {self._run}: {result}"
            self.console.print(Text(line), soft_wrap=True)
        self.update(self._runs, completed=self._n_done)


def rich_table(frame: pl.DataFrame, prose: str | None = None) -> Table:
    """A data frame as a table for the terminal; all columns but the first are aligned to the right.

    The column `prose` is text: it is aligned to the left and wrapped where it is long.
    """
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 0, 0, 1))
    longest = {name: max((len(_cell(value)) for value in frame[name]), default=0) for name in frame.columns}
    is_wide = sum(max(len(name), longest[name]) + 2 for name in frame.columns) > 80
    # Cells are Text, since names may contain square brackets, which are markup in a str.
    for name in frame.columns:
        is_left = name in (frame.columns[0], prose)
        # Wide tables wrap titles, and names if necessary, so that no number is truncated.
        title = name.replace(" ", "\n") if is_wide and len(name) > longest[name] else name
        table.add_column(Text(harmless(title)), justify="left" if is_left else "right", no_wrap=not is_left)
    for row in frame.iter_rows():
        table.add_row(*(Text(_cell(value)) for value in row))
    return table


def markdown_table(frame: pl.DataFrame) -> str:
    """A data frame as a Markdown table."""
    rows = [frame.columns, ["---"] * frame.width, *frame.iter_rows()]
    cells = ([markdown(_cell(value)) for value in row] for row in rows)
    return "\n".join(f"| {' | '.join(row)} |" for row in cells)


def markdown(text: str) -> str:
    """Text as Markdown that shows it as it is."""
    return MARKUP.sub(r"\\\g<0>", text)


def html_table(frame: pl.DataFrame, title: str) -> str:
    """A data frame as a table for a notebook; all columns but the first are aligned to the right."""

    def row(tag: str, values: Iterable[object]) -> str:
        cells = (
            f'<{tag} style="text-align: {side}">{escape(_cell(value))}</{tag}>'
            for value, side in zip(values, chain(["left"], repeat("right")), strict=False)
        )
        return f"<tr>{''.join(cells)}</tr>"

    head, body = row("th", frame.columns), "".join(row("td", values) for values in frame.iter_rows())
    caption = f'<caption style="text-align: left">{escape(title)}</caption>'
    table = f"<table>{caption}<thead>{head}</thead><tbody>{body}</tbody></table>"
    return f'<div style="overflow-x: auto">{table}</div>'


def _cell(value: object) -> str:
    """A value on one line; empty for None."""
    return "" if value is None else harmless(" ".join(str(value).splitlines()))


def _short(number: float) -> str:
    for unit, size in (("M", 1e6), ("k", 1e3)):
        if number >= size:
            return f"{number / size:.2f} {unit}"
    return f"{number:.0f}"
