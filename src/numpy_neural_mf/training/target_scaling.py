"""What ratings are counted in while a NeuralMF learns, so that its settings mean the same on every scale."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from ..data import Ratings
from ..data.columns import blocks, room_like
from .engines import OneProcess

# Of a mean square: a variance that is less may be no more than rounding.
ROUNDING = 1e-9


def deviation_of(ratings: Ratings, processes: OneProcess) -> float:
    """The standard deviation of the ratings of all processes; 0 where it is no more than rounding."""
    sums = np.zeros(3)
    for block in blocks(len(ratings)):
        values = ratings.values[block].astype(np.float64)
        sums += np.array([len(values), values.sum(), values @ values])
    n, total, squares = processes.total(sums)
    variance = squares / n - (total / n) ** 2
    return math.sqrt(variance) if variance > ROUNDING * squares / n else 0.0


def unit_for(deviation: float) -> float:
    """The power of √2 next to a standard deviation; 1 where there is none.

    So stars from 1 to 5, and half ones, are counted as they are, and twice the ratings have twice the unit:
    what is learned is the same to the bit.
    """
    return 2.0 ** (round(2 * math.log2(deviation)) / 2) if deviation else 1.0


def in_units(ratings: Ratings, unit: float) -> Ratings:
    """The same ratings, counted in units."""
    if unit == 1:
        return ratings
    values = room_like(ratings.values, len(ratings), np.float32)
    for block in blocks(len(ratings)):
        np.divide(ratings.values[block], np.float32(unit), out=values[block])
    lowest, highest = ratings.scale
    return replace(ratings, values=values, scale=(lowest / unit, highest / unit))
