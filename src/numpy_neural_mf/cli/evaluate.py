"""How good a model is on ratings that it has not seen: numpy-neural-mf evaluate."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

import numpy as np
import polars as pl
import typer
from rich.console import Console

from ..data import summarize
from ..evaluation import Errors, Evaluation, RankingQuality, evaluate_ranking, evaluate_ratings, seen_rows
from ..models import load_model
from ..reporting.console import rich_table
from ..reporting.evaluation_page import evaluation_report
from ..reporting.provenance import settings_of
from ..utils.atomic_io import require_folder
from .options import AsJson, ColumnName, ModelFile, RatingsFile, Report
from .output import command_line, print_json, read, remark, working, write_report
from .settings import Settings


def evaluate(
    model: ModelFile,
    ratings: RatingsFile,
    k: Annotated[int, typer.Option("--k", "-k", help="Length of the lists that are judged.")] = 10,
    relevant: Annotated[
        float | None,
        typer.Option(
            help="Lowest rating of what should be recommended. [default: upper quarter of the scale]"
        ),
    ] = None,
    ranking: Annotated[bool, typer.Option(help="Judge lists of all items, too.")] = True,
    user: ColumnName = None,
    item: ColumnName = None,
    rating: ColumnName = None,
    timestamp: ColumnName = None,
    report: Report = None,
    as_json: AsJson = False,
    settings: Settings = None,
) -> None:
    """Judge a model on ratings that it was not trained on: errors of its predictions, and its lists.

    Warm are ratings whose user and item the model knows, cold the others. Ratings that it was trained on are
    left out, and it is told how many.

    - `numpy-neural-mf evaluate films.safetensors test.csv`
    - `numpy-neural-mf evaluate films.safetensors test.csv -k 20 --relevant 4.5 --json`
    - `numpy-neural-mf evaluate films.safetensors test.csv --report report.html`
    """
    if report is not None:
        require_folder(report.parent)
    loaded, test = load_model(model), read(ratings, user=user, item=item, rating=rating, timestamp=timestamp)
    train = loaded.ratings_
    is_seen = seen_rows(train, test)
    if is_seen.all():
        raise ValueError(
            f"{ratings}: expected ratings to judge on, found only those that the model learned from"
        )
    if is_seen.any():
        remark(f"left out: {is_seen.sum():,} of {len(test):,} ratings, which the model learned from")
        test = test.take(np.flatnonzero(~is_seen))
    with working(f"judging {len(test):,} ratings"):
        found = Evaluation(
            evaluate_ratings(loaded, train, test),
            evaluate_ranking(loaded, train, test, k, relevant) if ranking else None,
        )
    if report is not None:
        left_out = f", less {is_seen.sum():,} ratings that it learned from" * bool(is_seen.any())
        page = evaluation_report(
            found,
            model=model.name,
            test=ratings.name + left_out,
            data=summarize(test),
            settings=settings_of(loaded),
            command=command_line(),
        )
        write_report(page, report)
    if as_json:
        print_json(_facts(found) | {"n_left_out": int(is_seen.sum())})
    else:
        _show(found)


def _facts(found: Evaluation) -> dict[str, Any]:
    """All that was found, as JSON has it."""
    errors, lists = found.ratings, found.ranking
    facts: dict[str, Any] = {
        "ratings": {name: asdict(part) for name, part in _parts(found).items()},
        "n_cold_users": errors.n_cold_users,
        "n_cold_items": errors.n_cold_items,
        "mean_user_rmse": errors.mean_user_rmse,
        "mean_user_mae": errors.mean_user_mae,
        "calibration": _calibration(found).to_dicts(),
    }
    if lists is not None:
        facts["ranking"] = {
            "k": lists.k,
            "relevant": lists.relevant,
            "n_users": len(lists.user_ids),
            "n_warm_users": int(lists.is_warm.sum()),
            "overall": lists.overall,
            "warm": lists.warm,
            "cold": lists.cold,
            "coverage": lists.coverage,
            "gini": lists.gini,
        }
    return facts


def _parts(found: Evaluation) -> dict[str, Errors]:
    return {"overall": found.ratings.overall, "warm": found.ratings.warm, "cold": found.ratings.cold}


def _calibration(found: Evaluation) -> pl.DataFrame:
    table = found.ratings.calibration
    return pl.DataFrame(
        {"rating": table.rating, "n": table.n, "mean_prediction": table.mean_prediction.round(4)}
    )


def _show(found: Evaluation) -> None:
    console, errors = Console(), found.ratings
    rows = [
        {"ratings": name, "n": f"{part.n:,}"}
        | {label: _number(getattr(part, label.lower())) for label in ("RMSE", "MAE", "R2", "FCP")}
        for name, part in _parts(found).items()
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
        f"relevant is a rating of {lists.relevant:g} or more.\n"
    )


def _number(value: float) -> str:
    return "" if np.isnan(value) else f"{value:.4f}"
