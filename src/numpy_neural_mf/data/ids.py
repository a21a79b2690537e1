"""Raw ids, as users know them, and their indices, as arrays need them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Ids = Any  # an id, an array-like of ids of any shape, or an iterable of ids


def as_ids(raw: Ids) -> NDArray[Any]:
    """One id or a collection of ids as an array, without a change of any id.

    Parameters
    ----------
    raw : int, str, array-like or iterable of these
        Arrays, Series, lists and tuples of any shape; views and keys of a dict, generators and other
        iterables, which become one dimension in their order. A set is sorted, numbers first.

    Returns
    -------
    array of integers, of strings or of objects; of shape () for one id

    Raises
    ------
    TypeError
        None, bytes, or an object that is neither an id nor a collection.

    Examples
    --------
    >>> as_ids({9, 8}).tolist(), as_ids(id for id in "ba").tolist(), as_ids("ann").shape
    ([8, 9], ['b', 'a'], ())
    """
    if hasattr(raw, "__array__"):
        return np.asarray(raw)
    if isinstance(raw, set | frozenset):
        raw = sorted(raw, key=lambda id: (isinstance(id, str), id))
    if isinstance(raw, bytes | bytearray) or not isinstance(raw, str | int | float | Iterable):
        raise TypeError(f"expected an id or a collection of ids, found {type(raw).__name__}")
    if not isinstance(raw, str | int | float | list | tuple):
        raw = list(raw)
    return np.asarray(raw, dtype=object)


def index_of(ids: NDArray[Any], raw: Ids) -> NDArray[np.int32]:
    """Index of raw ids among known ones.

    Parameters
    ----------
    ids : array of shape (n_ids,), int64 or str, sorted and unique
        `Ratings.user_ids` or `Ratings.item_ids`.
    raw : id or collection of ids, see `as_ids`
        Ids to look up. A string never equals an integer: 7 and "7" are two ids.

    Returns
    -------
    int32 array of the shape of `raw` (shape () for a scalar), -1 where the id is unknown.

    Raises
    ------
    TypeError
        `raw` is neither an id nor a collection of ids.
    """
    wanted = as_ids(raw)
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
