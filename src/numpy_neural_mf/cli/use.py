"""Ask a model that is trained: numpy-neural-mf predict, recommend, similar, info."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import polars as pl
import typer
from numpy.typing import NDArray
from rich.console import Console

from ..files import replacing
from ..models import NeuralMF, load_model
from .options import AsJson, ModelFile, Number, Titles
from .output import show


def predict(
    model: ModelFile,
    pairs: Annotated[Path, typer.Argument(help="CSV or Parquet with a user and an item column.")],
    output: Annotated[Path, typer.Argument(help="The same with a column `prediction`.")],
    user: Annotated[str, typer.Option(help="Name of the user column.")] = "userId",
    item: Annotated[str, typer.Option(help="Name of the item column.")] = "movieId",
) -> None:
    """Predict the ratings of pairs; CSV or Parquet, by the suffix, in and out.

    - `numpy-neural-mf predict films.safetensors pairs.csv predictions.parquet`
    """
    loaded = load_model(model)
    frame = _read_table(pairs)
    for name in (user, item):
        if name not in frame.columns:
            raise ValueError(f"{pairs}: expected a column {name!r}, found {', '.join(frame.columns)}")
    prediction = loaded.predict(frame[user].to_numpy(), frame[item].to_numpy())
    frame = frame.with_columns(pl.Series("prediction", prediction))
    with replacing(output) as temporary:
        if output.suffix == ".parquet":
            frame.write_parquet(temporary)
        else:
            frame.write_csv(temporary)
    Console().print(f"Wrote {output}: {frame.height:,} predictions", soft_wrap=True, markup=False)


def recommend(
    model: ModelFile,
    users: Annotated[list[str], typer.Argument(help="Raw ids.")],
    number: Number = 10,
    titles: Titles = None,
    with_seen: Annotated[bool, typer.Option("--with-seen", help="Also what the user rated already.")] = False,
    as_json: AsJson = False,
) -> None:
    """The items with the highest predicted ratings for each user.

    - `numpy-neural-mf recommend films.safetensors 1 42 -n 5 --titles movies.csv`
    """
    loaded = load_model(model)
    raw = _raw(loaded.user_ids_, users)
    unknown = [str(u) for u in raw if not np.isin(u, loaded.user_ids_)]
    if unknown:
        Console(stderr=True).print(
            f"unknown, and so shown what everybody likes: {', '.join(unknown)}", markup=False
        )
    items, scores = loaded.recommend(raw, number, exclude_seen=not with_seen, with_scores=True)
    name_of = _titles(titles)
    rows = [
        {"user": str(u), "rank": rank, "item": str(i), "rating": round(score, 2)} | name_of(i)
        for u, row, row_scores in zip(users, items.tolist(), scores.tolist(), strict=True)
        for rank, (i, score) in enumerate(zip(row, row_scores, strict=True), 1)
        if i is not None
    ]
    show(pl.DataFrame(rows), as_json, "title")


def similar(
    model: ModelFile,
    item: Annotated[str, typer.Argument(help="Its raw id.")],
    number: Number = 10,
    titles: Titles = None,
    as_json: AsJson = False,
) -> None:
    """The items most like one, by the cosine of their embeddings.

    - `numpy-neural-mf similar films.safetensors 260 --titles movies.csv`
    """
    loaded = load_model(model)
    items, cosines = loaded.similar_items(_raw(loaded.item_ids_, [item])[0], number)
    name_of = _titles(titles)
    rows = [
        {"item": str(i), "cosine": round(cosine, 3)} | name_of(i)
        for i, cosine in zip(items.tolist(), cosines.tolist(), strict=True)
    ]
    show(pl.DataFrame(rows), as_json, "title")


def info(model: ModelFile, as_json: AsJson = False) -> None:
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
    if as_json:
        print(json.dumps(facts))
    else:
        show(
            pl.DataFrame({"fact": list(facts), "value": [str(value) for value in facts.values()]}),
            False,
            "value",
        )


def _raw(ids: NDArray[Any], texts: list[str]) -> list[Any]:
    """Ids from the command line as the model has them: whole numbers, or text as it is."""
    is_text = ids.dtype.kind == "U"
    return [text if is_text or not text.lstrip("-").isdigit() else int(text) for text in texts]


def _titles(path: Path | None) -> Any:
    """Item to {"title": ...}; to nothing without a file."""
    if path is None:
        return lambda item: {}
    frame = pl.read_csv(path, infer_schema=False)
    if "title" not in frame.columns:
        raise ValueError(f"{path}: expected a column 'title', found {', '.join(frame.columns)}")
    known = dict(zip(frame[:, 0].to_list(), frame["title"].to_list(), strict=True))
    return lambda item: {"title": known.get(str(item), "")}


def _read_table(path: Path) -> pl.DataFrame:
    try:
        return pl.read_parquet(path) if path.suffix == ".parquet" else pl.read_csv(path)
    except pl.exceptions.PolarsError as error:
        raise ValueError(f"{path}: expected a table, found: {str(error).partition(chr(10))[0]}") from error
