"""Settings of a NeuralMF: checks, and the optimiser, schedule and batch size that follow from them."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import TYPE_CHECKING

from ..nn import OPTIMIZERS, Optimizer
from ..nn.schedules import Schedule, constant, cosine, linear_warmup
from ..training.engines import ENGINE_NAMES
from ..training.loop import MAX_EPOCHS
from ..utils.settings import check_choice, check_integer, check_number

if TYPE_CHECKING:
    from ..data import Ratings
    from .neural_mf import NeuralMF

WARM_UP = 50  # most steps of learning-rate warm-up: Adam's estimates of the moments are still poor
# Functions from learning rate and number of steps to a schedule.
SCHEDULES: dict[str, Callable[[float, int], Schedule]] = {
    "cosine": lambda learning_rate, n_steps: linear_warmup(
        cosine(learning_rate, n_steps), max(1, min(WARM_UP, n_steps // 20))
    ),
    "constant": lambda learning_rate, n_steps: constant(learning_rate),
}
# Number of ratings processed in all epochs, with repetitions: by the mean row, and in total.
BY_ROW, BY_ALL = 900, 3_000_000
ENGINE_SETTINGS = ("engine", "device", "precision")  # the same training, to rounding and random signs
# Settings that a file stores unchanged.
PLAIN_SETTINGS = (
    "epochs",
    "batch_size",
    "learning_rate",
    "schedule",
    "weight_decay",
    *ENGINE_SETTINGS,
    "random_state",
)
DEVICES = ("auto", "cpu", "cuda", "mps")
PRECISIONS = ("float32", "tf32", "bfloat16", "float16")


def check_settings(model: NeuralMF) -> None:
    """Raise a TypeError or a ValueError that names an invalid setting."""
    if not (model.architecture.has_embeddings or model.architecture.biases):
        raise ValueError("the model has neither biases, product nor MLP: nothing depends on user or item")
    check_choice("engine", model.engine, ENGINE_NAMES)
    for name, choices in (("device", DEVICES), ("precision", PRECISIONS)):
        value = getattr(model, name)
        check_choice(name, value, choices)
        if model.engine != "torch" and value != choices[0]:
            raise ValueError(f'{name} {value!r} is for engine "torch", not for {model.engine!r}')
    check_choice("schedule", model.schedule, SCHEDULES)
    if not isinstance(model.optimizer, Optimizer):
        check_choice("optimizer", model.optimizer, OPTIMIZERS)
    check_integer("epochs", model.epochs, at_least=1, at_most=MAX_EPOCHS, optional=True)
    check_integer("batch_size", model.batch_size, at_least=1, optional=True)
    for name in ("drift", "previous_item"):
        if model.batch_size == 1 and getattr(model.architecture, name):
            raise ValueError(f"{name}: expected batches of more than one rating, found batch_size 1")
    check_number("learning_rate", model.learning_rate, at_least=0, optional=True)
    check_number("weight_decay", model.weight_decay, at_least=0)


def new_optimizer(model: NeuralMF, n_ratings: int) -> Optimizer:
    """Return the optimiser by name, or a copy of the given one, without state."""
    if isinstance(model.optimizer, str):
        return OPTIMIZERS[model.optimizer](learning_rate=learning_rate_for(model, n_ratings))
    optimizer = deepcopy(model.optimizer)
    optimizer.state.clear()
    return optimizer


def batch_size_for(model: NeuralMF, n_ratings: int) -> int:
    """Return the given batch size, by default a 64th of the ratings, from 32 to 8,192."""
    return model.batch_size or min(max(n_ratings // 64, 32), 8192)


def learning_rate_for(model: NeuralMF, n_ratings: int) -> float:
    """Return the given rate, by default 0.01 for batches of up to 1,600 ratings, 0.02 for 3,200 or more.

    Between these it is proportional to the batch: gradients of larger batches have less noise.
    """
    if model.learning_rate is not None:
        return model.learning_rate
    return 0.01 * min(max(batch_size_for(model, n_ratings) / 1600, 1.0), 2.0)


def epochs_for(model: NeuralMF, ratings: Ratings, n_ratings: int) -> int:
    """Return the given epochs, by default enough to process `BY_ROW` and `BY_ALL` ratings, from 15 to 60."""
    n_trained = max(BY_ROW * (ratings.n_users + ratings.n_items) // 2, BY_ALL)
    return model.epochs or min(max(n_trained // n_ratings, 15), 60)
