"""Train a model and save it: numpy-neural-mf train neural-mf, bayesian-mf, next-item."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Any

import typer

from ..mf.architecture import ARCHITECTURES, LIKELIHOODS, Architecture
from ..models import BayesianMF, NeuralMF
from ..models.neural_mf_settings import DEVICES, PRECISIONS, SCHEDULES
from ..nn import ACTIVATIONS, OPTIMIZERS
from ..training.engines import ENGINE_NAMES
from .fit import DefaultModel, fit_and_save, with_new_names
from .options import (
    HARDWARE,
    MODEL,
    TRAINING,
    AsJson,
    Cache,
    ColumnName,
    FeaturesFile,
    NewModelFile,
    RatingsFile,
    Scale,
    Seed,
    architecture_named,
    defaults_of,
    one_of,
    option,
    switch,
)
from .settings import Settings

NEURAL, BAYESIAN = SimpleNamespace(**defaults_of(NeuralMF)), SimpleNamespace(**defaults_of(BayesianMF))
FORM = [field.name for field in fields(Architecture) if field.name != "rating_scale"]
ENCODERS = ("attention", "gru")

app = typer.Typer(cls=DefaultModel, no_args_is_help=True, rich_markup_mode="rich")


@app.callback()
def train() -> None:
    """Train a model on ratings and save it.

    Without the name of a model, a neural-mf is trained:
    numpy-neural-mf train ratings.csv films.safetensors
    """


def layer_sizes(text: str) -> tuple[int, ...]:
    """Widths of layers, such as "64,32"; an empty text for none."""
    try:
        return tuple(int(size) for size in text.replace(",", " ").split())
    except ValueError:
        raise typer.BadParameter("expected whole numbers such as 64,32") from None


CheckpointDir = Annotated[
    Path | None, option(TRAINING, "Save the state here; the same command resumes a killed training.")
]
Dropout = Annotated[float | None, option(MODEL, "Dropout rate in training.")]
UsesFeatures = Annotated[bool | None, switch(MODEL, "Use features of users and items, where given.")]
Implicit = Annotated[bool | None, switch(MODEL, "Use which items were rated, as in SVD++.")]
OldName = Annotated[int | None, typer.Option(hidden=True)]
Samples = Annotated[int, option(TRAINING, "Samples after burn-in.", "--samples", "--n-samples")]
LayerSizes = Annotated[Any, option(MODEL, 'MLP layers; "" for none.', parser=layer_sizes, metavar="N,N,…")]


@app.command("neural-mf")
def neural_mf(
    context: typer.Context,
    ratings: RatingsFile,
    model: NewModelFile = Path("model.safetensors"),
    architecture: Annotated[str, one_of(MODEL, ARCHITECTURES, "Values of the options below")] = "C_wide",
    embedding_dim: Annotated[int | None, option(MODEL, "Length of user and item embeddings.")] = None,
    hidden_layer_sizes: LayerSizes = None,
    activation: Annotated[str | None, one_of(MODEL, ACTIVATIONS, "Of hidden layers")] = None,
    dropout: Dropout = None,
    biases: Annotated[bool | None, switch(MODEL, "Use biases of users and items.")] = None,
    product: Annotated[bool | None, switch(MODEL, "Use the dot product of the embeddings.")] = None,
    features: UsesFeatures = None,
    implicit: Implicit = None,
    periods: Annotated[int | None, option(MODEL, "Number of time bins; 0 for none.")] = None,
    likelihood: Annotated[str | None, one_of(MODEL, LIKELIHOODS, "Of the ratings")] = None,
    epochs: Annotated[int, option(TRAINING, "Passes over the ratings.")] = NEURAL.epochs,
    batch_size: Annotated[int, option(TRAINING, "Ratings per step.")] = NEURAL.batch_size,
    optimizer: Annotated[str, one_of(TRAINING, OPTIMIZERS, "Optimiser")] = NEURAL.optimizer,
    learning_rate: Annotated[float, option(TRAINING, "Highest learning rate.")] = NEURAL.learning_rate,
    schedule: Annotated[str, one_of(TRAINING, SCHEDULES, "Learning rate schedule")] = NEURAL.schedule,
    regularization: Annotated[float, option(TRAINING, "L2 penalty of embeddings.")] = NEURAL.regularization,
    weight_decay: Annotated[float, option(TRAINING, "Weight decay of the MLP.")] = NEURAL.weight_decay,
    validation_fraction: Annotated[float, option(TRAINING, "Share held out.")] = NEURAL.validation_fraction,
    patience: Annotated[int, option(TRAINING, "Epochs without improvement; 0 for all.")] = NEURAL.patience,
    random_state: Seed = NEURAL.random_state,
    checkpoint_dir: CheckpointDir = None,
    engine: Annotated[str, one_of(HARDWARE, ENGINE_NAMES, "Engine that trains")] = NEURAL.engine,
    device: Annotated[str, one_of(HARDWARE, DEVICES, "With engine torch")] = NEURAL.device,
    precision: Annotated[str, one_of(HARDWARE, PRECISIONS, "With engine torch")] = NEURAL.precision,
    user: ColumnName = None, item: ColumnName = None, rating: ColumnName = None, timestamp: ColumnName = None,
    scale: Scale = None, cache: Cache = True, as_json: AsJson = False, settings: Settings = None,
    user_features: FeaturesFile = None, item_features: FeaturesFile = None,
) -> None:  # fmt: skip
    """Matrix factorisation with a neural network, by mini-batches; the default.

    numpy-neural-mf train neural-mf ratings.csv films.safetensors --epochs 10
    numpy-neural-mf train neural-mf ratings.csv --item-features movies.csv --implicit
    numpy-neural-mf train neural-mf ratings.csv --settings settings.toml
    """
    given = context.params
    form = {name: given[name] for name in FORM if given.get(name) is not None}
    if features is None and (user_features or item_features):
        form["features"] = True
    chosen = {name: given[name] for name in vars(NEURAL)} | {"patience": patience or None}
    chosen["architecture"] = architecture_named(architecture)
    fit_and_save(NeuralMF(**chosen, **form), given, _neural_result)


def _neural_result(model: NeuralMF) -> tuple[str, dict[str, Any]]:
    """Epochs, seconds and validation error, as text and as facts."""
    history = model.history_
    facts = {"epochs": len(history.train_loss), "seconds": sum(history.seconds)}
    text = f"Trained {facts['epochs']} epochs in {facts['seconds']:.1f} seconds"
    if not (history.best_epoch and history.validation_loss):
        return text, facts | {"best_epoch": None, "validation_rmse": None}
    rmse = history.validation_loss[history.best_epoch - 1] ** 0.5
    text += f"; kept epoch {history.best_epoch}, validation RMSE {rmse:.4f}"
    return text, facts | {"best_epoch": history.best_epoch, "validation_rmse": rmse}


@app.command("bayesian-mf")
def bayesian_mf(
    context: typer.Context,
    ratings: RatingsFile,
    model: NewModelFile = Path("model.safetensors"),
    embedding_dim: Annotated[int, option(MODEL, "Length of the embeddings.")] = BAYESIAN.embedding_dim,
    latent_clusters: Annotated[int, option(MODEL, "Most latent clusters.")] = BAYESIAN.latent_clusters,
    features: UsesFeatures = BAYESIAN.features,
    implicit: Implicit = BAYESIAN.implicit,
    drift: Annotated[bool, switch(MODEL, "Let biases change with time.")] = BAYESIAN.drift,
    previous_item: Annotated[bool, switch(MODEL, "Use the item rated before.")] = BAYESIAN.previous_item,
    user_noise: Annotated[bool, switch(MODEL, "One variance per user.")] = BAYESIAN.user_noise,
    rank: Annotated[int, option(MODEL, "Rank of the posterior mean that is kept.")] = BAYESIAN.rank,
    n_samples: Samples = BAYESIAN.n_samples,
    burn_in: Annotated[int, option(TRAINING, "First samples, which are discarded.")] = BAYESIAN.burn_in,
    random_state: Seed = BAYESIAN.random_state,
    checkpoint_dir: CheckpointDir = None,
    user: ColumnName = None, item: ColumnName = None, rating: ColumnName = None, timestamp: ColumnName = None,
    scale: Scale = None, cache: Cache = True, as_json: AsJson = False, settings: Settings = None,
    user_features: FeaturesFile = None, item_features: FeaturesFile = None,
    kinds: OldName = None, warm_up: OldName = None,
) -> None:  # fmt: skip
    """Bayesian matrix factorisation by Gibbs sampling, with intervals; needs the extra fast.

    numpy-neural-mf train bayesian-mf ratings.csv films.safetensors --item-features movies.csv
    """
    given = with_new_names(context.params, kinds="latent_clusters", warm_up="burn_in")
    fit_and_save(BayesianMF(**{name: given[name] for name in vars(BAYESIAN)}), given, _bayesian_result)


def _bayesian_result(model: BayesianMF) -> tuple[str, dict[str, Any]]:
    """Samples, seconds and the expected error, as text and as facts."""
    facts = {
        "samples": model.n_samples,
        "seconds": sum(model.history_.seconds),
        "expected_deviation": float(model.deviation_[-1]),
    }
    text = f"Drew {facts['samples']} samples in {facts['seconds']:.1f} seconds"
    return f"{text}; expected RMSE of new ratings {facts['expected_deviation']:.4f}", facts


@app.command("next-item")
def next_item(
    context: typer.Context,
    ratings: RatingsFile,
    model: NewModelFile = Path("model.safetensors"),
    encoder: Annotated[str | None, one_of(MODEL, ENCODERS, "Of a user's last items")] = None,
    embedding_dim: Annotated[int | None, option(MODEL, "Length of the embeddings.")] = None,
    sequence_length: Annotated[int | None, option(MODEL, "Number of last items.")] = None,
    dropout: Dropout = None,
    negatives: Annotated[int | None, option(TRAINING, "Sampled items in the loss; 0 for all.")] = None,
    epochs: Annotated[int | None, option(TRAINING, "Passes over the interactions.")] = None,
    batch_size: Annotated[int | None, option(TRAINING, "Interactions per step.")] = None,
    learning_rate: Annotated[float | None, option(TRAINING, "Learning rate.")] = None,
    random_state: Seed = 0,
    device: Annotated[str, one_of(HARDWARE, DEVICES, "Device of the engine torch")] = "auto",
    user: ColumnName = None, item: ColumnName = None, rating: ColumnName = None, timestamp: ColumnName = None,
    scale: Scale = None, cache: Cache = True, as_json: AsJson = False, settings: Settings = None,
) -> None:  # fmt: skip
    """Next-item prediction from the last items of each user; needs the extra torch and timestamps.

    numpy-neural-mf train next-item ratings.csv films.safetensors --encoder gru
    """
    from ..models.next_item import NextItemModel

    given = {name: value for name, value in context.params.items() if value is not None}
    chosen = {name: given[name] for name in defaults_of(NextItemModel) if name in given}
    fit_and_save(NextItemModel(**chosen), context.params, _next_item_result)


def _next_item_result(model: Any) -> tuple[str, dict[str, Any]]:
    """Epochs and seconds, as text and as facts."""
    facts = {"epochs": len(model.history_.train_loss), "seconds": sum(model.history_.seconds)}
    return f"Trained {facts['epochs']} epochs in {facts['seconds']:.1f} seconds", facts
