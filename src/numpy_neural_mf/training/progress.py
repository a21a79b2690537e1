"""Displays of training progress: a bar in a terminal, a line in a notebook, lines elsewhere."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from html import escape
from typing import Any

from ..utils.atomic_io import is_first_process
from ..utils.settings import check_boolean
from .loop import Progress, ProgressCallback

MOST_LINES = 20  # approximate maximum for one training
PAUSE = 0.2  # seconds between two updates in a notebook


@contextmanager
def showing(
    is_shown: bool, what: str, on_progress: ProgressCallback | None
) -> Iterator[ProgressCallback | None]:
    """Yield a callback that calls `on_progress` and, if `is_shown`, shows the progress of training `what`.

    Progress is shown on standard error, without control codes unless it is a terminal, or below a notebook's
    cell. With many processes, only the first shows it.
    """
    check_boolean("progress", is_shown)
    if not (is_shown and is_first_process()):
        yield on_progress
        return
    from rich.console import Console

    from .progress_bar import ProgressBar

    console = Console(stderr=True)
    with ProgressBar(1, console) if console.is_terminal else nullcontext() as bar:
        show: ProgressCallback = _in_notebook(what) if console.is_jupyter else _as_lines(what)
        if bar is not None:
            bar.start_run(what)
            show = bar.on_progress

        def show_and_call(progress: Progress) -> None:
            show(progress)
            if on_progress is not None:
                on_progress(progress)

        yield show_and_call


def _as_lines(what: str) -> ProgressCallback:
    """Print a line at the end of each epoch, or of some epochs if there are many."""

    def show(now: Progress) -> None:
        is_end = now.n_trained * now.epochs == now.epoch * now.n_total
        if is_end and (now.epoch % max(1, now.epochs // MOST_LINES) == 0 or now.epoch == now.epochs):
            print(f"{what}: {now}", file=sys.stderr, flush=True)

    return show


def _in_notebook(what: str) -> ProgressCallback:
    """Show a bar and a line below the cell, which are replaced."""
    from IPython.display import HTML, display

    shown: Any = display(HTML(escape(what)), display_id=True)
    last = 0.0

    def show(now: Progress) -> None:
        nonlocal last
        if time.monotonic() - last > PAUSE or now.n_trained == now.n_total:
            bar = f'<progress value="{now.n_trained}" max="{now.n_total}"></progress>'
            shown.update(HTML(f"{bar} {escape(f'{what}: {now}')}"))
            last = time.monotonic()

    return show
