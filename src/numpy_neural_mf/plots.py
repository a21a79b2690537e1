"""Results as figures; the only room that imports matplotlib."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from .files import replacing
from .training import History

# Okabe and Ito's colours, distinct to all kinds of colour vision.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
BASELINE_COLOUR = "#555555"
# Times the lowest RMSE.
FAR_BEHIND = 1.1


class Run(Protocol):
    """What a figure needs to know of a run."""

    @property
    def rmse(self) -> float: ...
    @property
    def noise_floor(self) -> float | None: ...
    @property
    def history(self) -> History | None: ...


Runs = Mapping[tuple[str, str], Sequence[Run]]


def comparison_figure(groups: Runs) -> Figure:
    """The figure of a comparison, a row for each data set: test RMSE left, losses per epoch right.

    Parameters
    ----------
    groups : mapping of (data, model) to sequence of runs

    Returns
    -------
    matplotlib.figure.Figure
        Dots are means over the runs and bars one standard deviation; the dashed line is the noise floor, the
        RMSE of the best possible predictor. In the right panel bands are one standard deviation too.
    """
    data_names = list(dict.fromkeys(data for data, _ in groups))
    figure = Figure(figsize=(11, 0.6 + 3.6 * len(data_names)), layout="constrained")
    axes = figure.subplots(len(data_names), 2, squeeze=False, width_ratios=(1, 1.25))
    for (left, right), data in zip(axes, data_names, strict=True):
        models = {model: runs for (name, model), runs in groups.items() if name == data}
        colours = _colours(models)
        floor = [run.noise_floor for runs in models.values() for run in runs if run.noise_floor]
        _draw_errors(left, models, colours)
        _draw_losses(right, models, colours)
        if floor:
            left.axvline(np.mean(floor), color="black", linestyle="--", linewidth=1)
            left.annotate("noise floor", (float(np.mean(floor)), 1.01), xycoords=("data", "axes fraction"),
                          ha="center", fontsize=8)  # fmt: skip
            right.axhline(np.mean(np.square(floor)), color="black", linestyle="--", linewidth=1)
        left.set_title(data, loc="left", fontsize=11, fontweight="bold", pad=16)
    return figure


def save_figure(figure: Figure, path: str | os.PathLike[str]) -> None:
    """Write a figure, whole or not at all; the suffix says the format."""
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=160)


def _draw_errors(axes: Axes, models: Mapping[str, Sequence[Run]], colours: Mapping[str, str]) -> None:
    means = {model: float(np.mean([run.rmse for run in runs])) for model, runs in models.items()}
    # A model far behind would squeeze the differences between the others: it is named at the edge instead.
    far = FAR_BEHIND * min(means.values())
    for position, (model, runs) in enumerate(models.items()):
        mean = means[model]
        spread = float(np.std([run.rmse for run in runs], ddof=1)) if len(runs) > 1 else 0.0
        if mean > far:
            axes.annotate(f"{mean:.4f} →", (1, position), xycoords=("axes fraction", "data"),
                          ha="right", va="center", fontsize=8)  # fmt: skip
            continue
        axes.errorbar(mean, position, xerr=spread, fmt="o", color=colours[model], capsize=4, markersize=6)
        axes.annotate(f"{mean:.4f}", (mean, position), xytext=(0, 7), textcoords="offset points",
                      ha="center", fontsize=8)  # fmt: skip
    axes.set_yticks(range(len(models)), list(models))
    axes.set_ylim(len(models) - 0.5, -0.7)
    axes.set_xlabel("test RMSE (dot: mean, bar: one standard deviation over the runs)", fontsize=9)
    axes.margins(x=0.12)
    _clean(axes, grid_axis="x")


def _draw_losses(axes: Axes, models: Mapping[str, Sequence[Run]], colours: Mapping[str, str]) -> None:
    for model, runs in models.items():
        histories = [run.history for run in runs if run.history is not None]
        if not histories:
            continue
        _draw_curve(axes, [h.train_loss for h in histories], colours[model], "-", model)
        if all(h.validation_loss for h in histories):
            _draw_curve(axes, [h.validation_loss for h in histories], colours[model], ":", None)
    axes.plot([], [], color=BASELINE_COLOUR, linestyle="-", label="training")
    axes.plot([], [], color=BASELINE_COLOUR, linestyle=":", label="validation")
    axes.set_xlabel("epoch", fontsize=9)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_ylabel("mean squared error", fontsize=9)
    axes.legend(frameon=False, fontsize=8, ncols=2)
    _clean(axes, grid_axis="y")


def _draw_curve(axes: Axes, losses: list[list[float]], colour: str, style: str, label: str | None) -> None:
    # Early stopping ends runs at different epochs: the mean goes as far as all of them.
    length = min(len(loss) for loss in losses)
    values: NDArray[Any] = np.array([loss[:length] for loss in losses])
    epochs, mean, spread = np.arange(1, length + 1), values.mean(axis=0), values.std(axis=0)
    axes.plot(epochs, mean, style, color=colour, linewidth=1.8, label=label)
    axes.fill_between(epochs, mean - spread, mean + spread, color=colour, alpha=0.15, linewidth=0)


def _colours(models: Mapping[str, Sequence[Run]]) -> dict[str, str]:
    learned = [model for model, runs in models.items() if runs[0].history is not None]
    colours = dict(zip(learned, COLOURS * len(learned), strict=False))
    return {model: colours.get(model, BASELINE_COLOUR) for model in models}


def _clean(axes: Axes, grid_axis: Any) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis=grid_axis, color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=9)
