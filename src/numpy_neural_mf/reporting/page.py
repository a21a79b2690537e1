"""Elements of every page of HTML (tables, charts, settings, provenance), and the page of an evaluation."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..data import RatingsSummary
from ..evaluation import Calibration, Evaluation, RankingQuality, RatingErrors
from ..evaluation.results import decimal, error_rows
from ..utils.atomic_io import replacing
from .provenance import made_with

if TYPE_CHECKING:
    from markupsafe import Markup

RANKING_NAMES = {"ndcg": "NDCG", "map": "MAP", "mrr": "MRR", "hit_rate": "hit rate"}


class Table(NamedTuple):
    """Cells as text; the first cell of each row is its heading."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""


class Chart(NamedTuple):
    """A figure and its caption."""

    svg: Markup
    caption: str


def render(template: str, **values: Any) -> str:
    """Render one of the templates as a page."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    pages = Environment(
        loader=FileSystemLoader(Path(__file__).with_name("templates")),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return pages.get_template(template).render(values)


def save_report(html: str, path: str | os.PathLike[str]) -> None:
    """Write a page, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(html, encoding="utf-8")


def data_facts(summary: RatingsSummary | None) -> dict[str, Any] | None:
    """Return facts on ratings, by name, and a histogram of the ratings; None without a summary."""
    if summary is None:
        return None
    facts = {"ratings": summary.n_ratings, "users": summary.n_users, "items": summary.n_items}
    shown = {name: f"{number:,}" for name, number in facts.items()} | {
        "density": f"{100 * summary.density:.3g} %",
        "scale": f"{summary.scale[0]:g} to {summary.scale[1]:g}",
        "mean rating": f"{summary.mean:.2f}",
    }
    if summary.time_range is not None:
        shown["time range"] = " to ".join(map(_date, summary.time_range))
    if summary.noise_floor is not None:
        shown["irreducible error"] = f"RMSE {summary.noise_floor:.4f}"
    if summary.n_dropped:
        shown["dropped, rated again later"] = f"{summary.n_dropped:,}"
    return {"facts": shown, "chart": _histogram(summary.histogram, "rating", "Distribution of the ratings.")}


def settings_tables(settings: Mapping[str, Mapping[str, str]]) -> Iterator[Table]:
    """Yield a table for each group of models with settings of the same names, one column for each model."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for model, given in settings.items():
        groups.setdefault(tuple(given), []).append(model)
    for names, models in groups.items():
        if names:
            rows = [[name, *(settings[model][name] for model in models)] for name in names]
            yield Table(["setting", *models], rows)


def footer(command: str | None, made_at: datetime | None) -> dict[str, Any]:
    """Return the provenance for `page.html`; `made_at` is now by default."""
    date = f"{made_at or datetime.now().astimezone():%Y-%m-%d %H:%M %Z}".strip()
    return {"command": command, "made_at": date, "versions": made_with()}


def evaluation_report(
    evaluation: Evaluation,
    *,
    model: str,
    test: str,
    data: RatingsSummary | None = None,
    settings: Mapping[str, str] | None = None,
    command: str | None = None,
    made_at: datetime | None = None,
) -> str:
    """Return an evaluation as one page of HTML, the same for the same arguments and versions.

    `model` and `test` name the model and the ratings on which it was evaluated, `data` is the summary of
    these ratings, `settings` are the model's settings (see `provenance.settings_of`), `command` is the
    command that reproduces the numbers, and `made_at` is now by default.
    """
    errors, lists = evaluation.ratings, evaluation.ranking
    (_, *overall), *others = error_rows(errors)
    head = ["test ratings", "number", "RMSE", "MAE", "R²", "FCP"]
    shown = {
        "title": f"{model} evaluated on {test}",
        "model": model,
        "test": test,
        "data": data_facts(data),
        "settings": list(settings_tables({model: settings or {}})),
        "errors": errors,
        "errors_table": Table(head, [["all", *overall], *others]),
        "calibration": _calibration_chart(errors.calibration),
        "users": _users_chart(errors),
        "ranking": lists,
        "ranking_table": _ranking_table(lists) if lists else None,
    }
    return render("evaluation.html", **shown, **footer(command, made_at))


def _ranking_table(lists: RankingQuality) -> Table:
    groups = {"all users": lists.overall, "warm users": lists.warm, "cold users": lists.cold}
    shown = {name: group for name, group in groups.items() if not math.isnan(group["precision"])}
    rows = [
        [RANKING_NAMES.get(metric, metric), *(decimal(group[metric]) for group in shown.values())]
        for metric in lists.per_user
    ]
    return Table([f"lists of {lists.k}", *shown], rows)


def _calibration_chart(table: Calibration) -> Chart:
    from .plots import calibration_figure, inline_svg

    values = "; ".join(f"{p:.2f} for {r:g}" for r, p in zip(table.rating, table.mean_prediction, strict=True))
    svg = inline_svg(calibration_figure(table), f"Mean prediction by rating: {values}")
    return Chart(svg, "Calibration: the mean prediction for each value of the rating; dashed: equality.")


def _users_chart(errors: RatingErrors) -> Chart:
    counts, edges = np.histogram(errors.user_rmse, bins=20)
    low, median, high = np.quantile(errors.user_rmse, [0.25, 0.5, 0.75])
    caption = (
        f"Distribution of the RMSE over the {len(errors.user_rmse):,} users: the middle half lies between "
        f"{low:.2f} and {high:.2f}; the median is {median:.2f}, the mean {errors.mean_user_rmse:.2f}."
    )
    return _histogram(list(zip(edges[:-1], edges[1:], counts, strict=True)), "RMSE of a user", caption)


def _histogram(histogram: Sequence[tuple[float, float, int]], label: str, caption: str) -> Chart:
    """Return a chart of `histogram_figure` with its caption."""
    from .plots import histogram_figure, inline_svg

    start, _, most = max(histogram, key=lambda bar: bar[2])
    share = most / sum(count for _, _, count in histogram)
    description = f"Histogram of the {label}; the highest bar, {share:.0%}, is at {start:.4g}"
    return Chart(inline_svg(histogram_figure(histogram, label), description), caption)


def _date(time: int) -> str:
    """Return the date of a time in seconds since 1970; a time in another unit stays a number."""
    return datetime.fromtimestamp(time, UTC).date().isoformat() if 0 <= time < 2**32 else str(time)
