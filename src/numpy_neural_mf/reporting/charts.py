"""Charts as SVG for a page: no script, no font, and the page's colours, so that light and dark fit.

The page styles the classes: axis, grid, label, strong, series, band, reference, bar.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from markupsafe import Markup

# Of the drawing; about that of a phone, so that its text is as large as the page's there.
WIDTH = 400.0
# Room for numbers at the left, below and at the right of intervals; for half a number at the other edges.
LEFT, BOTTOM, RIGHT, EDGE = 46.0, 44.0, 76.0, 18.0
# Letters that fit above an interval.
NAME_LENGTH = 40


class Interval(NamedTuple):
    """A row of `interval_chart`: a value and, where it is known, how far it may be off."""

    name: str
    value: float
    low: float | None
    high: float | None
    colour: str


class Line(NamedTuple):
    """A line of `line_chart`: y for each x, with a band from low to high."""

    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float]
    high: Sequence[float]
    is_dashed: bool = False


class Axis(NamedTuple):
    """Numbers from low to high on the way from start to end, in units of the drawing."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        return round(self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start), 1)

    def ticks(self, n: int = 5, least: float = 0.0) -> dict[float, str]:
        """At most about n round numbers with their texts, in steps of 1, 2 or 5 times a power of ten."""
        rough = max((self.high - self.low) / n, least)
        power = math.floor(math.log10(rough))
        step = next(m for m in (1, 2, 5, 10) if m * 10.0**power >= rough * (1 - 1e-9)) * 10.0**power
        digits = max(0, -math.floor(math.log10(step) + 1e-9))
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return {k * step: f"{k * step:.{digits}f}" for k in range(first, last + 1)}


def interval_chart(
    rows: Sequence[Interval], label: str, reference: tuple[float, str] | None = None
) -> Markup:
    """A row for each value, its interval as a bar, its name above.

    Parameters
    ----------
    rows : sequence of Interval
        Lower is better: values more than a tenth above the lowest are named at the edge, for they would
        squeeze the differences between the others.
    label : str
        What the values are.
    reference : (float, str), optional
        A value to hold them against and its name, a dashed line.
    """
    far = 1.1 * min(row.value for row in rows)
    shown = [v for row in rows if row.value <= far for v in row[1:4] if v is not None]
    x = Axis(*_with_margin([*shown, *([reference[0]] if reference else [])]), EDGE, WIDTH - RIGHT)
    top, step = 24.0 if reference else 6.0, 42.0
    height = top + step * len(rows) + BOTTOM
    floor = height - BOTTOM
    parts = [_x_axis(x, floor, top, label)]
    if reference:
        at = x(reference[0])
        parts.append(_line("reference", at, top - 4, at, floor))
        # At the side where there is room for it.
        parts.append(_text(reference[1], at, top - 9, "start" if at < WIDTH / 2 else "end"))
    for number, row in enumerate(rows):
        y = top + step * number
        parts.append(_text(_shortened(row.name), 0, y + 13))
        parts.append(_text("→ " * (row.value > far) + f"{row.value:.4f}", WIDTH, y + 29, "end", "strong"))
        if row.value > far:
            continue
        if row.low is not None and row.high is not None:
            parts.append(_line("series", x(row.low), y + 25, x(row.high), y + 25, row.colour))
        dot = Markup('<circle cx="{}" cy="{}" r="5" fill="{}"/>')
        parts.append(dot.format(x(row.value), y + 25, row.colour))
    told = "; ".join(f"{row.name} {row.value:.4f}" for row in rows)
    return _svg(WIDTH, height, f"{label}: {told}", parts)


def line_chart(
    lines: Sequence[Line],
    colour: str,
    x_label: str,
    y_label: str,
    x_range: tuple[float, float],
    y_range: tuple[float, float],
    reference: Sequence[tuple[float, float]] = (),
    has_dots: bool = False,
    width: float = WIDTH,
) -> Markup:
    """Lines over numbers, with their bands.

    Parameters
    ----------
    lines : sequence of Line
    colour : str
    x_label, y_label : str
    x_range, y_range : (float, float)
    reference : sequence of (x, y)
        A dashed line through these points.
    has_dots : bool
        Whether each point of a line is marked.
    width : float
        Of the drawing; its text has the same size in each.
    """
    height = round(0.68 * width) + BOTTOM
    x = Axis(*_not_empty(*x_range), LEFT, width - EDGE)
    y = Axis(*_not_empty(*y_range), height - BOTTOM, EDGE + 6)
    parts = [_x_axis(x, height - BOTTOM, None, x_label, least=1.0), _y_axis(y, width, y_label)]
    if reference:
        parts.append(_polyline("reference", [(x(a), y(b)) for a, b in reference]))
    for line in lines:
        band = [*zip(line.x, line.low, strict=True), *reversed(list(zip(line.x, line.high, strict=True)))]
        polygon = Markup('<polygon class="band" points="{}" fill="{}"/>')
        parts.append(polygon.format(_points((x(a), y(b)) for a, b in band), colour))
        points = [(x(a), y(b)) for a, b in zip(line.x, line.y, strict=True)]
        parts.append(_polyline("series dashed" if line.is_dashed else "series", points, colour))
        if has_dots or len(points) == 1:
            dot = Markup('<circle cx="{}" cy="{}" r="4" fill="{}"/>')
            parts += [dot.format(*point, colour) for point in points]
    ends = ", ".join(f"{line.y[0]:.3f} to {line.y[-1]:.3f}" for line in lines)
    return _svg(width, height, f"{y_label} by {x_label}: {ends}", parts)


def bar_chart(histogram: Sequence[tuple[float, float, int]], label: str) -> Markup:
    """How often each value is found, or each of some bins.

    Parameters
    ----------
    histogram : sequence of (float, float, int)
        From, to, count: of values, from and to the same, or of bins of equal width.
    label : str
        What the values are.
    """
    height, top = 220.0, EDGE + 4
    floor, total = height - BOTTOM, sum(count for _, _, count in histogram)
    width = (WIDTH - 2 * EDGE) / len(histogram)
    y = Axis(0, max(count for _, _, count in histogram), floor, top)
    is_binned = any(start < end for start, end, _ in histogram)
    parts = []
    for number, (start, _, count) in enumerate(histogram):
        left = EDGE + number * width
        bar = Markup('<rect class="bar" x="{}" y="{}" width="{}" height="{}"/>')
        parts.append(
            bar.format(round(left + 1, 1), y(count), round(width - 2, 1), round(floor - y(count), 1))
        )
        if len(histogram) <= 11:
            parts.append(_text(_percent(count / total), left + width / 2, y(count) - 5, "middle"))
        if not is_binned:
            is_told = number % math.ceil(len(histogram) / 11) == 0
            parts.append(_text(f"{start:g}" * is_told, left + width / 2, floor + 18, "middle"))
    if is_binned:
        parts.append(_x_axis(Axis(histogram[0][0], histogram[-1][1], EDGE, WIDTH - EDGE), floor, None, label))
    else:
        parts.append(_line("axis", EDGE, floor, WIDTH - EDGE, floor))
        parts.append(_text(label, WIDTH / 2, floor + 38, "middle"))
    most = max(histogram, key=lambda bar: bar[2])
    return _svg(
        WIDTH, height, f"Share by {label}; most often, {_percent(most[2] / total)}, {most[0]:g}", parts
    )


def _x_axis(x: Axis, y: float, grid_to: float | None, label: str, least: float = 0.0) -> Markup:
    parts = [_line("axis", x.start, y, x.end, y)]
    for tick, text in x.ticks(least=least).items():
        if grid_to is not None:
            parts.append(_line("grid", x(tick), grid_to, x(tick), y))
        parts.append(_text(text, x(tick), y + 18, "middle"))
    return Markup().join([*parts, _text(label, (x.start + x.end) / 2, y + 38, "middle")])


def _y_axis(y: Axis, width: float, label: str) -> Markup:
    parts = [_text(label, 0, 12)]  # above, where it is read without turning one's head
    for tick, text in y.ticks().items():
        parts.append(_line("grid", LEFT, y(tick), width - EDGE, y(tick)))
        parts.append(_text(text, LEFT - 8, y(tick) + 4, "end"))
    return Markup().join(parts)


def _svg(width: float, height: float, description: str, parts: Iterable[Markup]) -> Markup:
    begin = Markup('<svg viewBox="0 0 {:g} {:g}" role="img" aria-label="{}">').format(
        width, height, description
    )
    return begin + Markup().join(parts) + Markup("</svg>")


def _text(text: str, x: float, y: float, anchor: str = "start", kind: str = "label") -> Markup:
    form = '<text class="{}" x="{:g}" y="{:g}" text-anchor="{}">{}</text>'
    return Markup(form).format(kind, round(x, 1), round(y, 1), anchor, text)


def _line(kind: str, x1: float, y1: float, x2: float, y2: float, colour: str = "") -> Markup:
    return _polyline(kind, [(x1, y1), (x2, y2)], colour)


def _polyline(kind: str, points: Iterable[tuple[float, float]], colour: str = "") -> Markup:
    stroke = Markup(' stroke="{}"').format(colour) if colour else ""
    return Markup('<polyline class="{}" points="{}"{}/>').format(kind, _points(points), stroke)


def _points(points: Iterable[tuple[float, float]]) -> str:
    return " ".join(f"{x:g},{y:g}" for x, y in points)


def _with_margin(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    margin = 0.06 * (high - low)
    return _not_empty(low - margin, high + margin)


def _not_empty(low: float, high: float) -> tuple[float, float]:
    """The range itself, or one around it where it is a point."""
    return (low, high) if low < high else (low - 0.5, high + 0.5)


def _percent(share: float) -> str:
    return "<1 %" if 0 < share < 0.01 else f"{100 * share:.0f} %"


def _shortened(name: str) -> str:
    return name if len(name) <= NAME_LENGTH else name[: NAME_LENGTH - 1] + "…"
