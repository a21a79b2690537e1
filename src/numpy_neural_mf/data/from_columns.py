"""Columns of raw ids, numbers and times become ratings, of which the last of each pair is kept."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .columns import blocks, coded_integers
from .faults import Faults, RatingsError
from .ratings import Ratings, check_scale
from .raw_values import as_id_series, as_series, coded_ids, rating_values, scale_of
from .timestamps import timestamp_seconds


def ratings_from(
    users: Any,
    items: Any,
    values: Any,
    timestamps: Any,
    scale: tuple[float, float] | None,
    source: str,
    place: Callable[[int], str],
) -> Ratings:
    """`Ratings.from_columns` for readers whose rows have another name: `place(row)` says where a row is."""
    given = None if scale is None else check_scale(scale)
    faults = Faults()
    raw = {
        "users": as_id_series(users, "a user id", faults),
        "items": as_id_series(items, "an item id", faults),
        "values": as_series(values),
    }
    if timestamps is not None:
        raw["timestamps"] = as_series(timestamps)
    lengths = {name: len(column) for name, column in raw.items()}
    if len(set(lengths.values())) > 1:
        raise RatingsError(f"{source}: expected columns of one length, found {lengths}")
    if not lengths["users"]:
        raise RatingsError(f"{source}: expected at least one rating, found none")
    user_ids, user_codes = coded_ids(raw["users"], "a user id", faults)
    item_ids, item_codes = coded_ids(raw["items"], "an item id", faults)
    numbers = rating_values(raw["values"], given, faults)
    times = timestamp_seconds(raw["timestamps"], faults) if timestamps is not None else None
    faults.refuse(place)
    known = given or scale_of(numbers)
    return _without_older(Ratings(user_codes, item_codes, numbers, user_ids, item_ids, known, times,
                                  scale_is_guessed=given is None))  # fmt: skip


def ratings_of_numbers(columns: dict[str, NDArray[Any]], scale: tuple[float, float] | None) -> Ratings | None:
    """Ratings from arrays by role, as `Text.numbers` makes them; None where a rating is not what is expected.

    The arrays are taken over. An impossible scale is a ValueError.
    """
    given = None if scale is None else check_scale(scale)
    values = columns["rating"]
    lowest, highest = values.min(), values.max()
    fits = given is None or (np.float32(given[0]) <= lowest and highest <= np.float32(given[1]))
    if not (fits and np.isfinite([lowest, highest]).all()):
        return None
    with ThreadPoolExecutor(3) as threads:  # of what these take, next to nothing is Python
        known = threads.submit(lambda: given or scale_of(values))
        coded = threads.map(coded_integers, (columns.pop("user"), columns.pop("item")))
        (user_ids, users), (item_ids, items) = coded
    return _without_older(Ratings(users, items, values, user_ids, item_ids, known.result(),
                                  columns.get("timestamp"), scale_is_guessed=given is None))  # fmt: skip


def _without_older(ratings: Ratings) -> Ratings:
    """Only the last rating of each (user, item) pair, in the order of the rows."""
    repeated = _repeated_pairs(ratings)
    if not len(repeated):
        return ratings
    is_one = [np.isin(_pairs(ratings, block), repeated) for block in blocks(len(ratings))]
    rows = np.flatnonzero(np.concatenate(is_one))
    pairs = _pairs(ratings, rows)
    # lexsort is stable, so equal timestamps keep the order of the rows.
    keys = (pairs,) if ratings.timestamps is None else (ratings.timestamps[rows], pairs)
    order = np.lexsort(keys)
    older = rows[order[:-1][pairs[order[1:]] == pairs[order[:-1]]]]
    is_kept = np.ones(len(ratings), bool)
    is_kept[older] = False
    return replace(ratings.take(is_kept), n_dropped=len(older))


def _repeated_pairs(ratings: Ratings) -> NDArray[np.int64]:
    """One number for each pair that occurs more than once, sorted."""
    last = -1
    for block in blocks(len(ratings)):
        pairs = _pairs(ratings, block)
        if pairs[0] <= last or not np.all(pairs[:-1] < pairs[1:]):
            break
        last = pairs[-1]
    else:  # in order, as MovieLens' files are
        return np.empty(0, np.int64)
    everything = np.empty(len(ratings), np.int64)
    for block in blocks(len(ratings)):
        everything[block] = _pairs(ratings, block)
    everything.sort()
    return np.unique(everything[1:][everything[1:] == everything[:-1]])


def _pairs(ratings: Ratings, rows: slice | NDArray[np.intp]) -> NDArray[np.int64]:
    """One number for each pair of user and item."""
    return ratings.users[rows].astype(np.int64) * ratings.n_items + ratings.items[rows]
