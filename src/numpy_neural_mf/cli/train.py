"""Train a model and save it: numpy-neural-mf train."""

from __future__ import annotations

import inspect
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from ..mf.architecture import ARCHITECTURES, LIKELIHOODS, SEQUENCES, Architecture
from ..models import BayesianMF, NeuralMF
from ..models.neural_mf_settings import DEVICES, PRECISIONS, SCHEDULES
from ..nn import ACTIVATIONS, OPTIMIZERS
from ..reporting.console import ProgressBar
from ..training.engines import ENGINE_NAMES
from ..utils.atomic_io import is_first_process
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
BAYESIAN: dict[str, Any] = {
    name: parameter.default for name, parameter in inspect.signature(BayesianMF).parameters.items()
}
# What can be set of each kind of model.
SETTINGS = {"neural": {"architecture", *FORM, *DEFAULTS}, "bayesian": {*BAYESIAN}}


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
    kind: Annotated[str, one_of(SETTINGS, "NeuralMF or BayesianMF", "--model")] = "neural",
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
    periods: Annotated[
        int | None, typer.Option(help="Stretches of the time that differ; 0 for none.")
    ] = None,
    likelihood: Annotated[
        str | None, one_of(LIKELIHOODS, "Of ratings as numbers, or as steps of a scale")
    ] = None,
    sequence: Annotated[
        str | None, one_of([name for name in SEQUENCES if name], "Over a user's last items (engine torch)")
    ] = None,
    sequence_length: Annotated[int | None, typer.Option(help="Items of it.")] = None,
    next_item_weight: Annotated[
        float | None, typer.Option(help="Of telling the next item, in the loss.")
    ] = None,
    negatives: Annotated[int | None, typer.Option(help="Items held against the next; 0 for all.")] = None,
    latent_clusters: Annotated[
        int, typer.Option("--latent-clusters", "--kinds", help="Bayesian: of users and of items, at most.")
    ] = BAYESIAN["latent_clusters"],
    n_samples: Annotated[
        int, typer.Option("--samples", "--n-samples", help="Drawn by a Bayesian model.")
    ] = BAYESIAN["n_samples"],
    burn_in: Annotated[
        int, typer.Option("--burn-in", "--warm-up", help="Samples to discard before these.")
    ] = BAYESIAN["burn_in"],
    drift: Annotated[bool, typer.Option(help="Bayesian: what changes with time.")] = BAYESIAN["drift"],
    previous_item: Annotated[bool, typer.Option(help="Bayesian: the item rated before.")] = BAYESIAN[
        "previous_item"
    ],
    user_noise: Annotated[bool, typer.Option(help="Bayesian: a noise of each user's own.")] = BAYESIAN[
        "user_noise"
    ],
    rank: Annotated[int, typer.Option(help="Bayesian: columns kept of the mean.")] = BAYESIAN["rank"],
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
    - `numpy-neural-mf train ratings.csv --periods 24 --likelihood ordinal`
    - `numpy-neural-mf train ratings.csv --model bayesian --item-features movies.csv`
    - `numpy-neural-mf train ratings.csv --settings settings.toml`
    """
    new_model = _new_model(context, kind)
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
            bar.start_run(f"training {architecture if kind == 'neural' else kind}")
            new_model.fit(known, on_progress=bar.on_progress, checkpoint_dir=checkpoint_dir)
            bar.end_run()
    except KeyboardInterrupt:
        goes_on = "; the same command goes on from the checkpoint" if checkpoint_dir else ""
        fail(f"interrupted: {model} was not written{goes_on}", code=130)
    if not is_first_process():
        return
    new_model.save(model)
    facts = {"model": str(model)} | _facts(new_model)
    if as_json:
        print_json(facts)
        return
    if kind == "bayesian":
        said = (
            f"Drew {facts['samples']} samples in {facts['seconds']:.1f} seconds; with no ratings held out, "
            f"others are expected {facts['expected_deviation']:.4f} from their predictions"
        )
    else:
        said = f"Trained {facts['epochs']} epochs in {facts['seconds']:.1f} seconds"
        if facts["best_epoch"]:
            said += f"; kept epoch {facts['best_epoch']}, validation RMSE {facts['validation_rmse']:.4f}"
    console.print(f"{said}.\nWrote {model}", soft_wrap=True)


def _new_model(context: typer.Context, kind: str) -> NeuralMF | BayesianMF:
    """The model that the options tell of, which have the names of its settings."""
    if kind not in SETTINGS:
        raise ValueError(f"model must be one of {', '.join(SETTINGS)}, not {kind!r}")
    given = context.params
    foreign = set().union(*SETTINGS.values()) - SETTINGS[kind]
    typed = [
        option.opts[0]
        for option in context.command.params
        if option.name in foreign
        and getattr(context.get_parameter_source(option.name), "name", "DEFAULT") != "DEFAULT"
    ]
    if typed:
        raise ValueError(f"{', '.join(typed)}: for another kind of model, not for --model {kind}")
    if kind == "bayesian":
        return BayesianMF(**{name: given[name] for name in BAYESIAN if given[name] is not None})
    base = architecture_named(given["architecture"])
    chosen = {name: given[name] for name in DEFAULTS} | {"patience": given["patience"] or None}
    form = {name: given[name] for name in FORM if given[name] is not None}
    if given["features"] is None and (given["user_features"] or given["item_features"]):
        form["features"] = True
    return NeuralMF(base, **chosen, **form)


def _facts(model: NeuralMF | BayesianMF) -> dict[str, Any]:
    """What came of the training."""
    history = model.history_
    seconds = sum(history.seconds)
    if isinstance(model, BayesianMF):
        expected = float(model.deviation_[-1])
        return {"samples": model.n_samples, "seconds": seconds, "expected_deviation": expected}
    facts: dict[str, Any] = {"epochs": len(history.train_loss), "seconds": seconds}
    if not (history.best_epoch and history.validation_loss):
        return facts | {"best_epoch": None, "validation_rmse": None}
    best = history.validation_loss[history.best_epoch - 1] ** 0.5
    return facts | {"best_epoch": history.best_epoch, "validation_rmse": best}
