"""The style of figures, and plots of training losses, by matplotlib."""

import io
from collections.abc import Mapping, Sequence
from typing import Any, cast

from matplotlib import figure
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

# Okabe and Ito's colours, distinct for all types of colour vision; markers distinguish models in greyscale.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
GREY = "#555555"
# Losses of a history: line style and label.
CURVES = {
    "train_loss": ("-", "training"),
    "expected_loss": ("-.", "expected of unseen ratings"),
    "validation_loss": (":", "validation"),
}
GRID = "#dddddd"


class Figure(figure.Figure):
    """A figure that a notebook shows without pyplot."""

    def _repr_png_(self) -> bytes:
        file = io.BytesIO()
        self.savefig(file, format="png", dpi=100)
        return file.getvalue()


def losses_figure(losses: Mapping[str, Sequence[float]]) -> Figure:
    """Plot losses by epoch, as far as `CURVES` has them."""
    drawn = Figure(figsize=(5, 3.4), layout="constrained")
    axes = drawn.subplots()
    for (name, (style, label)), colour in zip(CURVES.items(), COLOURS, strict=False):
        if losses[name]:
            epochs = range(1, len(losses[name]) + 1)
            axes.plot(epochs, losses[name], style, color=colour, linewidth=1.8, label=label)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    axes.legend(frameon=False, fontsize=8)
    clean(axes, "y", "epoch", "loss")
    return drawn


def clean(axes: Axes, grid_axis: Any, x_label: str, y_label: str = "") -> Figure:
    """Set labels, a light grid behind the data, and no frame; return the figure."""
    axes.set_xlabel(x_label, fontsize=9)
    axes.set_ylabel(y_label, fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis=grid_axis, color=GRID, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=9)
    return cast(Figure, axes.figure)
