"""A trained model and its file: numpy-neural-mf update, info, export."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import polars as pl
from typer import Argument

from ..models import BayesianMF, NeuralMF, load_model
from ..models.export import to_onnx, to_torch
from .options import AsJson, ColumnName, ModelFile, RatingsFile, Settings
from .output import load, print_json, read, report, show, working
from .tables import roles_of_text

WRITERS = {".onnx": to_onnx, ".pt2": to_torch}


def update(
    model: ModelFile,
    ratings: RatingsFile,
    output: Annotated[Path | None, Argument(help="The file to write; by default the model's.")] = None,
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


def info(model: ModelFile, as_json: AsJson = False, settings: Settings = None) -> None:
    """Describe a model file.

    numpy-neural-mf info films.safetensors
    """
    loaded = load_model(model)
    facts: dict[str, Any] = {"model": type(loaded).__name__}
    facts |= {
        "users": len(loaded.user_ids_),
        "items": len(loaded.item_ids_),
        "parameters": loaded.n_parameters_,
    }
    if hasattr(loaded, "rating_scale_"):  # a NextItemModel has none
        facts["rating scale"] = "{:g} to {:g}".format(*loaded.rating_scale_)
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
        show(pl.DataFrame({"fact": list(facts), "value": map(str, facts.values())}), prose="value")


def export(
    model: ModelFile,
    output: Annotated[Path, Argument(help=".onnx for ONNX, .pt2 for torch.export.")],
    as_json: AsJson = False, settings: Settings = None,
) -> None:  # fmt: skip
    """Write a model for programs that do not have this package.

    numpy-neural-mf export films.safetensors films.onnx
    """
    if output.suffix not in WRITERS:
        raise ValueError(f"{output}: expected a suffix of {', '.join(WRITERS)}, found {output.suffix!r}")
    loaded = load_model(model)
    if not isinstance(loaded, NeuralMF):
        raise ValueError(f"{model}: expected a NeuralMF, found a {type(loaded).__name__}")
    WRITERS[output.suffix](loaded, output)
    report(f"Wrote {output}", {"output": str(output)}, as_json)
