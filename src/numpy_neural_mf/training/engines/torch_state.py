"""Parameters and the optimiser's state as tensors, in the arrays' memory or on a device."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from ...mf.parameters import Entity, Parameters, tables_in
from ...nn import Optimizer
from ...nn.parameter import Array

# The key of a table next to its slots of the optimiser.
VALUE = "value"


class JoinedTables:
    """Several tables of an entity as one with their columns side by side: each operation on rows is one.

    Parameters
    ----------
    parts : sequence of tensors of shapes (n, d_1), (n, d_2), ...
        Changed in place.
    """

    def __init__(self, parts: Sequence[Tensor]) -> None:
        self._parts = parts
        self._widths = [part.shape[1] for part in parts]

    def __getitem__(self, rows: Tensor) -> Tensor:
        if len(self._parts) == 1:
            return self._parts[0][rows]
        return torch.cat([part[rows] for part in self._parts], dim=1)

    def __setitem__(self, rows: Tensor, values: Tensor) -> None:
        for part, columns in zip(self._parts, torch.split(values, self._widths, dim=1), strict=True):
            part[rows] = columns


class TorchState:
    """The parameters, and the state of the optimiser.

    Parameters
    ----------
    parameters : Parameters
    optimizer : Optimizer
        Its state is made where there is none.
    device : torch.device, optional
        Where copies go, which `fetch` brings back; by default tensors share the arrays' memory.

    Attributes
    ----------
    values : dict of str to tensor
        The parameters, by name.
    names_of : dict of entity to list of str
        The tables of each entity, in the order in which their columns are joined.
    dense : list of str
        The other parameters.
    """

    def __init__(
        self,
        parameters: Parameters,
        optimizer: Optimizer,
        device: torch.device | None = None,
    ) -> None:
        self._device = device
        self._elsewhere: list[tuple[Array, Tensor]] = []
        self._slots = optimizer.slots
        state = optimizer.state
        for name, value in parameters.items():
            if name not in state:
                state[name] = optimizer.new_state(value)
        tables = tables_in(parameters)
        self.names_of: dict[Entity, list[str]] = {table.entity: [] for table in tables}
        for table in tables:
            self.names_of[table.entity].append(table.name)
        self.dense = [name for name in parameters if name not in {table.name for table in tables}]
        # By entity or, for other parameters, by name: slots, and the number of steps.
        self._slots_of: dict[str, dict[str, Tensor]] = {key: {} for key in [*self.dense, *self.names_of]}
        self._tables: dict[Entity, dict[str, JoinedTables]] = {entity: {} for entity in self.names_of}
        self.values = self._tensors(VALUE, parameters)
        for slot in self._slots:
            tensors = self._tensors(slot, {name: state[name][slot] for name in parameters})
            for name in self.dense:
                self._slots_of[name][slot] = tensors[name]
        for key, names in [*((name, [name]) for name in self.dense), *self.names_of.items()]:
            # PyTorch counts the steps of each that it steps on, others may count once.
            step = state[names[0]]["step"].copy()
            for name in names:
                state[name]["step"] = step
            self._slots_of[key]["step"] = self._tensor(step)

    def rows(self, entity: Entity, rows: Tensor) -> Tensor:
        """A copy of rows of the tables of an entity, joined."""
        return self._tables[entity][VALUE][rows]

    def slots(self, rows: Mapping[Entity, Tensor]) -> dict[str, dict[str, Tensor]]:
        """The state of the optimiser: of dense parameters by name, of copies of rows by entity."""
        of_rows = {
            entity: {slot: self._tables[entity][slot][some] for slot in self._slots}
            for entity, some in rows.items()
        }
        return self._slots_of | {entity: self._slots_of[entity] | found for entity, found in of_rows.items()}

    def put_back(
        self,
        rows: Mapping[Entity, Tensor],
        values: Mapping[Entity, Tensor],
        slots: Mapping[str, Mapping[str, Tensor]],
        used: Mapping[Entity, Tensor],
    ) -> None:
        """Write rows of tables and their slots, by entity; of entities in `used`, only the rows marked."""
        for entity, some in rows.items():
            for slot, table in self._tables[entity].items():
                changed = values[entity] if slot == VALUE else slots[entity][slot]
                if entity in used:
                    changed = torch.where(used[entity][:, None], changed, table[some])
                table[some] = changed

    def fetch(self) -> None:
        """Bring the arrays up to date, where the tensors are copies."""
        for array, tensor in self._elsewhere:
            torch.from_numpy(array).copy_(tensor)

    @property
    def is_elsewhere(self) -> bool:
        """Whether the tensors are copies."""
        return self._device is not None

    def _tensors(self, slot: str, arrays: Parameters) -> dict[str, Tensor]:
        """Tensors of arrays by the names of parameters, and joined tables of them."""
        tensors = {name: self._tensor(arrays[name]) for name in self.dense}
        for entity, names in self.names_of.items():
            parts: Sequence[Tensor] = [torch.from_numpy(arrays[name]) for name in names]
            if self._device is None:
                self._tables[entity][slot] = JoinedTables(parts)
            else:
                whole = torch.cat([part.to(self._device) for part in parts], dim=1)
                self._tables[entity][slot] = JoinedTables([whole])
                parts = torch.split(whole, [part.shape[1] for part in parts], dim=1)
                self._elsewhere += [(arrays[name], part) for name, part in zip(names, parts, strict=True)]
            tensors |= zip(names, parts, strict=True)
        return {name: tensors[name] for name in arrays}

    def _tensor(self, array: Array) -> Tensor:
        tensor = torch.from_numpy(array)
        if self._device is None:
            return tensor
        # PyTorch's kernels count steps, the one array without dimensions, in float32.
        copy = tensor.to(self._device, torch.float32 if array.ndim == 0 else None, copy=True)
        self._elsewhere.append((array, copy))
        return copy
