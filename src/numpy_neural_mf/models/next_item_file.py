"""A NextItemModel in a file: its settings, what it learned, and the check of both."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from ..training.loop import History
from .files import Contents, Saved
from .model_file import Tensors
from .sequences import FittedSequences

if TYPE_CHECKING:
    from .next_item import NextItemModel

SETTINGS = (
    "encoder", "embedding_dim", "sequence_length", "negatives", "dropout", "epochs", "batch_size",
    "learning_rate", "patience", "device", "random_state",
)  # fmt: skip


def saved(model: NextItemModel, fitted: FittedSequences) -> Saved:
    """The settings of a model and what it learned; a generator as `random_state` is not kept."""
    settings = {name: getattr(model, name) for name in SETTINGS}
    if isinstance(model.random_state, np.random.Generator):
        settings["random_state"] = None
    arrays: Tensors = {"last_items": fitted.last_items, "states": fitted.states}
    arrays |= {f"encoder.{name}": value for name, value in fitted.parameters.items()}
    return Saved(settings, asdict(fitted.history), arrays)


def loaded(contents: Contents, settings: dict[str, Any]) -> FittedSequences:
    """What a model with these settings learned; ModelFileError for contents that do not fit them."""
    kind, k, length = (settings[name] for name in ("encoder", "embedding_dim", "sequence_length"))
    n_users, n_items = len(contents.user_ids), len(contents.item_ids)
    shapes = encoder_shapes(kind, n_items, k, length)
    parameters = {name: contents.take(f"encoder.{name}", np.float32, s) for name, s in shapes.items()}
    items = contents.take("last_items", np.int32, (n_users, length))
    is_filled_up = (items[:, 1:] < 0) | (items[:, :-1] >= 0)
    if not (((items >= -1) & (items < n_items)).all() and is_filled_up.all()):
        contents.refuse("last_items: expected rows of items, filled up with -1 at the right")
    states = contents.take("states", np.float32, (n_users + 1, k))
    try:
        history = History.checked(contents.summary)
    except (TypeError, ValueError) as error:
        contents.refuse(f"summary: {error}")
    contents.require_empty()
    ids = contents.user_ids, contents.item_ids
    return FittedSequences(
        *ids, contents.rating_scale, contents.interactions, parameters, items, states, history
    )


def encoder_shapes(kind: str, n_items: int, k: int, length: int) -> dict[str, tuple[int, ...]]:
    """Shapes of the parameters of a `SequenceEncoder`, by name, without PyTorch."""
    shapes: dict[str, tuple[int, ...]] = {
        "embedding.weight": (n_items + 1, k),
        "bias.weight": (n_items + 1, 1),
    }
    shapes |= {"norm.weight": (k,), "norm.bias": (k,)}
    if kind == "gru":
        for part in ("ih_l0", "hh_l0"):
            shapes |= {f"gru.weight_{part}": (3 * k, k), f"gru.bias_{part}": (3 * k,)}
        return shapes
    shapes |= {"distance": (length,)}
    shapes |= {"attention.self_attn.in_proj_weight": (3 * k, k), "attention.self_attn.in_proj_bias": (3 * k,)}
    for layer in ("self_attn.out_proj", "linear1", "linear2"):
        shapes |= {f"attention.{layer}.weight": (k, k), f"attention.{layer}.bias": (k,)}
    for layer in ("norm1", "norm2"):
        shapes |= {f"attention.{layer}.weight": (k,), f"attention.{layer}.bias": (k,)}
    return shapes
