"""A comparison as a page of HTML: which model is better, by how much, and whether significantly."""

from collections.abc import Mapping, Sequence
from datetime import datetime

import numpy as np

from ..evaluation.runs import Run, mean_rmse
from ..reporting.page import Chart, Table, data_facts, footer, render, settings_tables
from .conclusions import joined
from .results import Comparison


def comparison_report(
    comparison: Comparison, *, command: str | None = None, made_at: datetime | None = None
) -> str:
    """Return a comparison as one page of HTML, the same for the same comparison, command, date and versions.

    Parameters
    ----------
    comparison : Comparison with at least one run, otherwise a ValueError
    command : str, optional, the command that reproduces the numbers
    made_at : datetime, by default now

    Examples
    --------
    >>> from numpy_neural_mf import run_experiments
    >>> html = comparison_report(run_experiments(seeds=1, epochs=2))  # doctest: +SKIP
    """
    if not comparison.runs:
        raise ValueError("expected a comparison with at least one run, found none")
    names = list(dict.fromkeys(run.data for run in comparison.runs))
    models = list(dict.fromkeys(run.model for run in comparison.runs))
    # The seed differs from run to run.
    settings = {
        model: {name: value for name, value in given.items() if name != "random_state"}
        for model, given in comparison.settings.items()
    }
    sections = [
        {
            "name": name,
            "splits": _splits([run for run in comparison.runs if run.data == name]),
            "conclusions": sentences,
            "table": Table(frame.columns, frame.rows(), title),
            "errors": _errors_chart(comparison.models(name)),
            "losses": _losses_chart(comparison.models(name)),
            "data": data_facts(comparison.data.get(name)),
        }
        for name, title, frame, sentences in comparison.sections()
    ]
    return render(
        "comparison.html",
        title=f"{_counted(len(models), 'model')} compared on {joined(names, 'and', '; ')}",
        models=models,
        sections=sections,
        has_intervals=comparison.table()["rmse_low"].count() > 0,
        has_floor=any(run.noise_floor for run in comparison.runs),
        n_runs=len(comparison.runs),
        n_planned=comparison.n_planned,
        settings=list(settings_tables(settings)),
        **footer(command, made_at),
    )


def _splits(runs: Sequence[Run]) -> str:
    """Describe the splits and the runs in words."""
    n_splits, seeds = len({run.split for run in runs}), sorted({run.seed for run in runs})
    n_train, n_test = (round(np.mean([getattr(run, n) for run in runs])) for n in ("n_train", "n_test"))
    return (
        f"{_counted(n_splits, 'split')} of the ratings: {n_train:,} for training, {n_test:,} for testing. "
        f"{_counted(len(runs), 'run')}, with the seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}."
    )


def _errors_chart(models: Mapping[str, Sequence[Run]]) -> Chart:
    from ..reporting.plots import inline_svg, rmse_figure

    errors = {model: mean_rmse(runs) for model, runs in models.items()}
    numbers = "; ".join(f"{model} {error.mean:.4f}" for model, error in errors.items())
    bars = ", bars their 95 % confidence intervals" * any(error.n_splits > 1 for error in errors.values())
    return Chart(inline_svg(rmse_figure(models), f"test RMSE: {numbers}"), f"Dots are mean errors{bars}.")


def _losses_chart(models: Mapping[str, Sequence[Run]]) -> Chart | None:
    """Return the chart of the losses; None unless a model is trained in epochs."""
    from ..reporting.plots import inline_svg, loss_figure

    final = {
        model: [run.history.train_loss[-1] for run in runs if run.history and run.history.train_loss]
        for model, runs in models.items()
    }
    numbers = "; ".join(f"{model} {np.mean(losses):.4f}" for model, losses in final.items() if losses)
    if not numbers:
        return None
    caption = (
        "Losses per epoch on the training ratings, and those to expect of unseen ratings, "
        "where a model estimates them."
    )
    label = f"mean squared error by epoch; last training loss: {numbers}"
    return Chart(inline_svg(loss_figure(models), label), caption)


def _counted(n: int, noun: str) -> str:
    return f"{n} {noun}" + "s" * (n != 1)
