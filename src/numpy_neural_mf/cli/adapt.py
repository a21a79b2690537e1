"""New ratings for a trained model: numpy-neural-mf fold-in, update."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

import typer
from numpy.typing import NDArray

from ..data.ids import index_of
from .options import AsJson, ColumnName, MinRatings, ModelFile, Number, RatingsFile, Titles, option
from .output import load, read, remark, report, show, working
from .settings import Settings
from .tables import lists_of, raw_ids, read_table, roles_of_text, with_titles


def fold_in(
    model: ModelFile,
    ratings: Annotated[Path | None, typer.Argument(help="CSV or Parquet of one user's ratings.")] = None,
    rate: Annotated[
        list[str] | None, option(None, "One rating; may be repeated.", metavar="ITEM=RATING")
    ] = None,
    number: Number = 10, titles: Titles = None, min_ratings: MinRatings = 0,
    item: ColumnName = None, rating: ColumnName = None,
    as_json: AsJson = False, settings: Settings = None,
) -> None:  # fmt: skip
    """Recommend to a new user with a few ratings; the model does not change.

    numpy-neural-mf fold-in films.safetensors --rate 260=5 --rate 1=3.5 --titles movies.csv
    numpy-neural-mf fold-in films.safetensors my_ratings.csv -n 5
    """
    loaded = load(model, "fold_in")
    given = _ratings_of_one(loaded.item_ids_, ratings, item, rating, rate or [])
    unknown = [str(one) for one in given if index_of(loaded.item_ids_, one) < 0]
    if unknown:
        remark(f"left out items that are unknown to the model: {', '.join(unknown)}")
    new_user = loaded.fold_in(given)
    items, scores = loaded.recommend(new_user, number, min_ratings=min_ratings, with_scores=True)
    show(with_titles(lists_of([0], items[None], scores[None]).drop("user"), titles), as_json, "title")


def update(
    model: ModelFile,
    ratings: RatingsFile,
    output: Annotated[Path | None, typer.Argument(help="The file to write; by default the model's.")] = None,
    user: ColumnName = None, item: ColumnName = None, rating: ColumnName = None, timestamp: ColumnName = None,
    as_json: AsJson = False, settings: Settings = None,
) -> None:  # fmt: skip
    """Train a model further on new ratings, of known and of new users and items.

    numpy-neural-mf update films.safetensors this_week.csv
    """
    loaded, path = load(model, "partial_fit"), output or model
    scale = getattr(loaded, "rating_scale_", None)  # a NextItemModel has none
    columns = {"user": user, "item": item, "rating": rating, "timestamp": timestamp}
    new = read(ratings, scale=scale, text_ids=roles_of_text(loaded), **columns)
    n_users, n_items = len(loaded.user_ids_), len(loaded.item_ids_)
    with working(f"learning {len(new):,} ratings"):
        loaded.partial_fit(new)
    loaded.save(path)
    n_users, n_items = len(loaded.user_ids_) - n_users, len(loaded.item_ids_) - n_items
    text = f"Wrote {path}: {len(new):,} ratings learned, {n_users:,} new users, {n_items:,} new items"
    facts = {"model": str(path), "ratings": len(new), "new_users": n_users, "new_items": n_items}
    report(text, facts, as_json)


def _ratings_of_one(
    item_ids: NDArray[Any], path: Path | None, item: str | None, rating: str | None, typed: list[str]
) -> dict[Any, float]:
    """Item to rating, from a file and from `--rate`, which wins."""
    given: dict[Any, float] = {}
    if path is not None:
        roles = read_table(path, {"item": item_ids}, item=item, rating=rating).roles
        given = dict(zip(roles["item"], roles["rating"].tolist(), strict=True))
    for text in typed:
        parts = re.fullmatch(r"(.+)=(-?\d*\.?\d+)", text)
        if parts is None:
            raise ValueError(f"--rate: expected ITEM=RATING, such as 260=4.5, found {text!r}")
        given[raw_ids(item_ids, [parts[1]])[0]] = float(parts[2])
    if not given:
        raise ValueError("expected ratings, from a file or as --rate ITEM=RATING, found none")
    return given
