"""Elements of every report: tables, charts, a summary of the ratings, settings and provenance."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from ..data import RatingsSummary
from ..utils.atomic_io import replacing
from .provenance import made_with

PAGES = Environment(
    loader=FileSystemLoader(Path(__file__).with_name("templates")),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


@dataclass(frozen=True)
class Table:
    """Cells as text; the first cell of each row is its heading."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""


@dataclass(frozen=True)
class Chart:
    """A figure and its caption."""

    svg: Markup
    caption: str


def save_report(html: str, path: str | os.PathLike[str]) -> None:
    """Write a page, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(html, encoding="utf-8")


def data_facts(summary: RatingsSummary | None) -> dict[str, Any] | None:
    """Facts on ratings, by name, and a histogram of the ratings; None without a summary."""
    if summary is None:
        return None
    facts = {
        "ratings": f"{summary.n_ratings:,}",
        "users": f"{summary.n_users:,}",
        "items": f"{summary.n_items:,}",
        "density": f"{100 * summary.density:.3g} %",
        "scale": f"{summary.scale[0]:g} to {summary.scale[1]:g}",
        "mean rating": f"{summary.mean:.2f}",
    }
    if summary.time_range is not None:
        facts["time range"] = " to ".join(map(_date, summary.time_range))
    if summary.noise_floor is not None:
        facts["irreducible error"] = f"RMSE {summary.noise_floor:.4f}"
    if summary.n_dropped:
        facts["dropped, rated again later"] = f"{summary.n_dropped:,}"
    return {
        "facts": facts,
        "chart": histogram_chart(summary.histogram, "rating", "Distribution of the ratings."),
    }


def histogram_chart(histogram: Sequence[tuple[float, float, int]], label: str, caption: str) -> Chart:
    """The chart of `histogram_figure`."""
    from .plots import histogram_figure, inline_svg

    start, _, most = max(histogram, key=lambda bar: bar[2])
    share = most / sum(count for _, _, count in histogram)
    description = f"Histogram of the {label}; the highest bar, {share:.0%}, is at {start:.4g}"
    return Chart(inline_svg(histogram_figure(histogram, label), description), caption)


def settings_tables(settings: Mapping[str, Mapping[str, str]]) -> Iterator[Table]:
    """A table for each group of models that have settings of the same names, with a column for each model."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for model, given in settings.items():
        groups.setdefault(tuple(given), []).append(model)
    for names, models in groups.items():
        if names:
            rows = [[name, *(settings[model][name] for model in models)] for name in names]
            yield Table(["setting", *models], rows)


def footer(command: str | None, made_at: datetime | None) -> dict[str, Any]:
    """Provenance for `page.html`; the date is now by default."""
    made_at = made_at or datetime.now().astimezone()
    return {
        "command": command,
        "made_at": f"{made_at:%Y-%m-%d %H:%M %Z}".strip(),
        "versions": made_with(),
    }


def _date(time: int) -> str:
    """The date of seconds since 1970; a number in another unit as it is."""
    return datetime.fromtimestamp(time, UTC).date().isoformat() if 0 <= time < 2**32 else str(time)
