"""What each of many processes reads of the ratings, and what they tell each other of it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..data import Ratings
from ..data.splits import drawn_rows, parts
from ..training.engines import OneProcess


def own_part(
    ratings: Ratings,
    validation: Ratings | None,
    fraction: float,
    rng: np.random.Generator,
    processes: OneProcess,
    with_times: bool = False,
) -> tuple[Ratings, Ratings | None]:
    """The ratings that this process learns from, and those that it validates on; of one process, all.

    Only its own rows are read. Which are held out is drawn for all rows, by all processes alike.

    Parameters
    ----------
    ratings : Ratings
    validation : Ratings or None
    fraction : float
        To hold out of `ratings` where there is no `validation`.
    rng : numpy.random.Generator
    processes : OneProcess
    with_times : bool, default False
        Whether timestamps are of use; what is not would be copied with the ratings.
    """
    rows = processes.part(len(ratings))
    own = replace(ratings.part(rows), noise_variance=None, expected=None)
    own = own if with_times else replace(own, timestamps=None)
    if validation is not None:
        return own, validation.part(processes.part(len(validation)))
    if round(fraction * len(ratings)) == 0:
        return own, None
    return parts(own, drawn_rows(ratings, fraction, rng)[rows])


def joined(ratings: Ratings, processes: OneProcess) -> Ratings:
    """The ratings of all processes, which have a part each, without their times."""
    if processes.size == 1:
        return ratings
    users, items, values = map(processes.joined, (ratings.users, ratings.items, ratings.values))
    return replace(ratings, users=users, items=items, values=values, timestamps=None)
