"""Settings of a NeuralMF: checked, and made use of."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from copy import deepcopy
from typing import Any

import numpy as np

from ..data import Ratings
from ..mf.architecture import Architecture
from ..nn import OPTIMIZERS, Optimizer
from ..nn.schedules import Schedule, constant, cosine
from ..training.engines import ENGINE_NAMES
from .uncertainty import PredictsIntervals

# Learning rate and number of steps -> schedule.
SCHEDULES: dict[str, Callable[[float, int], Schedule]] = {
    "cosine": cosine,
    "constant": lambda learning_rate, n_steps: constant(learning_rate),
}

# Settings that a file holds as they are; a generator as random_state is not kept.
PLAIN_SETTINGS = (
    "epochs", "batch_size", "learning_rate", "schedule", "regularization", "weight_decay",
    "validation_fraction", "patience", "engine", "device", "precision", "random_state",
)  # fmt: skip

# Who computes, and how.
ENGINE_SETTINGS = ("engine", "device", "precision")

DEVICES = ("auto", "cpu", "cuda", "mps")
PRECISIONS = ("float32", "tf32", "bfloat16", "float16")


class NeuralMFSettings(PredictsIntervals):
    """What `NeuralMF` is told before it is fitted: its parameters, documented there."""

    architecture: Architecture
    epochs: int
    batch_size: int
    optimizer: str | Optimizer
    learning_rate: float
    schedule: str
    regularization: float
    weight_decay: float
    validation_fraction: float
    patience: int | None
    engine: str
    device: str
    precision: str
    random_state: int | np.random.Generator | None

    def _new_optimizer(self) -> Optimizer:
        if isinstance(self.optimizer, str):
            return OPTIMIZERS[self.optimizer](learning_rate=self.learning_rate)
        optimizer = deepcopy(self.optimizer)
        optimizer.state.clear()
        return optimizer

    def _engine_settings(self, ratings: Ratings) -> dict[str, Any]:
        """What the engine "torch" alone takes."""
        settings = {"device": self.device, "precision": self.precision} if self.engine == "torch" else {}
        return settings | ({"timestamps": ratings.timestamps} if self.architecture.sequence else {})

    def _schedule(self, n_ratings: int) -> Schedule:
        n_steps = self.epochs * -(-n_ratings // self.batch_size)
        optimizer = self.optimizer
        highest = optimizer.learning_rate if isinstance(optimizer, Optimizer) else self.learning_rate
        return SCHEDULES[self.schedule](highest, n_steps)

    def _check(self) -> None:
        _check_choice("engine", self.engine, ENGINE_NAMES)
        if self.architecture.sequence and self.engine not in ("auto", "torch"):
            raise ValueError(f'a model with a sequence is for engine "torch", not for {self.engine!r}')
        for name, choices, default in (("device", DEVICES, "auto"), ("precision", PRECISIONS, "float32")):
            value = getattr(self, name)
            _check_choice(name, value, choices)
            if self.engine != "torch" and value != default:
                raise ValueError(f'{name} {value!r} is for engine "torch", not for {self.engine!r}')
        _check_choice("schedule", self.schedule, SCHEDULES)
        if not isinstance(self.optimizer, Optimizer):
            _check_choice("optimizer", self.optimizer, OPTIMIZERS)
        for name in ("epochs", "batch_size", "patience"):
            value = getattr(self, name)
            is_unset = name == "patience" and value is None
            if not is_unset and not (isinstance(value, int | np.integer) and value >= 1):
                raise ValueError(f"{name} must be a whole number, at least 1, not {value}")
        for name in ("learning_rate", "regularization", "weight_decay"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be finite and not negative, not {getattr(self, name)}")
        if not 0 <= self.validation_fraction < 1:
            raise ValueError(f"validation_fraction must be in [0, 1), not {self.validation_fraction}")


def _check_choice(name: str, value: str, choices: Collection[str]) -> None:
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}, not {value!r}")
