"""Training progress as live lines in a terminal."""

import math
from collections.abc import Iterator

from rich.console import Console, RenderableType
from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from rich.text import Text

from ..utils.tables import harmless
from .loop import Progress


class ProgressBar(Bar):
    """Live lines with the number of finished runs and the current training's epoch, losses and speed.

    On a console that is not a terminal, only results of finished runs are printed.
    """

    def __init__(self, n_runs: int, console: Console) -> None:
        self._n_runs, self._n_done, self._run, self._text = n_runs, 0, "", ""
        columns = TextColumn("{task.description}"), BarColumn(bar_width=24), TimeRemainingColumn()
        super().__init__(*columns, console=console, transient=True, disable=not console.is_terminal)
        self._runs = self.add_task(f"run 1 of {n_runs}", total=n_runs)
        self._training = self.add_task("", total=None, visible=False)

    def get_renderables(self) -> Iterator[RenderableType]:
        """Yield the bars, then a text of any length, which a column would truncate."""
        yield self.make_tasks_table(self.tasks)
        yield Text(self._text, style="cyan")

    def start_run(self, description: str) -> None:
        self._run = self._text = harmless(description)
        self.update(self._runs, description=f"run {self._n_done + 1} of {self._n_runs}")
        self.reset(self._training, description="", total=None, visible=False)

    def on_progress(self, progress: Progress) -> None:
        """Show epoch, losses and speed; pass this method as `on_progress` to a model's `fit`."""
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
        """Count a finished run; print its result, if given, as a line that remains on any console."""
        self._n_done += 1
        if result:
            line = f"run {self._n_done} of {self._n_runs}: {self._run}: {result}"
            self.console.print(Text(line), soft_wrap=True)
        self.update(self._runs, completed=self._n_done)


def _short(number: float) -> str:
    for unit, size in (("M", 1e6), ("k", 1e3)):
        if number >= size:
            return f"{number / size:.2f} {unit}"
    return f"{number:.0f}"
