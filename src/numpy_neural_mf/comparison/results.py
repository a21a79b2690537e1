"""What a comparison found: its runs as numbers, as a table to read, and as files."""

from __future__ import annotations

import io
import json
import math
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from html import escape
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from rich.console import Console, Group
from rich.text import Text

from ..data import RatingsSummary
from ..evaluation import holm
from ..evaluation.runs import Run, in_all, rmse_difference, rmse_of
from ..reporting.console import html_table, markdown_table, rich_table
from ..reporting.plots import comparison_figure, save_figure
from ..reporting.provenance import made_with
from ..utils.atomic_io import replacing
from .verdict import SIGNIFICANT, verdict

FIGURE = "comparacion_arquitecturas.png"
COLUMNS: dict[str, type[pl.DataType]] = {
    "data": pl.String,
    "model": pl.String,
    "runs": pl.Int64,
    "splits": pl.Int64,
    "rmse": pl.Float64,
    "rmse_low": pl.Float64,
    "rmse_high": pl.Float64,
    "rmse_std": pl.Float64,
    "mae": pl.Float64,
    "parameters": pl.Float64,
    "seconds": pl.Float64,
    "above_floor": pl.Float64,
    "ndcg_at_10": pl.Float64,
    "recall_at_10": pl.Float64,
}
DIFFERENCES: dict[str, type[pl.DataType]] = {
    "data": pl.String,
    "model": pl.String,
    "other": pl.String,
    "splits": pl.Int64,
    "difference": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "p_value": pl.Float64,
    "effect_size": pl.Float64,
    "is_real": pl.Boolean,
}


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

        Columns: data, model; runs and splits, how many; rmse, its mean over the splits, with its 95 %
        confidence interval from rmse_low to rmse_high (see `mean_over_splits`; null for one split) and
        rmse_std, the standard deviation over the runs (null for one); the means over the runs mae,
        parameters and seconds; above_floor, the mean of rmse / noise floor - 1, and ndcg_at_10 and
        recall_at_10 (each null where not known).

        Intervals of two models may overlap and the difference between them still be real, since both are
        tested on the same splits: `differences` tells.
        """
        rows = [_row(data, model, runs) for (data, model), runs in self.groups().items()]
        return pl.DataFrame(rows, schema=COLUMNS, orient="row")

    def differences(self) -> pl.DataFrame:
        """A row for each pair of models on each data set: by how much the first is better, and if really.

        Columns: data; model, the one with the lower mean RMSE, and other; splits, how many; difference, RMSE
        of other minus RMSE of model, with its 95 % confidence interval from low to high; p_value of the
        corrected resampled t-test (see `paired_difference`), after Holm's correction for all the pairs on a
        data set; effect_size, Cohen's d_z; is_real, p_value below 0.05. The interval is that of one
        difference alone, without Holm's correction. With one split all that is told is the difference;
        the rest is null.
        """
        rows: list[tuple[Any, ...]] = []
        for data in dict.fromkeys(run.data for run in self.runs):
            rows += _differences(data, {model: runs for (name, model), runs in self.groups().items()
                                        if name == data})  # fmt: skip
        return pl.DataFrame(rows, schema=DIFFERENCES, orient="row")

    def verdict(self, data: str | None = None) -> list[str]:
        """Which differences are real, in a few sentences.

        Parameters
        ----------
        data : str, optional
            One data set; by default all, each sentence with the name in front where there are several.

        Returns
        -------
        list of str
        """
        by_data = {table["data"][0]: verdict(table)
                   for table in self.differences().partition_by("data", maintain_order=True)}  # fmt: skip
        if data is not None:
            return by_data.get(data, [])
        prefix = "{}: " if len(by_data) > 1 else ""
        return [prefix.format(name) + text for name, texts in by_data.items() for text in texts]

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
            "differences": [_json(row) for row in self.differences().iter_rows(named=True)],
        }
        text = {
            "comparison.json": json.dumps(everything, indent=1),
            "comparison.csv": self.table().write_csv(),
            "comparison.md": self._markdown(),
        }
        for name, content in text.items():
            with replacing(folder / name) as temporary:
                temporary.write_text(content, encoding="utf-8")
        save_figure(comparison_figure(self.groups()), folder / FIGURE)
        self.files = [folder / name for name in (FIGURE, *text)]

    def _markdown(self) -> str:
        sentences = [f"- {sentence}\n" for sentence in self.verdict()]
        return "".join([markdown_table(_readable(self.table())), "\n", *["\n"] * bool(sentences), *sentences])

    def _tables(self) -> Iterator[tuple[str, pl.DataFrame, list[str]]]:
        """Title, readable table and verdict on each data set."""
        for table in self.table().partition_by("data", maintain_order=True):
            name = table["data"][0]
            yield f"{name}: test error, {_sample(table)}", _readable(table).drop("data"), self.verdict(name)

    def _notes(self) -> Iterator[str]:
        if self.files:
            yield "Wrote " + ", ".join(str(path) for path in self.files)
        if len(self.runs) < self.n_planned:
            yield f"Interrupted: {len(self.runs)} of {self.n_planned} runs are finished and counted."

    def __rich__(self) -> Group:
        parts: list[Any] = []
        for title, table, sentences in self._tables():
            # Titles stand above, since within a table they would be as narrow as it is.
            parts += [Text(title, style="bold"), rich_table(table), *map(Text, sentences), Text()]
        return Group(*parts, *map(Text, self._notes()))

    def __str__(self) -> str:
        text = io.StringIO()
        # Plain wherever it is asked for: in a notebook and under FORCE_COLOR too.
        Console(width=120, file=text, force_terminal=False, force_jupyter=False).print(self)
        return text.getvalue()

    def _repr_html_(self) -> str:
        parts: list[str] = []
        for title, table, sentences in self._tables():
            parts += [html_table(table, title), *map(_paragraph, sentences)]
        return "".join([*parts, *map(_paragraph, self._notes())])


def _row(data: str, model: str, runs: list[Run]) -> tuple[Any, ...]:
    rmse = rmse_of(runs)
    floors = [run.rmse / run.noise_floor - 1 for run in runs if run.noise_floor]
    rankings = [run.ranking for run in runs if run.ranking]
    return (
        data,
        model,
        len(runs),
        rmse.n_splits,
        rmse.mean,
        _known(rmse.low),
        _known(rmse.high),
        np.std([run.rmse for run in runs], ddof=1) if len(runs) > 1 else None,
        np.mean([run.mae for run in runs]),
        np.mean([run.n_parameters for run in runs]),
        np.mean([run.seconds for run in runs]),
        np.mean(floors) if floors else None,
        *(np.mean([ranking[name] for ranking in rankings]) if rankings else None
          for name in ("ndcg", "recall")),
    )  # fmt: skip


def _differences(data: str, models: dict[str, list[Run]]) -> list[tuple[Any, ...]]:
    finished = dict(zip(models, in_all(list(models.values())), strict=True))
    # Of two models that err alike the first comes first.
    ranked = sorted(finished, key=lambda model: rmse_of(finished[model]).mean)
    pairs = list(combinations(ranked, 2))
    found = [rmse_difference(finished[other], finished[model]) for model, other in pairs]
    p_values = [_known(p) for p in holm([difference.p_value for difference in found])]
    return [
        (data, model, other, d.n_splits, *map(_known, (d.mean, d.low, d.high)), p, _known(d.effect_size),
         None if p is None else p < SIGNIFICANT)
        for (model, other), d, p in zip(pairs, found, p_values, strict=True)
    ]  # fmt: skip


def _known(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


def _json(row: dict[str, Any]) -> dict[str, Any]:
    """A row without infinity, for which JSON has no number."""
    return {name: None if value in (math.inf, -math.inf) else value for name, value in row.items()}


def _paragraph(text: str) -> str:
    return f"<p>{escape(text)}</p>"


def _sample(table: pl.DataFrame) -> str:
    """What the numbers of a data set are means of."""
    runs, splits = (sorted({*table[name]}) for name in ("runs", "splits"))
    if runs == [1]:
        return "of one run"
    number = " to ".join(map(str, runs[:: max(len(runs) - 1, 1)]))
    if splits == [1]:
        return f"mean of {number} runs on one split"
    on = "" if runs == splits else f" on {splits[-1]} splits"
    return f"mean of {number} runs{on} with its 95 % interval"


def _readable(table: pl.DataFrame) -> pl.DataFrame:
    """The table in words and rounded, as a person reads it."""
    rows = [
        {
            "data": row["data"],
            "model": row["model"],
            "RMSE": f"{row['rmse']:.4f}",
            "95 % interval": _shown(row["rmse_low"], "{:.4f} to ") + _shown(row["rmse_high"], "{:.4f}"),
            "MAE": f"{row['mae']:.4f}",
            "NDCG@10": _shown(row["ndcg_at_10"], "{:.4f}"),
            "recall@10": _shown(row["recall_at_10"], "{:.4f}"),
            "parameters": f"{row['parameters']:,.0f}",
            "seconds": f"{row['seconds']:.2f}",
            "above floor": _shown(row["above_floor"], "{:.1%}").replace("%", " %"),
        }
        for row in table.iter_rows(named=True)
    ]
    frame = pl.DataFrame(rows)
    return frame.select(name for name in frame.columns if name == "data" or (frame[name] != "").any())


def _shown(value: float | None, form: str) -> str:
    return "" if value is None else form.format(value)
