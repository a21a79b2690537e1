"""Train a model and save it: numpy-neural-mf train."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from ..architecture import ARCHITECTURES
from ..data import read_ratings
from ..display import ProgressBar
from ..models import NeuralMF
from .options import ColumnName, RatingsFile, Seed


class ArchitectureName(StrEnum):
    """The architectures by name, as `ARCHITECTURES` has them."""

    A_small = "A_small"
    B_medium = "B_medium"
    C_wide = "C_wide"


def train(
    ratings: RatingsFile,
    model: Annotated[Path, typer.Argument(help="The file to write.")] = Path("model.safetensors"),
    architecture: Annotated[ArchitectureName, typer.Option(help="Its form.")] = ArchitectureName.C_wide,
    epochs: Annotated[int | None, typer.Option(help="Passes over the ratings.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="The highest of the schedule.")] = None,
    regularization: Annotated[float | None, typer.Option(help="Penalty on the rows of a rating.")] = None,
    validation_fraction: Annotated[float | None, typer.Option(help="Held out; 0 trains on all.")] = None,
    seed: Seed = 0,
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
