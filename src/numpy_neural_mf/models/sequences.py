"""What a NextItemModel learned, frozen: the encoder, and each user's state after the last items."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ..data import Ratings
from ..data.time_order import in_time_order, last_items
from ..mf.forward import Scorer
from ..mf.parameters import Parameters
from ..training.loop import History
from .fitted import FittedData, interactions_of
from .incremental_update import Update


@dataclass(frozen=True, eq=False)
class FittedSequences(FittedData):
    """An encoder of sequences with the users' sequences that it learned from.

    Attributes
    ----------
    parameters : dict of str to float32 array
        Those of `SequenceEncoder`; the last row of each item table stands for the unknown item.
    last_items : int32 array of shape (n_users, length)
        Rows of the users' last items in time order, filled up with -1 at the right.
    states : float32 array of shape (n_users + 1, k)
        h after these items; the last row, of the unknown user, is the mean.
    history : History
    """

    parameters: Parameters
    last_items: NDArray[np.int32]
    states: NDArray[np.float32]
    history: History

    @classmethod
    def of(cls, ratings: Ratings, parameters: Parameters, sequence_length: int, history: History) -> Self:
        """After these ratings, as `in_time_order` leaves them."""
        ids = ratings.user_ids, ratings.item_ids
        items = last_items(ratings, sequence_length)
        states = _with_mean(_states_of(parameters, items))
        interactions = interactions_of(ratings, *ids)
        return cls(*ids, ratings.scale, interactions, parameters, items, states, history)

    def state_after(self, items: NDArray[np.int32]) -> NDArray[np.float32]:
        """h after the last of these rows of items in time order, shape (1, k); the mean if there is none."""
        if not len(items):
            return self.states[-1:]
        recent = items[None, -self.last_items.shape[1] :]
        return _states_of(self.parameters, recent)

    def scorer(self, items: NDArray[np.int32], states: NDArray[np.float32]) -> Scorer:
        """Rows of states to the logits of these items as the next, h · e_i + c_i, shape (m, n)."""
        by_item = np.ascontiguousarray(self.parameters["embedding.weight"][items].T)
        bias = self.parameters["bias.weight"][items, 0]
        return lambda rows: np.asarray(states[rows] @ by_item + bias)

    def updated(self, update: Update) -> Self:
        """After more ratings, which continue the sequences; the encoder stays, new items are as the unknown.

        Only the states of users with new ratings are computed again.
        """
        parameters, length = dict(self.parameters), self.last_items.shape[1]
        for name in ("embedding.weight", "bias.weight"):
            parameters[name] = update.inserted("item", self.parameters[name])
        before = np.full((len(update.user_ids), length), -1, np.int32)
        before[update.old_users] = np.where(self.last_items < 0, -1, update.old_items[self.last_items])
        both = np.hstack([before, last_items(in_time_order(update.new), length)])
        # Items go to the left in their order, and of these the last are kept.
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
        )


@contextmanager
def naming_the_extra() -> Iterator[None]:
    """A context whose imports, where PyTorch is not installed, raise an error that says how to install it."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f'NextItemModel needs {error.name}: pip install "numpy-neural-mf[torch]"', name=error.name
        ) from error


def _states_of(parameters: Parameters, items: NDArray[np.int32]) -> NDArray[np.float32]:
    with naming_the_extra():
        from ..training.sequence_encoder import states_of
    return states_of(parameters, items)


def _with_mean(states: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    return np.concatenate([states, states.mean(axis=0, keepdims=True)]).astype(np.float32)
