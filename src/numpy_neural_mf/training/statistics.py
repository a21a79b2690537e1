"""Statistics of the ratings of all processes, and the unit in which a model measures ratings."""

import math
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from ..data import Ratings
from ..data.columns import blocks, count, room_like
from ..data.timestamps import TimeBins
from ..mf.parameters import Side
from .distributed import Communicator

# Relative to the mean square above the lowest rating; a smaller variance may be only rounding.
ROUNDING = 1e-9


@dataclass(frozen=True, slots=True, eq=False)
class RatingStatistics:
    """Statistics of all processes' training ratings; levels and time bins are empty unless asked for."""

    n: int
    mean: float
    deviation: float  # 0 if it is only rounding
    counts: dict[Side, NDArray[np.int64]]  # number of ratings of each row of a table; last for the unknown
    levels: NDArray[np.float32]  # the distinct ratings, ascending
    time_bins: TimeBins | None
    time_counts: NDArray[np.int64]  # number of ratings in each time bin

    @classmethod
    def of(
        cls, ratings: Ratings, communicator: Communicator, n_time_bins: int = 0, with_levels: bool = False
    ) -> Self:
        """Compute them from each process's part; raise ValueError for time bins without timestamps."""
        n, mean, deviation = _moments(ratings, communicator)
        time_bins, time_counts = None, np.zeros(0, np.int64)
        if n_time_bins:
            times = ratings.timestamps
            if times is None:
                raise ValueError(
                    "ratings: expected timestamps, since the architecture has periods, found none"
                )
            ends = communicator.all_gather(np.array([times.min(), times.max()]))
            time_bins = TimeBins(int(ends.min()), int(ends.max()), n_time_bins)
            time_counts = communicator.all_reduce(count(time_bins.of(times), n_time_bins))
        levels = np.zeros(0, np.float32)
        if with_levels:
            for block in blocks(len(ratings)):
                levels = np.union1d(levels, ratings.values[block])
            levels = np.unique(communicator.all_gather(levels))
        counts: dict[Side, NDArray[np.int64]] = {
            "user": communicator.all_reduce(count(ratings.users, ratings.n_users + 1)),
            "item": communicator.all_reduce(count(ratings.items, ratings.n_items + 1)),
        }
        return cls(n, mean, deviation, counts, levels, time_bins, time_counts)


def _moments(ratings: Ratings, communicator: Communicator) -> tuple[int, float, float]:
    """Return number, mean and deviation; sums above the lowest rating keep 100,001 to 100,005 apart."""
    lowest, sums = ratings.scale[0], np.zeros(3)
    for block in blocks(len(ratings)):
        values = ratings.values[block].astype(np.float64) - lowest
        sums += np.array([len(values), values.sum(), values @ values])
    n, total, squares = communicator.all_reduce(sums)
    variance = squares / n - (total / n) ** 2
    return int(n), lowest + total / n, math.sqrt(variance) if variance > ROUNDING * squares / n else 0.0


def unit_for(deviation: float) -> float:
    """Return the power of 2 nearest to a standard deviation, 1 for 0, so that settings suit every scale.

    Dividing by it is exact. Stars have unit 1. Doubled ratings have twice the unit and the same parameters.
    """
    return 2.0 ** round(math.log2(deviation)) if deviation else 1.0


def in_units(ratings: Ratings, unit: float) -> Ratings:
    """Return the ratings divided by the unit."""
    if unit == 1:
        return ratings
    values = room_like(ratings.values, len(ratings), np.float32)
    for block in blocks(len(ratings)):
        np.divide(ratings.values[block], np.float32(unit), out=values[block])
    # The bounds are divided like the values, because units in files of earlier versions are not powers of 2.
    lowest, highest = (float(np.float32(bound) / np.float32(unit)) for bound in ratings.scale)
    return replace(ratings, values=values, scale=(lowest, highest))
