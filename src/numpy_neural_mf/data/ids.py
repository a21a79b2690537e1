"""Raw ids, as users know them, and their indices, as arrays need them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray


def index_of(ids: NDArray[Any], raw: ArrayLike) -> NDArray[np.int32]:
    """Index of raw ids among known ones.

    Parameters
    ----------
    ids : array of shape (n_ids,), int64 or str, sorted and unique
        `Ratings.user_ids` or `Ratings.item_ids`.
    raw : scalar or array-like of integers or strings
        Ids to look up. A string never equals an integer: 7 and "7" are two ids.

    Returns
    -------
    int32 array of the shape of `raw` (shape () for a scalar), -1 where the id is unknown.
    """
    wanted = np.asarray(raw) if hasattr(raw, "__array__") else np.asarray(raw, dtype=object)
    strings = ids.dtype.kind == "U"
    if wanted.dtype.kind == ("U" if strings else "i"):
        return _positions(ids, wanted)
    # Mixed, missing, fractional or huge ids: only those of the type of `ids` can be known.
    values = wanted.astype(object).ravel()
    usable = np.array([_is_str(v) if strings else _is_int64(v) for v in values], bool)
    found = np.full(len(values), -1, np.int32)
    found[usable] = _positions(ids, values[usable].astype(str if strings else np.int64))
    return found.reshape(wanted.shape)


def _positions(ids: NDArray[Any], wanted: NDArray[Any]) -> NDArray[np.int32]:
    """Index in the sorted `ids` of each of `wanted`, of the same type; -1 where it is not among them."""
    if not len(ids):
        return np.full(wanted.shape, -1, np.int32)
    if ids.dtype.kind == "i" and int(ids[-1]) - int(ids[0]) < wanted.size:
        return _looked_up(ids, wanted)
    position = np.minimum(np.searchsorted(ids, wanted), len(ids) - 1)
    return np.where(ids[position] == wanted, position, -1).astype(np.int32)


def _looked_up(ids: NDArray[Any], wanted: NDArray[Any]) -> NDArray[np.int32]:
    """The same by a table of all numbers between the lowest and the highest id: no search for each."""
    table = np.full(int(ids[-1]) - int(ids[0]) + 1, -1, np.int32)
    table[ids - ids[0]] = np.arange(len(ids), dtype=np.int32)
    inside = (wanted >= ids[0]) & (wanted <= ids[-1])
    return np.where(inside, table[np.where(inside, wanted, ids[0]) - ids[0]], np.int32(-1))


def _is_str(value: object) -> bool:
    # NumPy's strings lose a NUL at their end, and so would equal another id.
    return isinstance(value, str) and not value.endswith("\0")


def _is_int64(value: object) -> bool:
    if isinstance(value, float):
        return value.is_integer() and -(2.0**63) <= value < 2.0**63
    return isinstance(value, int | np.integer) and -(2**63) <= int(value) < 2**63
