"""The processes that train one model together: who has what. One process alone has all of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..mf.architecture import Parameters

Array = NDArray[Any]


class OneProcess:
    """Nobody to share with; in general, process `rank` of `size`.

    Row i of a table, a parameter with a row for each user or item or feature of such, is with process
    i mod size, as row i // size of its part; everything else is with all. `rows` are those of this process.
    """

    rank, size = 0, 1

    @property
    def rows(self) -> slice:
        return slice(self.rank, None, self.size)

    def part(self, n: int) -> slice:
        """Which of n ratings this process reads."""
        return slice(n * self.rank // self.size, n * (self.rank + 1) // self.size)

    def place(self, n: int) -> slice:
        """Where n things of this process are among those of all, one process's after another's."""
        return slice(n)

    def total(self, numbers: Array) -> Array:
        """The sum of the arrays of all processes."""
        return numbers

    def anywhere(self, here: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """What is so in any process."""
        return self.total(here.astype(np.int32)) > 0

    def joined(self, column: Array) -> Array:
        """The arrays of all processes, one after another."""
        return column

    def told(self, find_out: Callable[[], str]) -> str:
        """What the first process finds out."""
        return find_out()

    def whole(self, name: str, own: Array) -> Iterator[Array]:
        """In the first process, the rows of all processes in order, some at a time; in others nothing.

        All must take all of it: they send what they have.
        """
        yield own

    def shape(self, name: str, own: Array) -> tuple[int, ...]:
        """That of the array of which this process has `own`."""
        return own.shape

    def gathered(self, parameters: Parameters) -> Parameters:
        """Whole arrays in the first process; {} in the others."""
        return parameters


def is_table(name: str, n_dimensions: int) -> bool:
    """Whether rows of an array of this name, perhaps one of moments, are shared among processes."""
    return n_dimensions == 2 and any(part.startswith(("user_", "item_")) for part in name.split("/"))
