"""Raw ids, as users know them, and their indices in arrays."""

import re
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Ids = Any  # an id, an array-like of ids of any shape, or an iterable of ids
ID_TYPES = (str, int, float, np.integer, np.floating, type(None))  # a missing id is an unknown one
PANDAS_MISSING = ("NAType", "NaTType")


def as_ids(raw: Ids) -> NDArray[Any]:
    """Return one id (shape ()) or a collection of ids as an array of integers, strings or objects, unchanged.

    Arrays, Series, lists and tuples keep their shape; other iterables become one dimension in their order. A
    set is sorted, numbers first. None, bytes, a data frame, a mask, and anything else that is neither an id
    nor a collection of ids, is a TypeError.

    >>> as_ids({9, 8}).tolist(), as_ids(id for id in "ba").tolist(), as_ids("ann").shape
    ([8, 9], ['b', 'a'], ())
    """
    if hasattr(raw, "columns"):
        raise TypeError(f"expected an id or a collection of ids, found {type(raw).__name__}: give its column")
    if hasattr(raw, "__array__"):
        return _checked(np.asarray(raw))
    if isinstance(raw, set | frozenset):
        raw = sorted(raw, key=lambda id: (isinstance(id, str), id))
    if isinstance(raw, bytes | bytearray) or not isinstance(raw, str | int | float | Iterable):
        raise TypeError(f"expected an id or a collection of ids, found {type(raw).__name__}")
    if not isinstance(raw, str | int | float | list | tuple):
        raw = list(raw)
    return _checked(np.asarray(raw, dtype=object))


def ids_among(name: str, raw: Ids) -> NDArray[Any]:
    """Return a collection of ids as `as_ids` does, of at least one dimension; a single id is a TypeError."""
    ids = as_ids(raw)
    if not ids.ndim:
        raise TypeError(f"{name}: expected a collection of ids, found one {type(raw).__name__}, {raw!r}")
    return ids


def index_of(ids: NDArray[Any], raw: Ids) -> NDArray[np.int32]:
    """Return the index of each raw id among the known ids, in the shape of `as_ids`; -1 for unknown ids.

    The known ids are int64 or str, sorted and unique. An integer equals the string that writes it out, as
    keys of JSON do: 7 is "7", but not "07".
    """
    wanted = as_ids(raw)
    strings = ids.dtype.kind == "U"
    if wanted.dtype.kind == ("U" if strings else "i"):
        return _positions(ids, wanted)
    usable, values = of_kind(ids, wanted)
    found = np.full(wanted.size, -1, np.int32)
    found[usable] = _positions(ids, values)
    return found.reshape(wanted.shape)


def of_kind(ids: NDArray[Any], raw: NDArray[Any]) -> tuple[NDArray[np.bool_], NDArray[Any]]:
    """Return which raw ids, flattened, can be among the known ids, and these in the dtype of the known ids.

    Mixed, missing, fractional or huge ids cannot, unless they are of the kind of the known ids.
    """
    strings = ids.dtype.kind == "U"
    values = np.fromiter(map(_written if strings else _as_number, raw.ravel().tolist()), object, raw.size)
    usable = np.array([_is_str(v) if strings else _is_int64(v) for v in values], bool)
    return usable, values[usable].astype(str if strings else np.int64)


def _checked(ids: NDArray[Any]) -> NDArray[Any]:
    """Return the array if its values are numbers, strings or missing; otherwise raise a TypeError."""
    types = set(map(type, ids.ravel().tolist())) if ids.dtype.kind == "O" else {ids.dtype.type}
    for of in types:
        is_id = issubclass(of, (*ID_TYPES, np.str_)) and not issubclass(of, bool)
        if not is_id and of.__name__ not in PANDAS_MISSING:
            raise TypeError(f"expected an id or a collection of ids, found {of.__name__} among them")
    return ids


def check_ids(name: str, ids: NDArray[Any]) -> None:
    """Raise a ValueError unless known ids are int64 or str, sorted and unique."""
    if ids.ndim != 1 or (ids.dtype != np.int64 and ids.dtype.kind != "U"):
        raise ValueError(f"{name}: expected int64 or str of shape (n,), found {ids.dtype} {ids.shape}")
    if not np.all(ids[:-1] < ids[1:]):
        raise ValueError(f"{name}: expected sorted unique ids")


def _positions(ids: NDArray[Any], wanted: NDArray[Any]) -> NDArray[np.int32]:
    """Return `index_of` for ids of the same type."""
    if not len(ids):
        return np.full(wanted.shape, -1, np.int32)
    if ids.dtype.kind == "i" and int(ids[-1]) - int(ids[0]) < wanted.size:
        # A table of all numbers between the lowest and the highest id replaces the search for each id.
        table = np.full(int(ids[-1]) - int(ids[0]) + 1, -1, np.int32)
        table[ids - ids[0]] = np.arange(len(ids), dtype=np.int32)
        inside = (wanted >= ids[0]) & (wanted <= ids[-1])
        return np.where(inside, table[np.where(inside, wanted, ids[0]) - ids[0]], np.int32(-1))
    position = np.minimum(np.searchsorted(ids, wanted), len(ids) - 1)
    return np.where(ids[position] == wanted, position, -1).astype(np.int32)


def _as_number(value: Any) -> Any:
    return int(value) if isinstance(value, str) and re.fullmatch(r"0|-?[1-9]\d{0,18}", value, re.A) else value


def _written(value: Any) -> Any:
    return str(value) if isinstance(value, int | np.integer) and not isinstance(value, bool) else value


def _is_str(value: object) -> bool:
    # NumPy's strings lose a trailing NUL, and so would equal another id.
    return isinstance(value, str) and not value.endswith("\0")


def _is_int64(value: object) -> bool:
    if isinstance(value, float):
        return value.is_integer() and -(2.0**63) <= value < 2.0**63
    return isinstance(value, int | np.integer) and -(2**63) <= int(value) < 2**63
