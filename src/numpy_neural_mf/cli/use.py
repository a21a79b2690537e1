"""Ask a model that is trained: numpy-neural-mf predict, recommend, similar, explain, info."""

from __future__ import annotations

from dataclasses import asdict, fields
from pathlib import Path
from typing import Annotated, Any

import polars as pl
import typer
from rich.console import Console

from ..data.ids import index_of
from ..models import BayesianMF, NeuralMF, load_model
from ..models.uncertainty import DistributionRecommender
from .options import AsJson, ColumnName, MinRatings, ModelFile, Number, Titles
from .output import print_json, remark, show, working
from .settings import Settings
from .tables import lists_of, raw_ids, read_table, rounded, seconds, with_titles, write_table


def predict(
    model: ModelFile,
    pairs: Annotated[Path, typer.Argument(help="CSV or Parquet with a user and an item column.")],
    output: Annotated[Path, typer.Argument(help="The same with a column `prediction`.")],
    interval: Annotated[
        float | None,
        typer.Option(metavar="SHARE", help="Add `low` and `high`, between which so many should be: 0.9."),
    ] = None,
    user: ColumnName = None,
    item: ColumnName = None,
    timestamp: ColumnName = None,
    as_json: AsJson = False,
    settings: Settings = None,
) -> None:
    """Predict the ratings of pairs; CSV or Parquet, by the suffix, in and out.

    A column of timestamps says when each rating is given, to models that know of time; without it, it is the
    time of the last rating learned from.

    - `numpy-neural-mf predict films.safetensors pairs.csv predictions.parquet`
    - `numpy-neural-mf predict bayesian.safetensors pairs.csv predictions.csv --interval 0.9`
    """
    loaded = load_model(model)
    if isinstance(loaded, NeuralMF):
        tells = loaded.architecture.likelihood == "ordinal"
    else:
        tells = isinstance(loaded, DistributionRecommender)
    if interval is not None and not tells:
        raise ValueError(
            f"{model}: expected a BayesianMF, or an ordinal NeuralMF, for --interval, "
            f"found a {type(loaded).__name__}"
        )
    known = {"user": loaded.user_ids_, "item": loaded.item_ids_}
    with working(f"reading {pairs.name}"):
        frame, (user_column, item_column, *others) = read_table(
            pairs, known, user=user, item=item, timestamp=timestamp
        )
    users, items = frame[user_column].to_numpy(), frame[item_column].to_numpy()
    times = seconds(frame[others[0]], pairs) if others else None
    with working(f"predicting {frame.height:,} ratings"):
        columns = {"prediction": loaded.predict(users, items, times)}
        if isinstance(loaded, DistributionRecommender) and interval is not None:
            columns["low"], columns["high"] = loaded.predict_interval(users, items, times, interval)
    with working(f"writing {output.name}"):
        write_table(frame.with_columns(pl.Series(name, found) for name, found in columns.items()), output)
    no_user, no_item = index_of(loaded.user_ids_, users) < 0, index_of(loaded.item_ids_, items) < 0
    facts = {"output": str(output), "predictions": frame.height}
    facts |= {"unknown_user": int(no_user.sum()), "unknown_item": int(no_item.sum())}
    if as_json:
        print_json(facts)
        return
    Console().print(f"Wrote {output}: {frame.height:,} predictions", soft_wrap=True, markup=False)
    if (no_user | no_item).any():
        remark(
            f"{(no_user | no_item).sum():,} of them have a user ({no_user.sum():,}) or an item "
            f"({no_item.sum():,}) that the model does not know, and are the best estimate without"
        )


def recommend(
    model: ModelFile,
    users: Annotated[list[str] | None, typer.Argument(help="Raw ids; with --output by default all.")] = None,
    number: Number = 10,
    titles: Titles = None,
    min_ratings: MinRatings = 0,
    with_seen: Annotated[bool, typer.Option("--with-seen", help="Also what the user rated already.")] = False,
    output: Annotated[Path | None, typer.Option(help="Write CSV or Parquet, by the suffix.")] = None,
    as_json: AsJson = False,
    settings: Settings = None,
) -> None:
    """The items with the highest predicted ratings for each user.

    - `numpy-neural-mf recommend films.safetensors 1 42 -n 5 --min-ratings 20 --titles movies.csv`
    - `numpy-neural-mf recommend films.safetensors --output everybody.parquet`
    """
    loaded = load_model(model)
    if not users and output is None:
        raise ValueError("expected users to recommend to, or --output FILE to write the lists of all")
    chosen: Any = raw_ids(loaded.user_ids_, users) if users else loaded.user_ids_
    unknown = [str(one) for one in chosen if users and index_of(loaded.user_ids_, one) < 0]
    if unknown:
        remark(f"unknown, and so shown what everybody likes: {', '.join(unknown)}")
    with working(f"recommending to {len(chosen):,} users"):
        items, ratings = loaded.recommend(
            chosen, number, exclude_seen=not with_seen, min_ratings=min_ratings, with_scores=True
        )
    names = [str(one) for one in chosen] if unknown else chosen
    lists = with_titles(lists_of(names, items, ratings), titles)
    if output is None:
        show(lists, as_json, "title")
        return
    write_table(lists, output)
    if as_json:
        print_json({"output": str(output), "users": len(chosen), "rows": lists.height})
    else:
        said = f"Wrote {output}: {lists.height:,} recommendations to {len(chosen):,} users"
        Console().print(said, soft_wrap=True, markup=False)


def similar(
    model: ModelFile,
    id: Annotated[str, typer.Argument(help="Of an item, or with --users of a user.")],
    number: Number = 10,
    users: Annotated[bool, typer.Option("--users", help="Compare users instead of items.")] = False,
    min_ratings: MinRatings = 0,
    titles: Titles = None,
    as_json: AsJson = False,
    settings: Settings = None,
) -> None:
    """The items most like one, by the cosine of their embeddings; or the users.

    - `numpy-neural-mf similar films.safetensors 260 --titles movies.csv`
    - `numpy-neural-mf similar films.safetensors 42 --users`
    """
    loaded = load_model(model)
    if users:
        ids, cosines = loaded.similar_users(raw_ids(loaded.user_ids_, [id])[0], number, min_ratings)
    else:
        ids, cosines = loaded.similar_items(raw_ids(loaded.item_ids_, [id])[0], number, min_ratings)
    found = pl.DataFrame({"user" if users else "item": ids, "cosine": rounded(cosines, 3)})
    show(found if users else with_titles(found, titles), as_json, "title")


def explain(
    model: ModelFile,
    user: Annotated[str, typer.Argument(help="Raw id.")],
    item: Annotated[str, typer.Argument(help="Raw id.")],
    number: Number = 10,
    titles: Titles = None,
    as_json: AsJson = False,
    settings: Settings = None,
) -> None:
    """Why a rating is predicted: mean, biases, interaction, and the ratings of the user that weigh most.

    - `numpy-neural-mf explain films.safetensors 1 260 --titles movies.csv`
    """
    loaded = load_model(model)
    raw_user, raw_item = raw_ids(loaded.user_ids_, [user])[0], raw_ids(loaded.item_ids_, [item])[0]
    if not loaded.known(raw_user, raw_item):
        remark("the user or the item is unknown to the model, so no rating is a reason")
    found = loaded.explain(raw_user, raw_item)
    parts = {field.name: getattr(found, field.name) for field in fields(found) if field.name != "reasons"}
    shown, others = found.reasons[:number], found.reasons[number:]
    reasons = [asdict(reason) for reason in shown]
    if as_json:
        print_json(parts | {"reasons": reasons})
        return
    named = {name: value for name, value in parts.items() if name not in ("prediction", "rest")}
    rows = [{"part": name.replace("_", " "), "of it": f"{value:+.3f}"} for name, value in named.items()]
    show(pl.DataFrame([*rows, {"part": "prediction", "of it": f"{found.prediction:.3f}"}]), False)
    if reasons:
        Console().print("The user's bias and the interaction come from what the user rated:", soft_wrap=True)
        weights = pl.Series("weight", [f"{reason.weight:+.3f}" for reason in shown])
        show(with_titles(pl.DataFrame(reasons).with_columns(weights), titles), False, "title")
        rest = f"{found.rest:+.3f}  not from any rating"
        Console().print(f"{sum(r.weight for r in others):+.3f}  {len(others)} others\n{rest}")


def info(model: ModelFile, as_json: AsJson = False, settings: Settings = None) -> None:
    """What is in a model file.

    - `numpy-neural-mf info films.safetensors`
    """
    loaded = load_model(model)
    facts: dict[str, Any] = {
        "model": type(loaded).__name__,
        "users": len(loaded.user_ids_),
        "items": len(loaded.item_ids_),
        "rating scale": f"{loaded.rating_scale_[0]:g} to {loaded.rating_scale_[1]:g}",
        "parameters": loaded.n_parameters_,
    }
    if isinstance(loaded, NeuralMF):
        facts |= {
            "architecture": str(loaded.architecture),
            "epochs trained": len(loaded.history_.train_loss),
            "best epoch": loaded.history_.best_epoch,
        }
    if isinstance(loaded, BayesianMF):
        facts |= {
            "samples": loaded.n_samples,
            "expected deviation": round(float(loaded.deviation_[-1]), 4),
            "ratings with a time": loaded.n_timed_,
        }
    if as_json:
        print_json(facts)
    else:
        values = [str(value) for value in facts.values()]
        show(pl.DataFrame({"fact": list(facts), "value": values}), False, "value")
