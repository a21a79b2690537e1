"""Ask a trained model: numpy-neural-mf predict, recommend, similar, explain, info."""

from __future__ import annotations

from dataclasses import asdict, fields
from pathlib import Path
from typing import Annotated, Any

import polars as pl
import typer
from rich.console import Console

from ..data.ids import index_of
from ..models import BayesianMF, NeuralMF, load_model
from .options import AsJson, ColumnName, MinRatings, ModelFile, Number, Titles, option, switch
from .output import load, print_json, remark, report, show, working
from .settings import Settings
from .tables import lists_of, raw_ids, read_table, rounded, with_titles, write_table


def predict(
    model: ModelFile,
    pairs: Annotated[Path, typer.Argument(help="CSV or Parquet with a user and an item column.")],
    output: Annotated[Path, typer.Argument(help="The same with a column prediction.")],
    interval: Annotated[
        float | None, option(None, "Add the bounds low and high of this coverage, such as 0.9.")
    ] = None,
    user: ColumnName = None, item: ColumnName = None, timestamp: ColumnName = None,
    as_json: AsJson = False, settings: Settings = None,
) -> None:  # fmt: skip
    """Predict the ratings of pairs in a CSV or Parquet file.

    Models that use time predict for the column of timestamps, or else for the
    time of the last training rating.

    numpy-neural-mf predict films.safetensors pairs.csv predictions.parquet
    numpy-neural-mf predict bayesian.safetensors pairs.csv predictions.csv --interval 0.9
    """
    loaded = load(model, "predict" if interval is None else "predict_interval")
    known = {"user": loaded.user_ids_, "item": loaded.item_ids_}
    with working(f"reading {pairs.name}"):
        table = read_table(pairs, known, user=user, item=item, timestamp=timestamp)
    frame = pl.DataFrame(table.frame)
    users, items, times = table.roles["user"], table.roles["item"], table.roles.get("timestamp")
    with working(f"predicting {frame.height:,} ratings"):
        found = {"prediction": loaded.predict(users, items, times)}
        if interval is not None:
            found["low"], found["high"] = loaded.predict_interval(users, items, times, interval)
    with working(f"writing {output.name}"):
        write_table(frame.with_columns(pl.Series(name, values) for name, values in found.items()), output)
    no_user, no_item = index_of(loaded.user_ids_, users) < 0, index_of(loaded.item_ids_, items) < 0
    if (no_user | no_item).any():
        remark(
            f"{(no_user | no_item).sum():,} pairs have a user ({no_user.sum():,}) or an item "
            f"({no_item.sum():,}) that is unknown to the model; their predictions do without"
        )
    facts = {"output": str(output), "predictions": frame.height}
    facts |= {"unknown_user": int(no_user.sum()), "unknown_item": int(no_item.sum())}
    report(f"Wrote {output}: {frame.height:,} predictions", facts, as_json)


def recommend(
    model: ModelFile,
    users: Annotated[list[str] | None, typer.Argument(help="Raw ids; all users with --output.")] = None,
    number: Number = 10,
    titles: Titles = None,
    min_ratings: MinRatings = 0,
    with_seen: Annotated[bool, switch(None, "Include items that the user rated.", "--with-seen")] = False,
    output: Annotated[Path | None, option(None, "Write the lists to this CSV or Parquet file.")] = None,
    as_json: AsJson = False,
    settings: Settings = None,
) -> None:
    """List the items with the highest predicted ratings for each user.

    numpy-neural-mf recommend films.safetensors 1 42 -n 5 --min-ratings 20 --titles movies.csv
    numpy-neural-mf recommend films.safetensors --output everybody.parquet
    """
    loaded = load(model, "recommend")
    if not users and output is None:
        raise ValueError("expected users to recommend to, or --output FILE to write the lists of all")
    chosen: Any = raw_ids(loaded.user_ids_, users) if users else loaded.user_ids_
    unknown = [str(one) for one in chosen if users and index_of(loaded.user_ids_, one) < 0]
    if unknown:
        remark(f"unknown users, for whom popular items are listed: {', '.join(unknown)}")
    with working(f"recommending to {len(chosen):,} users"):
        items, ratings = loaded.recommend(
            chosen, number, exclude_seen=not with_seen, min_ratings=min_ratings, with_scores=True
        )
    names = [str(one) for one in chosen] if unknown else chosen
    lists = with_titles(lists_of(names, items, ratings), titles)
    if not hasattr(loaded, "predict"):  # a NextItemModel predicts no ratings
        lists = lists.rename({"rating": "score"})
    if output is None:
        show(lists, as_json, "title")
        return
    write_table(lists, output)
    text = f"Wrote {output}: {lists.height:,} recommendations to {len(chosen):,} users"
    report(text, {"output": str(output), "users": len(chosen), "rows": lists.height}, as_json)


def similar(
    model: ModelFile,
    id: Annotated[str, typer.Argument(help="Raw id of an item, or with --users of a user.")],
    number: Number = 10,
    users: Annotated[bool, switch(None, "Compare users instead of items.", "--users")] = False,
    min_ratings: MinRatings = 0,
    titles: Titles = None,
    as_json: AsJson = False,
    settings: Settings = None,
) -> None:
    """List the items, or users, whose embeddings have the highest cosine similarity to one.

    numpy-neural-mf similar films.safetensors 260 --titles movies.csv
    numpy-neural-mf similar films.safetensors 42 --users
    """
    kind = "user" if users else "item"
    loaded = load(model, f"similar_{kind}s")
    raw_id = raw_ids(loaded.user_ids_ if users else loaded.item_ids_, [id])[0]
    ids, cosines = getattr(loaded, f"similar_{kind}s")(raw_id, number, min_ratings)
    found = pl.DataFrame({kind: ids, "cosine": rounded(cosines, 3)})
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
    """Explain a prediction by its parts and by the user's ratings that weigh most.

    numpy-neural-mf explain films.safetensors 1 260 --titles movies.csv
    """
    loaded = load(model, "explain")
    raw_user, raw_item = raw_ids(loaded.user_ids_, [user])[0], raw_ids(loaded.item_ids_, [item])[0]
    if not loaded.known(raw_user, raw_item):
        remark("the user or the item is unknown to the model, so no rating is a reason")
    found = loaded.explain(raw_user, raw_item)
    parts = {field.name: getattr(found, field.name) for field in fields(found) if field.name != "reasons"}
    reasons = [asdict(reason) for reason in found.reasons[:number]]
    if as_json:
        print_json(parts | {"reasons": reasons})
        return
    rest, prediction = parts.pop("rest"), parts.pop("prediction")
    rows = [{"part": name.replace("_", " "), "value": f"{value:+.3f}"} for name, value in parts.items()]
    show(pl.DataFrame([*rows, {"part": "prediction", "value": f"{prediction:.3f}"}]), False)
    if reasons:
        console = Console()
        console.print("The user's ratings account for the user bias and the interaction:", soft_wrap=True)
        weights = pl.Series("weight", [f"{reason['weight']:+.3f}" for reason in reasons])
        show(with_titles(pl.DataFrame(reasons).with_columns(weights), titles), False, "title")
        others = found.reasons[number:]
        console.print(f"{sum(reason.weight for reason in others):+.3f}  {len(others)} other ratings")
        console.print(f"{rest:+.3f}  not from any rating")


def info(model: ModelFile, as_json: AsJson = False, settings: Settings = None) -> None:
    """Describe a model file.

    numpy-neural-mf info films.safetensors
    """
    loaded = load_model(model)
    facts: dict[str, Any] = {
        "model": type(loaded).__name__,
        "users": len(loaded.user_ids_),
        "items": len(loaded.item_ids_),
        "parameters": loaded.n_parameters_,
    }
    if hasattr(loaded, "rating_scale_"):  # a NextItemModel has none
        facts["rating scale"] = f"{loaded.rating_scale_[0]:g} to {loaded.rating_scale_[1]:g}"
    if isinstance(loaded, NeuralMF):
        facts["architecture"] = str(loaded.architecture)
        facts["epochs trained"] = len(loaded.history_.train_loss)
        facts["best epoch"] = loaded.history_.best_epoch
    if isinstance(loaded, BayesianMF):
        facts["samples"] = loaded.n_samples
        facts["expected deviation"] = round(float(loaded.deviation_[-1]), 4)
        facts["ratings with a time"] = loaded.n_timed_
    if as_json:
        print_json(facts)
    else:
        show(pl.DataFrame({"fact": list(facts), "value": map(str, facts.values())}), False, "value")
