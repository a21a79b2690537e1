"""Figures of results, drawn by matplotlib: as a file, or as inline SVG for a page.

Other modules import this module only where they draw, since matplotlib takes a while to import.
"""

import io
import os
import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, cycle
from textwrap import fill, wrap
from typing import Any, cast

import numpy as np
from markupsafe import Markup
from matplotlib import rc_context
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from ..evaluation import Calibration
from ..evaluation.runs import Run, mean_noise_floor, mean_rmse
from ..mf.parameters import KINDS, SIDES, table_name
from ..mf.side_information import RATED
from ..models import NeuralMF
from ..utils.atomic_io import replacing
from ..utils.figures import COLOURS, CURVES, GREY, GRID, Figure, clean

Models = Mapping[str, Sequence[Run]]
Look = tuple[str, str]  # colour and marker

MARKERS = ("o", "s", "^", "D", "v", "P", "X")
BASELINE = (GREY, "o")
REFERENCE: dict[str, Any] = {"color": "black", "linestyle": "--", "linewidth": 1}
FAR_BEHIND = 1.1  # a model is far behind if its RMSE exceeds the lowest by this factor
# Colours that follow the page's light or dark theme.
THEME = {"#000000": "currentColor", GRID: "var(--rule)", GREY: "var(--muted)"}
MAX_LABELLED = 11  # most bars of a histogram with percentages written above them


def comparison_figure(groups: Mapping[tuple[str, str], Sequence[Run]]) -> Figure:
    """Draw the runs by (data, model), a row for each data set: `rmse_figure` left, `loss_figure` right."""
    rows: dict[str, dict[str, Sequence[Run]]] = {}
    for (data, model), runs in groups.items():
        rows.setdefault(data, {})[model] = runs
    heights = [0.2 * len(wrap(data, 90)) + _height(models) for data, models in rows.items()]
    figure = Figure(figsize=(11, sum(heights)), layout="constrained")
    parts = figure.subfigures(len(rows), 1, squeeze=False, height_ratios=heights)[:, 0]
    for part, (data, models) in zip(parts, rows.items(), strict=True):
        title = part.suptitle(fill(data, 90), x=0.01, ha="left", fontsize=11, fontweight="bold")
        title.set_parse_math(False)  # a dollar sign in a name does not start a formula
        left, right = part.subplots(1, 2, width_ratios=(1, 1.25))
        rmse_figure(models, left)
        loss_figure(models, right)
    return figure


def rmse_figure(models: Models, axes: Axes | None = None) -> Figure:
    """Draw the test RMSE of models on one data set, on the given axes or on those of a new figure.

    Dots are means over the splits and bars their 95 % confidence intervals (see `mean_over_splits`); the
    dashed line is the irreducible error. The means are written on the right, clear of all lines; a model far
    behind has an arrow at the edge instead of a dot.
    """
    axes = axes or _axes(_height(models))
    errors, looks = {model: mean_rmse(runs) for model, runs in models.items()}, _looks(models)
    # A model far behind would compress the differences between the others.
    far = FAR_BEHIND * min(error.mean for error in errors.values())
    edge: dict[str, Any] = {"xycoords": ("axes fraction", "data"), "va": "center", "fontsize": 8}
    for position, (model, error) in enumerate(errors.items()):
        mean, (colour, marker) = error.mean, looks[model]
        axes.annotate(f"{mean:.4f}", (1.02, position), **edge)
        if mean > far:
            axes.annotate("→", (1, position), ha="right", **edge)
            continue
        half = error.high - mean if error.n_splits > 1 else None
        axes.errorbar(mean, position, xerr=half, fmt=marker, color=colour, capsize=4, markersize=6)
    axes.set_yticks(range(len(models)), [fill(model, 24) for model in models], parse_math=False)
    axes.set_ylim(len(models) - 0.5, -0.7)
    axes.margins(x=0.12)
    # So few ticks that their labels do not touch, whatever their number of digits.
    axes.xaxis.set_major_locator(MaxNLocator(nbins=5, steps=[1, 2, 5, 10]))
    axes.ticklabel_format(axis="x", useOffset=False)
    floor = mean_noise_floor(list(chain.from_iterable(models.values())))
    if floor is not None:
        axes.axvline(floor, **REFERENCE)
        top = (floor, 1.01)
        axes.annotate("irreducible error", top, xycoords=("data", "axes fraction"), ha="center", fontsize=8)
    has_bars = any(error.n_splits > 1 for error in errors.values())
    return clean(axes, "x", "test RMSE" + " (dot: mean, bar: 95 % confidence interval)" * has_bars)


def loss_figure(models: Models, axes: Axes | None = None) -> Figure:
    """Draw the losses per epoch of the models on one data set that are trained in epochs.

    Lines are means over the runs and bands one standard deviation. Without such models, the axes are off.
    """
    axes = axes or _axes(_height(models))
    looks, lines, shown = _looks(models), list[Line2D](), set[str]()
    for model, runs in models.items():
        histories = [run.history for run in runs if run.history is not None and run.history.train_loss]
        if not histories:
            continue
        for name, (style, _) in CURVES.items():
            losses = [getattr(history, name) for history in histories]
            if all(losses):
                line = _draw_curve(axes, losses, looks[model], style)
                if name == "train_loss":
                    line.set_label(fill(model, 24))
                    lines.append(line)
                shown.add(name)
    if not lines:
        axes.set_axis_off()
        return cast(Figure, axes.figure)
    lines += [
        axes.plot([], [], s, color=GREY, label=label)[0] for n, (s, label) in CURVES.items() if n in shown
    ]
    floor = mean_noise_floor(list(chain.from_iterable(models.values())))
    if floor is not None:
        lines.append(axes.axhline(floor**2, label="irreducible error", **REFERENCE))
    axes.set_xlim(left=0.5)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    # Next to the axes, where the legend hides no curve.
    place: dict[str, Any] = {"loc": "upper left", "bbox_to_anchor": (1.0, 1.02), "borderaxespad": 0.0}
    legend = axes.legend(handles=lines, frameon=False, fontsize=8, **place)
    for text in legend.get_texts():
        text.set_parse_math(False)
    is_repeated = any(len(runs) > 1 for runs in models.values())
    label = "epoch" + " (line: mean, band: one standard deviation)" * is_repeated
    return clean(axes, "y", label, "mean squared error")


def histogram_figure(histogram: Sequence[tuple[float, float, int]], label: str) -> Figure:
    """Draw a histogram of bins (start, end, count); a bin of a single value starts and ends at that value."""
    axes = _axes(2.6)
    starts, ends, counts = (np.array(column) for column in zip(*histogram, strict=True))
    shares = 100 * counts / counts.sum()
    if (starts < ends).any():
        axes.bar(starts, shares, 0.92 * (ends - starts), align="edge", color=COLOURS[0])
    else:
        bars = axes.bar(range(len(starts)), shares, color=COLOURS[0])
        every = -(-len(starts) // MAX_LABELLED)
        axes.set_xticks(range(0, len(starts), every), [f"{start:g}" for start in starts[::every]])
        if len(starts) <= MAX_LABELLED:
            labels = ["<1 %" if 0 < share < 1 else f"{share:.0f} %" for share in shares]
            axes.bar_label(bars, labels, padding=2, fontsize=8)
    return clean(axes, "y", label, "share (%)")


def calibration_figure(calibration: Calibration) -> Figure:
    """Draw the mean prediction by rating; the dashed line is equality."""
    axes = _axes(3.4)
    x, y = calibration.rating, calibration.mean_prediction
    ends = (min(x.min(), y.min()), max(x.max(), y.max()))
    axes.plot(ends, ends, **REFERENCE)
    axes.plot(x, y, color=COLOURS[0], linewidth=1.8, marker="o", markersize=5)
    return clean(axes, "both", "rating", "mean prediction")


def variance_figure(model: NeuralMF) -> Figure:
    """Draw which factors a fitted `NeuralMF` uses (left) and which features are informative (right).

    The left axes show, for the bias and each factor, the standard deviation of the rows of users and of items
    as a bar, and the standard deviation of their prior as a line: a factor without support in the ratings has
    rows near zero. Factors are ordered by how much they change a score. If the model has features, the right
    axes show the standard deviation of the contribution of each field to a row. All are in units of scores
    (`NeuralMF.unit_`). Raises TypeError for another model, and RuntimeError if the model is not fitted.
    """
    if not isinstance(model, NeuralMF):
        raise TypeError(f"expected a fitted NeuralMF, found a {type(model).__name__}")
    n_bars = sum(map(len, model.field_variances_.values()))
    figure = Figure(figsize=(11 if n_bars else 6, max(3.6, 1.2 + 0.24 * n_bars)), layout="constrained")
    left, *right = figure.subplots(1, 1 + bool(n_bars), squeeze=False)[0]
    _draw_factors(left, model)
    for axes in right:
        _draw_fields(axes, model)
    return figure


def save_figure(figure: Figure, path: str | os.PathLike[str]) -> None:
    """Write a figure, whole or not at all; the suffix of the path decides the format."""
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=200)


def inline_svg(figure: Figure, description: str) -> Markup:
    """Return a figure as a deterministic SVG element; screen readers read `description`.

    Its labels are text in the page's font; black and grey follow the page's theme.
    """
    file = io.StringIO()
    no_metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    with warnings.catch_warnings(), rc_context({"svg.fonttype": "none", "svg.hashsalt": "numpy-neural-mf"}):
        warnings.filterwarnings("ignore", message="Glyph")  # the page's font may have what matplotlib's lacks
        figure.savefig(file, format="svg", transparent=True, metadata=no_metadata)
    _, _, svg = file.getvalue().partition("<svg ")
    svg = re.sub(r'<g id="[^"]*"', "<g", svg)  # these ids would occur in each figure of a page
    svg = re.sub(r'font-family: [^;"]*;? ?', "", svg)
    for colour, themed in THEME.items():
        svg = svg.replace(f": {colour}", f": {themed}")
    return Markup('<svg role="img" aria-label="{}" ').format(description) + Markup(svg.rstrip())


def _axes(height: float) -> Axes:
    return Figure(figsize=(5, height), layout="constrained").subplots()


def _draw_factors(axes: Axes, model: NeuralMF) -> None:
    rows = {name: model.parameters_[name][:-1].std(axis=0) for name in model.prior_variances_}
    factors = [rows[name] for side in SIDES if (name := table_name(side, "embedding")) in rows]
    order = np.argsort(-np.prod(factors, axis=0)) if factors else np.zeros(0, int)
    for n, (side, colour) in enumerate(zip(SIDES, COLOURS, strict=False)):
        for kind in KINDS:
            if (name := table_name(side, kind)) in rows:
                chosen, first = (order, 1) if kind == "embedding" else (np.zeros(1, int), 0)
                x, prior = first + np.arange(len(chosen)) + 0.4 * n - 0.2, model.prior_variances_[name]
                axes.bar(x, rows[name][chosen], 0.36, color=colour)
                axes.hlines(np.sqrt(prior[chosen]), x - 0.18, x + 0.18, color="black", linewidth=1.2)
    every = -(-len(order) // MAX_LABELLED) or 1
    shown = range(every, len(order) + 1, every)
    bias = [0] * model.architecture.biases
    axes.set_xticks([*bias, *shown], ["bias"] * len(bias) + [*map(str, shown)])
    prior_label = "prior" + ", given the features" * bool(model.field_variances_)
    sides = [Patch(color=colour, label=f"{side}s") for side, colour in zip(SIDES, COLOURS, strict=False)]
    line = Line2D([], [], color="black", linewidth=1.2, label=prior_label)
    _title(axes, "Which factors are used", [*sides, line])
    clean(axes, "y", "factor, by how much it moves ratings", "standard deviation of the rows")


def _draw_fields(axes: Axes, model: NeuralMF) -> None:
    names = list[str]()
    for side, colour in zip(SIDES, COLOURS, strict=False):
        tables = [model.field_variances_.get(table_name(side, kind), {}) for kind in KINDS]
        for field in max(tables, key=len):
            for n, (by_field, alpha) in enumerate(zip(tables, (1.0, 0.4), strict=True)):
                if field in by_field:
                    deviation = np.sqrt(by_field[field].sum())
                    bar = axes.barh(len(names) + 0.4 * n - 0.2, deviation, 0.36, color=colour, alpha=alpha)
                    axes.bar_label(bar, [f"{deviation:.2f}"], padding=3, fontsize=8)
            names.append(fill(f"{side}s: {'implicit set' if field == RATED else field}", 24))
    axes.set_yticks(range(len(names)), names, parse_math=False)
    axes.set_ylim(len(names) - 0.5, -0.5)
    handles = [Patch(fc=GREY, label="all factors"), Patch(fc=GREY, alpha=0.4, label="bias")]
    _title(axes, "Which features are informative", handles)
    axes.margins(x=0.12)
    clean(axes, "x", "standard deviation of what a field adds to a row")


def _title(axes: Axes, title: str, handles: Sequence[Artist]) -> None:
    axes.set_title(title, loc="left", fontsize=10, pad=20)
    # Between title and axes, where the legend hides no bar.
    place: dict[str, Any] = {"loc": "lower left", "bbox_to_anchor": (0.0, 1.0), "borderaxespad": 0.0}
    axes.legend(handles=handles, ncols=len(handles), frameon=False, fontsize=8, **place)


def _draw_curve(axes: Axes, losses: list[list[float]], look: Look, style: str) -> Line2D:
    # Runs may end at different epochs: the mean covers the epochs that all runs have.
    length = min(map(len, losses))
    values: NDArray[Any] = np.array([loss[:length] for loss in losses])
    epochs, mean = np.arange(1, length + 1), values.mean(axis=0)
    spread, (colour, marker) = values.std(axis=0, ddof=len(values) > 1), look
    axes.fill_between(epochs, mean - spread, mean + spread, color=colour, alpha=0.15, linewidth=0)
    markers: dict[str, Any] = {"marker": marker, "markersize": 4, "markevery": -(-length // 8)}
    return axes.plot(epochs, mean, style, color=colour, linewidth=1.8, **markers)[0]


def _looks(models: Models) -> dict[str, Look]:
    learned = [model for model, runs in models.items() if any(run.history is not None for run in runs)]
    looks = dict(zip(learned, zip(cycle(COLOURS), cycle(MARKERS), strict=False), strict=False))
    return {model: looks.get(model, BASELINE) for model in models}


def _height(models: Iterable[str]) -> float:
    """Return the height in inches of axes with a row for each model, whose name may take several lines."""
    return 1.3 + max(2.25, sum(max(0.45, 0.1 + 0.16 * len(wrap(model, 24))) for model in models))
