"""Target scaling: a NeuralMF counts ratings in a unit of their own, so its settings fit every scale."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from ..data import Ratings
from ..data.columns import blocks, room_like


def unit_for(deviation: float) -> float:
    """The power of √2 nearest to a standard deviation; 1 for a deviation of 0.

    So stars from 1 to 5, and half stars, have unit 1, and twice the ratings have twice the unit: the learned
    parameters are the same to the bit.
    """
    return 2.0 ** (round(2 * math.log2(deviation)) / 2) if deviation else 1.0


def in_units(ratings: Ratings, unit: float) -> Ratings:
    """The same ratings, counted in units."""
    if unit == 1:
        return ratings
    values = room_like(ratings.values, len(ratings), np.float32)
    for block in blocks(len(ratings)):
        np.divide(ratings.values[block], np.float32(unit), out=values[block])
    # The bounds are divided as the values are, in float32: otherwise a rating could be outside.
    lowest, highest = (float(np.float32(bound) / np.float32(unit)) for bound in ratings.scale)
    return replace(ratings, values=values, scale=(lowest, highest))
