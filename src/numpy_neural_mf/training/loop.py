"""The training loop: epochs of shuffled mini-batches, a history, and the best weights kept."""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from dataclasses import asdict, dataclass, field
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ..data import Ratings
from ..data.batches import Batches, Stretches
from ..mf.parameters import Parameters
from ..nn.schedules import Schedule
from .checkpoint import Checkpoint
from .engines.base import Engine


@dataclass
class History:
    """What happened in each epoch.

    Attributes
    ----------
    train_loss : list of float
        Mean squared error, or mean -log P of an ordinal likelihood, of the batches as they were trained on,
        dropout included, penalty left out.
    validation_loss : list of float, mean squared error of the validation ratings after it; empty without any
    seconds : list of float, wall time of training, validation left out
    best_epoch : int
        The epoch whose weights were kept, counted from 1; 0 if no epoch was better than the first weights.
    """

    train_loss: list[float] = field(default_factory=list)
    validation_loss: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    best_epoch: int = 0

    @classmethod
    def checked(cls, found: Mapping[str, Any]) -> Self:
        """One from a file; TypeError for other fields, ValueError for anything but numbers in them."""
        history = cls(**found)
        for name, value in found.items():
            if not all(isinstance(number, int | float) for number in np.ravel(value).tolist()):
                raise ValueError(f"{name}: expected numbers, found {value}")
        return history


@dataclass(frozen=True)
class Progress:
    """The progress of a training, after a batch.

    Attributes
    ----------
    epoch, epochs : int, the current epoch, from 1, and the largest possible number of epochs
    n_trained, n_total : int, ratings trained on so far, in all epochs, and the largest possible number
    train_loss : float, mean squared error of the epoch so far
    validation_loss : float, of the previous epoch; NaN where there is none
    """

    epoch: int
    epochs: int
    n_trained: int
    n_total: int
    train_loss: float
    validation_loss: float


ProgressCallback = Callable[[Progress], None]


def train(
    engine: Engine,
    ratings: Ratings,
    validation_loss: Callable[[], float] | None,
    *,
    epochs: int,
    batch_size: int,
    schedule: Schedule,
    patience: int | None,
    rng: np.random.Generator,
    unit_of_loss: float = 1.0,
    time_bins: NDArray[np.int32] | None = None,
    on_progress: ProgressCallback | None = None,
    checkpoint: Checkpoint | None = None,
) -> History:
    """Train an engine's parameters in place; FloatingPointError if they or a loss are no longer finite.

    Indices of `ratings`, of which each process has its part, are rows of the engine's tables. `time_bins`,
    shape (n_ratings,), are of an architecture with such. `batch_size` 1 is per-sample gradient descent, in
    stretches that share a learning rate and are one batch to `on_progress` (`data.batches.Stretches`).

    `validation_loss` is called before the first epoch and after each. With it, the parameters with the
    lowest are kept, the first ones if no epoch improves on them, and training stops after `patience` epochs
    in a row without a lower one; without it, those of the last epoch are. Losses of the history are those of
    the engine times `unit_of_loss`. A state in `checkpoint`, which is saved to after each epoch, is where
    training goes on.
    """
    n = int(engine.all_reduce(len(ratings)))
    batches: Stretches | Batches = (
        Stretches(ratings, rng, time_bins)
        if batch_size == 1
        else Batches(ratings, batch_size, rng, engine.cut, n, time_bins)
    )
    best, lowest, history = _start(engine, validation_loss, checkpoint)
    for epoch in range(len(history.train_loss) + 1, epochs + 1):
        if patience is not None and validation_loss and epoch - 1 - history.best_epoch >= patience:
            break
        start, total, first_step = time.perf_counter(), 0.0, (epoch - 1) * -(-n // batch_size)
        for total, n_trained in _running_sums(engine, batches, schedule, first_step, unit_of_loss):
            if on_progress is not None:
                done, latest = (epoch - 1) * n + n_trained, (history.validation_loss or [math.nan])[-1]
                on_progress(Progress(epoch, epochs, done, epochs * n, float(total) / n_trained, latest))
        engine.fetch()
        history.train_loss.append(float(total) / n)  # perhaps on a device: read once an epoch
        require_finite("the loss", history.train_loss[-1], epoch)
        history.seconds.append(time.perf_counter() - start)
        if validation_loss is None:
            history.best_epoch = epoch
        else:
            history.validation_loss.append(validation_loss())
            require_finite("the validation loss", history.validation_loss[-1], epoch)
            if history.validation_loss[-1] < lowest:
                lowest, history.best_epoch = history.validation_loss[-1], epoch
                best = deepcopy(engine.parameters)
        if checkpoint is not None:
            checkpoint.save(engine, best, {"lowest": lowest, "history": asdict(history)})
    for name, value in best.items():
        engine.parameters[name][...] = value
    for value in engine.parameters.values():  # no loss was computed after the last step
        require_finite("a parameter", engine.all_reduce(float(np.abs(value).max(initial=0.0))), epochs)
    return history


def _start(
    engine: Engine, validation_loss: Callable[[], float] | None, checkpoint: Checkpoint | None
) -> tuple[Parameters, float, History]:
    """The best parameters so far, their validation loss and the history: those of a checkpoint, if any."""
    saved = checkpoint.restore(engine) if checkpoint is not None else None
    if saved is not None:
        return saved[0], saved[1]["lowest"], History(**saved[1]["history"])
    lowest = math.inf if validation_loss is None else validation_loss()
    return {} if validation_loss is None else deepcopy(engine.parameters), lowest, History()


def _running_sums(
    engine: Engine, batches: Stretches | Batches, schedule: Schedule, step: int, unit_of_loss: float
) -> Iterator[tuple[float, int]]:
    """Learn from the batches of one epoch; after each, the sum of the losses and the number of ratings."""
    is_per_sample = isinstance(batches, Stretches)
    learn = engine.step_per_sample if is_per_sample else engine.step
    total, n_trained = 0.0, 0
    for batch in batches.epoch():
        engine.optimizer.learning_rate = schedule(step)
        with np.errstate(over="ignore", invalid="ignore"):  # `train` reports divergence, once an epoch
            loss = learn(*batch)
        n = len(batch[-1])  # with many processes, the last column is as long as the whole batch
        total += loss * n * unit_of_loss
        n_trained += n
        step += n if is_per_sample else 1
        yield total, n_trained


def require_finite(what: str, number: float, epoch: int) -> None:
    if not math.isfinite(number):
        raise FloatingPointError(f"{what} is {number} in epoch {epoch}: use a lower learning rate")
