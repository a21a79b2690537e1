"""Parameters and optimiser state as tensors, and the package's optimisers by PyTorch's kernels."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ...mf.parameters import Entity, Parameters, is_table, tables_in
from ...nn import SGD, AdaGrad, Adam, AdamW, Optimizer, RMSProp
from ...nn.parameter import Array
from .torch_compat import allow_uncaptured_steps

# The key of a table next to its optimiser slots.
VALUE = "value"

# PyTorch's names of the optimiser slots.
SLOTS: dict[type[Optimizer], dict[str, str]] = {
    SGD: {"velocity": "momentum_buffer"},
    AdaGrad: {"squares": "sum"},
    RMSProp: {"squares": "square_avg"},
    Adam: {"mean": "exp_avg", "squares": "exp_avg_sq"},
    AdamW: {"mean": "exp_avg", "squares": "exp_avg_sq"},
}


class JoinedTables:
    """Tables of an entity, with shapes (n, d_1), (n, d_2), ..., as one table with all their columns.

    So each operation on rows is a single one. The parts are changed in place.
    """

    def __init__(self, parts: Sequence[Tensor]) -> None:
        self._parts = parts
        self._widths = [part.shape[1] for part in parts]

    def __getitem__(self, rows: Tensor | slice) -> Tensor:
        if len(self._parts) == 1:
            return self._parts[0][rows]
        return torch.cat([part[rows] for part in self._parts], dim=1)

    def __setitem__(self, rows: Tensor | slice, values: Tensor) -> None:
        for part, columns in zip(self._parts, torch.split(values, self._widths, dim=1), strict=True):
            part[rows] = columns


class Copies:
    """Tensors that share the memory of arrays or, with a `device`, are copies of them there."""

    def __init__(self, device: torch.device | None) -> None:
        self._device = device
        self._pairs: list[tuple[Array, Tensor]] = []

    def tensor(self, array: Array) -> Tensor:
        """Return the tensor of an array."""
        tensor = torch.from_numpy(array)
        if self._device is None:
            return tensor
        # PyTorch's kernels count steps, the one array without dimensions, in float32.
        copy = tensor.to(self._device, torch.float32 if array.ndim == 0 else None, copy=True)
        self._pairs.append((array, copy))
        return copy

    def joined(self, arrays: Sequence[Array]) -> JoinedTables:
        """Return arrays as joined tables."""
        parts = [torch.from_numpy(array) for array in arrays]
        if self._device is None:
            return JoinedTables(parts)
        whole = torch.cat([part.to(self._device) for part in parts], dim=1)
        columns = torch.split(whole, [part.shape[1] for part in parts], dim=1)
        self._pairs += zip(arrays, columns, strict=True)
        return JoinedTables([whole])

    def fetch(self) -> None:
        """Update the arrays from the tensors, if these are copies."""
        for array, tensor in self._pairs:
            torch.from_numpy(array).copy_(tensor)

    def send(self) -> None:
        """Update the tensors from the arrays, if they are copies."""
        for array, tensor in self._pairs:
            tensor.copy_(torch.from_numpy(array))


class TorchState:
    """Parameters and optimiser state as tensors; missing state is created.

    With a `device`, they are copies there: `fetch` brings them back, `send` copies parameters again. The
    columns of the tables `names_of` an entity are joined in `tables`; `dense` has the other parameters.
    """

    def __init__(
        self, parameters: Parameters, optimizer: Optimizer, device: torch.device | None = None
    ) -> None:
        self._values, self._moments = Copies(device), Copies(device)
        self._slots, state = optimizer.slots, optimizer.state
        for name, value in parameters.items():
            if name not in state:
                state[name] = optimizer.new_state(value)
        self.names_of: dict[Entity, list[str]] = {}
        for table in tables_in(parameters):
            self.names_of.setdefault(table.entity, []).append(table.name)
        self.dense = {name: self._values.tensor(a) for name, a in parameters.items() if not is_table(name)}
        self.tables = {
            entity: self._values.joined([parameters[name] for name in names])
            for entity, names in self.names_of.items()
        }
        self._slot_tables = {
            entity: {
                slot: self._moments.joined([state[name][slot] for name in names]) for slot in self._slots
            }
            for entity, names in self.names_of.items()
        }
        # Slots and number of steps, by entity or, for other parameters, by name.
        self._slots_of: dict[str, dict[str, Tensor]] = {
            name: {slot: self._moments.tensor(state[name][slot]) for slot in self._slots}
            for name in self.dense
        }
        for key, names in [*((name, [name]) for name in self.dense), *self.names_of.items()]:
            # A copy, as PyTorch counts the steps of each tensor, and other engines may share one count.
            step = state[names[0]]["step"].copy()
            for name in names:
                state[name]["step"] = step
            self._slots_of.setdefault(key, {})["step"] = self._moments.tensor(step)

    def slots(self, rows: Mapping[Entity, Tensor]) -> dict[str, dict[str, Tensor]]:
        """Return the optimiser state of dense parameters by name, and of copies of rows by entity."""
        return self._slots_of | {
            entity: self._slots_of[entity] | {slot: t[some] for slot, t in self._slot_tables[entity].items()}
            for entity, some in rows.items()
        }

    def put_back(
        self,
        entity: Entity,
        rows: Tensor,
        values: Tensor,
        slots: Mapping[str, Tensor],
        used: Tensor | None,
    ) -> None:
        """Write rows of an entity's tables and their slots; only rows marked in `used`, if it is given."""
        tables = {VALUE: self.tables[entity], **self._slot_tables[entity]}
        for slot, table in tables.items():
            changed = values if slot == VALUE else slots[slot]
            table[rows] = changed if used is None else torch.where(used[:, None], changed, table[rows])

    def fetch(self) -> None:
        """Update the arrays of parameters and of the optimiser's state."""
        self._values.fetch()
        self._moments.fetch()

    def send(self) -> None:
        """Copy the arrays of the parameters again."""
        self._values.send()


class TorchOptimizer:
    """An optimiser of the package as a PyTorch optimiser, which gets a batch's rows and state at each step.

    If steps will be captured as a graph, they read the rate on `device`, where `read_rate` writes it.
    """

    def __init__(self, optimizer: Optimizer, device: torch.device | None = None) -> None:
        if type(optimizer) not in SLOTS:
            raise TypeError(
                f'engine "torch" has no {type(optimizer).__name__} in PyTorch: use engine "numpy"'
            )
        self._ours, self._theirs = optimizer, _as_torch(optimizer)
        self._counts_steps = not isinstance(optimizer, SGD)
        self._names = {"step": "step"} if self._counts_steps else {}
        self._names |= {slot: SLOTS[type(optimizer)][slot] for slot in optimizer.slots}
        self._rate_there = None if device is None else torch.full((), optimizer.learning_rate, device=device)
        self._rate_read = optimizer.learning_rate
        if device is not None and self._counts_steps:
            allow_uncaptured_steps(self._theirs)

    @property
    def rate(self) -> float | Tensor:
        """The learning rate of a step."""
        return self._ours.learning_rate if self._rate_there is None else self._rate_there

    def read_rate(self) -> None:
        """Copy the learning rate to the device if it has changed."""
        if self._rate_there is not None and self._rate_read != self._ours.learning_rate:
            self._rate_read = self._ours.learning_rate
            self._rate_there.fill_(self._rate_read)

    def step(
        self,
        values: Mapping[str, Tensor],
        state: Mapping[str, Mapping[str, Tensor]],
        scaler: torch.amp.GradScaler,
    ) -> None:
        """Update values and their state in place, by name, unless a gradient is not finite."""
        group, names = self._theirs.param_groups[0], self._names
        group["params"], group["lr"] = list(values.values()), self.rate
        of_values = {value: {names[s]: state[name][s] for s in names} for name, value in values.items()}
        self._theirs.state = defaultdict(dict, of_values)
        scaler.unscale_(self._theirs)
        scaler.step(self._theirs)
        scaler.update()
        self._theirs.zero_grad()
        if not self._counts_steps:
            for name in values:
                state[name]["step"] += 1


def _as_torch(o: Optimizer) -> torch.optim.Optimizer:
    nothing, rate = [torch.zeros(1)], o.learning_rate
    if isinstance(o, SGD):
        return torch.optim.SGD(nothing, rate, o.momentum, nesterov=o.nesterov, fused=True)
    if isinstance(o, AdaGrad):
        return torch.optim.Adagrad(nothing, rate, eps=o.epsilon)
    if isinstance(o, RMSProp):
        return torch.optim.RMSprop(nothing, rate, alpha=o.decay, eps=o.epsilon)
    assert isinstance(o, Adam)
    settings: dict[str, Any] = {"betas": (o.beta1, o.beta2), "eps": o.epsilon, "fused": True}
    if isinstance(o, AdamW):
        return torch.optim.AdamW(nothing, rate, weight_decay=o.weight_decay, **settings)
    return torch.optim.Adam(nothing, rate, **settings)
