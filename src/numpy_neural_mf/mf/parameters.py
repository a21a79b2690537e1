"""The parameters of a model by their PyTorch names: tables, with types, and dense arrays."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Parameters = dict[str, NDArray[np.floating[Any]]]

Side = Literal["user", "item"]
Entity = Literal["user", "item", "user_time", "item_time"]
Kind = Literal["embedding", "bias"]

SIDES: tuple[Side, Side] = ("user", "item")
KINDS: tuple[Kind, Kind] = ("embedding", "bias")
TIME_BINS: dict[Side, Entity] = {"user": "user_time", "item": "item_time"}


@dataclass(frozen=True, slots=True)
class Table:
    """A parameter with a row for each user, item or time bin; a batch updates only the rows it uses."""

    entity: Entity
    kind: Kind
    shape: tuple[int, int]  # user and item tables have one more row, the last, for unknown ids

    @property
    def name(self) -> str:
        """The table's name in PyTorch."""
        return table_name(self.entity, self.kind)


def table_name(entity: Entity, kind: Kind) -> str:
    """Return the name of a table in PyTorch."""
    return f"{entity}_{kind}.weight"


def variance_name(side: Side, kind: Kind) -> str:
    """Return the name of the row variances of a table; the row means are under `table_name`."""
    return f"{side}_{kind}.variance"


_ENTITIES: tuple[Entity, ...] = (*SIDES, *TIME_BINS.values())
_BY_NAME = {table_name(entity, kind): (entity, kind) for entity in _ENTITIES for kind in KINDS}


def is_table(name: str) -> bool:
    """Return whether a parameter of this name is a table."""
    return name in _BY_NAME


def tables_in(parameters: Mapping[str, Any]) -> list[Table]:
    """Return the tables among parameters (arrays or tensors), in their order."""
    return [Table(*_BY_NAME[name], value.shape) for name, value in parameters.items() if name in _BY_NAME]


def fill_unknown(parameters: Parameters) -> None:
    """Set the last row of each user and item table to the mean of the others, with their total variance."""
    for table in tables_in(parameters):
        if table.entity in SIDES:
            rows = parameters[table.name]
            rows[-1] = rows[:-1].mean(axis=0)
            variance = parameters.get(variance_name(table.entity, table.kind))
            if variance is not None:
                variance[-1] = rows[:-1].var(axis=0) + variance[:-1].mean(axis=0)
