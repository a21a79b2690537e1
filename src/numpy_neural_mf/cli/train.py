"""Train a model and save it: numpy-neural-mf train."""

from __future__ import annotations

import inspect
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from ..architecture import ARCHITECTURES, SEQUENCES, Architecture
from ..display import ProgressBar
from ..engines import ENGINE_NAMES
from ..files import is_first_process
from ..models import NeuralMF
from ..models.neural_mf_settings import DEVICES, PRECISIONS, SCHEDULES
from ..nn import ACTIVATIONS, OPTIMIZERS
from .options import (
    AsJson,
    Cache,
    ColumnName,
    FeaturesFile,
    RatingsFile,
    Scale,
    Seed,
    architecture_named,
    one_of,
)
from .output import described, fail, print_json, read, stderr
from .settings import Settings

# The keywords of NeuralMF with their defaults, so that the command line has no defaults of its own.
DEFAULTS: dict[str, Any] = {
    name: parameter.default
    for name, parameter in inspect.signature(NeuralMF).parameters.items()
    if parameter.kind is inspect.Parameter.KEYWORD_ONLY
}
FORM = [field.name for field in fields(Architecture) if field.name != "rating_scale"]


def layer_sizes(text: str) -> tuple[int, ...]:
    """Widths of layers: "64,32"; nothing for none."""
    try:
        return tuple(int(size) for size in text.replace(",", " ").split())
    except ValueError:
        raise typer.BadParameter("expected whole numbers such as 64,32") from None


def train(
    context: typer.Context,
    ratings: RatingsFile,
    model: Annotated[Path, typer.Argument(help="The file to write.")] = Path("model.safetensors"),
    architecture: Annotated[str, one_of(ARCHITECTURES, "Its form, any part of which can be set")] = "C_wide",
    embedding_dim: Annotated[int | None, typer.Option(help="Length of the factors.")] = None,
    hidden_layer_sizes: Annotated[
        Any, typer.Option(parser=layer_sizes, metavar="N,N,…", help='Of the MLP; "" for none.')
    ] = None,
    activation: Annotated[str | None, one_of(ACTIVATIONS, "Of the hidden layers")] = None,
    dropout: Annotated[float | None, typer.Option(help="Of the MLP, in training.")] = None,
    biases: Annotated[bool | None, typer.Option(help="Of users and items.")] = None,
    product: Annotated[bool | None, typer.Option(help="Of the factors.")] = None,
    features: Annotated[
        bool | None, typer.Option(help="Of users and items; so by default where a file of such is given.")
    ] = None,
    implicit: Annotated[bool | None, typer.Option(help="What was rated, however high (SVD++).")] = None,
    sequence: Annotated[
        str | None, one_of([name for name in SEQUENCES if name], "Over a user's last items (engine torch)")
    ] = None,
    sequence_length: Annotated[int | None, typer.Option(help="Items of it.")] = None,
    next_item_weight: Annotated[
        float | None, typer.Option(help="Of telling the next item, in the loss.")
    ] = None,
    negatives: Annotated[int | None, typer.Option(help="Items held against the next; 0 for all.")] = None,
    user_features: FeaturesFile = None,
    item_features: FeaturesFile = None,
    epochs: Annotated[int, typer.Option(help="Passes over the ratings.")] = DEFAULTS["epochs"],
    batch_size: Annotated[int, typer.Option(help="Ratings in a step.")] = DEFAULTS["batch_size"],
    optimizer: Annotated[str, one_of(OPTIMIZERS, "What makes steps of gradients")] = DEFAULTS["optimizer"],
    learning_rate: Annotated[float, typer.Option(help="The highest.")] = DEFAULTS["learning_rate"],
    schedule: Annotated[str, one_of(SCHEDULES, "Of the learning rate")] = DEFAULTS["schedule"],
    regularization: Annotated[float, typer.Option(help="Penalty on the rows of a rating.")] = DEFAULTS[
        "regularization"
    ],
    weight_decay: Annotated[float, typer.Option(help="Of the MLP.")] = DEFAULTS["weight_decay"],
    validation_fraction: Annotated[float, typer.Option(help="Held out; 0 trains on all.")] = DEFAULTS[
        "validation_fraction"
    ],
    patience: Annotated[
        int, typer.Option(help="Epochs without a better validation loss; 0 never stops early.")
    ] = DEFAULTS["patience"],
    engine: Annotated[str, one_of(ENGINE_NAMES, "Who computes the steps")] = DEFAULTS["engine"],
    device: Annotated[str, one_of(DEVICES, "Where the engine torch computes")] = DEFAULTS["device"],
    precision: Annotated[str, one_of(PRECISIONS, "Of the engine torch")] = DEFAULTS["precision"],
    random_state: Seed = DEFAULTS["random_state"],
    checkpoint_dir: Annotated[
        Path | None, typer.Option(help="Keep the state here: the same command resumes a killed training.")
    ] = None,
    user: ColumnName = None,
    item: ColumnName = None,
    rating: ColumnName = None,
    timestamp: ColumnName = None,
    scale: Scale = None,
    cache: Cache = True,
    as_json: AsJson = False,
    settings: Settings = None,
) -> None:
    """Train a model on ratings and save it.

    - `numpy-neural-mf train ratings.csv films.safetensors --checkpoint-dir films.checkpoint`
    - `numpy-neural-mf train ratings.csv --architecture A_small --epochs 10`
    - `numpy-neural-mf train ratings.csv --item-features movies.csv --implicit`
    - `numpy-neural-mf train ratings.csv --settings settings.toml`
    """
    base = architecture_named(architecture)
    given = context.params  # options have the names of the keywords
    chosen = {name: given[name] for name in DEFAULTS} | {"patience": patience or None}
    form = {name: given[name] for name in FORM if given[name] is not None}
    if features is None and (user_features or item_features):
        form["features"] = True
    new_model = NeuralMF(base, **chosen, **form)
    columns = {"user": user, "item": item, "rating": rating, "timestamp": timestamp}
    known = described(read(ratings, cache, scale=scale, **columns), user_features, item_features)
    console = stderr() if as_json else Console()
    console.quiet = not is_first_process()
    console.print(f"{ratings.name}: {known}", soft_wrap=True, markup=False)
    for path, told in ((user_features, known.user_features), (item_features, known.item_features)):
        if path is not None:
            console.print(f"{path.name}: {told}", soft_wrap=True, markup=False)
    try:
        with ProgressBar(1, console) as bar:
            bar.start_run(f"training {architecture}")
            new_model.fit(known, on_progress=bar.on_progress, checkpoint_dir=checkpoint_dir)
            bar.end_run()
    except KeyboardInterrupt:
        goes_on = "; the same command goes on from the checkpoint" if checkpoint_dir else ""
        fail(f"interrupted: {model} was not written{goes_on}", code=130)
    if not is_first_process():
        return
    new_model.save(model)
    history = new_model.history_
    facts: dict[str, Any] = {"model": str(model), "epochs": len(history.train_loss)}
    facts |= {"seconds": sum(history.seconds), "best_epoch": None, "validation_rmse": None}
    if history.best_epoch and history.validation_loss:
        best = history.validation_loss[history.best_epoch - 1] ** 0.5
        facts |= {"best_epoch": history.best_epoch, "validation_rmse": best}
    if as_json:
        print_json(facts)
        return
    console.print(f"Trained {facts['epochs']} epochs in {facts['seconds']:.1f} seconds", end="")
    if facts["best_epoch"]:
        console.print(f"; kept epoch {facts['best_epoch']}, validation RMSE {best:.4f}", end="")
    console.print(f".\nWrote {model}", soft_wrap=True)
