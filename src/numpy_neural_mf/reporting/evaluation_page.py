"""An evaluation as a page of HTML: errors of the predictions and quality of the lists."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime

import numpy as np

from ..data import RatingsSummary
from ..evaluation import Errors, Evaluation, RankingQuality, RatingErrors
from .page import PAGES, Chart, Table, data_facts, footer, histogram_chart, settings_tables

RANKING_NAMES = {"ndcg": "NDCG", "map": "MAP", "mrr": "MRR", "hit_rate": "hit rate"}


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
    """An evaluation as one page of HTML.

    Parameters
    ----------
    evaluation : Evaluation
    model, test : str
        Names of the model and of the ratings that it was evaluated on.
    data : RatingsSummary, optional
        Summary of these ratings.
    settings : mapping of str to str, optional
        Settings of the model, as returned by `numpy_neural_mf.reporting.provenance.settings_of`.
    command : str, optional
        The command that reproduces the numbers.
    made_at : datetime, optional
        By default now.

    Returns
    -------
    str
        The same for the same arguments and versions.
    """
    errors = evaluation.ratings
    return PAGES.get_template("evaluation.html").render(
        title=f"{model} evaluated on {test}",
        model=model,
        test=test,
        errors=errors,
        errors_table=_errors_table(errors),
        calibration=_calibration_chart(errors),
        users=_users_chart(errors),
        ranking=evaluation.ranking,
        ranking_table=_ranking_table(evaluation.ranking) if evaluation.ranking else None,
        data=data_facts(data),
        settings=list(settings_tables({model: settings or {}})),
        **footer(command, made_at),
    )


def _errors_table(errors: RatingErrors) -> Table:
    parts: dict[str, Errors] = {
        "all": errors.overall,
        "warm": errors.warm,
        "cold": errors.cold,
    }
    rows = [
        [name, f"{part.n:,}", *map(_number, (part.rmse, part.mae, part.r2, part.fcp))]
        for name, part in parts.items()
        if part.n
    ]
    return Table(["test ratings", "number", "RMSE", "MAE", "R²", "FCP"], rows)


def _calibration_chart(errors: RatingErrors) -> Chart:
    from .plots import calibration_figure, inline_svg

    table = errors.calibration
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
    return histogram_chart(list(zip(edges[:-1], edges[1:], counts, strict=True)), "RMSE of a user", caption)


def _ranking_table(ranking: RankingQuality) -> Table:
    groups = {"all users": ranking.overall, "warm users": ranking.warm, "cold users": ranking.cold}
    shown = {name: group for name, group in groups.items() if not math.isnan(group["precision"])}
    rows = [
        [RANKING_NAMES.get(metric, metric)] + [_number(group[metric]) for group in shown.values()]
        for metric in ranking.per_user
    ]
    return Table([f"lists of {ranking.k}", *shown], rows)


def _number(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.4f}"
