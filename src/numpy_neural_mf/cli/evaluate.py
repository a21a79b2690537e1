"""Evaluate a model on ratings that it has not seen: numpy-neural-mf evaluate."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from typer import Context

from ..data import summarize
from ..evaluation import Evaluation, evaluate_ranking, evaluate_ratings, seen_rows
from ..evaluation.results import decimal, error_rows
from ..reporting.page import evaluation_report, save_report
from ..reporting.provenance import settings_of
from ..utils.atomic_io import require_output
from ..utils.settings import MAX_SIZE
from .options import AsJson, ColumnName, ModelFile, RatingsFile, Report, Settings, option, switch
from .output import command_line, load, log, print_json, read, remark, say, show, working
from .tables import roles_of_text

if TYPE_CHECKING:
    import polars as pl

PARTS = ("overall", "warm", "cold")
RELEVANT = option(None, "Lowest rating of a relevant item.", show_default="upper quarter of the scale")


def evaluate(
    context: Context, model: ModelFile, ratings: RatingsFile,
    k: Annotated[int, option(None, "Length of the lists.", "--k", "-k", min=1, max=MAX_SIZE)] = 10,
    relevant: Annotated[float | None, RELEVANT] = None,
    ranking: Annotated[bool, switch(None, "Also evaluate recommended lists.")] = True,
    report: Report = None, as_json: AsJson = False, settings: Settings = None,
    user: ColumnName = None, item: ColumnName = None, rating: ColumnName = None, timestamp: ColumnName = None,
) -> None:  # fmt: skip
    """Evaluate the predictions and the top-N lists of a model on test ratings.

    Ratings are warm if the model knows their user and item, and cold otherwise.
    Ratings on which the model was trained are left out and counted.

    numpy-neural-mf evaluate films.safetensors test.csv -k 20 --relevant 4.5 --json
    numpy-neural-mf evaluate films.safetensors test.csv --report report.html
    """
    if report is not None:
        require_output(report, model, ratings)
    loaded = load(model, "predict")
    train, test, name = loaded.ratings_, read(context, text_ids=roles_of_text(loaded)), ratings.name
    is_seen = seen_rows(train, test)
    n_seen = int(is_seen.sum())
    if n_seen == len(test):
        raise ValueError(f"{ratings}: expected test ratings, found only those that the model was trained on")
    if n_seen:
        remark(f"left out: {n_seen:,} of {len(test):,} ratings, which the model was trained on")
        test, name = test.take(np.flatnonzero(~is_seen)), f"{name}, less {n_seen:,} training ratings"
    with working(f"evaluating {len(test):,} ratings"):
        errors = evaluate_ratings(loaded, train, test)
        found = Evaluation(errors, evaluate_ranking(loaded, train, test, k, relevant) if ranking else None)
    if report is not None:
        page = evaluation_report(
            found, model=model.name, test=name, data=summarize(test), settings=settings_of(loaded),
            command=command_line(),
        )  # fmt: skip
        save_report(page, report)
        log(f"Wrote {report}")
    if as_json:
        print_json(_facts(found) | {"n_left_out": n_seen})
    else:
        _show(found)


def _facts(found: Evaluation) -> dict[str, Any]:
    """Return all metrics, for JSON."""
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


def _calibration(found: Evaluation) -> "pl.DataFrame":
    import polars as pl

    table = found.ratings.calibration
    return pl.DataFrame(asdict(table)).with_columns(pl.col("mean_prediction").round(4))


def _show(found: Evaluation) -> None:
    """Print tables of errors, of ranking metrics and of calibration."""
    import polars as pl

    errors, lists = found.ratings, found.ranking
    means = decimal(errors.mean_user_rmse), decimal(errors.mean_user_mae)
    rows = [*error_rows(errors), ["mean of users", f"{len(errors.user_ids):,}", *means, "", ""]]
    show(pl.DataFrame(rows, ["ratings", "n", "RMSE", "MAE", "R2", "FCP"], orient="row"))
    if errors.n_cold_users or errors.n_cold_items:
        say(f"Unknown to the model: {errors.n_cold_users:,} users, {errors.n_cold_items:,} items.\n")
    if lists is not None:
        (table,) = lists.tables()
        show(pl.DataFrame(table.rows, table.head, orient="row"))
        say(f"{table.caption}.\n")
    show(_calibration(found).rename({"mean_prediction": "mean prediction"}))
