"""Training of a sequence encoder to predict the next item: windows of sequences, one loss, Adam."""

import math
import time
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ..data import Ratings
from ..data.columns import blocks, count
from ..data.time_order import NextItems, windows
from ..mf.parameters import Parameters
from ..nn.schedules import cosine
from .engines.base import require_same_process
from .engines.torch_device import find_device
from .loop import History, Progress, ProgressCallback, log_end, log_epoch, log_start, require_finite
from .sequence_encoder import POSITIONS, SequenceEncoder, one_thread

# Probability that a negative is drawn uniformly; the others are drawn in proportion to the number of ratings.
UNIFORM = 0.5


def train_encoder(
    kind: str,
    ratings: Ratings,
    held_out: NextItems | None,
    *,
    embedding_dim: int,
    sequence_length: int,
    dropout: float,
    negatives: int,
    epochs: int,
    batch_size: int,
    learning_rate: float,
    patience: int | None,
    device: str,
    rng: np.random.Generator,
    on_progress: ProgressCallback | None = None,
) -> tuple[Parameters, History]:
    """Train a sequence encoder on ratings sorted by `in_time_order`: see `NextItemModel`.

    The loss of a batch is the mean of -log softmax(h · e + c)_i over all items i except the first of each
    window, where h is the state before item i. The bias c starts at the logarithm of popularity. With
    `held_out`, the parameters of the epoch with the lowest loss on it are kept. Returns the parameters of
    `SequenceEncoder` and the history; the parameters of the unknown item are the means of the others.
    """
    require_same_process("torch")
    found, n_items = find_device(device), ratings.n_items
    negatives = negatives if negatives < n_items else 0
    # PyTorch has no sparse gradients on MPS.
    sparse = negatives > 0 and found.type != "mps"
    n = count(ratings.items, n_items)
    chances = torch.from_numpy((UNIFORM / n_items + (1 - UNIFORM) * n / n.sum()).astype(np.float32))
    # PyTorch is seeded from `rng` within this block; its own random state is restored afterwards.
    with torch.random.fork_rng([found] if found.type == "cuda" else []), one_thread():
        torch.manual_seed(int(rng.integers(2**63)))
        encoder = SequenceEncoder(kind, n_items, embedding_dim, sequence_length, dropout, sparse)
        with torch.no_grad():
            encoder.bias.weight[:-1, 0] = torch.from_numpy(np.log((n + 1.0) / (n + 1.0).sum()))
        form = chances.to(found), negatives, sequence_length, batch_size, rng
        trainer = _Trainer(encoder.to(found), ratings, *form)
        history = trainer.train(epochs, learning_rate, patience, held_out, on_progress)
    parameters = {name: value.detach().cpu().numpy() for name, value in encoder.named_parameters()}
    for name, value in parameters.items():
        require_finite(f"parameter {name}", float(np.abs(value).max()), epochs)
    for name in ("embedding.weight", "bias.weight"):
        parameters[name][-1] = parameters[name][:-1].mean(axis=0)
    return parameters, history


@dataclass
class _Trainer:
    """An encoder, the sequences that it learns from, and the probability of each item as a negative."""

    encoder: SequenceEncoder
    ratings: Ratings
    chances: Tensor
    negatives: int
    sequence_length: int
    batch_size: int
    rng: np.random.Generator

    def train(
        self,
        epochs: int,
        learning_rate: float,
        patience: int | None,
        held_out: NextItems | None,
        on_progress: ProgressCallback | None,
    ) -> History:
        """Train the encoder in place."""
        encoder, history, n = self.encoder, History(), len(self.ratings)
        optimizers = self._optimizers(learning_rate)
        schedule, n_trained, latest = cosine(learning_rate, epochs * n), 0, math.nan
        lowest = self.validation_loss(held_out) if held_out else math.nan
        best = deepcopy(encoder.state_dict()) if held_out else {}
        log_start(n, history, epochs)
        for epoch in range(1, epochs + 1):
            if held_out and patience is not None and epoch - 1 - history.best_epoch >= patience:
                break
            start, total, n_predicted = time.perf_counter(), 0.0, 0
            encoder.train()
            for sequences, follows, n_of_batch in self._batches():
                loss = self.loss(sequences, follows)
                n_of_loss = max(1, len(follows[0]))
                (loss / n_of_loss).backward()  # type: ignore[no-untyped-call]
                for optimizer in optimizers:
                    optimizer.param_groups[0]["lr"] = schedule(n_trained)
                    optimizer.step()
                    optimizer.zero_grad()
                total += loss.item()
                n_trained, n_predicted = n_trained + n_of_batch, n_predicted + n_of_loss
                if on_progress is not None:
                    mean = total / n_predicted
                    on_progress(Progress(epoch, epochs, n_trained, epochs * n, mean, latest))
            history.train_loss.append(total / n_predicted)
            history.seconds.append(time.perf_counter() - start)
            require_finite("the loss", history.train_loss[-1], epoch)
            if held_out is None:
                history.best_epoch = epoch
            else:
                latest = self.validation_loss(held_out)
                require_finite("the validation loss", latest, epoch)
                history.validation_loss.append(latest)
                if latest < lowest:
                    lowest, best, history.best_epoch = latest, deepcopy(encoder.state_dict()), epoch
            log_epoch(history, epochs)
        log_end(history)
        if held_out:
            encoder.load_state_dict(best)
        return history

    def _optimizers(self, learning_rate: float) -> list[torch.optim.Optimizer]:
        """Return Adam; with sampled negatives, SparseAdam updates only the batch's rows of item tables."""
        encoder, tables = self.encoder, ("embedding.weight", "bias.weight")
        if not encoder.embedding.sparse:
            return [torch.optim.Adam(encoder.parameters(), learning_rate, fused=True)]
        others = [value for name, value in encoder.named_parameters() if name not in tables]
        sparse = torch.optim.SparseAdam([encoder.embedding.weight, encoder.bias.weight], learning_rate)
        return [sparse, torch.optim.Adam(others, learning_rate, fused=True)]

    def loss(self, sequences: Tensor, follows: tuple[Tensor, Tensor]) -> Tensor:
        """Sum -log softmax over items, given sequences and the positions of items that follow another."""
        piece, place = follows
        before, following = self.encoder(sequences)[piece, place - 1], sequences[piece, place]
        if not self.negatives:
            return self.encoder.next_item_loss(before, following)
        drawn = torch.multinomial(self.chances, self.negatives, replacement=True)
        return self.encoder.sampled_loss(before, following, drawn, self.negatives * self.chances[drawn])

    def validation_loss(self, held_out: NextItems) -> float:
        """Return the mean over held-out items of -log softmax over all items."""
        W, c = self.encoder.embedding.weight[:-1].detach(), self.encoder.bias.weight[:-1, 0].detach()
        items = torch.from_numpy(held_out.items.astype(np.int64)).to(self.chances.device)
        states, total = self.encoder.last_states(held_out.sequences), 0.0
        for some in blocks(len(items), POSITIONS):
            logits = torch.addmm(c, states[some], W.T)
            total += float(functional.cross_entropy(logits, items[some], reduction="sum"))
        return total / len(items)

    def _batches(self) -> Iterator[tuple[Tensor, tuple[Tensor, Tensor], int]]:
        """Yield sequences (int64, shape (n, length)), positions of following items, and number of ratings."""
        users, items = self.ratings.users, self.ratings.items
        cut = self.sequence_length, self.batch_size, self.rng
        for rows, piece in windows(users, np.arange(len(users)), *cut):
            is_first = np.diff(piece, prepend=-1) != 0
            each = np.arange(len(rows))
            place = each - np.maximum.accumulate(np.where(is_first, each, 0))
            sequences = np.full((piece[-1] + 1, place.max() + 1), self.ratings.n_items, np.int64)
            sequences[piece, place] = items[rows]
            on_device = [torch.from_numpy(a).to(self.chances.device) for a in (sequences, piece, place)]
            follows = on_device[2] > 0
            yield on_device[0], (on_device[1][follows], on_device[2][follows]), len(rows)
