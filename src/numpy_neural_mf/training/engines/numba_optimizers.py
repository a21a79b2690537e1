"""Steps of optimisers on rows of a table and on dense arrays, compiled by Numba."""

import math
from collections import namedtuple
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numba.extending import overload, register_jitable

from ...mf.parameters import Parameters
from ...nn import SGD, AdaGrad, Adam, AdamW, Optimizer, RMSProp
from ...nn.optimizers import State
from ...nn.parameter import Array, IntArray
from ..objective import TINY
from .numba_compat import AHEAD, OPTIONS, compiled, inlined, prefetch


class Step(NamedTuple):
    """The numbers of a step; the subclass names the optimiser, so only the one in use is compiled."""

    rate: float
    h1: float
    h2: float
    epsilon: float
    decay: float  # of the value


class SGDStep(Step):
    pass


class MomentumStep(Step):
    pass


class NesterovStep(Step):
    pass


class AdaGradStep(Step):
    pass


class RMSPropStep(Step):
    pass


class AdamStep(Step):
    pass


STEPS: dict[type[Optimizer], type[Step]] = {
    SGD: SGDStep, Adam: AdamStep, AdamW: AdamStep, RMSProp: RMSPropStep, AdaGrad: AdaGradStep,
}  # fmt: skip


@inlined
def row_in(prior, row):
    """Return where the mean of a row is in `prior`, which has one row for each row or one for all."""
    return row if len(prior) > 1 else 0


# The step of one number: nn/optimizers.py has the formulas. m and s are the optimiser's state; the other
# arguments come from `NumbaOptimizer.count_steps`.


def sgd(value, gradient, m, s, rate, h1, h2, epsilon):
    return value - rate * gradient, m, s


def momentum(value, gradient, m, s, rate, decay, h2, epsilon):
    m = decay * m + gradient
    return value - rate * m, m, s


def nesterov(value, gradient, m, s, rate, decay, h2, epsilon):
    m = decay * m + gradient
    return value - rate * (gradient + decay * m), m, s


def adagrad(value, gradient, m, s, rate, h1, h2, epsilon):
    m += gradient * gradient
    return value - rate * gradient / (np.sqrt(m) + epsilon), m, s


def rmsprop(value, gradient, m, s, rate, decay, h2, epsilon):
    one = type(value)(1)
    m = decay * m + (one - decay) * gradient * gradient
    return value - rate * gradient / (np.sqrt(m) + epsilon), m, s


def adam(value, gradient, m, s, rate, beta1, beta2, epsilon):
    one = type(value)(1)
    m = beta1 * m + (one - beta1) * gradient
    s = beta2 * s + (one - beta2) * gradient * gradient
    return value - rate * m / (np.sqrt(s) + epsilon), m, s


FORMULAS = {
    SGDStep: sgd,
    MomentumStep: momentum,
    NesterovStep: nesterov,
    AdaGradStep: adagrad,
    RMSPropStep: rmsprop,
    AdamStep: adam,
}


def step_of_number(step, value, gradient, m, s, rate, h1, h2, epsilon):
    """Apply the formula of the optimiser that the type of `step` names."""
    raise NotImplementedError


@overload(step_of_number, jit_options=OPTIONS, inline="always")
def _step_of_number(step, value, gradient, m, s, rate, h1, h2, epsilon):
    formula = register_jitable(FORMULAS[step.instance_class])

    def of_step(step, value, gradient, m, s, rate, h1, h2, epsilon):
        return formula(value, gradient, m, s, rate, h1, h2, epsilon)

    return of_step


@compiled(forceinline=True)
def update(step, rows, n_rows, g, shrink, learned):
    """Take a step on each rows[j] with gradient g[j] + shrink[j] · precision · (row - prior)."""
    table, precision, prior, a, b, _ = learned
    c, k = table.dtype.type, table.shape[1]
    rate, h1, h2, epsilon, decay = c(step.rate), c(step.h1), c(step.h2), c(step.epsilon), c(step.decay)
    tiny, zero = c(TINY), c(0)
    for j in range(n_rows):
        if j + AHEAD < n_rows:
            prefetch(table, rows[j + AHEAD])
            prefetch(a, rows[j + AHEAD])
            prefetch(b, rows[j + AHEAD])
        v, m, s, d, shrunk = table[rows[j]], a[rows[j]], b[rows[j]], g[j], shrink[j]
        centre = prior[row_in(prior, rows[j])]
        for f in range(k):
            slope = d[f] + shrunk * precision[f] * (v[f] - centre[f])
            value, of_m, of_s = step_of_number(step, decay * v[f], slope, m[f], s[f], rate, h1, h2, epsilon)
            # The table itself stands in for state that the optimiser does not have; it is written last.
            s[f] = of_s
            m[f] = of_m if abs(of_m) > tiny else zero
            v[f] = value if abs(value) > tiny else zero


# A table, its precision and prior, the two arrays of the optimiser's state for it, and its `data`.
Learned = namedtuple("Learned", "table precision prior a b data")

FIRST_ROW = np.zeros(1, np.int32)


class NumbaOptimizer:
    """Takes the steps of an optimiser on tables and dense arrays, in place."""

    def __init__(self, optimizer: Optimizer, parameters: Parameters) -> None:
        self._optimizer = optimizer
        self._parameters = parameters
        self._one_row: dict[str, Learned] = {}
        if type(optimizer) not in STEPS:
            raise TypeError(f'engine "numba" has no compiled {type(optimizer).__name__}: use engine "numpy"')
        self._step: type[Step] = STEPS[type(optimizer)]
        if isinstance(optimizer, SGD) and optimizer.momentum:
            self._step = NesterovStep if optimizer.nesterov else MomentumStep

    @property
    def is_plain_sgd(self) -> bool:
        return self._step is SGDStep

    def count_steps(self, n: int = 1) -> Step:
        """Count n steps of all parameters; return rate, decays, epsilon and value decay of the last step."""
        steps = self._state["intercept"]["step"]
        steps += n
        o, rate, t = self._optimizer, self._optimizer.learning_rate, int(steps)
        if isinstance(o, Adam):
            root = math.sqrt(1 - o.beta2**t)
            decay = 1 - rate * o.weight_decay if isinstance(o, AdamW) else 1
            numbers = [rate * root / (1 - o.beta1**t), o.beta1, o.beta2, root * o.epsilon, decay]
        elif isinstance(o, RMSProp):
            numbers = [rate, o.decay, 0, o.epsilon, 1]
        elif isinstance(o, AdaGrad):
            numbers = [rate, 0, 0, o.epsilon, 1]
        else:
            numbers = [rate, getattr(o, "momentum", 0), 0, 0, 1]
        return self._step._make(map(float, numbers))

    def memory(self, name: str, value: Array) -> list[Array]:
        """Return a parameter and its two state arrays; the parameter itself stands in for a missing one."""
        state, slots = self._state.get(name, {}), self._optimizer.slots
        return [value, *(state[slot] for slot in slots if slot in state), value, value][:3]

    def update_rows(
        self, learned: Learned, ids: IntArray, gradient: Array, shrinkage: Array, step: Step
    ) -> None:
        """Take a step on rows of a table, each with gradient + shrinkage · precision · (row - prior)."""
        ids, gradient = np.ascontiguousarray(ids, np.int32), np.ascontiguousarray(gradient)
        update(step, ids, len(ids), gradient, shrinkage, learned)

    def update_dense(self, name: str, gradient: Array, step: Step) -> None:
        """Take a step on a dense array, as a table of one row."""
        if name not in self._one_row:  # steps are short: making these each time would be noticeable
            own, a, b = (array.reshape(1, -1) for array in self.memory(name, self._parameters[name]))
            nothing = np.zeros((1, own.shape[1]), own.dtype)
            self._one_row[name] = Learned(own, nothing[0], nothing, a, b, nothing)
        learned = self._one_row[name]
        update(step, FIRST_ROW, 1, gradient.reshape(1, -1), learned.precision, learned)

    @cached_property
    def _state(self) -> dict[str, State]:
        """The optimizer's state, with one step count for all, as every step changes every parameter.

        It is built at the engine's first use; by then it is new or was restored from a checkpoint.
        """
        state = self._optimizer.state
        for name, value in self._parameters.items():
            state.setdefault(name, self._optimizer.new_state(value))
        for of_parameter in state.values():
            of_parameter["step"] = state["intercept"]["step"]
        return state
