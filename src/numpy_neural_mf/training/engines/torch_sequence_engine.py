"""The engine of models with a sequence: a rating is predicted from what its user rated before it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import embedding

from ...data.batches import Batch
from ...data.columns import count
from ...data.time_order import windows
from .torch_engine import TorchEngine
from .torch_module import Drop
from .torch_sequence import one_thread

# Of the chances of an item to be a negative: half are by its number of ratings, half are the same for all.
UNIFORM = 0.5


class TorchSequenceEngine(TorchEngine):
    """Learns from pieces of the users' sequences: at a rating the user factors are p_u + R h_u(t).

    h_u(t) is the state after the last item of the piece whose rating is earlier than this one, not equal in
    time; it is zero where there is none. With weight w = `Architecture.next_item_weight` the loss of a rating
    is (r - r̂)² - w log softmax(logits)_i, where i is the item and the logits are those of the state before
    it in the sequence: of equal times, the order of rows tells which item comes next, as where items are
    recommended.

    Parameters
    ----------
    *settings, **more
        See `TorchEngine`.
    timestamps : int64 array of shape (n_ratings,)
        Of the ratings that `cut` is given, which are as `in_time_order` leaves them.
    """

    def __init__(self, *settings: Any, timestamps: NDArray[np.int64], **more: Any) -> None:
        super().__init__(*settings, **more)
        if self.processes.size > 1:
            raise ValueError("a model with a sequence is trained by one process, not by many")
        self._timestamps = timestamps

    def cut(self, columns: Batch, rows: NDArray[np.int64], size: int) -> Iterator[Any]:
        """Batches of whole pieces, in random order; users are (user, row, piece) of each rating."""
        users, items, values = columns
        if self.architecture.negatives and not hasattr(self, "_chances"):
            n = count(self._own(items), len(self.parameters["sequence.bias.weight"]) - 1)
            chances = UNIFORM / len(n) + (1 - UNIFORM) * n / n.sum()
            self._chances = torch.from_numpy(chances.astype(values.dtype)).to(self.device)
        for taken, piece in windows(
            self._own(users), rows, self.architecture.sequence_length, size, self._rng
        ):
            yield np.stack([users[taken], taken, piece], axis=1), items[taken], values[taken]

    def step(self, users: Any, items: Any, ratings: Any, is_own: Any = None) -> Any:
        """Learn from a batch of `cut`; the loss is the mean squared error of ratings, as everywhere."""
        users, rows, piece = np.ascontiguousarray(users.T)
        start = np.ones(len(rows), bool)
        start[1:] = piece[1:] != piece[:-1]
        place = _since(start)
        is_later = start.copy()
        is_later[1:] |= np.diff(self._timestamps[rows]) != 0
        # States are numbered by how many items of the piece they know.
        known = place - _since(is_later)
        self._places = [torch.from_numpy(a).to(self.device) for a in (piece, place, known)]
        self._items = self._own(self._here(items).long())
        with one_thread():
            return super().step(users, items, ratings)

    def _own(self, ids: Any) -> Any:
        """Users, or items, of what may be moments of them (see `Bags`)."""
        return ids // self.architecture.periods if self.architecture.periods else ids

    def _forward(
        self, vectors: dict[str, Tensor], positions: dict[str, Tensor], drop: Drop | None
    ) -> tuple[Tensor, Tensor]:
        piece, place, known = self._places
        encoder, form = self.module.sequence, self.architecture
        sequences = torch.full(
            (int(piece[-1]) + 1, int(place.max()) + 1), len(encoder.bias.weight) - 1, device=self.device
        )
        sequences[piece, place] = self._items
        with torch.random.fork_rng([self.device] if self.device.type == "cuda" else []):
            torch.manual_seed(int(self._rng.integers(2**63)))
            encoder.train()
            states = encoder(sequences)
            encoder.eval()
        states = torch.cat([torch.zeros_like(states[:, :1]), states], dim=1)
        users, items = (embedding(positions[side], vectors[side]) for side in ("user", "item"))
        moved = users[:, : form.embedding_dim] + encoder.rating(states[piece, known])
        prediction = self.module.rate(torch.cat([moved, users[:, form.embedding_dim :]], dim=1), items, drop)
        if not form.next_item_weight:
            return prediction, prediction.new_zeros(())
        follows = place > 0
        before, following = states[piece, place][follows], self._items[follows]
        if not form.negatives:
            return prediction, form.next_item_weight * encoder.next_item_loss(before, following)
        self._generator.manual_seed(int(self._rng.integers(2**63)))
        negatives = torch.multinomial(
            self._chances, form.negatives, replacement=True, generator=self._generator
        )
        expected = form.negatives * self._chances[negatives]
        return prediction, form.next_item_weight * encoder.sampled_loss(
            before, following, negatives, expected
        )


def _since(is_first: NDArray[np.bool_]) -> NDArray[np.int64]:
    """How far each place is behind the last one that is marked, itself included."""
    each = np.arange(len(is_first))
    return each - np.maximum.accumulate(np.where(is_first, each, 0))
