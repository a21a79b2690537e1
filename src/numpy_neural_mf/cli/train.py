"""Train a model and save it: numpy-neural-mf train neural-mf, bayesian-mf, next-item."""

from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from ..data import Features, read_features
from ..data.readers import ratings_file
from ..mf.architecture import ARCHITECTURES, LIKELIHOODS, Architecture
from ..models import BayesianMF, NeuralMF
from ..models.neural_mf_settings import DEVICES, SCHEDULES
from ..nn import ACTIVATIONS, OPTIMIZERS
from ..training.checkpoint import FILE
from ..training.loop import Progress, ProgressCallback
from ..training.progress_bar import ProgressBar
from ..utils.atomic_io import is_first_process, require_output
from ..utils.settings import MAX_SIZE, check_choice, check_sizes
from .options import (
    HARDWARE,
    MODEL,
    TRAINING,
    AsJson,
    Cache,
    ColumnName,
    Device,
    Engine,
    FeaturesFile,
    NewModelFile,
    Precision,
    RatingsFile,
    Scale,
    Seed,
    Settings,
    Titles,
    defaults_of,
    one_of,
    option,
    switch,
)
from .output import fail, log, read, remark, report, stderr

NEURAL, BAYESIAN = SimpleNamespace(**defaults_of(NeuralMF)), SimpleNamespace(**defaults_of(BayesianMF))
FORM = [field.name for field in fields(Architecture) if field.name != "rating_scale"]
ENCODERS = ("attention", "gru")
MODEL_FILE = Path("model.safetensors")
# Deprecated: values of --model, options of next-item prediction from before NextItemModel existed, and old
# names of options of bayesian-mf.
OLD_NAMES = {"neural": "neural-mf", "bayesian": "bayesian-mf"}
NEXT_ITEM = ("--sequence", "--sequence-length", "--next-item-weight", "--negatives")
OLD_OPTIONS = {"kinds": "latent_clusters", "warm_up": "burn_in"}


class DefaultModel(TyperGroup):
    """Commands named after the models; the default may be omitted, and a deprecated --model is understood."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the name of the model first where it is missing."""
        if not args or args[0] in (*self.commands, "--help"):
            return super().parse_args(ctx, args)
        args = [part for arg in args for part in (arg.split("=") if arg.startswith("--model=") else [arg])]
        old = [flag for flag in (arg.partition("=")[0] for arg in args) if flag in NEXT_ITEM]
        if old:
            raise ValueError(f"{', '.join(old)}: next-item prediction is a model of its own, train next-item")
        model = "neural-mf"
        if "--model" in args[:-1]:
            at = args.index("--model")
            name = args[at + 1]
            check_choice("model", name, OLD_NAMES)
            model, args = OLD_NAMES[name], args[:at] + args[at + 2 :]
            remark(f"--model {name} is deprecated: use numpy-neural-mf train {model}")
        return super().parse_args(ctx, [model, *args])


app = typer.Typer(cls=DefaultModel, no_args_is_help=True, rich_markup_mode="rich")


@app.callback()
def train() -> None:
    """Train a model on ratings and save it.

    Without the name of a model, a neural-mf is trained:
    numpy-neural-mf train ratings.csv films.safetensors
    """


def layer_sizes(text: str) -> tuple[int, ...]:
    """Parse widths of layers, such as "64,32"; an empty text is no layers."""
    try:
        sizes = tuple(int(size) for size in text.replace(",", " ").split())
        check_sizes("sizes", sizes)
    except ValueError:
        raise typer.BadParameter(f"expected whole numbers from 1 to {MAX_SIZE:,} such as 64,32") from None
    return sizes


CHECKPOINT_DIR = option(TRAINING, "Save the state here; the same command resumes a killed training.")
CheckpointDir = Annotated[Path | None, CHECKPOINT_DIR]
LayerSizes = Annotated[Any, option(MODEL, 'MLP layers; "" for none.', parser=layer_sizes, metavar="N,N,…")]
UsesFeatures = Annotated[bool | None, switch(MODEL, "Use features of users and items, where given.")]
Implicit = Annotated[bool | None, switch(MODEL, "Use implicit feedback (which items were rated).")]
OldName = Annotated[int | None, typer.Option(hidden=True)]
Samples = Annotated[int, option(TRAINING, "Samples after burn-in.", "--samples", "--n-samples")]


@app.command("neural-mf")
def neural_mf(
    context: typer.Context, ratings: RatingsFile, model: NewModelFile = MODEL_FILE,
    architecture: Annotated[str, one_of(MODEL, ARCHITECTURES, "Values of the options below")] = "C_wide",
    embedding_dim: Annotated[int | None, option(MODEL, "Length of user and item embeddings.")] = None,
    hidden_layer_sizes: LayerSizes = None,
    activation: Annotated[str | None, one_of(MODEL, ACTIVATIONS, "Activation of hidden layers")] = None,
    biases: Annotated[bool | None, switch(MODEL, "Use biases of users and items.")] = None,
    product: Annotated[bool | None, switch(MODEL, "Use the dot product of the embeddings.")] = None,
    features: UsesFeatures = None, implicit: Implicit = None,
    periods: Annotated[int | None, option(MODEL, "Number of time bins; 0 for none.")] = None,
    drift: Annotated[bool | None, switch(MODEL, "Use time-varying user biases.")] = None,
    previous_item: Annotated[bool | None, switch(MODEL, "Use the item rated before.")] = None,
    likelihood: Annotated[str | None, one_of(MODEL, LIKELIHOODS, "Likelihood of the ratings")] = None,
    epochs: Annotated[int | None, option(TRAINING, "Passes over the ratings; by default found.")] = None,
    batch_size: Annotated[int | None, option(TRAINING, "Ratings per step; by default found.")] = None,
    optimizer: Annotated[str, one_of(TRAINING, OPTIMIZERS, "Optimiser")] = NEURAL.optimizer,
    learning_rate: Annotated[float | None, option(TRAINING, "Highest rate; by default found.")] = None,
    schedule: Annotated[str, one_of(TRAINING, SCHEDULES, "Learning rate schedule")] = NEURAL.schedule,
    weight_decay: Annotated[float, option(TRAINING, "Weight decay of the MLP.")] = NEURAL.weight_decay,
    random_state: Seed = NEURAL.random_state, checkpoint_dir: CheckpointDir = None,
    engine: Engine = NEURAL.engine, device: Device = NEURAL.device, precision: Precision = NEURAL.precision,
    user: ColumnName = None, item: ColumnName = None, rating: ColumnName = None, timestamp: ColumnName = None,
    scale: Scale = None, cache: Cache = True, as_json: AsJson = False, settings: Settings = None,
    user_features: FeaturesFile = None, item_features: FeaturesFile = None, titles: Titles = None,
) -> None:  # fmt: skip
    """Matrix factorisation with a neural network, by mini-batches; the default.

    numpy-neural-mf train neural-mf ratings.csv films.safetensors --epochs 10
    numpy-neural-mf train neural-mf ratings.csv --item-features movies.csv --implicit
    numpy-neural-mf train neural-mf ratings.csv --settings settings.toml
    """
    check_choice("architecture", architecture, ARCHITECTURES)
    form = _given(context, FORM)
    if features is None and (user_features or item_features):
        form["features"] = True
    chosen = _given(context, vars(NEURAL))
    _train(NeuralMF(**chosen | {"architecture": ARCHITECTURES[architecture]}, **form), context)


@app.command("bayesian-mf")
def bayesian_mf(
    context: typer.Context, ratings: RatingsFile, model: NewModelFile = MODEL_FILE,
    embedding_dim: Annotated[int, option(MODEL, "Length of the embeddings.")] = BAYESIAN.embedding_dim,
    latent_clusters: Annotated[int, option(MODEL, "Most latent clusters.")] = BAYESIAN.latent_clusters,
    features: UsesFeatures = BAYESIAN.features, implicit: Implicit = BAYESIAN.implicit,
    drift: Annotated[bool, switch(MODEL, "Use time-varying biases.")] = BAYESIAN.drift,
    previous_item: Annotated[bool, switch(MODEL, "Use the item rated before.")] = BAYESIAN.previous_item,
    user_noise: Annotated[bool, switch(MODEL, "Infer a noise variance per user.")] = BAYESIAN.user_noise,
    rank: Annotated[int, option(MODEL, "Rank of the stored posterior mean.")] = BAYESIAN.rank,
    n_samples: Samples = BAYESIAN.n_samples,
    burn_in: Annotated[int, option(TRAINING, "Number of first samples to discard.")] = BAYESIAN.burn_in,
    random_state: Seed = BAYESIAN.random_state, checkpoint_dir: CheckpointDir = None,
    user: ColumnName = None, item: ColumnName = None, rating: ColumnName = None, timestamp: ColumnName = None,
    scale: Scale = None, cache: Cache = True, as_json: AsJson = False, settings: Settings = None,
    user_features: FeaturesFile = None, item_features: FeaturesFile = None, titles: Titles = None,
    kinds: OldName = None, warm_up: OldName = None,
) -> None:  # fmt: skip
    """Bayesian matrix factorisation by Gibbs sampling, with intervals; needs the extra fast.

    numpy-neural-mf train bayesian-mf ratings.csv films.safetensors --item-features movies.csv
    """
    for old, new in OLD_OPTIONS.items():
        if context.params[old] is not None:
            remark(f"--{old} is deprecated: use --{new}".replace("_", "-"))
            context.params[new] = context.params[old]
    _train(BayesianMF(**_given(context, vars(BAYESIAN))), context)


@app.command("next-item")
def next_item(
    context: typer.Context, ratings: RatingsFile, model: NewModelFile = MODEL_FILE,
    encoder: Annotated[str | None, one_of(MODEL, ENCODERS, "Encoder of a user's last items")] = None,
    embedding_dim: Annotated[int | None, option(MODEL, "Length of the embeddings.")] = None,
    sequence_length: Annotated[int | None, option(MODEL, "Number of last items.")] = None,
    dropout: Annotated[float | None, option(MODEL, "Dropout rate in training.")] = None,
    negatives: Annotated[int | None, option(TRAINING, "Sampled items in the loss; 0 for all.")] = None,
    epochs: Annotated[int | None, option(TRAINING, "Passes over the interactions.")] = None,
    batch_size: Annotated[int | None, option(TRAINING, "Interactions per step.")] = None,
    learning_rate: Annotated[float | None, option(TRAINING, "Learning rate.")] = None,
    random_state: Seed = 0,
    device: Annotated[str, one_of(HARDWARE, DEVICES, "Device of the engine torch")] = "auto",
    user: ColumnName = None, item: ColumnName = None, rating: ColumnName = None, timestamp: ColumnName = None,
    scale: Scale = None, cache: Cache = True, as_json: AsJson = False, settings: Settings = None,
    titles: Titles = None,
) -> None:  # fmt: skip
    """Next-item prediction from the last items of each user; needs the extra torch and timestamps.

    numpy-neural-mf train next-item ratings.csv films.safetensors --encoder gru
    """
    from ..models.next_item import NextItemModel

    _train(NextItemModel(**_given(context, defaults_of(NextItemModel))), context)


def _given(context: typer.Context, names: Iterable[str]) -> dict[str, Any]:
    """Return the options of these names that have a value."""
    return {name: context.params[name] for name in names if context.params.get(name) is not None}


def _train(model: Any, context: typer.Context) -> None:
    """Read the ratings and the features, fit a model to them, save it and print the result."""
    given = context.params
    path, source = Path(given["model"]), Path(given["ratings"])  # str in older versions of Typer
    checkpoint_dir = given.get("checkpoint_dir")
    inputs = [given.get(name) for name in ("ratings", "user_features", "item_features", "titles", "settings")]
    require_output(path, *inputs, ratings_file(source))
    if checkpoint_dir:
        require_output(Path(checkpoint_dir) / FILE, path)
    ratings = read(context)
    ratings = ratings if given["titles"] is None else ratings.with_titles(given["titles"])
    lines, sides = [f"{source.name}: {ratings}"], dict[str, Features]()
    for side, ids in (("user", ratings.user_ids), ("item", ratings.item_ids)):
        if file := given.get(f"{side}_features"):
            sides[f"{side}s"] = read_features(file, text_ids=ids.dtype.kind == "U")
            lines.append(f"{Path(file).name}: {sides[f'{side}s']}")
    console = stderr()
    console.quiet = not is_first_process()
    if is_first_process():
        log("\n".join(lines))
    resumable = {"checkpoint_dir": checkpoint_dir} if checkpoint_dir else {}
    try:
        with ProgressBar(1, console) as bar:
            bar.start_run(f"training {type(model).__name__}")
            on_progress = _reporting_resumption(model, bar.on_progress)
            model.fit(ratings.with_features(**sides), on_progress=on_progress, **resumable)
            bar.end_run()
    except KeyboardInterrupt:
        resume = "; the same command resumes from the checkpoint" if checkpoint_dir else ""
        fail(f"interrupted: {path} was not written{resume}", code=130)
    if is_first_process():
        model.save(path)
        text, facts = _result(model)
        report(f"{text}.\nWrote {path}", {"model": str(path)} | facts, given["as_json"])


def _reporting_resumption(model: Any, on_progress: ProgressCallback) -> ProgressCallback:
    """Return a callback that first logs the epoch at which a training resumes from a checkpoint."""
    unit, is_first = "sample" if isinstance(model, BayesianMF) else "epoch", True

    def report_progress(progress: Progress) -> None:
        nonlocal is_first
        if is_first and progress.epoch > 1 and is_first_process():
            log(f"Resumed at {unit} {progress.epoch} of {progress.epochs}")
        is_first = False
        on_progress(progress)

    return report_progress


def _result(model: Any) -> tuple[str, dict[str, Any]]:
    """Return the result of the training as text and as facts."""
    history, seconds = model.history_, sum(model.history_.seconds)
    facts: dict[str, Any]
    if isinstance(model, BayesianMF):
        deviation = float(model.deviation_[-1])
        facts = {"samples": model.n_samples, "seconds": seconds, "expected_deviation": deviation}
        text = f"Drew {model.n_samples} samples in {seconds:.1f} seconds"
        return f"{text}; expected RMSE of new ratings {deviation:.4f}", facts
    facts = {"epochs": len(history.train_loss), "seconds": seconds}
    text = f"Trained {facts['epochs']} epochs in {seconds:.1f} seconds"
    if isinstance(model, NeuralMF):
        rmse = history.expected_loss[-1] ** 0.5 if history.expected_loss else None  # not if ordinal
        facts |= {"expected_rmse": rmse}
        text += "" if rmse is None else f"; expected RMSE of new ratings {rmse:.4f}"
    return text, facts
