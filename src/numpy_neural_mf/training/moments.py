"""Ratings of users at a time: what a model with periods is told in place of users and items."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from ..data import Ratings
from ..data.columns import count
from ..data.time_bins import Periods
from ..mf.architecture import Parameters
from ..mf.side_features import Bags, moments
from .engines import OneProcess


def find_periods(ratings: Ratings, n: int, processes: OneProcess) -> tuple[Periods, NDArray[np.int64]]:
    """The time of the ratings of all processes in n parts, and how many ratings were given in each.

    Raises
    ------
    ValueError
        There are no timestamps.
    """
    if ratings.timestamps is None:
        raise ValueError("ratings: expected timestamps, since the architecture has periods, found none")
    ends = processes.joined(np.array([ratings.timestamps.min(), ratings.timestamps.max()]))
    periods = Periods(int(ends.min()), int(ends.max()), n)
    return periods, processes.total(count(periods.of(ratings.timestamps), n))


def at_moments(ratings: Ratings, periods: Periods) -> Ratings:
    """The ratings with moments in place of users and items.

    Raises
    ------
    ValueError
        There are too many moments for int32.
    """
    if max(ratings.n_users, ratings.n_items) >= 2**31 // periods.n:
        most = 2**31 // periods.n - 1
        raise ValueError(f"expected at most {most:,} users, or items, with {periods.n} periods")
    assert ratings.timestamps is not None
    period = periods.of(ratings.timestamps)
    return replace(
        ratings,
        users=moments(ratings.users, period, periods.n),
        items=moments(ratings.items, period, periods.n),
        user_ids=np.arange(periods.n * ratings.n_users),
        item_ids=np.arange(periods.n * ratings.n_items),
        user_features=None,
        item_features=None,
    )


def period_bags(parameters: Parameters, n_periods: int) -> dict[str, Bags]:
    """Of a fitted model, where features are collapsed; {} without periods."""
    n_rows = {name[:4]: len(table) for name, table in plain(parameters).items() if "_" in name}
    return {
        side: Bags(csr_array((n, 0), dtype=np.float32), np.zeros(n_periods, np.float32), n_periods)
        for side, n in n_rows.items()
        if n_periods
    }


def plain(parameters: Parameters) -> Parameters:
    """All but the periods."""
    return {name: value for name, value in parameters.items() if "_feature_" not in name}


def at_last_period(parameters: Parameters) -> Parameters:
    """A model without periods, which predicts as this one does in the last."""
    now = plain(parameters)
    for name in parameters.keys() - now.keys():
        now[name.replace("_feature", "")] = now[name.replace("_feature", "")] + parameters[name][-1]
    return now
