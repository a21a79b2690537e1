"""The training loop: epochs of shuffled mini-batches, inference between them, and a history."""

import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from ..data import Ratings
from ..data.batches import Batches, Stretches
from ..nn.schedules import Schedule
from ..utils.settings import check_fields, check_integer, check_number
from ..utils.tables import Table, Tabular
from .checkpoint import Checkpoint
from .engines.base import Engine
from .inference import Inference

if TYPE_CHECKING:
    from ..utils.figures import Figure

logger = logging.getLogger(__name__)

MOST_ROWS = 20  # rows of a history that a notebook shows
MAX_EPOCHS = 100_000  # a longer history would not fit into the header of a file


@dataclass(repr=False)
class History(Tabular):
    """The losses and times of each epoch.

    Attributes
    ----------
    train_loss : list of float
        Mean squared error of the batches when they were trained on, or mean -log P for an ordinal likelihood.
    expected_loss : list of float
        Mean squared error to expect on unseen ratings: each error without the rating's share in its own
        prediction, e / (1 - h) (leave-one-out, to first order). Empty for an ordinal likelihood and for
        models without variances.
    validation_loss : list of float
        Mean squared error of the validation ratings after the epoch; empty without validation ratings.
    seconds : list of float, wall time of training, without validation
    best_epoch : int
        The epoch whose weights were kept, counted from 1: the last one, except for a `NextItemModel`.
    """

    train_loss: list[float] = field(default_factory=list)
    expected_loss: list[float] = field(default_factory=list)
    validation_loss: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    best_epoch: int = 0

    def __repr__(self) -> str:
        n = len(self.train_loss)
        text = f"History: {n} epochs in {sum(self.seconds):.1f} seconds"
        return f"{text}, at last {self.last_losses}" if n else text

    @property
    def last_losses(self) -> str:
        """The losses of the last epoch, as text."""
        return ", ".join(f"{name} {values[-1]:.4f}" for name, values in self._losses().items() if values)

    def plot(self) -> "Figure":
        """Plot the losses by epoch as a Matplotlib figure, which a notebook shows."""
        from ..utils.figures import losses_figure

        return losses_figure(vars(self))

    def _losses(self) -> dict[str, list[float]]:
        return {
            "loss": self.train_loss,
            "expected": self.expected_loss,
            "validation": self.validation_loss,
        }

    def tables(self) -> Iterator[Table]:
        columns = {name: values for name, values in self._losses().items() if values}
        n = len(self.train_loss)
        shown = range(n)[::-1][:: max(1, -(-n // MOST_ROWS))][::-1]  # always with the last one
        rows = [[at + 1, *(f"{values[at]:.4f}" for values in columns.values())] for at in shown]
        yield Table(repr(self), ["epoch", *columns], rows)

    @classmethod
    def checked(cls, found: Mapping[str, Any], most: int | None = None) -> Self:
        """Build a history from a file; raise TypeError or ValueError for wrong fields or non-finite numbers.

        `most` is the largest allowed number of epochs.
        """
        check_fields("history", found, [field.name for field in fields(cls)])
        history = cls(**found)
        n_epochs = len(history.train_loss)
        if most is not None and n_epochs > most:
            raise ValueError(f"train_loss: expected at most {most} epochs, found {n_epochs}")
        for name, value in vars(history).items():
            if name == "best_epoch":
                check_integer(name, value, at_least=0)
                continue
            if not isinstance(value, list) or len(value) not in (0, n_epochs):
                raise ValueError(f"{name}: expected a number for each of {n_epochs} epochs, found {value!r}")
            for number in value:
                check_number(name, number)
        return history


@dataclass(frozen=True)
class Progress:
    """The progress of a training after a batch.

    Attributes
    ----------
    epoch, epochs : int, the current epoch, from 1, and the largest possible number of epochs
    n_trained, n_total : int, ratings trained on so far, in all epochs, and the largest possible number
    train_loss : float, mean squared error of the epoch so far
    validation_loss : float, of the previous epoch; NaN if there is none
    """

    epoch: int
    epochs: int
    n_trained: int
    n_total: int
    train_loss: float
    validation_loss: float

    def __str__(self) -> str:
        validation = "" if math.isnan(self.validation_loss) else f", validation {self.validation_loss:.4f}"
        return f"epoch {self.epoch} of {self.epochs}, loss {self.train_loss:.4f}{validation}"


ProgressCallback = Callable[[Progress], None]


def train(
    engine: Engine,
    ratings: Ratings,
    inference: Inference,
    validation_loss: Callable[[], float] | None,
    *,
    epochs: int,
    batch_size: int,
    schedule: Schedule,
    rng: np.random.Generator,
    unit_of_loss: float = 1.0,
    time_bins: NDArray[np.int32] | None = None,
    previous: NDArray[np.int32] | None = None,
    on_progress: ProgressCallback | None = None,
    checkpoint: Checkpoint | None = None,
) -> History:
    """Train an engine's parameters in place; raise FloatingPointError if they or a loss become non-finite.

    Each process has its part of `ratings`, whose indices are rows of the engine's tables. `time_bins` and
    `previous` items, shape (n_ratings,), are given if the architecture uses them. `batch_size` 1 is
    per-sample SGD, in stretches that share a learning rate and count as one batch for `on_progress`
    (`data.batches.Stretches`).

    After each epoch `inference` updates the objective, and `validation_loss` is called for the history, whose
    losses are the engine's losses times `unit_of_loss`. Training resumes from the state in `checkpoint`, if
    there is one, and saves its state there after each epoch.
    """
    n = int(engine.all_reduce(len(ratings)))
    batches = _batches(engine, ratings, n, batch_size, rng, time_bins, previous)
    saved = None if checkpoint is None else checkpoint.restore(engine, inference.arrays)
    history = History()
    if checkpoint is not None and saved is not None:
        with checkpoint.refusing():
            history = History.checked(saved, epochs)
            inference.resume()
    log_start(n, history, epochs)
    for epoch in range(len(history.train_loss) + 1, epochs + 1):
        start, total, first_step = time.perf_counter(), 0.0, (epoch - 1) * -(-n // batch_size)
        for total, n_trained in _running_sums(engine, batches, schedule, first_step, unit_of_loss):
            if on_progress is not None:
                done, latest = (epoch - 1) * n + n_trained, (history.validation_loss or [math.nan])[-1]
                on_progress(Progress(epoch, epochs, done, epochs * n, float(total) / n_trained, latest))
        history.train_loss.append(float(total) / n)  # perhaps on a device: read once an epoch
        require_finite("the loss", history.train_loss[-1], epoch)
        _infer(engine, inference, history, unit_of_loss)
        history.seconds.append(time.perf_counter() - start)
        history.best_epoch = epoch
        if validation_loss is not None:
            history.validation_loss.append(validation_loss())
            require_finite("the validation loss", history.validation_loss[-1], epoch)
        if checkpoint is not None:
            checkpoint.save(engine, inference.arrays, asdict(history))
        log_epoch(history, epochs)
    for value in engine.parameters.values():  # no loss was computed after the last step
        require_finite("a parameter", engine.all_reduce(float(np.abs(value).max(initial=0.0))), epochs)
    log_end(history)
    return history


def log_start(n_ratings: int, history: History, epochs: int) -> None:
    """Log how many ratings a training has and from which epoch it starts or resumes."""
    logger.info("training on %d ratings from epoch %d to %d", n_ratings, len(history.train_loss) + 1, epochs)


def log_epoch(history: History, epochs: int) -> None:
    """Log the losses of the last epoch."""
    logger.info("epoch %d of %d: %s", len(history.train_loss), epochs, history.last_losses)


def log_end(history: History) -> None:
    """Log how long a training took."""
    logger.info("trained %d epochs in %.1f seconds", len(history.train_loss), sum(history.seconds))


def _batches(
    engine: Engine,
    ratings: Ratings,
    n: int,
    batch_size: int,
    rng: np.random.Generator,
    time_bins: NDArray[np.int32] | None,
    previous: NDArray[np.int32] | None,
) -> Stretches | Batches:
    if batch_size == 1:
        return Stretches(ratings, rng, time_bins)
    return Batches(ratings, batch_size, rng, engine.cut, n, time_bins, previous)


def _infer(engine: Engine, inference: Inference, history: History, unit_of_loss: float) -> None:
    """Update the objective after an epoch, and add the epoch's expected loss to the history."""
    engine.fetch()
    noise = inference.update(engine)
    engine.send()
    if noise is not None:  # the mean of e² / (1 - h), whose ratio to the mean of e² estimates 1 / (1 - h)
        noise *= unit_of_loss
        ratio = noise / max(history.train_loss[-1], float(np.finfo(np.float32).tiny))
        history.expected_loss.append(noise * ratio)


def _running_sums(
    engine: Engine, batches: Stretches | Batches, schedule: Schedule, step: int, unit_of_loss: float
) -> Iterator[tuple[float, int]]:
    """Learn from the batches of an epoch; after each, yield the sum of losses and the number of ratings."""
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
