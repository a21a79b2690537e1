"""Optimisers: step(parameters, gradients) changes the parameters in place; state is a dict by parameter name.

A RowGradient changes only its rows and their state, so the cost depends on the batch, not on the table. With
momentum or adaptive rates this differs from the dense update, which also moves the rows that the batch does
not use; PyTorch's SparseAdam also updates only the rows of the batch.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from ..utils.settings import check_boolean, check_number
from .parameter import Array, Gradient, RowGradient, put_rows, zeros_aligned

State = dict[str, Array]


@dataclass
class Optimizer(ABC):
    """Base of all optimisers: the learning rate, the state, and steps on whole arrays or on rows.

    The learning rate, at least 0, is set between steps to follow a schedule. For each parameter name, the
    state holds "step", the number of steps taken, and arrays of the parameter's shape.
    """

    learning_rate: float = 0.01
    state: dict[str, State] = field(default_factory=dict, init=False, repr=False)

    slots: ClassVar[tuple[str, ...]] = ()  # names of the arrays in the state of a parameter

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if name in ("learning_rate", "epsilon", "weight_decay"):
                check_number(name, value, at_least=0)
            elif name in ("momentum", "decay", "beta1", "beta2"):
                check_number(name, value, at_least=0, below=1)
            elif name == "nesterov":
                check_boolean(name, value)

    def step(self, parameters: Mapping[str, Array], gradients: Mapping[str, Gradient]) -> None:
        """Update parameters with gradients in place; raise ValueError for a gradient of another shape."""
        for name, gradient in gradients.items():
            value = parameters[name]
            rows = gradient.rows if isinstance(gradient, RowGradient) else None
            g = gradient.values if isinstance(gradient, RowGradient) else gradient
            shape = g.shape if rows is None else (len(value), *g.shape[1:])
            if shape != value.shape:  # broadcasting would hide the mistake
                raise ValueError(f"the gradient of {name!r} has shape {shape}, not {value.shape}")
            if name not in self.state:
                self.state[name] = self.new_state(value)
            state = self.state[name]
            state["step"] += 1
            if rows is None:
                self.update(value, g, state)
                continue
            part = {slot: state[slot].take(rows, axis=0) for slot in self.slots}
            touched = value.take(rows, axis=0)
            self.update(touched, g, part | {"step": state["step"]})
            put_rows(value, rows, touched)
            for slot in self.slots:
                put_rows(state[slot], rows, part[slot])

    @abstractmethod
    def update(self, value: Array, gradient: Array, state: State) -> None:
        """Change `value` and the arrays of `state` in place."""

    def new_state(self, value: Array) -> State:
        """Return the state of a parameter before its first step."""
        arrays = {slot: zeros_aligned(value.shape, value.dtype) for slot in self.slots}
        return {"step": np.zeros(()), **arrays}


@dataclass
class SGD(Optimizer):
    """v ← momentum · v + g, value ← value - learning_rate · v (Polyak, 1964).

    With `nesterov` the step is along g + momentum · v (Nesterov, 1983, as in Sutskever et al., 2013).
    """

    momentum: float = 0.0
    nesterov: bool = False

    @property
    def slots(self) -> tuple[str, ...]:  # type: ignore[override]
        return ("velocity",) if self.momentum else ()

    def update(self, value: Array, gradient: Array, state: State) -> None:
        direction = gradient
        if self.momentum:
            v = state["velocity"]
            v *= self.momentum
            v += gradient
            direction = gradient + self.momentum * v if self.nesterov else v
        value -= self.learning_rate * direction


@dataclass
class AdaGrad(Optimizer):
    """s ← s + g², value ← value - learning_rate · g / (√s + epsilon) (Duchi, Hazan and Singer, 2011)."""

    epsilon: float = 1e-10
    slots: ClassVar[tuple[str, ...]] = ("squares",)

    def update(self, value: Array, gradient: Array, state: State) -> None:
        s = state["squares"]
        s += gradient * gradient
        value -= self.learning_rate * gradient / (np.sqrt(s) + self.epsilon)


@dataclass
class RMSProp(Optimizer):
    """s ← decay · s + (1 - decay) g², value ← value - learning_rate · g / (√s + epsilon).

    Tieleman and Hinton, 2012, lecture 6e.
    """

    decay: float = 0.99
    epsilon: float = 1e-8
    slots: ClassVar[tuple[str, ...]] = ("squares",)

    def update(self, value: Array, gradient: Array, state: State) -> None:
        s = state["squares"]
        s *= self.decay
        s += (1 - self.decay) * gradient * gradient
        value -= self.learning_rate * gradient / (np.sqrt(s) + self.epsilon)


@dataclass
class Adam(Optimizer):
    """Adam (Kingma and Ba, 2015, algorithm 1).

    m ← β₁ m + (1 - β₁) g,  v ← β₂ v + (1 - β₂) g²,  value ← value - learning_rate · m̂ / (√v̂ + epsilon)
    with m̂ = m / (1 - β₁ᵗ), v̂ = v / (1 - β₂ᵗ). t counts the steps of the parameter, not those of a row.
    """

    learning_rate: float = 0.001
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    slots: ClassVar[tuple[str, ...]] = ("mean", "squares")

    def update(self, value: Array, gradient: Array, state: State) -> None:
        m, v, t = state["mean"], state["squares"], int(state["step"])
        # m̂ / (√v̂ + ε) = root / (1 - β₁ᵗ) · m / (√v + root · ε): two scalars correct the bias of m and v.
        root = math.sqrt(1 - self.beta2**t)
        change = (1 - self.beta1) * gradient
        m *= self.beta1
        m += change
        np.multiply(gradient, gradient, out=change)
        change *= 1 - self.beta2
        v *= self.beta2
        v += change
        np.sqrt(v, out=change)
        change += root * self.epsilon
        np.divide(m, change, out=change)
        change *= self.learning_rate * root / (1 - self.beta1**t)
        value -= change


@dataclass
class AdamW(Adam):
    """Adam with decoupled weight decay: value ← value (1 - learning_rate · weight_decay) before each step.

    Loshchilov and Hutter, 2019, algorithm 2, in PyTorch's parametrisation. In a table, only the rows that the
    batch uses decay.
    """

    weight_decay: float = 0.01

    def update(self, value: Array, gradient: Array, state: State) -> None:
        value *= 1 - self.learning_rate * self.weight_decay
        super().update(value, gradient, state)


def clip_by_norm(gradients: Mapping[str, Gradient], max_norm: float) -> float:
    """Scale all gradients in place so that their joint Euclidean norm is at most `max_norm`.

    See Pascanu, Mikolov and Bengio, 2013, algorithm 1. Returns the norm before scaling.
    """
    check_number("max_norm", max_norm, at_least=0)
    arrays = [g.values if isinstance(g, RowGradient) else g for g in gradients.values()]
    norm = float(np.sqrt(sum(float(np.vdot(a, a)) for a in arrays)))
    if norm > max_norm:
        for a in arrays:
            a *= max_norm / norm
    return norm


OPTIMIZERS: dict[str, type[Optimizer]] = {
    "sgd": SGD, "adagrad": AdaGrad, "rmsprop": RMSProp, "adam": Adam, "adamw": AdamW,
}  # fmt: skip
