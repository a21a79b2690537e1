"""The frozen fitted state of a NextItemModel: the encoder, and each user's state after the last items."""

from dataclasses import asdict, dataclass, replace
from typing import Any, Self

import numpy as np

from ..data import Ratings
from ..data.time_order import in_time_order, last_items
from ..mf.forward import Scorer
from ..mf.parameters import Parameters
from ..training.loop import History
from ..utils.arrays import Float32Array, FloatArray, Int32Array
from ..utils.extras import naming_the_extra
from .files import Contents, Saved, Tensors
from .fitted import FittedData, interactions_of
from .incremental_update import Update


@dataclass(frozen=True, eq=False)
class FittedSequences(FittedData):
    """The parameters of an encoder of sequences, with the users' training sequences."""

    parameters: Parameters  # the last row of each item table stands for the unknown item
    last_items: Int32Array  # shape (n_users, length), in time order, padded with -1 at the right
    states: Float32Array  # h after these, shape (n_users + 1, k); the last, for unknown users, is the mean
    history: History

    @classmethod
    def of(cls, ratings: Ratings, parameters: Parameters, sequence_length: int, history: History) -> Self:
        """Compute the state after these ratings, in the order of `in_time_order`."""
        ids = ratings.user_ids, ratings.item_ids
        items = last_items(ratings, sequence_length)
        states = _with_mean(_states_of(parameters, items))
        interactions = interactions_of(ratings, *ids)
        return cls(
            *ids, ratings.scale, interactions, parameters, items, states, history, titles=ratings.titles
        )

    @classmethod
    def loaded(cls, contents: Contents) -> Self:
        """Load what `saved` returned, from contents with checked settings."""
        length, k = contents.settings["sequence_length"], contents.settings["embedding_dim"]
        ids = contents.user_ids, contents.item_ids
        n_users, n_items = map(len, ids)
        shapes = encoder_shapes(contents.settings["encoder"], n_items, k, length)
        parameters = {name: contents.take(f"encoder.{name}", np.float32, s) for name, s in shapes.items()}
        items = contents.take("last_items", np.int32, (n_users, length))
        is_filled_up = (items[:, 1:] < 0) | (items[:, :-1] >= 0)
        if not (((items >= -1) & (items < n_items)).all() and is_filled_up.all()):
            contents.refuse("last_items: expected rows of items, padded with -1 at the right")
        states = contents.take("states", np.float32, (n_users + 1, k))
        history = History.checked(contents.summary)
        seen, titles = contents.interactions, contents.titles
        return cls(*ids, contents.rating_scale, seen, parameters, items, states, history, titles=titles)

    def saved(self, settings: dict[str, Any]) -> Saved:
        """Return settings of the model, history and arrays."""
        arrays: Tensors = {f"encoder.{name}": value for name, value in self.parameters.items()}
        arrays |= {"last_items": self.last_items, "states": self.states}
        return Saved(settings, asdict(self.history), arrays)

    def state_after(self, items: Int32Array) -> Float32Array:
        """Return h after these rows of items in time order, shape (1, k); the mean state without items."""
        if not len(items):
            return self.states[-1:]
        return _states_of(self.parameters, items[None, -self.last_items.shape[1] :])

    def scorer(self, items: Int32Array, states: Float32Array) -> Scorer:
        """Return a function from rows of states to logits of these items, h · e_i + c_i, shape (m, n)."""
        by_item = np.ascontiguousarray(self.parameters["embedding.weight"][items].T)
        bias = self.parameters["bias.weight"][items, 0]
        return lambda rows: np.asarray(states[rows] @ by_item + bias)

    def updated(self, update: Update) -> Self:
        """Continue the sequences with more ratings; the encoder is fixed, new items are like an unknown one.

        Only the states of users with new ratings are computed again.
        """
        parameters, length = dict(self.parameters), self.last_items.shape[1]
        for name in ("embedding.weight", "bias.weight"):
            parameters[name] = update.inserted("item", self.parameters[name])
        before = np.full((len(update.user_ids), length), -1, np.int32)
        before[update.old_users] = np.where(self.last_items < 0, -1, update.old_items[self.last_items])
        both = np.hstack([before, last_items(in_time_order(update.new), length)])
        # Items move to the left in order, and the last `length` of them are kept.
        both = np.take_along_axis(both, np.argsort(both < 0, axis=1, kind="stable"), axis=1)
        first = np.maximum((both >= 0).sum(axis=1) - length, 0)
        items = np.take_along_axis(both, first[:, None] + np.arange(length), axis=1)
        touched = np.unique(update.new.users)
        states = update.inserted("user", self.states)[:-1]
        states[touched] = _states_of(parameters, items[touched])
        return replace(
            self,
            user_ids=update.user_ids,
            item_ids=update.item_ids,
            interactions=update.interactions,
            parameters=parameters,
            last_items=items,
            states=_with_mean(states),
            titles=update.titles,
        )


def encoder_shapes(kind: str, n_items: int, k: int, length: int) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the parameters of a `SequenceEncoder`, by name, without PyTorch."""
    shapes: dict[str, tuple[int, ...]] = {"embedding.weight": (n_items + 1, k)}
    shapes |= {"bias.weight": (n_items + 1, 1), "norm.weight": (k,), "norm.bias": (k,)}
    if kind == "gru":
        for part in ("ih_l0", "hh_l0"):
            shapes |= {f"gru.weight_{part}": (3 * k, k), f"gru.bias_{part}": (3 * k,)}
        return shapes
    shapes |= {"distance": (length,), "attention.self_attn.in_proj_weight": (3 * k, k)}
    shapes |= {"attention.self_attn.in_proj_bias": (3 * k,)}
    for layer in ("self_attn.out_proj", "linear1", "linear2"):
        shapes |= {f"attention.{layer}.weight": (k, k), f"attention.{layer}.bias": (k,)}
    for layer in ("norm1", "norm2"):
        shapes |= {f"attention.{layer}.weight": (k,), f"attention.{layer}.bias": (k,)}
    return shapes


def _states_of(parameters: Parameters, items: Int32Array) -> Float32Array:
    with naming_the_extra("NextItemModel", "torch"):
        from ..training.sequence_encoder import states_of
    return states_of(parameters, items)


def _with_mean(states: FloatArray) -> Float32Array:
    states = np.concatenate([states, states.mean(axis=0, keepdims=True)]).astype(np.float32)
    if not np.isfinite(states).all():
        raise FloatingPointError("the states of users are not finite: fit the model again")
    return states
