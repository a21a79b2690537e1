"""Parameters and moments as tensors, in the memory of the arrays or on a device; tables of a side as one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from ...mf.architecture import Parameters
from ...nn import Optimizer
from ...nn.parameter import Array

# Under this name a table is kept beside its moments.
VALUE = "value"


class JoinedTables:
    """Some tables as one, whose rows are theirs side by side: so what there is to do by row is done once.

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
    """What is learned, and what the optimiser remembers of it.

    Parameters
    ----------
    parameters : Parameters
    optimizer : Optimizer
        Its state is made where there is none.
    sides : sequence of str
        "user", "item" and, of their features, "…_feature": whose tables are joined.
    device : torch.device, optional
        Where copies go, that `fetch` brings back; by default tensors are of the arrays' own memory.

    Attributes
    ----------
    values : dict of str to tensor
        The parameters, by name.
    names_of : dict of str to list of str
        The tables of each side, in the order in which their columns are joined.
    dense : list of str
        The other parameters.
    """

    def __init__(
        self,
        parameters: Parameters,
        optimizer: Optimizer,
        sides: Sequence[str],
        device: torch.device | None = None,
    ) -> None:
        self._device = device
        self._elsewhere: list[tuple[Array, Tensor]] = []
        self._slots = optimizer.slots
        state = optimizer.state
        for name, value in parameters.items():
            if name not in state:
                state[name] = optimizer.new_state(value)
        kinds = ("embedding", "bias")
        named = {side: [f"{side}_{kind}.weight" for kind in kinds] for side in sides}
        self.names_of = {side: [n for n in names if n in parameters] for side, names in named.items()}
        in_tables = {name for names in self.names_of.values() for name in names}
        self.dense = [name for name in parameters if name not in in_tables]
        # By side or, of other parameters, by name: the moments, and how many steps there were.
        self._moments: dict[str, dict[str, Tensor]] = {key: {} for key in [*self.dense, *self.names_of]}
        self._tables: dict[str, dict[str, JoinedTables]] = {side: {} for side in self.names_of}
        self.values = self._tensors(VALUE, parameters)
        for slot in self._slots:
            tensors = self._tensors(slot, {name: state[name][slot] for name in parameters})
            for name in self.dense:
                self._moments[name][slot] = tensors[name]
        for key, names in ({name: [name] for name in self.dense} | self.names_of).items():
            # PyTorch counts the steps of each that it steps on, others may count once.
            step = state[names[0]]["step"].copy()
            for name in names:
                state[name]["step"] = step
            self._moments[key]["step"] = self._tensor(step)

    def rows(self, side: str, rows: Tensor) -> Tensor:
        """A copy of rows of the tables of a side, joined."""
        return self._tables[side][VALUE][rows]

    def moments(self, rows: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
        """What the optimiser remembers: of parameters by name, of copies of rows by side."""
        of_rows = {
            side: {slot: self._tables[side][slot][some] for slot in self._slots}
            for side, some in rows.items()
        }
        return self._moments | {side: self._moments[side] | found for side, found in of_rows.items()}

    def put_back(
        self,
        rows: Mapping[str, Tensor],
        values: Mapping[str, Tensor],
        moments: Mapping[str, Mapping[str, Tensor]],
        used: Mapping[str, Tensor],
    ) -> None:
        """Write rows of tables, and what is remembered of them, by side; of some sides, those used alone."""
        for side, some in rows.items():
            for slot, table in self._tables[side].items():
                changed = values[side] if slot == VALUE else moments[side][slot]
                if side in used:
                    changed = torch.where(used[side][:, None], changed, table[some])
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
        for side, names in self.names_of.items():
            parts: Sequence[Tensor] = [torch.from_numpy(arrays[name]) for name in names]
            if self._device is None:
                self._tables[side][slot] = JoinedTables(parts)
            else:
                whole = torch.cat([part.to(self._device) for part in parts], dim=1)
                self._tables[side][slot] = JoinedTables([whole])
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
