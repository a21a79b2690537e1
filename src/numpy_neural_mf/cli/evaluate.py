"""How good a model is on ratings that it has not seen: numpy-neural-mf evaluate."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

import numpy as np
import polars as pl
from rich.console import Console

from ..data import summarize
from ..evaluation import Evaluation, RankingQuality, evaluate_ranking, evaluate_ratings, seen_rows
from ..reporting.console import rich_table
from ..reporting.page import evaluation_report
from ..reporting.provenance import settings_of
from ..utils.atomic_io import require_folder
from .options import AsJson, ColumnName, ModelFile, RatingsFile, Report, option, switch
from .output import command_line, load, print_json, read, remark, working, write_report
from .settings import Settings
from .tables import roles_of_text

PARTS = ("overall", "warm", "cold")


def evaluate(
    model: ModelFile,
    ratings: RatingsFile,
    k: Annotated[int, option(None, "Length of the recommended lists.", "--k", "-k")] = 10,
    relevant: Annotated[
        float | None,
        option(None, "Lowest rating of a relevant item.", show_default="upper quarter of the scale"),
    ] = None,
    ranking: Annotated[bool, switch(None, "Evaluate recommended lists, too.")] = True,
    report: Report = None,
    user: ColumnName = None, item: ColumnName = None, rating: ColumnName = None, timestamp: ColumnName = None,
    as_json: AsJson = False, settings: Settings = None,
) -> None:  # fmt: skip
    """Evaluate the predictions and the lists of a model on test ratings.

    Ratings are warm where the model knows their user and item, and cold otherwise.
    Ratings that the model was trained on are left out and counted.

    numpy-neural-mf evaluate films.safetensors test.csv -k 20 --relevant 4.5 --json
    numpy-neural-mf evaluate films.safetensors test.csv --report report.html
    """
    if report is not None:
        require_folder(report.parent)
    loaded = load(model, "predict")
    columns = {"user": user, "item": item, "rating": rating, "timestamp": timestamp}
    test = read(ratings, text_ids=roles_of_text(loaded), **columns)
    train = loaded.ratings_
    is_seen = seen_rows(train, test)
    if is_seen.all():
        raise ValueError(f"{ratings}: expected test ratings, found only those that the model was trained on")
    if is_seen.any():
        remark(f"left out: {is_seen.sum():,} of {len(test):,} ratings, which the model was trained on")
        test = test.take(np.flatnonzero(~is_seen))
    with working(f"evaluating {len(test):,} ratings"):
        found = Evaluation(
            evaluate_ratings(loaded, train, test),
            evaluate_ranking(loaded, train, test, k, relevant) if ranking else None,
        )
    if report is not None:
        left_out = f", less {is_seen.sum():,} training ratings" * bool(is_seen.any())
        page = evaluation_report(
            found, model=model.name, test=ratings.name + left_out, data=summarize(test),
            settings=settings_of(loaded), command=command_line(),
        )  # fmt: skip
        write_report(page, report)
    if as_json:
        print_json(_facts(found) | {"n_left_out": int(is_seen.sum())})
    else:
        _show(found)


def _facts(found: Evaluation) -> dict[str, Any]:
    """All metrics, for JSON."""
    errors, lists = found.ratings, found.ranking
    counts = ("n_cold_users", "n_cold_items", "mean_user_rmse", "mean_user_mae")
    facts: dict[str, Any] = {"ratings": {name: asdict(getattr(errors, name)) for name in PARTS}}
    facts |= {name: getattr(errors, name) for name in counts}
    facts["calibration"] = _calibration(found).to_dicts()
    if lists is not None:
        names = ("k", "relevant", *PARTS, "coverage", "gini")
        users = {"n_users": len(lists.user_ids), "n_warm_users": int(lists.is_warm.sum())}
        facts["ranking"] = {name: getattr(lists, name) for name in names} | users
    return facts


def _calibration(found: Evaluation) -> pl.DataFrame:
    table = found.ratings.calibration
    means = table.mean_prediction.round(4)
    return pl.DataFrame({"rating": table.rating, "n": table.n, "mean_prediction": means})


def _show(found: Evaluation) -> None:
    """Tables of errors, of ranking metrics and of calibration."""
    console, errors = Console(), found.ratings
    rows = [
        {"ratings": name, "n": f"{part.n:,}"}
        | {label: _number(getattr(part, label.lower())) for label in ("RMSE", "MAE", "R2", "FCP")}
        for name, part in ((name, getattr(errors, name)) for name in PARTS)
        if part.n
    ]
    users = {"ratings": "mean of users", "n": f"{len(errors.user_ids):,}"}
    rows.append(users | {"RMSE": _number(errors.mean_user_rmse), "MAE": _number(errors.mean_user_mae)})
    console.print(rich_table(pl.DataFrame(rows)))
    if errors.n_cold_users or errors.n_cold_items:
        console.print(
            f"Unknown to the model: {errors.n_cold_users:,} users, {errors.n_cold_items:,} items.\n"
        )
    if found.ranking is not None:
        _show_ranking(console, found.ranking)
    console.print(rich_table(_calibration(found).rename({"mean_prediction": "mean prediction"})))


def _show_ranking(console: Console, lists: RankingQuality) -> None:
    rows = [
        {"lists": f"{name}@{lists.k}", "all users": _number(score)}
        | {"warm": _number(lists.warm[name]), "cold": _number(lists.cold[name])}
        for name, score in lists.overall.items()
    ]
    rows += [{"lists": name, "all users": _number(getattr(lists, name))} for name in ("coverage", "gini")]
    console.print(rich_table(pl.DataFrame(rows)))
    console.print(
        f"Lists of {lists.k} for {len(lists.user_ids):,} users, {lists.is_warm.sum():,} of them warm; "
        f"a rating of {lists.relevant:g} or more is relevant.\n"
    )


def _number(value: float) -> str:
    return "" if np.isnan(value) else f"{value:.4f}"
