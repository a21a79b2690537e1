"""Results as figures; the only room that imports matplotlib."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from itertools import cycle
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from ..evaluation.runs import Run, rmse_of
from ..utils.atomic_io import replacing


class Look(NamedTuple):
    """How a model is drawn."""

    colour: str
    marker: str


# Okabe and Ito's colours, distinct to all kinds of colour vision; the markers tell models apart in grey.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
BASELINE = Look("#555555", "o")
NOISE_FLOOR: dict[str, Any] = {"color": "black", "linestyle": "--", "linewidth": 1}
# Numbers stay legible on top of lines.
HALO = [withStroke(linewidth=3, foreground="white")]
# Times the lowest RMSE.
FAR_BEHIND = 1.1


Runs = Mapping[tuple[str, str], Sequence[Run]]


def comparison_figure(groups: Runs) -> Figure:
    """The figure of a comparison, a row for each data set: test RMSE left, losses per epoch right.

    Parameters
    ----------
    groups : mapping of (data, model) to sequence of runs

    Returns
    -------
    matplotlib.figure.Figure
        Dots are means over the splits and bars their 95 % confidence intervals (see `mean_over_splits`); the
        dashed line is the noise floor, the RMSE of the best possible predictor. In the right panel are the
        models that learn in epochs; bands are one standard deviation over the runs.
    """
    data_names = list(dict.fromkeys(data for data, _ in groups))
    rows = [{model: runs for (name, model), runs in groups.items() if name == data} for data in data_names]
    heights = [_height(data, models) for data, models in zip(data_names, rows, strict=True)]
    figure = Figure(figsize=(11, sum(heights)), layout="constrained")
    parts = figure.subfigures(len(rows), 1, squeeze=False, height_ratios=heights)[:, 0]
    for part, data, models in zip(parts, data_names, rows, strict=True):
        title = part.suptitle(_wrapped(data, 90), x=0.01, ha="left", fontsize=11, fontweight="bold")
        title.set_parse_math(False)  # a dollar sign in a name begins no formula
        left, right = part.subplots(1, 2, width_ratios=(1, 1.25))
        looks = _looks(models)
        floors = [run.noise_floor for runs in models.values() for run in runs if run.noise_floor]
        floor = float(np.mean(floors)) if floors else None
        _draw_errors(left, models, looks, floor)
        _draw_losses(right, models, looks, floor)
    return figure


def save_figure(figure: Figure, path: str | os.PathLike[str]) -> None:
    """Write a figure, whole or not at all; the suffix says the format."""
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=200)


def _draw_errors(
    axes: Axes, models: Mapping[str, Sequence[Run]], looks: Mapping[str, Look], floor: float | None
) -> None:
    errors = {model: rmse_of(runs) for model, runs in models.items()}
    # A model far behind would squeeze the differences between the others: it is named at the edge instead.
    far = FAR_BEHIND * min(error.mean for error in errors.values())
    for position, (model, error) in enumerate(errors.items()):
        mean, look = error.mean, looks[model]
        half = error.high - mean if error.n_splits > 1 else None
        if mean > far:
            axes.annotate(f"{mean:.4f} →", (1, position), xycoords=("axes fraction", "data"),
                          ha="right", va="center", fontsize=8, path_effects=HALO)  # fmt: skip
            continue
        axes.errorbar(mean, position, xerr=half, fmt=look.marker, color=look.colour, capsize=4, markersize=6)
        axes.annotate(f"{mean:.4f}", (mean, position), xytext=(0, 6), textcoords="offset points",
                      ha="center", fontsize=8, path_effects=HALO)  # fmt: skip
    names = [_wrapped(model, 24) for model in models]
    axes.set_yticks(range(len(models)), names, parse_math=False)
    axes.set_ylim(len(models) - 0.5, -0.7)
    has_bars = any(error.n_splits > 1 for error in errors.values())
    axes.set_xlabel("test RMSE" + " (dot: mean, bar: 95 % confidence interval)" * has_bars, fontsize=9)
    axes.margins(x=0.12)
    # Few enough that the numbers below do not touch, however many digits they have.
    axes.xaxis.set_major_locator(MaxNLocator(nbins=5, steps=[1, 2, 5, 10]))
    axes.ticklabel_format(axis="x", useOffset=False)
    if floor is not None:
        axes.axvline(floor, **NOISE_FLOOR)
        axes.annotate("noise floor", (floor, 1.01), xycoords=("data", "axes fraction"),
                      ha="center", fontsize=8)  # fmt: skip
    _clean(axes, grid_axis="x")


def _draw_losses(
    axes: Axes, models: Mapping[str, Sequence[Run]], looks: Mapping[str, Look], floor: float | None
) -> None:
    lines: list[tuple[str, Line2D]] = []
    is_validated = False
    for model, runs in models.items():
        histories = [run.history for run in runs if run.history is not None and run.history.train_loss]
        if not histories:
            continue
        look = looks[model]
        lines.append((_wrapped(model, 24), _draw_curve(axes, [h.train_loss for h in histories], look, "-")))
        if all(h.validation_loss for h in histories):
            _draw_curve(axes, [h.validation_loss for h in histories], look, ":")
            is_validated = True
    if not lines:
        axes.set_axis_off()
        return
    lines.append(("training", Line2D([], [], color=BASELINE.colour, linestyle="-")))
    if is_validated:
        lines.append(("validation", Line2D([], [], color=BASELINE.colour, linestyle=":")))
    if floor is not None:
        lines.append(("noise floor", axes.axhline(floor**2, **NOISE_FLOOR)))
    axes.set_xlabel(
        "epoch" + " (line: mean, band: one standard deviation)" * _is_repeated(models), fontsize=9
    )
    axes.set_xlim(left=0.5)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    axes.set_ylabel("mean squared error", fontsize=9)
    # Beside the panel, where it hides no curve.
    names, handles = zip(*lines, strict=True)
    legend = axes.legend(handles, names, frameon=False, fontsize=8, loc="upper left",
                         bbox_to_anchor=(1.0, 1.02), borderaxespad=0.0)  # fmt: skip
    for text in legend.get_texts():
        text.set_parse_math(False)
    _clean(axes, grid_axis="y")


def _draw_curve(axes: Axes, losses: list[list[float]], look: Look, style: str) -> Line2D:
    # Early stopping ends runs at different epochs: the mean goes as far as all of them.
    length = min(len(loss) for loss in losses)
    values: NDArray[Any] = np.array([loss[:length] for loss in losses])
    epochs, mean, spread = (
        np.arange(1, length + 1),
        values.mean(axis=0),
        values.std(axis=0, ddof=len(values) > 1),
    )
    axes.fill_between(epochs, mean - spread, mean + spread, color=look.colour, alpha=0.15, linewidth=0)
    [line] = axes.plot(epochs, mean, style, color=look.colour, linewidth=1.8, marker=look.marker,
                       markersize=4, markevery=-(-length // 8))  # fmt: skip
    return line


def _looks(models: Mapping[str, Sequence[Run]]) -> dict[str, Look]:
    learned = [model for model, runs in models.items() if any(run.history is not None for run in runs)]
    looks = dict(zip(learned, map(Look, cycle(COLOURS), cycle(MARKERS)), strict=False))
    return {model: looks.get(model, BASELINE) for model in models}


def _is_repeated(models: Mapping[str, Sequence[Run]]) -> bool:
    return any(len(runs) > 1 for runs in models.values())


def _clean(axes: Axes, grid_axis: Any) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis=grid_axis, color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=9)


def _height(data: str, models: Iterable[str]) -> float:
    """Inches that a row needs: for its title, its axes and its models, whose names may take several lines."""
    lines = [_wrapped(model, 24).count("\n") + 1 for model in models]
    title = 0.2 * (_wrapped(data, 90).count("\n") + 1)
    return title + 1.3 + max(2.25, sum(max(0.45, 0.1 + 0.16 * n) for n in lines))


def _wrapped(name: str, width: int) -> str:
    return textwrap.fill(name, width)
