"""Learning-rate schedules: step (0, 1, 2, ...) -> learning rate."""

import math
from collections.abc import Callable

from ..utils.settings import check_integer, check_number

Schedule = Callable[[int], float]


def constant(learning_rate: float) -> Schedule:
    """Keep the same rate at every step."""
    check_number("learning_rate", learning_rate, at_least=0)
    return lambda step: learning_rate


def step_decay(learning_rate: float, every: int, factor: float = 0.1) -> Schedule:
    """Multiply the rate by `factor` after every `every` steps."""
    check_number("learning_rate", learning_rate, at_least=0)
    check_integer("every", every, at_least=1)
    check_number("factor", factor, above=0)
    return lambda step: learning_rate * factor ** (step // every)


def exponential(learning_rate: float, factor: float) -> Schedule:
    """Multiply the rate by `factor` after each step."""
    check_number("learning_rate", learning_rate, at_least=0)
    check_number("factor", factor, above=0)
    return lambda step: learning_rate * factor**step


def cosine(learning_rate: float, n_steps: int, final: float = 0.0) -> Schedule:
    """Follow half a cosine from `learning_rate` to `final` in `n_steps` (Loshchilov, Hutter, 2017, eq. 5)."""
    check_number("learning_rate", learning_rate, at_least=0)
    check_integer("n_steps", n_steps, at_least=1)
    check_number("final", final, at_least=0)
    return lambda step: (
        final + (learning_rate - final) * (1 + math.cos(math.pi * min(step / n_steps, 1.0))) / 2
    )


def linear_warmup(schedule: Schedule, n_steps: int) -> Schedule:
    """Return `schedule` with its first `n_steps` rates multiplied by 1/n_steps, 2/n_steps, ..., 1."""
    check_integer("n_steps", n_steps, at_least=1)
    return lambda step: schedule(step) * min((step + 1) / n_steps, 1.0)
