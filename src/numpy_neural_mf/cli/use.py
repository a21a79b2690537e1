"""Use a trained model: predict, recommend, fold-in, similar, explain, info."""

import re
from dataclasses import asdict, fields
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from typer import Argument

from ..data.ids import index_of
from ..models import BayesianMF, NeuralMF, load_model
from ..models.recommend import BOUNDS
from ..utils.settings import check_choice
from .options import (
    AsJson,
    By,
    Candidates,
    ColumnName,
    Exclude,
    MinRatings,
    ModelFile,
    Number,
    Settings,
    Titles,
    option,
)
from .output import load, print_json, progress, remark, report, say, show, working
from .tables import (
    filters,
    lists_of,
    raw_ids,
    read_table,
    unknown_ids,
    with_counts,
    with_titles,
    write_table,
)  # fmt: skip

AT_ONCE = 256  # number of users between two steps of the progress bar
INTERVAL = option(None, "Add the bounds low and high of intervals of this coverage, such as 0.9.")
USERS = Argument(help="Raw ids; all users with --output.")
WITH_SEEN = option(None, "Include items that the user rated.", "--with-seen", metavar="")
LISTS = option(None, "Write the lists to this CSV or Parquet file.")
OF_USERS = option(None, "Compare users instead of items.", "--users", metavar="")
RawId = Annotated[str, Argument(help="Raw id.")]
RATE = option(None, "One rating; may be repeated.", metavar="ITEM=RATING")


def predict(
    model: ModelFile,
    pairs: Annotated[Path, Argument(help="CSV or Parquet with a user and an item column.")],
    output: Annotated[Path, Argument(help="File to write: the table with a column prediction.")],
    interval: Annotated[float | None, INTERVAL] = None, as_json: AsJson = False, settings: Settings = None,
    user: ColumnName = None, item: ColumnName = None, timestamp: ColumnName = None,
) -> None:  # fmt: skip
    """Predict the ratings of pairs in a CSV or Parquet file.

    Models that use time predict for the times of the column of timestamps, or
    without it for the time of the last training rating.

    numpy-neural-mf predict films.safetensors pairs.csv predictions.parquet
    numpy-neural-mf predict bayesian.safetensors pairs.csv predictions.csv --interval 0.9
    """
    import polars as pl

    loaded = load(model, "predict" if interval is None else "predict_interval")
    with working(f"reading {pairs.name}"):
        table = read_table(pairs, loaded, user=user, item=item, timestamp=timestamp)
    frame = pl.DataFrame(table.frame)
    users, items, times = table.roles["user"], table.roles["item"], table.roles.get("timestamp")
    with working(f"predicting {frame.height:,} ratings"):
        found = {"prediction": loaded.predict(users, items, times)}
        if interval is not None:
            found["low"], found["high"] = loaded.predict_interval(users, items, times, interval)
    with working(f"writing {output.name}"):
        write_table(frame.with_columns(pl.Series(name, values) for name, values in found.items()), output)
    no_user, no_item = index_of(loaded.user_ids_, users) < 0, index_of(loaded.item_ids_, items) < 0
    n, n_users, n_items = (int(mask.sum()) for mask in (no_user | no_item, no_user, no_item))
    if n:
        either = f"a user ({n_users:,}) or an item ({n_items:,}) that is unknown to the model"
        remark(f"{n:,} pairs have {either}; their predictions use only what is known")
    facts = {"output": str(output), "predictions": frame.height}
    facts |= {"unknown_user": n_users, "unknown_item": n_items}
    report(f"Wrote {output}: {frame.height:,} predictions", facts, as_json)


def recommend(
    model: ModelFile, users: Annotated[list[str] | None, USERS] = None,
    number: Number = 10, titles: Titles = None, min_ratings: MinRatings = 0, by: By = "lower_bound",
    with_seen: Annotated[bool, WITH_SEEN] = False, output: Annotated[Path | None, LISTS] = None,
    candidates: Candidates = None, exclude: Exclude = None,
    diversity: Annotated[float, option(None, "From 0 to 1; the higher, the more items differ.")] = 0.0,
    as_json: AsJson = False, settings: Settings = None,
) -> None:  # fmt: skip
    """Recommend a top-N list of items to each user.

    Items are ranked by a lower confidence bound of the predicted rating, which is
    lower for items with fewer ratings, or by the prediction itself: --by mean.

    numpy-neural-mf recommend films.safetensors 1 42 -n 5 --min-ratings 20 --titles movies.csv
    numpy-neural-mf recommend films.safetensors --output everybody.parquet
    """
    import polars as pl

    loaded = load(model, "recommend")
    if not users and output is None:
        raise ValueError("expected users to recommend to, or --output FILE to write the lists of all")
    chosen: Any = raw_ids(loaded.user_ids_, users) if users else loaded.user_ids_
    what = "unknown users, for whom popular items are listed"
    unknown = unknown_ids(loaded.user_ids_, users and chosen, what)
    predicts = hasattr(loaded, "predict")  # a NextItemModel predicts no ratings
    how: dict[str, Any] = {"exclude_seen": not with_seen, "min_ratings": min_ratings, "with_scores": True}
    how |= filters(loaded.item_ids_, candidates, exclude)
    how |= {"by": _bound(by)} if predicts else {}
    how |= {"diversity": diversity} if diversity else {}
    parts = [chosen[first : first + AT_ONCE] for first in range(0, len(chosen), AT_ONCE)]
    found = []
    for part in progress(parts, f"recommending to {len(chosen):,} users"):
        names = [str(one) for one in part] if unknown else part
        found.append(lists_of(names, *loaded.recommend(part, number, **how)))
    lists = with_titles(with_counts(pl.concat(found), loaded), loaded, titles)
    if not predicts:
        lists = lists.rename({"rating": "score"})
    if output is None:
        show(lists, as_json, "title")
        return
    write_table(lists, output)
    text = f"Wrote {output}: {lists.height:,} recommendations to {len(chosen):,} users"
    report(text, {"output": str(output), "users": len(chosen), "rows": lists.height}, as_json)


def fold_in(
    model: ModelFile,
    ratings: Annotated[Path | None, Argument(help="CSV or Parquet of one user's ratings.")] = None,
    rate: Annotated[list[str] | None, RATE] = None,
    number: Number = 10, titles: Titles = None, min_ratings: MinRatings = 0, by: By = "lower_bound",
    candidates: Candidates = None, exclude: Exclude = None,
    item: ColumnName = None, rating: ColumnName = None, as_json: AsJson = False, settings: Settings = None,
) -> None:  # fmt: skip
    """Recommend to a new user with a few ratings; the model does not change.

    numpy-neural-mf fold-in films.safetensors --rate 260=5 --rate 1=3.5 --titles movies.csv
    numpy-neural-mf fold-in films.safetensors my_ratings.csv -n 5
    """
    loaded = load(model, "fold_in")
    given: dict[Any, float] = {}
    if ratings is not None:
        roles = read_table(ratings, loaded, item=item, rating=rating).roles
        given = dict(zip(roles["item"], roles["rating"].tolist(), strict=True))
    for text in rate or []:
        parts = re.fullmatch(r"(.+)=(-?\d*\.?\d+)", text)
        if parts is None:
            raise ValueError(f"--rate: expected ITEM=RATING, such as 260=4.5, found {text!r}")
        given[raw_ids(loaded.item_ids_, [parts[1]])[0]] = float(parts[2])
    if not given:
        raise ValueError("expected ratings, from a file or as --rate ITEM=RATING, found none")
    if (index_of(loaded.item_ids_, list(given)) < 0).all():
        raise ValueError(
            f"expected ratings of items that the model knows, found {', '.join(map(str, given))}"
        )
    unknown_ids(loaded.item_ids_, given, "left out items that are unknown to the model")
    how: dict[str, Any] = {"min_ratings": min_ratings, "by": _bound(by), "with_scores": True}
    how |= filters(loaded.item_ids_, candidates, exclude)
    items, scores = loaded.recommend(loaded.fold_in(given), number, **how)
    lists = with_counts(lists_of([0], items[None], scores[None]).drop("user"), loaded)
    show(with_titles(lists, loaded, titles), as_json, "title")


def _bound(by: str) -> str:
    check_choice("--by", by, BOUNDS)
    return by


def similar(
    model: ModelFile,
    id: Annotated[str, Argument(help="Raw id of an item, or with --users of a user.")],
    number: Number = 10, users: Annotated[bool, OF_USERS] = False, min_ratings: MinRatings = 0,
    titles: Titles = None, candidates: Candidates = None, exclude: Exclude = None,
    as_json: AsJson = False, settings: Settings = None,
) -> None:  # fmt: skip
    """List the items, or users, with the highest cosine similarity to a given one.

    numpy-neural-mf similar films.safetensors 260 --titles movies.csv
    numpy-neural-mf similar films.safetensors 42 --users
    """
    import polars as pl

    kind = "user" if users else "item"
    loaded = load(model, f"similar_{kind}s")
    known = loaded.user_ids_ if users else loaded.item_ids_
    raw_id, how = raw_ids(known, [id])[0], filters(known, candidates, exclude)
    ids, cosines = getattr(loaded, f"similar_{kind}s")(raw_id, number, min_ratings, **how)
    found = pl.DataFrame({kind: ids, "cosine": cosines.astype(np.float64).round(3)})
    show(found if users else with_titles(found, loaded, titles), as_json, "title")


def explain(
    model: ModelFile, user: RawId, item: RawId,
    number: Number = 10, titles: Titles = None, as_json: AsJson = False, settings: Settings = None,
) -> None:  # fmt: skip
    """Explain a prediction by its parts and by the user's ratings with the largest weights.

    numpy-neural-mf explain films.safetensors 1 260 --titles movies.csv
    """
    import polars as pl

    loaded = load(model, "explain")
    raw_user, raw_item = raw_ids(loaded.user_ids_, [user])[0], raw_ids(loaded.item_ids_, [item])[0]
    if not loaded.known(raw_user, raw_item):
        remark("the user or the item is unknown to the model, so no rating explains the prediction")
    found = loaded.explain(raw_user, raw_item)
    parts = {field.name: getattr(found, field.name) for field in fields(found) if field.name != "reasons"}
    reasons = pl.DataFrame([asdict(reason) for reason in found.reasons[:number]])
    if len(reasons):
        reasons = with_titles(reasons.drop("title"), loaded, titles)
    if as_json:
        print_json(parts | {"reasons": reasons.to_dicts()})
        return
    rest, prediction = parts.pop("rest"), parts.pop("prediction")
    rows = [{"part": name.replace("_", " "), "value": f"{value:+.3f}"} for name, value in parts.items()]
    show(pl.DataFrame([*rows, {"part": "prediction", "value": f"{prediction:.3f}"}]))
    if len(reasons):
        say("The user's ratings account for the user bias and the interaction:")
        weights = pl.Series("weight", [f"{weight:+.3f}" for weight in reasons["weight"]])
        show(reasons.with_columns(weights), prose="title")
        others = found.reasons[number:]
        say(f"{sum(reason.weight for reason in others):+.3f}  {len(others)} other ratings")
        say(f"{rest:+.3f}  not from any rating")


def info(model: ModelFile, as_json: AsJson = False, settings: Settings = None) -> None:
    """Describe a model file.

    numpy-neural-mf info films.safetensors
    """
    import polars as pl

    loaded = load_model(model)
    n_users, n_items = len(loaded.user_ids_), len(loaded.item_ids_)
    facts: dict[str, Any] = {"model": type(loaded).__name__, "users": n_users, "items": n_items}
    facts["parameters"] = loaded.n_parameters_
    if hasattr(loaded, "rating_scale_"):  # a NextItemModel has none
        facts["rating scale"] = "{:g} to {:g}".format(*loaded.rating_scale_)
    if isinstance(loaded, NeuralMF):
        facts["architecture"] = str(loaded.architecture)
        facts["epochs trained"] = len(loaded.history_.train_loss)
        for name in ("expected", "validation"):
            if losses := getattr(loaded.history_, f"{name}_loss"):
                facts[f"{name} RMSE"] = round(losses[-1] ** 0.5, 4)
    if isinstance(loaded, BayesianMF):
        facts["samples"] = loaded.n_samples
        facts["expected deviation"] = round(float(loaded.deviation_[-1]), 4)
        facts["ratings with a time"] = loaded.n_timed_
    if as_json:
        print_json(facts)
    else:
        show(pl.DataFrame({"fact": list(facts), "value": map(str, facts.values())}), prose="value")
