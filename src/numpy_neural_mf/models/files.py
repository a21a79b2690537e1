"""Files of fitted models: safetensors with a JSON description in the header, checked when read."""

import hashlib
import json
import math
import os
from typing import Any, BinaryIO, NamedTuple, NoReturn

import numpy as np
from numpy.typing import DTypeLike, NDArray
from safetensors import SafetensorError, safe_open

from ..data.limits import MAX_ID, MAX_RATING, MAX_TITLE, MIN_RANGE
from ..utils.atomic_io import expanded, replacing, require_file
from ..utils.safetensors_stream import MAX_HEADER, mapped_safetensors, write_safetensors
from ..utils.settings import check_fields
from .fitted import FittedData
from .interactions import Interactions

VERSION = "3"
MAX_DIGITS = 40  # of integers: a seed may have 128 bits
# The smallest positive number and the largest number allowed, so that float32 holds them.
TINY, HUGE = float(np.finfo(np.float32).tiny), float(np.finfo(np.float32).max)
SMALLEST = float(np.finfo(np.float32).smallest_subnormal)
DESCRIPTION = {"model", "rating_scale", "settings", "summary"}
TITLES = "titles"  # array of the items' titles: UTF-8, one per line; absent without titles
Tensors = dict[str, NDArray[Any]]


class ModelFileError(ValueError):
    """A file is not a model, or is incomplete or invalid; the message names the file and the fault."""


class Saved(NamedTuple):
    """What a model saves: JSON values for its settings and a summary of the training, and its arrays."""

    settings: dict[str, Any]
    summary: dict[str, Any]
    arrays: Tensors


def save(path: str | os.PathLike[str], name: str, fitted: FittedData, saved: Saved) -> None:
    """Write a model with this class name: see `Recommender.save`."""
    description = {
        "model": name,
        "rating_scale": [float(bound) for bound in fitted.rating_scale],
        "settings": saved.settings,
        "summary": saved.summary,
    }
    arrays = {
        "user_ids": _encoded_ids(fitted.user_ids),
        "item_ids": _encoded_ids(fitted.item_ids),
        "seen.items": fitted.interactions.items,
        "seen.ratings": fitted.interactions.ratings,
        "seen.offsets": fitted.interactions.offsets,
    }
    if fitted.item_titles is not None and any(fitted.item_titles):
        arrays[TITLES] = np.frombuffer("\n".join(fitted.item_titles).encode(), np.uint8)
    write(path, description, arrays | saved.arrays)


def write(path: str | os.PathLike[str], description: dict[str, Any], tensors: Tensors) -> None:
    """Write a file; whatever happens meanwhile, `path` is the old file or the complete new one."""
    text = json.dumps(description, allow_nan=False, default=_plain)
    arrays = {name: np.ascontiguousarray(array) for name, array in tensors.items()}
    metadata = {"numpy-neural-mf": VERSION, "description": text, "sha256": digest(text, arrays)}
    with replacing(path) as temporary, temporary.open("wb") as file:
        _write_safetensors(file, arrays, metadata)


def _write_safetensors(file: BinaryIO, arrays: Tensors, metadata: dict[str, str]) -> None:
    """Write array by array: safetensors' own `save` would build the whole file in memory."""
    forms = {name: (array.dtype, array.shape) for name, array in arrays.items()}
    write_safetensors(file, forms, lambda name: iter([arrays[name]]), metadata)


def _plain(value: Any) -> Any:
    """Return a NumPy number as a Python number; a generator, as `random_state`, becomes None."""
    if isinstance(value, np.random.Generator):
        return None
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"expected what JSON has, found {type(value).__name__}")


def read(path: str | os.PathLike[str], mapped: bool = False) -> tuple[dict[str, Any], Tensors]:
    """Read the description and the arrays of a file and check its digest; their meaning is not checked."""
    path = expanded(path)
    require_file(path)
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
    if not 2 <= size <= min(MAX_HEADER, path.stat().st_size - 8):
        refuse(path, f"truncated, or no safetensors file: it claims a header of {size:,} bytes")
    try:
        with safe_open(path, framework="np") as file:
            metadata = file.metadata() or {}
            version = metadata.get("numpy-neural-mf")
            if version is None:
                refuse(path, "not a model of numpy-neural-mf")
            if version != VERSION:
                refuse(path, f"expected version {VERSION} of the format, found {version[:20]!r}")
            if mapped:
                tensors = mapped_safetensors(path)
            else:
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, TypeError, KeyError, AttributeError) as error:  # or NumPy does not know a dtype
        refuse(path, f"truncated, or no safetensors file ({error})")
    text = metadata.get("description", "")
    if digest(text, tensors) != metadata.get("sha256"):
        refuse(path, "damaged or changed: its content does not have the digest that it was written with")
    try:
        description = json.loads(text, parse_float=_finite, parse_constant=_finite, parse_int=_integer)
    except (ValueError, RecursionError):
        refuse(path, "the description is no JSON, or has numbers that are too large")
    if not isinstance(description, dict):
        refuse(path, "the description is no JSON object")
    return description, tensors


def _finite(text: str) -> float:
    if not math.isfinite(number := float(text)):
        raise ValueError(f"expected a finite number, found {text}")
    return number


def _integer(text: str) -> int:
    if len(text) > MAX_DIGITS:
        raise ValueError(f"expected at most {MAX_DIGITS} digits, found {len(text)}")
    return int(text)


def refuse(path: str | os.PathLike[str], fault: str) -> NoReturn:
    """Raise a ModelFileError that names the file and its fault, in at most 500 characters."""
    raise ModelFileError(f"{os.fspath(path)}: {fault if len(fault) <= 500 else fault[:500] + '…'}")


def digest(text: str, tensors: Tensors) -> str:
    """Return SHA-256 of the description and of every array with its name, dtype and shape."""
    hashed = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        array = tensors[name]
        hashed.update(f"\0{name}\0{array.dtype.name}\0{array.shape}\0".encode())
        hashed.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return hashed.hexdigest()


def _encoded_ids(ids: NDArray[Any]) -> NDArray[Any]:
    """Encode ids as numbers: int64 unchanged, strings as uint32 code points of shape (n_ids, longest)."""
    return ids if ids.dtype.kind == "i" else ids.view(np.uint32).reshape(len(ids), -1)


def _ascends(items: NDArray[np.int32], offsets: NDArray[np.int64]) -> bool:
    """Return whether the items of each user are in strictly ascending order."""
    in_order = np.append(items[1:] > items[:-1], True)
    in_order[offsets[1:][offsets[1:] > 0] - 1] = True  # the next item belongs to another user
    return bool(in_order.all())


class Contents:
    """The contents of a model file; each array is checked when it is taken, and all must be taken.

    Attributes: the class `name` of the model, its `settings` and `summary`, and the fields of `FittedData`.
    """

    def __init__(self, path: str | os.PathLike[str], mapped: bool = False) -> None:
        self._path = path
        description, self._arrays = read(path, mapped)
        try:
            check_fields("description", description, DESCRIPTION)
        except ValueError as error:
            self.refuse(str(error))
        self.name: Any = description["model"]
        self.settings: dict[str, Any] = description["settings"]
        self.summary: dict[str, Any] = description["summary"]
        if not (isinstance(self.settings, dict) and isinstance(self.summary, dict)):
            self.refuse("settings and summary: expected objects")
        match self.settings.get("random_state"):
            case bool() | float() | str() | list() | dict() as seed:
                self.refuse(f"random_state: expected a whole number of at least 0, found {seed!r}")
            case int(seed) if seed < 0:
                self.refuse(f"random_state: expected a whole number of at least 0, found {seed}")
        match description["rating_scale"]:
            case [int() | float() as low, int() | float() as high] if (
                -MAX_RATING <= low < high <= MAX_RATING and high - low >= MIN_RANGE
            ):
                self.rating_scale = float(low), float(high)
            case scale:
                self.refuse(f"rating_scale: expected [lowest, highest], found {scale}")
        self.user_ids, self.item_ids = self._ids("user_ids"), self._ids("item_ids")
        self.interactions = self._interactions()
        self.titles = self._titles() if TITLES in self._arrays else None

    def refuse(self, fault: str) -> NoReturn:
        """Raise a ModelFileError for a fault."""
        refuse(self._path, fault)

    def length(self, name: str) -> int:
        """Return the length of an array without taking it."""
        if name not in self._arrays or not self._arrays[name].ndim:
            self.refuse(f"arrays: missing {name}")
        return len(self._arrays[name])

    def take(
        self, name: str, dtype: DTypeLike, shape: tuple[int, ...], at_least: float = -HUGE
    ) -> NDArray[Any]:
        """Take an array; refuse it unless it has this dtype and shape and is finite and not below a bound."""
        array = self._pop(name)
        if (array.dtype, array.shape) != (np.dtype(dtype), shape):
            expected = f"{np.dtype(dtype)} of shape {shape}"
            self.refuse(f"{name}: expected {expected}, found {array.dtype} of shape {array.shape}")
        if not np.isfinite(array).all():
            self.refuse(f"{name}: expected finite numbers")
        if array.dtype.kind == "f" and not (array >= at_least).all():
            self.refuse(f"{name}: expected numbers of at least {at_least:.3g}")
        return array

    def require_empty(self) -> None:
        """Refuse arrays that were not taken."""
        if self._arrays:
            self.refuse(f"arrays: not expected {sorted(self._arrays)}")

    def _pop(self, name: str) -> NDArray[Any]:
        if name not in self._arrays:
            self.refuse(f"arrays: missing {name}")
        return self._arrays.pop(name)

    def _ids(self, name: str) -> NDArray[Any]:
        """Take and decode what `_encoded_ids` encoded; refuse ids that are not sorted and unique."""
        ids = self._pop(name)
        if ids.dtype == np.uint32 and ids.ndim == 2 and ids.size:
            if ids.shape[1] > MAX_ID:
                self.refuse(f"{name}: expected ids of at most {MAX_ID} characters, found {ids.shape[1]:,}")
            wrong = ids[(ids > 0x10FFFF) | ((ids >= 0xD800) & (ids < 0xE000))]  # no surrogates
            if wrong.size:
                self.refuse(f"{name}: expected characters, found the number {wrong[0]}")
            ids = ids.view(f"U{ids.shape[1]}").reshape(-1)
        elif not (ids.dtype == np.int64 and ids.ndim == 1 and len(ids)):
            self.refuse(f"{name}: expected ids, found {ids.dtype} of shape {ids.shape}")
        if not (ids[:-1] < ids[1:]).all():
            self.refuse(f"{name}: expected sorted unique ids")
        return ids

    def _titles(self) -> dict[Any, str]:
        text, n = self._pop(TITLES), len(self.item_ids)
        if text.dtype != np.uint8 or text.ndim != 1 or np.count_nonzero(text == ord("\n")) != n - 1:
            self.refuse(f"{TITLES}: expected {n} lines of text")
        try:
            titles = text.tobytes().decode().split("\n")
        except UnicodeDecodeError:
            self.refuse(f"{TITLES}: expected UTF-8")
        if (longest := max(map(len, titles))) > MAX_TITLE:
            self.refuse(f"{TITLES}: expected at most {MAX_TITLE} characters each, found {longest:,}")
        return {id: title for id, title in zip(self.item_ids.tolist(), titles, strict=True) if title}

    def _interactions(self) -> Interactions:
        items, ratings, offsets = (self._pop(f"seen.{name}") for name in ("items", "ratings", "offsets"))
        if not (
            [array.dtype for array in (items, ratings, offsets)] == [np.int32, np.float32, np.int64]
            and items.ndim == 1
            and len(items)
            and ratings.shape == items.shape
            and (np.abs(ratings) <= MAX_RATING).all()
            and offsets.shape == (len(self.user_ids) + 1,)
            and offsets[0] == 0
            and offsets[-1] == len(items)
            and (offsets[:-1] <= offsets[1:]).all()
            and ((items >= 0) & (items < len(self.item_ids))).all()
            and _ascends(items, offsets)
        ):
            self.refuse("seen.items, seen.ratings, seen.offsets: expected the ratings of each user")
        return Interactions(items, ratings, offsets, len(self.item_ids))
