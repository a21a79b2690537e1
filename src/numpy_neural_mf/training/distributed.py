"""The processes that train one model together: the part of each, and what they exchange."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data import Ratings
from ..mf.parameters import Parameters

Array = NDArray[Any]


class Communicator:
    """Process `rank` of `size` processes that train together; this base class is a single process.

    It holds rows `rank`, `rank + size`, ... of each table as its shard, and all other arrays completely.
    """

    rank, size = 0, 1

    @property
    def rows(self) -> slice:
        """The rows of a table that this process holds."""
        return slice(self.rank, None, self.size)

    def part(self, n: int) -> slice:
        """Return the part of n ratings that this process reads."""
        return slice(n * self.rank // self.size, n * (self.rank + 1) // self.size)

    def place(self, n: int) -> slice:
        """Return the positions of this process's n ratings in the concatenated ratings of all processes."""
        return slice(n)

    def all_reduce(self, numbers: Array) -> Array:
        """Return the sum of the arrays of all processes."""
        return numbers

    def any(self, here: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return where `here` is true in any process."""
        return self.all_reduce(here.astype(np.int32)) > 0

    def all_gather(self, column: Array) -> Array:
        """Return the concatenated arrays of all processes."""
        return column

    def broadcast(self, compute: Callable[[], str]) -> str:
        """Return the string that the first process computes."""
        return compute()

    def whole(self, shard: Array) -> Iterator[Array]:
        """Yield a table's rows in order in the first process; the others exhaust it to send their rows."""
        yield shard

    def whole_shape(self, shard: Array) -> tuple[int, ...]:
        """Return the shape of the whole table, given this process's shard."""
        return shard.shape

    def gathered(self, parameters: Parameters) -> Parameters:
        """Return the whole arrays in the first process, and {} in the others."""
        return parameters


def own_part(
    ratings: Ratings, validation: Ratings | None, communicator: Communicator, with_times: bool = False
) -> tuple[Ratings, Ratings | None]:
    """Return the ratings that this process trains and validates on; it reads only its own rows."""
    rows = communicator.part(len(ratings))
    own = replace(ratings.part(rows), noise_variance=None, expected=None)
    own = own if with_times else replace(own, timestamps=None)
    return own, None if validation is None else validation.part(communicator.part(len(validation)))


def all_ratings(ratings: Ratings, communicator: Communicator) -> Ratings:
    """Return the ratings of all processes, each with a part, without timestamps."""
    if communicator.size == 1:
        return ratings
    users, items, values = map(communicator.all_gather, (ratings.users, ratings.items, ratings.values))
    return replace(ratings, users=users, items=items, values=values, timestamps=None)
