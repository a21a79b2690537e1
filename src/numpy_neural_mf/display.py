"""How results and progress look in a terminal; it knows tables and numbers, not what they mean."""

from __future__ import annotations

import math
from collections.abc import Iterable
from html import escape
from itertools import chain, repeat
from types import TracebackType
from typing import Self

import polars as pl
from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from rich.table import Table
from rich.text import Text

from .training import Progress


class ProgressBar:
    """Two live lines: the runs done so far, and the training at work.

    Parameters
    ----------
    n_runs : int
    console : rich.console.Console
        Where to; a console that is no terminal shows nothing live.
    """

    def __init__(self, n_runs: int, console: Console) -> None:
        self._bar = Bar(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            _Field("note"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._runs = self._bar.add_task("all runs", total=n_runs, note="")
        self._training = self._bar.add_task("", total=None, note="", visible=False)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def start_run(self, description: str) -> None:
        """A run begins."""
        self._bar.reset(self._training, description=description, total=None, note="", visible=True)

    def on_progress(self, progress: Progress) -> None:
        """Show epoch, loss and speed; meant as `on_progress` of a model's fit."""
        task = self._bar.tasks[self._training]
        speed = progress.n_trained / task.elapsed if task.elapsed else 0.0
        note = f"loss {progress.train_loss:.4f}"
        if not math.isnan(progress.validation_loss):
            note += f", validation {progress.validation_loss:.4f}"
        note += f", {_short(speed)} ratings/s"
        # The bar counts ratings, so that time left is right within an epoch; the reader is shown epochs.
        self._bar.update(
            self._training,
            completed=progress.n_trained,
            total=progress.n_total,
            note=f"epoch {progress.epoch}/{progress.epochs}, {note}",
        )

    def end_run(self) -> None:
        """The run is done."""
        self._bar.advance(self._runs)


class _Field(ProgressColumn):
    """A text that the task carries."""

    def __init__(self, field: str) -> None:
        super().__init__()
        self.field = field

    def render(self, task: Task) -> Text:
        return Text(str(task.fields[self.field]), style="cyan")


def rich_table(frame: pl.DataFrame, title: str | None = None) -> Table:
    """A data frame as a table for the terminal; all but the first column to the right."""
    # As Text, since names may hold square brackets, which are markup in a str.
    table = Table(
        title=None if title is None else Text(title),
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, 0, 0, 1),
    )
    for name in frame.columns:
        table.add_column(Text(name), justify="left" if name == frame.columns[0] else "right", no_wrap=True)
    for row in frame.iter_rows():
        table.add_row(*(Text(_cell(value)) for value in row))
    return table


def markdown_table(frame: pl.DataFrame) -> str:
    """A data frame as a Markdown table."""
    lines = [" | ".join(_cell(value).replace("|", "\\|") for value in row)
             for row in (frame.columns, *frame.iter_rows())]  # fmt: skip
    lines.insert(1, " | ".join(["---"] * frame.width))
    return "\n".join(f"| {line} |" for line in lines)


def html_table(frame: pl.DataFrame, title: str) -> str:
    """A data frame as a table for a notebook; all but the first column to the right."""

    def row(tag: str, values: Iterable[object]) -> str:
        sides = chain(["left"], repeat("right"))
        cells = (f'<{tag} style="text-align: {side}">{escape(_cell(value))}</{tag}>'
                 for value, side in zip(values, sides, strict=False))  # fmt: skip
        return f"<tr>{''.join(cells)}</tr>"

    head, body = row("th", frame.columns), "".join(row("td", values) for values in frame.iter_rows())
    caption = f'<caption style="text-align: left">{escape(title)}</caption>'
    return f"<table>{caption}<thead>{head}</thead><tbody>{body}</tbody></table>"


def _cell(value: object) -> str:
    """A value on one line; nothing for None."""
    return "" if value is None else " ".join(str(value).splitlines())


def _short(number: float) -> str:
    for unit, size in (("M", 1e6), ("k", 1e3)):
        if number >= size:
            return f"{number / size:.2f} {unit}"
    return f"{number:.0f} "
