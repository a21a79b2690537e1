"""An evaluation as a page: how far predictions are off, for whom, and what the lists are worth."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime

import numpy as np

from ..data import RatingsSummary
from ..evaluation import Errors, Evaluation, RankingQuality, RatingErrors
from .charts import Line, bar_chart, line_chart
from .page import PAGES, Chart, Table, data_facts, footer, settings_tables

ACCENT = "var(--accent)"
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
        What to call the model and the ratings that it was judged on.
    data : RatingsSummary, optional
        Those ratings in numbers.
    settings : mapping of str to str, optional
        Of the model, as `numpy_neural_mf.reporting.provenance.settings_of` tells them.
    command : str, optional
        What makes the numbers again.
    made_at : datetime, optional
        By default now.

    Returns
    -------
    str
        The same for the same arguments and versions.
    """
    errors = evaluation.ratings
    return PAGES.get_template("evaluation.html").render(
        title=f"{model} judged on {test}",
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
        "user and item known": errors.warm,
        "user or item unknown": errors.cold,
    }
    rows = [
        [name, f"{part.n:,}", *map(_number, (part.rmse, part.mae, part.r2, part.fcp))]
        for name, part in parts.items()
        if part.n
    ]
    return Table(["test ratings", "number", "RMSE", "MAE", "R²", "FCP"], rows)


def _calibration_chart(errors: RatingErrors) -> Chart:
    told = errors.calibration
    rating, prediction = told.rating.tolist(), told.mean_prediction.tolist()
    ends = (min(*rating, *prediction), max(*rating, *prediction))
    line = Line(rating, prediction, prediction, prediction)
    svg = line_chart(
        [line], ACCENT, "rating given", "mean prediction", ends, ends, [(e, e) for e in ends], True
    )
    return Chart(svg, "What is predicted, on average, where a rating was given; dashed: what was given.")


def _users_chart(errors: RatingErrors) -> Chart:
    counts, edges = np.histogram(errors.user_rmse, bins=20)
    bins = list(zip(edges[:-1].tolist(), edges[1:].tolist(), counts.tolist(), strict=True))
    low, median, high = np.quantile(errors.user_rmse, [0.25, 0.5, 0.75])
    caption = (
        f"How many of the {len(errors.user_rmse):,} users have which error. Half of them lie between "
        f"{low:.2f} and {high:.2f}; the median is {median:.2f}, the mean {errors.mean_user_rmse:.2f}."
    )
    return Chart(bar_chart(bins, "RMSE of a user"), caption)


def _ranking_table(ranking: RankingQuality) -> Table:
    groups = {"all users": ranking.overall, "known users": ranking.warm, "unknown users": ranking.cold}
    shown = {name: group for name, group in groups.items() if not math.isnan(group["precision"])}
    rows = [
        [RANKING_NAMES.get(metric, metric)] + [_number(group[metric]) for group in shown.values()]
        for metric in ranking.per_user
    ]
    return Table([f"lists of {ranking.k}", *shown], rows)


def _number(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.4f}"
