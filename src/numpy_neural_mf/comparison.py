"""What a comparison found: its runs as numbers, as a table to read, and as files."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from rich.console import Console, Group
from rich.text import Text

from .data import RatingsSummary
from .display import html_table, markdown_table, rich_table
from .files import replacing
from .plots import comparison_figure, save_figure
from .provenance import made_with
from .training import History

FIGURE = "comparacion_arquitecturas.png"
COLUMNS: dict[str, type[pl.DataType]] = {
    "data": pl.String,
    "model": pl.String,
    "runs": pl.Int64,
    "rmse": pl.Float64,
    "rmse_std": pl.Float64,
    "mae": pl.Float64,
    "parameters": pl.Float64,
    "seconds": pl.Float64,
    "above_floor": pl.Float64,
}


@dataclass(frozen=True)
class Run:
    """One model trained and tested once.

    Attributes
    ----------
    data, model : str
    seed, fold : int
        Fold 0 where the test ratings are a random split by the seed.
    rmse, mae : float
        On the test ratings, all together, unknown users and items included.
    noise_floor : float or None
        RMSE of the best possible predictor on the same test ratings, where it is known.
    n_parameters : int
    seconds : float
        Wall time of `fit`.
    history : History or None
        Losses per epoch, of models that have them.
    """

    data: str
    model: str
    seed: int
    fold: int
    rmse: float
    mae: float
    noise_floor: float | None
    n_parameters: int
    seconds: float
    history: History | None


@dataclass
class Comparison:
    """What a comparison found; shows itself in a terminal and in a notebook.

    Attributes
    ----------
    runs : list of Run
    data : dict of str to RatingsSummary
        What the models were compared on, by name.
    settings : dict of str to dict of str to str
        Of each model in its first run, by name.
    n_planned : int
        Runs that were asked for; more than there are, if the comparison was interrupted.
    files : list of Path
        What was written.
    """

    runs: list[Run] = field(default_factory=list)
    data: dict[str, RatingsSummary] = field(default_factory=dict)
    settings: dict[str, dict[str, str]] = field(default_factory=dict)
    n_planned: int = 0
    files: list[Path] = field(default_factory=list)

    def table(self) -> pl.DataFrame:
        """A row for each data set and model, in numbers.

        Columns: data, model, runs; the means rmse, mae, parameters and seconds; rmse_std, the standard
        deviation (null for one run); above_floor, the mean of rmse / noise floor - 1 (null where not known).
        """
        rows = [_row(data, model, runs) for (data, model), runs in self.groups().items()]
        return pl.DataFrame(rows, schema=COLUMNS, orient="row")

    def groups(self) -> dict[tuple[str, str], list[Run]]:
        """Runs by (data, model), in the order in which they were made."""
        groups: dict[tuple[str, str], list[Run]] = {}
        for run in self.runs:
            groups.setdefault((run.data, run.model), []).append(run)
        return groups

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write figure, JSON, CSV and Markdown into a folder, each whole or not at all."""
        folder = Path(folder)
        everything = {
            "made_with": made_with(),
            "data": {name: asdict(summary) for name, summary in self.data.items()},
            "settings": self.settings,
            "runs": [asdict(run) for run in self.runs],
        }
        text = {
            "comparison.json": json.dumps(everything, indent=1),
            "comparison.csv": self.table().write_csv(),
            "comparison.md": markdown_table(_readable(self.table())) + "\n",
        }
        for name, content in text.items():
            with replacing(folder / name) as temporary:
                temporary.write_text(content, encoding="utf-8")
        save_figure(comparison_figure(self.groups()), folder / FIGURE)
        self.files = [folder / name for name in (FIGURE, *text)]

    def _tables(self) -> Iterator[tuple[str, pl.DataFrame]]:
        """Title and readable table of each data set."""
        for table in self.table().partition_by("data", maintain_order=True):
            counts = table["runs"].to_list()
            fewest, most = min(counts), max(counts)
            number = f"{most}" if fewest == most else f"{fewest} to {most}"
            spread = "of one run" if number == "1" else f"mean of {number} runs ± one standard deviation"
            yield f"{table['data'][0]}: test error, {spread}", _readable(table).drop("data")

    def _notes(self) -> Iterator[str]:
        if self.files:
            yield "Wrote " + ", ".join(str(path) for path in self.files)
        if len(self.runs) < self.n_planned:
            yield f"Interrupted: {len(self.runs)} of {self.n_planned} runs are finished and counted."

    def __rich__(self) -> Group:
        # Titles stand above, since within a table they would be as narrow as it is.
        tables = [
            part for title, table in self._tables() for part in (Text(title, style="bold"), rich_table(table))
        ]
        return Group(*tables, *(Text(note) for note in self._notes()))

    def __str__(self) -> str:
        text = io.StringIO()
        # Plain wherever it is asked for: in a notebook and under FORCE_COLOR too.
        Console(width=120, file=text, force_terminal=False, force_jupyter=False).print(self)
        return text.getvalue()

    def _repr_html_(self) -> str:
        tables = (html_table(table, title) for title, table in self._tables())
        return "".join([*tables, *(f"<p>{escape(note)}</p>" for note in self._notes())])


def _row(data: str, model: str, runs: list[Run]) -> tuple[Any, ...]:
    errors = [run.rmse for run in runs]
    floors = [run.rmse / run.noise_floor - 1 for run in runs if run.noise_floor]
    return (
        data,
        model,
        len(runs),
        np.mean(errors),
        np.std(errors, ddof=1) if len(errors) > 1 else None,
        np.mean([run.mae for run in runs]),
        np.mean([run.n_parameters for run in runs]),
        np.mean([run.seconds for run in runs]),
        np.mean(floors) if floors else None,
    )


def _readable(table: pl.DataFrame) -> pl.DataFrame:
    """The table in words and rounded, as a person reads it."""
    rows = [
        {
            "data": row["data"],
            "model": row["model"],
            "RMSE": f"{row['rmse']:.4f}" + ("" if row["rmse_std"] is None else f" ± {row['rmse_std']:.4f}"),
            "MAE": f"{row['mae']:.4f}",
            "parameters": f"{row['parameters']:,.0f}",
            "seconds": f"{row['seconds']:.2f}",
            "above floor": "" if row["above_floor"] is None else f"{100 * row['above_floor']:.1f} %",
        }
        for row in table.iter_rows(named=True)
    ]
    frame = pl.DataFrame(rows)
    return frame if table["above_floor"].count() else frame.drop("above floor", strict=False)
