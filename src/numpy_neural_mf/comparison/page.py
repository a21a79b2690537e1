"""A comparison as a page: which model is better, by how much, and whether really."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from itertools import cycle

import numpy as np

from ..evaluation.runs import Run
from ..reporting.charts import Interval, Line, interval_chart, line_chart
from ..reporting.page import PAGES, Chart, Table, data_facts, footer, settings_tables
from ..reporting.plots import COLOURS
from .results import Comparison

NEUTRAL = "var(--muted)"
PANEL_WIDTH = 320.0


def comparison_report(
    comparison: Comparison, *, command: str | None = None, made_at: datetime | None = None
) -> str:
    """A comparison as one page of HTML.

    Parameters
    ----------
    comparison : Comparison
        With at least one run.
    command : str, optional
        What makes the numbers again.
    made_at : datetime, optional
        By default now.

    Returns
    -------
    str
        The same for the same comparison, command, date and versions.

    Raises
    ------
    ValueError
        The comparison has no runs.

    Examples
    --------
    >>> from numpy_neural_mf import run_experiments
    >>> html = comparison_report(run_experiments(seeds=1, epochs=2))  # doctest: +SKIP
    """
    if not comparison.runs:
        raise ValueError("expected a comparison with at least one run, found none")
    names = list(dict.fromkeys(run.data for run in comparison.runs))
    models = list(dict.fromkeys(run.model for run in comparison.runs))
    # Each run has a seed of its own.
    settings = {
        model: {name: value for name, value in given.items() if name != "random_state"}
        for model, given in comparison.settings.items()
    }
    sections = [
        {
            "name": name,
            "how": _how([run for run in comparison.runs if run.data == name]),
            "verdict": sentences,
            "table": Table(frame.columns, frame.rows(), title),
            "errors": _errors_chart(comparison, name),
            "losses": list(_loss_charts([run for run in comparison.runs if run.data == name])),
            "data": data_facts(comparison.data.get(name)),
        }
        for name, (title, frame, sentences) in zip(names, comparison._tables(), strict=True)
    ]
    return PAGES.get_template("comparison.html").render(
        title=f"{_counted(len(models), 'model')} compared on {_listed(names)}",
        models=models,
        sections=sections,
        has_intervals=comparison.table()["rmse_low"].count() > 0,
        has_floor=any(run.noise_floor for run in comparison.runs),
        n_runs=len(comparison.runs),
        n_planned=comparison.n_planned,
        settings=list(settings_tables(settings)),
        **footer(command, made_at),
    )


def _how(runs: Sequence[Run]) -> str:
    """How the ratings were split and how often, in words."""
    n_splits, seeds = len({run.split for run in runs}), sorted({run.seed for run in runs})
    n_train, n_test = (
        round(float(np.mean([getattr(run, n) for run in runs]))) for n in ("n_train", "n_test")
    )
    return (
        f"{_counted(n_splits, 'split')} of the ratings: {n_train:,} to learn from, "
        f"{n_test:,} to be tested on. "
        f"{_counted(len(runs), 'run')}, with the seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}."
    )


def _errors_chart(comparison: Comparison, name: str) -> Chart:
    runs = [run for run in comparison.runs if run.data == name]
    colours = _colours(runs)
    rows = [row for row in comparison.table().iter_rows(named=True) if row["data"] == name]
    intervals = [
        Interval(row["model"], row["rmse"], row["rmse_low"], row["rmse_high"], colours[row["model"]])
        for row in rows
    ]
    floors = [run.noise_floor for run in runs if run.noise_floor]
    floor = (float(np.mean(floors)), "noise floor") if floors else None
    bars = ", bars their 95 % confidence intervals" * any(row["rmse_low"] is not None for row in rows)
    return Chart(interval_chart(intervals, "test RMSE", floor), f"Dots are mean errors{bars}.")


def _loss_charts(runs: Sequence[Run]) -> Iterator[Chart]:
    """Of each model that learns in epochs, all on one scale."""
    colours = _colours(runs)
    models: dict[str, list[Line]] = {}
    for model in colours:
        histories = [run.history for run in runs if run.model == model and run.history is not None]
        losses = [[h.train_loss for h in histories], [h.validation_loss for h in histories]]
        models[model] = [
            _mean_line(loss, is_dashed)
            for loss, is_dashed in zip(losses, (False, True), strict=True)
            if loss and all(loss)
        ]
    lines = [line for group in models.values() for line in group]
    if not lines:
        return
    x_range = (1, max(line.x[-1] for line in lines))
    y_range = (min(min(line.low) for line in lines), max(max(line.high) for line in lines))
    for model, group in models.items():
        if group:
            svg = line_chart(
                group, colours[model], "epoch", "mean squared error", x_range, y_range, width=PANEL_WIDTH
            )
            yield Chart(svg, "", model)


def _mean_line(losses: Sequence[Sequence[float]], is_dashed: bool) -> Line:
    # Early stopping ends runs at different epochs: the mean goes as far as all of them.
    length = min(map(len, losses))
    values = np.array([loss[:length] for loss in losses])
    mean, spread = values.mean(axis=0), values.std(axis=0, ddof=len(values) > 1)
    x = list(range(1, length + 1))
    return Line(x, mean.tolist(), (mean - spread).tolist(), (mean + spread).tolist(), is_dashed)


def _colours(runs: Sequence[Run]) -> dict[str, str]:
    """Of each model, as in the figure: those that learn in epochs each have their own."""
    learned = dict.fromkeys(run.model for run in runs if run.history is not None)
    own = dict(zip(learned, cycle(COLOURS), strict=False))
    return {run.model: own.get(run.model, NEUTRAL) for run in runs}


def _counted(n: int, noun: str) -> str:
    return f"{n} {noun}" + "s" * (n != 1)


def _listed(names: Iterable[str]) -> str:
    *most, last = names
    return f"{'; '.join(most)} and {last}" if most else last
