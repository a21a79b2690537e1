"""The processes that train one model together: which part each has, and what they exchange."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data import Ratings
from ..mf.parameters import Parameters

Array = NDArray[Any]


class Communicator:
    """Process `rank` of `size` that train together; this base is one that trains by itself.

    It has rows `rank`, `rank + size`, ... of each table, as rows of its shard, and all of other arrays.
    """

    rank, size = 0, 1

    @property
    def rows(self) -> slice:
        """The rows of a table that this process has."""
        return slice(self.rank, None, self.size)

    def part(self, n: int) -> slice:
        """The part of n ratings that this process reads."""
        return slice(n * self.rank // self.size, n * (self.rank + 1) // self.size)

    def place(self, n: int) -> slice:
        """Where the n ratings of this process are among those of all, one process's after another's."""
        return slice(n)

    def all_reduce(self, numbers: Array) -> Array:
        """The sum of the arrays of all processes."""
        return numbers

    def any(self, here: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """What is true in any process."""
        return self.all_reduce(here.astype(np.int32)) > 0

    def all_gather(self, column: Array) -> Array:
        """The arrays of all processes, one after another."""
        return column

    def broadcast(self, compute: Callable[[], str]) -> str:
        """What the first process computes."""
        return compute()

    def whole(self, shard: Array) -> Iterator[Array]:
        """A table's rows in order, in the first process; all must exhaust the iterator: they send theirs."""
        yield shard

    def whole_shape(self, shard: Array) -> tuple[int, ...]:
        """The shape of the table of which this process has a shard."""
        return shard.shape

    def gathered(self, parameters: Parameters) -> Parameters:
        """Whole arrays in the first process; {} in the others."""
        return parameters


def own_part(
    ratings: Ratings, validation: Ratings | None, communicator: Communicator, with_times: bool = False
) -> tuple[Ratings, Ratings | None]:
    """The ratings that this process learns from, and validates on; it reads only its own rows."""
    rows = communicator.part(len(ratings))
    own = replace(ratings.part(rows), noise_variance=None, expected=None)
    own = own if with_times else replace(own, timestamps=None)
    return own, None if validation is None else validation.part(communicator.part(len(validation)))


def all_ratings(ratings: Ratings, communicator: Communicator) -> Ratings:
    """The ratings of all processes, each of which has a part, without timestamps."""
    if communicator.size == 1:
        return ratings
    users, items, values = map(communicator.all_gather, (ratings.users, ratings.items, ratings.values))
    return replace(ratings, users=users, items=items, values=values, timestamps=None)
