"""The training loop: epochs of shuffled mini-batches, a history, and the best weights kept."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self

import numpy as np

from ..data import Ratings
from ..data.batches import Batches, Stretches
from ..mf.architecture import Parameters
from ..nn.schedules import Schedule
from .checkpoint import Checkpoint
from .engines.base import Engine


@dataclass
class History:
    """What happened in each epoch.

    Attributes
    ----------
    train_loss : list of float
        Mean squared error of the batches as they were trained on, or mean -log P of an ordinal likelihood,
        dropout included, penalty left out.
    validation_loss : list of float
        Mean squared error on the validation ratings after the epoch; empty without any.
    seconds : list of float
        Wall time of the epoch's training, validation left out.
    best_epoch : int
        The epoch whose weights were kept, counted from 1; 0 if no epoch was better than the first weights.
    """

    train_loss: list[float] = field(default_factory=list)
    validation_loss: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    best_epoch: int = 0

    @classmethod
    def checked(cls, told: Mapping[str, Any]) -> Self:
        """One from a file.

        Raises
        ------
        TypeError, ValueError
            It has other fields, or something else than numbers in them.
        """
        history = cls(**told)
        for name, value in told.items():
            if not all(isinstance(number, int | float) for number in np.ravel(value).tolist()):
                raise ValueError(f"{name}: expected numbers, found {value}")
        return history


@dataclass(frozen=True)
class Progress:
    """How far a training is, after a batch.

    Attributes
    ----------
    epoch, epochs : int
        The epoch at work, from 1, and how many there will be at most.
    n_trained, n_total : int
        Ratings trained on so far, repeated ones counted again, and how many there will be at most.
    train_loss : float
        Mean squared error of the epoch so far.
    validation_loss : float
        Of the epoch before; NaN where there is none.
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
    on_progress: ProgressCallback | None = None,
    checkpoint: Checkpoint | None = None,
) -> History:
    """Train an engine's parameters in place.

    Parameters
    ----------
    engine : Engine
    ratings : Ratings
        Their indices are the rows of the engine's tables. Of many processes, each has its part.
    validation_loss : callable or None
        Called before the first epoch and after each. With it, the parameters for which it was lowest are
        kept: where there is nothing to learn, the first ones. Without it, those of the last epoch.
    epochs : int
    batch_size : int
        1 learns from the ratings one by one, some thousands at a time (`data.batches.Stretches`), which share
        a learning rate and are one batch to `on_progress`.
    schedule : callable
        Step, from 0, to learning rate.
    patience : int or None
        Stop after so many epochs in a row without a new lowest validation loss; None never stops early.
    rng : numpy.random.Generator
        Draws the order of the ratings, outside the engine, so that every engine sees the same batches.
    unit_of_loss : float, default 1.0
        What the losses of the engine are told in.
    on_progress : callable, optional
        Called after each batch.
    checkpoint : Checkpoint, optional
        Saved to after each epoch. If it holds a state of this training, that is where the training goes on.

    Returns
    -------
    History

    Raises
    ------
    FloatingPointError
        The loss is no longer finite: the learning rate is too high.
    """
    history, lowest = History(), math.inf
    n, is_one_by_one = int(engine.total(len(ratings))), batch_size == 1
    batches = Stretches(ratings, rng) if is_one_by_one else Batches(ratings, batch_size, rng, engine.cut, n)
    learn = engine.one_by_one if is_one_by_one else engine.step
    best: Parameters = {}
    saved = checkpoint.restore(engine) if checkpoint is not None else None
    if saved is not None:
        best, lowest, history = saved[0], saved[1]["lowest"], History(**saved[1]["history"])
    elif validation_loss is not None:
        lowest, best = validation_loss(), _copy(engine.parameters)
    step = len(history.train_loss) * -(-n // batch_size)
    for epoch in range(len(history.train_loss) + 1, epochs + 1):
        if patience is not None and validation_loss and epoch - 1 - history.best_epoch >= patience:
            break
        start, squares, n_trained = time.perf_counter(), 0.0, 0
        for batch in batches.epoch():
            engine.optimizer.learning_rate = schedule(step)
            with np.errstate(over="ignore", invalid="ignore"):  # what diverges is told below, once
                loss = learn(*batch)
            n_of_batch = len(batch[-1])  # of a part, the last column is as long as the whole batch
            squares += loss * n_of_batch * unit_of_loss
            n_trained += n_of_batch
            step += n_of_batch if is_one_by_one else 1
            if on_progress is not None:
                latest = history.validation_loss[-1] if history.validation_loss else math.nan
                on_progress(
                    Progress(
                        epoch,
                        epochs,
                        (epoch - 1) * n + n_trained,
                        epochs * n,
                        float(squares) / n_trained,
                        latest,
                    )
                )
        engine.fetch()
        squares = float(squares)  # of a device: read once, when all is done
        _require_finite("the loss", squares, epoch)
        history.train_loss.append(squares / n)
        history.seconds.append(time.perf_counter() - start)
        if validation_loss is None:
            history.best_epoch = epoch
        else:
            history.validation_loss.append(validation_loss())
            _require_finite("the validation loss", history.validation_loss[-1], epoch)
            if history.validation_loss[-1] < lowest:
                lowest, best = history.validation_loss[-1], _copy(engine.parameters)
                history.best_epoch = epoch
        if checkpoint is not None:
            checkpoint.save(engine, best, {"lowest": lowest, "history": asdict(history)})
    for name, value in best.items():
        engine.parameters[name][...] = value
    for value in engine.parameters.values():  # the last step, of which no loss has told yet
        _require_finite("a parameter", engine.total(float(np.abs(value).max(initial=0.0))), epochs)
    return history


def _copy(parameters: Parameters) -> Parameters:
    return {name: value.copy() for name, value in parameters.items()}


def _require_finite(what: str, number: float, epoch: int) -> None:
    if not math.isfinite(number):
        raise FloatingPointError(f"{what} is {number} in epoch {epoch}: use a lower learning rate")
