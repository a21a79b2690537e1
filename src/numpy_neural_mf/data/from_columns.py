"""Convert columns of raw ids, numbers and times to ratings; the last rating of each pair is kept."""

import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..utils.arrays import Float32Array
from ..utils.threads import Threads
from .columns import blocks, coded_integers
from .faults import Faults, RatingsError
from .limits import MAX_RATING
from .ratings import Ratings, check_scale
from .timestamps import in_seconds, timestamp_seconds

# Number of dropped rows above which a warning may be given.
MANY = 50

Coded = tuple[NDArray[Any], NDArray[np.int32]]  # sorted unique ids, and the index of each row's id


def ratings_from(
    columns: Mapping[str, Any], scale: tuple[float, float] | None, source: str, place: Callable[[int], str]
) -> Ratings:
    """Return `Ratings.from_columns` of columns by role ("user", …, "timestamp"); `place` locates a row."""
    from .raw_values import as_id_series, as_series, coded_ids, rating_values, scale_of

    given = None if scale is None else check_scale(scale)
    faults = Faults()
    ids = {"user": "a user id", "item": "an item id"}
    raw = {
        role: as_id_series(column, ids[role], faults) if role in ids else as_series(column)
        for role, column in columns.items()
    }
    lengths = {f"{role}s": len(column) for role, column in raw.items()}
    if len(set(lengths.values())) > 1:
        raise RatingsError(f"{source}: expected columns of one length, found {lengths}")
    if not lengths["users"]:
        raise RatingsError(f"{source}: expected at least one rating, found none")
    users, items = (coded_ids(raw[role], ids[role], faults) for role in ids)
    values = rating_values(raw["rating"], given, faults)
    times = timestamp_seconds(raw["timestamp"], faults) if "timestamp" in raw else None
    faults.refuse(place)
    return _assembled(users, items, values, given or scale_of(values), times, given is None)


def ratings_of_numbers(columns: dict[str, NDArray[Any]], scale: tuple[float, float] | None) -> Ratings | None:
    """Return ratings from arrays by role, as `Text.numbers` makes them; None if a rating is not as expected.

    The arrays are reused, not copied. An impossible scale is a ValueError.
    """
    from .raw_values import scale_of

    given = None if scale is None else check_scale(scale)
    values = columns["rating"]
    lowest, highest = values.min(), values.max()
    fits = given is None or (np.float32(given[0]) <= lowest and highest <= np.float32(given[1]))
    if not (fits and -MAX_RATING <= lowest <= highest <= MAX_RATING):
        return None
    with Threads(3) as threads:  # these spend next to no time in Python
        known = threads.submit(lambda: given or scale_of(values))
        users, items = threads.map(coded_integers, (columns.pop("user"), columns.pop("item")))
    times = columns.get("timestamp")
    times = None if times is None else in_seconds(times)
    return _assembled(users, items, values, known.result(), times, given is None)


def _assembled(
    users: Coded,
    items: Coded,
    values: Float32Array,
    scale: tuple[float, float],
    times: NDArray[np.int64] | None,
    scale_is_guessed: bool,
) -> Ratings:
    """Return ratings from ids and indices, with only the last rating of each pair."""
    ratings = Ratings(
        users[1], items[1], values, users[0], items[0], scale, times, scale_is_guessed=scale_is_guessed
    )
    return _without_older(ratings)


def warn_of_dropped(ratings: Ratings) -> Ratings:
    """Return the ratings; warn if most rows of their table were dropped, which suggests the wrong columns."""
    n = ratings.n_dropped
    if n > max(len(ratings), MANY):
        left_out = f"{n:,} of {n + len(ratings):,} rows were left out"
        why = "the same user rated the same item again later; are these the columns of users and items?"
        warnings.warn(f"{left_out}: {why}", stacklevel=3)
    return ratings


def _without_older(ratings: Ratings) -> Ratings:
    """Return only the last rating of each (user, item) pair, in the order of the rows."""
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
    """Return the sorted numbers of the pairs that occur more than once."""
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
    """Return a number for the (user, item) pair of each row, equal for equal pairs."""
    return ratings.users[rows].astype(np.int64) * ratings.n_items + ratings.items[rows]
