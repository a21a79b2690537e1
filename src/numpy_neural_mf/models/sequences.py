"""Where the sequences of users stand: states that move their factors, and say which item comes next."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ..data import Ratings
from ..data.columns import count
from ..data.time_order import in_time_order, last_items
from ..mf.architecture import Architecture, Parameters
from ..mf.forward import Scorer, item_scorer
from ..training.engines import states_of
from .incremental_update import Growth
from .model_file import Tensors
from .refitting import inserted

# What of a file is not a parameter.
LAST_ITEMS, STATES = "sequence.last_items", "sequence.states"


@dataclass(frozen=True, slots=True, eq=False)
class Sequences:
    """The encoder of a fitted model, and what it makes of the last items of each user.

    Attributes
    ----------
    architecture : Architecture
    parameters : dict of str to array
        Those of the sequence (see `engines.torch_sequence.SequenceEncoder`).
    last_items : int32 array of shape (n_users, length)
        Rows of items in the order of time, filled up with -1 at the right.
    states : array of shape (n_users + 1, k)
        h_u now; the last, of the unknown, is the mean.
    """

    architecture: Architecture
    parameters: Parameters
    last_items: NDArray[np.int32]
    states: NDArray[np.floating[Any]]

    @classmethod
    def of(cls, architecture: Architecture, parameters: Parameters, ratings: Ratings) -> Self:
        """After these ratings, as `in_time_order` leaves them, with the indices of the model."""
        own = {name: value for name, value in parameters.items() if name.startswith("sequence.")}
        items = last_items(ratings, architecture.sequence_length)
        return cls(architecture, own, items, _with_mean(states_of(architecture, own, items)))

    def moved(self, plain: Parameters) -> Parameters:
        """The plain model in which the user factors are p_u + R h_u now."""
        name = "user_embedding.weight"
        rows = plain[name] + self.states @ self.parameters["sequence.rating.weight"].T
        return {n: value for n, value in plain.items() if n not in self.parameters} | {name: rows}

    def state_after(self, items: NDArray[np.int32]) -> NDArray[np.floating[Any]]:
        """h after these items, in the order of time, shape (1, k)."""
        recent = np.full((1, self.last_items.shape[1]), -1, np.int32)
        items = items[-recent.shape[1] :]
        recent[0, : len(items)] = items
        return states_of(self.architecture, self.parameters, recent)

    def scorer(self, items: NDArray[np.int32], states: NDArray[np.floating[Any]] | None = None) -> Scorer:
        """Rows of users to the logits of these items as the next, shape (m, n): h_u · e_i + c_i.

        Of all users as they are now or, where states are given, of those.
        """
        states = self.states if states is None else states
        zero = np.zeros((len(states), 1), states.dtype)
        form = Architecture(embedding_dim=states.shape[1])
        parameters = {
            "intercept": zero[0],
            "user_embedding.weight": states,
            "item_embedding.weight": self.parameters["sequence.embedding.weight"],
            "user_bias.weight": zero,
            "item_bias.weight": self.parameters["sequence.bias.weight"],
        }
        return item_scorer(form, parameters, items)

    def grown(self, growth: Growth) -> Self:
        """After more ratings, each of which has its time: new items are like the unknown one."""
        if growth.new.timestamps is None:
            raise ValueError("ratings: expected timestamps, since the model has sequences, found none")
        parameters = self.parameters | {
            name: inserted(self.parameters[name], len(growth.item_ids), growth.old_items)
            for name in ("sequence.embedding.weight", "sequence.bias.weight")
        }
        length = self.last_items.shape[1]
        before = np.full((len(growth.user_ids), length), -1, np.int32)
        before[growth.old_users] = np.where(self.last_items < 0, -1, growth.old_items[self.last_items])
        added = last_items(in_time_order(growth.new), length)
        both = np.hstack([before, added])
        # What is there goes to the left, in its order, and of that the last.
        both = np.take_along_axis(both, np.argsort(both < 0, axis=1, kind="stable"), axis=1)
        first = np.maximum((both >= 0).sum(axis=1) - length, 0)
        items = np.take_along_axis(both, first[:, None] + np.arange(length), axis=1)
        touched = np.unique(growth.users)
        states = inserted(self.states, len(growth.user_ids), growth.old_users)
        states[touched] = states_of(self.architecture, parameters, items[touched])
        return replace(self, parameters=parameters, last_items=items, states=_with_mean(states[:-1]))

    def tensors(self) -> Tensors:
        """For a file."""
        return self.parameters | {LAST_ITEMS: self.last_items, STATES: self.states}

    @classmethod
    def from_tensors(cls, architecture: Architecture, tensors: Tensors) -> Self:
        """The way back; takes them out of `tensors`.

        Raises
        ------
        ValueError
            The last items are none.
        """
        own = {name: tensors.pop(name) for name in list(tensors) if name.startswith("sequence.")}
        items, states = own.pop(LAST_ITEMS), own.pop(STATES)
        if not ((items >= -1) & (items < len(own["sequence.bias.weight"]) - 1)).all():
            raise ValueError(f"{LAST_ITEMS}: expected rows of items, or -1")
        return cls(architecture, own, items, states)

    @staticmethod
    def shapes(architecture: Architecture, n_users: int) -> dict[str, tuple[Any, tuple[int, ...]]]:
        """Dtype and shape of what `tensors` has besides parameters."""
        length, k = architecture.sequence_length, architecture.embedding_dim
        return {LAST_ITEMS: (np.int32, (n_users, length)), STATES: (np.float32, (n_users + 1, k))}


def start_at_popularity(parameters: Parameters, ratings: Ratings) -> None:
    """Let the first logits of the next item be those of how often each is rated."""
    n = count(ratings.items, ratings.n_items)
    parameters["sequence.bias.weight"][:-1, 0] = np.log((n + 1) / (n.sum() + len(n)))


def _with_mean(states: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
    return np.concatenate([states, states.mean(axis=0, keepdims=True)])
