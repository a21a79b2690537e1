"""An optimiser of the package as compiled formulas: which one, with which numbers, on which memory."""

from __future__ import annotations

import math
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ...mf.parameters import Parameters
from ...nn import SGD, AdaGrad, Adam, AdamW, Optimizer, RMSProp
from ...nn.optimizers import State
from ...nn.parameter import Array, IntArray
from . import numba_rows as rows

KINDS: dict[type[Optimizer], int] = {
    Adam: rows.ADAM, AdamW: rows.ADAM, RMSProp: rows.RMSPROP, AdaGrad: rows.ADAGRAD,
}  # fmt: skip


class NumbaOptimizer:
    """Takes the steps of an optimiser on tables and on dense arrays, in place.

    Parameters
    ----------
    optimizer : Optimizer
    parameters : dict of str to array

    Raises
    ------
    TypeError
        The optimizer is not one of this package, whose formulas are compiled.
    """

    def __init__(self, optimizer: Optimizer, parameters: Parameters) -> None:
        self._optimizer = optimizer
        self._parameters = parameters
        self._one_row: dict[str, tuple[Array, Array, Array, IntArray, Array]] = {}
        if type(optimizer) is SGD:
            with_momentum = rows.NESTEROV if optimizer.nesterov else rows.MOMENTUM
            self.kind = with_momentum if optimizer.momentum else rows.SGD
        elif type(optimizer) in KINDS:
            self.kind = KINDS[type(optimizer)]
        else:
            raise TypeError(f'engine "numba" has no compiled {type(optimizer).__name__}: use engine "numpy"')

    def count_steps(self, n: int = 1) -> NDArray[np.float64]:
        """Count n steps of all parameters; the numbers that the formula needs in the last of them.

        These are the rate, two decays, epsilon and the decay of the value.
        """
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
        return np.array(numbers, np.float64)

    def memory(self, name: str, value: Array) -> list[Array]:
        """A parameter and the two arrays remembered for it; in place of one that there is not, any array."""
        state, slots = self._state.get(name, {}), self._optimizer.slots
        return [value, *(state[slot] for slot in slots if slot in state), value, value][:3]

    def update_rows(
        self, name: str, ids: IntArray, gradient: Array, shrinkage: Array, h: NDArray[np.float64]
    ) -> None:
        """A step on some rows of a table, of gradient + shrinkage · row each."""
        value, a, b = self.memory(name, self._parameters[name])
        ids = np.ascontiguousarray(ids, np.int32)
        rows.update(self.kind, value, ids, len(ids), np.ascontiguousarray(gradient), shrinkage, a, b, h)

    def update_dense(self, name: str, gradient: Array, h: NDArray[np.float64]) -> None:
        """A step on a dense array, as a table of one row."""
        if name not in self._one_row:  # a step is so short that to make these each time would show
            own, a, b = (array.reshape(1, -1) for array in self.memory(name, self._parameters[name]))
            self._one_row[name] = own, a, b, np.zeros(1, np.int32), np.zeros(1, own.dtype)
        value, a, b, row, nothing = self._one_row[name]
        rows.update(self.kind, value, row, 1, gradient.reshape(1, -1), nothing, a, b, h)

    @cached_property
    def _state(self) -> dict[str, State]:
        """The optimizer's, with one count of steps for all: every step changes every parameter.

        Made when the engine is first used: by then it is new, or has come from a checkpoint.
        """
        state = self._optimizer.state
        for name, value in self._parameters.items():
            state.setdefault(name, self._optimizer.new_state(value))
        for of_parameter in state.values():
            of_parameter["step"] = state["intercept"]["step"]
        return state
