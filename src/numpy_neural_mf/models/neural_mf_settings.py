"""Settings of a NeuralMF: their check, and the optimiser, schedule and regularisation that they describe."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import TYPE_CHECKING

from ..nn import OPTIMIZERS, CumulativeLogit, Optimizer
from ..nn.schedules import Schedule, constant, cosine
from ..training.engines import ENGINE_NAMES
from ..utils.settings import check_choice, check_integer, check_number

if TYPE_CHECKING:
    from .neural_mf import NeuralMF

# Learning rate and number of steps to schedule.
SCHEDULES: dict[str, Callable[[float, int], Schedule]] = {
    "cosine": cosine,
    "constant": lambda learning_rate, n_steps: constant(learning_rate),
}
ENGINE_SETTINGS = ("engine", "device", "precision")  # they do not change what is computed
# Settings that a file holds as they are.
PLAIN_SETTINGS = (
    "epochs",
    "batch_size",
    "learning_rate",
    "schedule",
    "regularization",
    "weight_decay",
    "validation_fraction",
    "patience",
    *ENGINE_SETTINGS,
    "random_state",
)
DEVICES = ("auto", "cpu", "cuda", "mps")
PRECISIONS = ("float32", "tf32", "bfloat16", "float16")


def check_settings(model: NeuralMF) -> None:
    """Raise a TypeError or a ValueError that names the setting that is wrong."""
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
    for name in ("epochs", "batch_size"):
        check_integer(name, getattr(model, name), at_least=1)
    check_integer("patience", model.patience, at_least=1, optional=True)
    for name in ("learning_rate", "regularization", "weight_decay"):
        check_number(name, getattr(model, name), at_least=0)
    check_number("validation_fraction", model.validation_fraction, at_least=0, below=1)


def new_optimizer(model: NeuralMF) -> Optimizer:
    """The optimiser by name, or a copy of the one given, without state."""
    if isinstance(model.optimizer, str):
        return OPTIMIZERS[model.optimizer](learning_rate=model.learning_rate)
    optimizer = deepcopy(model.optimizer)
    optimizer.state.clear()
    return optimizer


def scaled_regularization(regularization: float, ordinal: CumulativeLogit | None) -> float:
    """λ next to the loss: a squared error is -log P of a normal distribution, times twice its variance."""
    return regularization / (2 * ordinal.deviation**2 if ordinal is not None else 1)
