"""The commands around one model: train it, judge it, ask it."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import polars as pl
import typer
from numpy.typing import NDArray
from rich.console import Console

from .architecture import ARCHITECTURES
from .data import read_ratings
from .display import ProgressBar, rich_table
from .evaluation import mae, r2, rmse
from .files import replacing
from .models import NeuralMF, load_model

app = typer.Typer(rich_markup_mode="markdown")


class ArchitectureName(StrEnum):
    """The architectures by name, as `ARCHITECTURES` has them."""

    A_small = "A_small"
    B_medium = "B_medium"
    C_wide = "C_wide"


RatingsFile = Annotated[Path, typer.Argument(help="CSV, TSV, `ratings.dat`, `u.data` or Parquet.")]
ModelFile = Annotated[Path, typer.Argument(help="A model that `train` wrote.")]
ColumnName = Annotated[str | None, typer.Option(metavar="NAME", help="Its column, if not a usual name.")]
Number = Annotated[int, typer.Option("--number", "-n", help="How many.")]
Titles = Annotated[
    Path | None, typer.Option(help="CSV with an id first and a column `title`, as `movies.csv`.")
]
AsJson = Annotated[bool, typer.Option("--json", help="For machines.")]


@app.command()
def train(
    ratings: RatingsFile,
    model: Annotated[Path, typer.Argument(help="The file to write.")] = Path("model.safetensors"),
    architecture: Annotated[ArchitectureName, typer.Option(help="Its form.")] = ArchitectureName.C_wide,
    epochs: Annotated[int | None, typer.Option(help="Passes over the ratings.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="The highest of the schedule.")] = None,
    regularization: Annotated[float | None, typer.Option(help="Penalty on the rows of a rating.")] = None,
    validation_fraction: Annotated[float | None, typer.Option(help="Held out; 0 trains on all.")] = None,
    seed: Annotated[int, typer.Option(help="The same seed, the same model.")] = 0,
    checkpoint_dir: Annotated[
        Path | None, typer.Option(help="Keep the state here: the same command resumes a killed training.")
    ] = None,
    user: ColumnName = None,
    item: ColumnName = None,
    rating: ColumnName = None,
    timestamp: ColumnName = None,
) -> None:
    """Train a model on ratings and save it.

    - `numpy-neural-mf train ratings.csv films.safetensors --checkpoint-dir films.checkpoint`
    """
    chosen = {
        "epochs": epochs,
        "learning_rate": learning_rate,
        "regularization": regularization,
        "validation_fraction": validation_fraction,
    }
    settings: dict[str, Any] = {name: value for name, value in chosen.items() if value is not None}
    new_model = NeuralMF(ARCHITECTURES[architecture.value], random_state=seed, **settings)
    read = read_ratings(ratings, user=user, item=item, rating=rating, timestamp=timestamp)
    console = Console()
    console.print(f"{ratings.name}: {read}", soft_wrap=True, markup=False)
    with ProgressBar(1, console) as bar:
        bar.start_run(f"training {architecture.value}")
        new_model.fit(read, on_progress=bar.on_progress, checkpoint_dir=checkpoint_dir)
        bar.end_run()
    new_model.save(model)
    history = new_model.history_
    console.print(f"Trained {len(history.train_loss)} epochs in {sum(history.seconds):.1f} seconds", end="")
    if history.best_epoch and history.validation_loss:
        best = history.validation_loss[history.best_epoch - 1] ** 0.5
        console.print(f"; kept epoch {history.best_epoch}, validation RMSE {best:.4f}", end="")
    console.print(f".\nWrote {model}", soft_wrap=True)


@app.command()
def evaluate(
    model: ModelFile,
    ratings: RatingsFile,
    user: ColumnName = None,
    item: ColumnName = None,
    rating: ColumnName = None,
    as_json: AsJson = False,
) -> None:
    """Errors of a model on ratings that it was not trained on, known and unknown ids apart.

    - `numpy-neural-mf evaluate films.safetensors test.csv`
    """
    loaded, test = load_model(model), read_ratings(ratings, user=user, item=item, rating=rating)
    users, items = test.raw_users, test.raw_items
    prediction, is_known = loaded.predict(users, items), loaded.known(users, items)
    rows = [
        {"ratings": name, "n": int(part.sum())}
        | {f.__name__.upper(): round(f(prediction[part], test.values[part]), 4) for f in (rmse, mae, r2)}
        for name, part in (
            ("all", np.ones(len(test), bool)),
            ("user and item known", is_known),
            ("user or item unknown", ~is_known),
        )
        if part.any()
    ]
    _show(pl.DataFrame(rows), "title", as_json)


@app.command()
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


@app.command()
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
    _show(pl.DataFrame(rows), "title", as_json)


@app.command()
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
    _show(pl.DataFrame(rows), "title", as_json)


@app.command()
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
        _show(pl.DataFrame({"fact": list(facts), "value": [str(value) for value in facts.values()]}), "value")


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


def _show(frame: pl.DataFrame, prose: str | None = None, as_json: bool = False) -> None:
    if as_json:
        print(json.dumps(frame.to_dicts()))
    else:
        Console().print(rich_table(frame, prose))
