"""The package's optimisers as PyTorch's: the same formulas, its kernels."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ...nn import SGD, AdaGrad, Adam, AdamW, Optimizer, RMSProp
from .torch_compat import allow_uncaptured_steps

# PyTorch's names of the slots of an optimiser.
SLOTS: dict[type[Optimizer], dict[str, str]] = {
    SGD: {"velocity": "momentum_buffer"},
    AdaGrad: {"squares": "sum"},
    RMSProp: {"squares": "square_avg"},
    Adam: {"mean": "exp_avg", "squares": "exp_avg_sq"},
    AdamW: {"mean": "exp_avg", "squares": "exp_avg_sq"},
}


class TorchOptimizer:
    """An optimiser of the package as one of PyTorch, whose parameters and state are passed in step by step.

    So the tables that PyTorch sees are the rows of a batch, with their state: the update is that of a
    RowGradient.

    Parameters
    ----------
    optimizer : Optimizer
    device : torch.device, optional
        Where steps read the learning rate if they are to be captured as a graph, in which a number would be a
        constant. `read_rate` brings it there.

    Raises
    ------
    TypeError
        The optimizer is not one of this package.
    """

    def __init__(self, optimizer: Optimizer, device: torch.device | None = None) -> None:
        if type(optimizer) not in SLOTS:
            raise TypeError(
                f'engine "torch" has no {type(optimizer).__name__} in PyTorch: use engine "numpy"'
            )
        self.ours = optimizer
        self.theirs = _as_torch(optimizer)
        self.counts_steps = not isinstance(optimizer, SGD)
        self._rate_there = None if device is None else torch.full((), optimizer.learning_rate, device=device)
        self._rate_read = optimizer.learning_rate
        if device is not None and self.counts_steps:
            allow_uncaptured_steps(self.theirs)

    @property
    def rate(self) -> float | Tensor:
        """The learning rate of a step."""
        return self.ours.learning_rate if self._rate_there is None else self._rate_there

    def read_rate(self) -> None:
        """Bring the learning rate to the device, where it has changed."""
        if self._rate_there is not None and self._rate_read != self.ours.learning_rate:
            self._rate_read = self.ours.learning_rate
            self._rate_there.fill_(self._rate_read)

    def step(
        self,
        values: Mapping[str, Tensor],
        state: Mapping[str, Mapping[str, Tensor]],
        scaler: torch.amp.GradScaler,
    ) -> None:
        """Change values, which have gradients, and their state in place, both by parameter name.

        A scaler that finds a gradient that is not finite changes nothing.
        """
        group = self.theirs.param_groups[0]
        group["params"], group["lr"] = list(values.values()), self.rate
        names = {"step": "step"} if self.counts_steps else {}
        names |= {slot: SLOTS[type(self.ours)][slot] for slot in self.ours.slots}
        self.theirs.state = defaultdict(
            dict,
            {value: {names[slot]: state[name][slot] for slot in names} for name, value in values.items()},
        )
        scaler.unscale_(self.theirs)
        scaler.step(self.theirs)
        scaler.update()
        self.theirs.zero_grad()
        if not self.counts_steps:
            for name in values:
                state[name]["step"] += 1


def _as_torch(optimizer: Optimizer) -> torch.optim.Optimizer:
    nothing, rate = [torch.zeros(1)], optimizer.learning_rate
    if isinstance(optimizer, SGD):
        return torch.optim.SGD(
            nothing, rate, momentum=optimizer.momentum, nesterov=optimizer.nesterov, fused=True
        )
    if isinstance(optimizer, AdaGrad):
        return torch.optim.Adagrad(nothing, rate, eps=optimizer.epsilon)
    if isinstance(optimizer, RMSProp):
        return torch.optim.RMSprop(nothing, rate, alpha=optimizer.decay, eps=optimizer.epsilon)
    assert isinstance(optimizer, Adam)
    settings: dict[str, Any] = {"eps": optimizer.epsilon, "fused": True}
    betas = (optimizer.beta1, optimizer.beta2)
    if isinstance(optimizer, AdamW):
        return torch.optim.AdamW(nothing, rate, betas, weight_decay=optimizer.weight_decay, **settings)
    return torch.optim.Adam(nothing, rate, betas, **settings)
