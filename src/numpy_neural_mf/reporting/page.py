"""What every report is made of: tables, charts, facts on the ratings, settings, and how to make it again."""

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
from .charts import bar_chart
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
    """Cells as text: the first of each row is its heading, the others stand to the right."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""


@dataclass(frozen=True)
class Chart:
    """A drawing and what it shows, in words."""

    svg: Markup
    caption: str
    title: str = ""


def save_report(html: str, path: str | os.PathLike[str]) -> None:
    """Write a page, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(html, encoding="utf-8")


def data_facts(summary: RatingsSummary | None) -> dict[str, Any] | None:
    """Facts on ratings, by name, and the chart of how often each rating was given."""
    if summary is None:
        return None
    facts = {
        "ratings": f"{summary.n_ratings:,}",
        "users": f"{summary.n_users:,}",
        "items": f"{summary.n_items:,}",
        "of all pairs rated": f"{100 * summary.density:.3g} %",
        "scale": f"{summary.scale[0]:g} to {summary.scale[1]:g}",
        "mean rating": f"{summary.mean:.2f}",
    }
    if summary.time_range is not None:
        facts["given"] = " to ".join(map(_date, summary.time_range))
    if summary.noise_floor is not None:
        facts["noise floor"] = f"RMSE {summary.noise_floor:.4f}"
    if summary.n_dropped:
        facts["rated again later, left out"] = f"{summary.n_dropped:,}"
    return {
        "facts": facts,
        "chart": Chart(bar_chart(summary.histogram, "rating"), "How often each rating was given."),
    }


def settings_tables(settings: Mapping[str, Mapping[str, str]]) -> Iterator[Table]:
    """A table for the models that have the same settings, a column for each."""
    kinds: dict[tuple[str, ...], list[str]] = {}
    for model, given in settings.items():
        kinds.setdefault(tuple(given), []).append(model)
    for names, models in kinds.items():
        if names:
            rows = [[name, *(settings[model][name] for model in models)] for name in names]
            yield Table(["setting", *models], rows)


def footer(command: str | None, made_at: datetime | None) -> dict[str, Any]:
    """What makes the page again, for `page.html`; by default it is made now."""
    made_at = made_at or datetime.now().astimezone()
    return {
        "command": command,
        "made_at": f"{made_at:%Y-%m-%d %H:%M %Z}".strip(),
        "versions": made_with(),
    }


def _date(time: int) -> str:
    """A day, of seconds since 1970; another unit is shown as it is."""
    return datetime.fromtimestamp(time, UTC).date().isoformat() if 0 <= time < 2**32 else str(time)
