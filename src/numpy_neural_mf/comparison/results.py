"""The results of a comparison: its runs as numbers, as readable tables and as files."""

from __future__ import annotations

import base64
import io
import json
import math
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from html import escape
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console, Group
from rich.text import Text

from ..data import RatingsSummary
from ..evaluation import holm
from ..evaluation.runs import Run, common_runs, mean_rmse, rmse_difference
from ..reporting.console import markdown, markdown_table, rich_table
from ..reporting.provenance import made_with
from ..utils.atomic_io import replacing
from ..utils.deprecation import DeprecatedName
from ..utils.tables import Table, harmless, html_table
from .conclusions import SIGNIFICANCE_LEVEL, conclusions

if TYPE_CHECKING:
    import polars as pl

    from ..utils.figures import Figure

FIGURE = "comparacion_arquitecturas.png"
NUMBERS = ("rmse", "rmse_low", "rmse_high", "rmse_std", "mae", "parameters", "seconds", "excess_rmse")
COLUMNS: dict[str, type] = {
    **dict.fromkeys(("data", "model"), str),
    **dict.fromkeys(("runs", "splits"), int),
    **dict.fromkeys((*NUMBERS, "ndcg_at_10", "recall_at_10"), float),
}
DIFFERENCES: dict[str, type] = {
    **dict.fromkeys(("data", "model", "other"), str),
    "splits": int,
    **dict.fromkeys(("difference", "low", "high", "p_value", "effect_size"), float),
    "is_significant": bool,
}


@dataclass(repr=False)
class Comparison:
    """The results of a comparison, shown as tables in a terminal and in a notebook.

    `data` has the summaries of the data sets and `settings` the settings of each model in its first run, both
    by name. `n_planned` is more than the number of `runs` if the comparison was interrupted. `files` are the
    files that were written.
    """

    runs: list[Run] = field(default_factory=list)
    data: dict[str, RatingsSummary] = field(default_factory=dict)
    settings: dict[str, dict[str, str]] = field(default_factory=dict)
    n_planned: int = 0
    files: list[Path] = field(default_factory=list)

    def table(self) -> pl.DataFrame:
        """Return a row of numbers for each data set and model.

        The columns are data and model; runs and splits, their numbers; rmse, its mean over the splits, with
        its 95 % confidence interval from rmse_low to rmse_high (see `mean_over_splits`; null for one split)
        and rmse_std, the standard deviation over the runs (null for one run); mae, parameters and seconds,
        means over the runs; excess_rmse, the mean of rmse / (RMSE of the Bayes-optimal predictor) - 1;
        ndcg_at_10 and recall_at_10. The last three are null where they are not known.

        The intervals of two models may overlap although their difference is significant, since both are
        tested on the same splits: see `differences`.
        """
        import polars as pl

        rows = [_row(data, model, runs) for (data, model), runs in self.groups().items()]
        return pl.DataFrame(rows, schema=COLUMNS, orient="row")

    def differences(self) -> pl.DataFrame:
        """Return a row for each pair of models on each data set, with the difference and its significance.

        The columns are data; model, the one with the lower mean RMSE, and other; splits, their number;
        difference, RMSE of other minus RMSE of model, with its 95 % confidence interval from low to high;
        p_value of the corrected resampled t-test (see `paired_difference`), after Holm's correction for all
        the pairs on a data set; effect_size, Cohen's d_z; is_significant, p_value below 0.05. The interval is
        that of a single difference, without Holm's correction. With one split, all columns after difference
        are null.
        """
        import polars as pl

        rows: list[tuple[Any, ...]] = []
        for data in dict.fromkeys(run.data for run in self.runs):
            rows += _differences(data, self.models(data))
        return pl.DataFrame(rows, schema=DIFFERENCES, orient="row")

    def conclusions(self, data: str | None = None) -> list[str]:
        """Return sentences on which differences are significant, on one data set or, by default, on all.

        With several data sets, each sentence begins with the name of its data set.
        """
        tables = self.differences().partition_by("data", maintain_order=True)
        by_data = {table["data"][0]: conclusions(table) for table in tables}
        if data is not None:
            return by_data.get(data, [])
        prefix = "{}: " if len(by_data) > 1 else ""
        return [prefix.format(name) + text for name, texts in by_data.items() for text in texts]

    verdict = DeprecatedName("conclusions")

    def groups(self) -> dict[tuple[str, str], list[Run]]:
        """Return the runs by (data, model), in the order in which they were made."""
        groups: dict[tuple[str, str], list[Run]] = {}
        for run in self.runs:
            groups.setdefault((run.data, run.model), []).append(run)
        return groups

    def models(self, data: str) -> dict[str, list[Run]]:
        """Return the runs on one data set, by model."""
        return {model: runs for (name, model), runs in self.groups().items() if name == data}

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write the figure and JSON, CSV and Markdown files into a folder, each whole or not at all."""
        from ..reporting.plots import save_figure

        folder = Path(folder)
        everything = {
            "made_with": made_with(),
            "data": {name: asdict(summary) for name, summary in self.data.items()},
            "settings": self.settings,
            "runs": [asdict(run) for run in self.runs],
            "differences": [_json(row) for row in self.differences().iter_rows(named=True)],
        }
        table = markdown_table(_readable(self.table()))
        sentences = "".join(f"- {markdown(sentence)}\n" for sentence in self.conclusions())
        text = {
            "comparison.json": json.dumps(everything, indent=1),
            "comparison.csv": self.table().write_csv(),
            "comparison.md": f"{table}\n" + (f"\n{sentences}" if sentences else ""),
        }
        for name, content in text.items():
            with replacing(folder / name) as temporary:
                temporary.write_text(content, encoding="utf-8")
        save_figure(self.plot(), folder / FIGURE)
        self.files = [folder / name for name in (FIGURE, *text)]

    def plot(self) -> Figure:
        """Return the errors and losses of the models as a matplotlib figure, which a notebook shows."""
        from ..reporting.plots import comparison_figure

        return comparison_figure(self.groups())

    def sections(self) -> Iterator[tuple[str, str, pl.DataFrame, list[str]]]:
        """Yield name, title, readable table and conclusions of each data set."""
        for table in self.table().partition_by("data", maintain_order=True):
            name = table["data"][0]
            title = f"{name}: test error, {_sample(table)}"
            yield name, title, _readable(table).drop("data"), self.conclusions(name)

    def _notes(self) -> Iterator[str]:
        if self.files:
            yield "Wrote " + ", ".join(str(path) for path in self.files)
        if len(self.runs) < self.n_planned:
            yield f"Interrupted: {len(self.runs)} of {self.n_planned} runs are finished and counted."

    def __rich__(self) -> Group:
        parts: list[Any] = []
        for _, title, table, sentences in self.sections():
            # The title is not part of the table, which would wrap it at its own width.
            parts += [Text(harmless(title), style="bold"), rich_table(table)]
            parts += [*(Text(harmless(sentence)) for sentence in sentences), Text()]
        return Group(*parts, *(Text(harmless(note)) for note in self._notes()))

    def __repr__(self) -> str:
        text = io.StringIO()
        # Plain text also in a notebook and with FORCE_COLOR.
        Console(width=120, file=text, force_terminal=False, force_jupyter=False).print(self)
        return text.getvalue()

    def _repr_html_(self) -> str:
        parts: list[str] = []
        for _, title, table, sentences in self.sections():
            parts += [html_table(Table(title, table.columns, table.rows())), *map(_paragraph, sentences)]
        if self.runs:
            png = base64.b64encode(self.plot()._repr_png_()).decode()
            alt = "Test error of each model, and its losses by epoch"
            parts.append(f'<img alt="{alt}" style="max-width: 100%" src="data:image/png;base64,{png}">')
        return "".join([*parts, *map(_paragraph, self._notes())])


def _row(data: str, model: str, runs: list[Run]) -> tuple[Any, ...]:
    rmse = mean_rmse(runs)
    std = np.std([run.rmse for run in runs], ddof=1) if len(runs) > 1 else None
    means = [_mean([getattr(run, name) for run in runs]) for name in ("mae", "n_parameters", "seconds")]
    excess = _mean([run.rmse / run.noise_floor - 1 for run in runs if run.noise_floor])
    ranking = [_mean([run.ranking[name] for run in runs if run.ranking]) for name in ("ndcg", "recall")]
    interval = _known(rmse.low), _known(rmse.high)
    return (data, model, len(runs), rmse.n_splits, rmse.mean, *interval, std, *means, excess, *ranking)


def _differences(data: str, models: dict[str, list[Run]]) -> list[tuple[Any, ...]]:
    finished = dict(zip(models, common_runs(list(models.values())), strict=True))
    # Sorting is stable: of two models with the same error, the first remains first.
    ranked = sorted(finished, key=lambda model: mean_rmse(finished[model]).mean)
    pairs = list(combinations(ranked, 2))
    found = [rmse_difference(finished[other], finished[model]) for model, other in pairs]
    p_values = [_known(p) for p in holm([difference.p_value for difference in found])]
    return [
        (
            data,
            model,
            other,
            d.n_splits,
            *map(_known, (d.mean, d.low, d.high)),
            p,
            _known(d.effect_size),
            None if p is None else p < SIGNIFICANCE_LEVEL,
        )
        for (model, other), d, p in zip(pairs, found, p_values, strict=True)
    ]


def _mean(values: list[float]) -> float | None:
    return float(np.mean(values)) if values else None


def _known(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


def _json(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row with null for infinity, which JSON cannot represent."""
    return {name: None if value in (math.inf, -math.inf) else value for name, value in row.items()}


def _paragraph(text: str) -> str:
    return f"<p>{escape(text)}</p>"


def _sample(table: pl.DataFrame) -> str:
    """Describe the runs and splits over which the numbers of a data set are averaged."""
    runs, splits = (sorted({*table[name]}) for name in ("runs", "splits"))
    if runs == [1]:
        return "of one run"
    number = " to ".join(map(str, runs[:: max(len(runs) - 1, 1)]))
    if splits == [1]:
        return f"mean of {number} runs on one split"
    on = "" if runs == splits else f" on {splits[-1]} splits"
    return f"mean of {number} runs{on} with its 95 % interval"


def _readable(table: pl.DataFrame) -> pl.DataFrame:
    """Return the table with rounded numbers and without empty columns."""
    import polars as pl

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
            "excess RMSE": _shown(row["excess_rmse"], "{:.1%}").replace("%", " %"),
        }
        for row in table.iter_rows(named=True)
    ]
    frame = pl.DataFrame(rows)
    return frame.select(name for name in frame.columns if name == "data" or (frame[name] != "").any())


def _shown(value: float | None, form: str) -> str:
    return "" if value is None else form.format(value)
