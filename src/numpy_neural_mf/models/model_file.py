"""A model on disk: one safetensors file of named arrays, with a description in JSON in its header."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from ..utils.atomic_io import replacing
from ..utils.safetensors_stream import write_safetensors

VERSION = "2"

# The header holds names, shapes and the description: kilobytes. Whatever claims more is no model of ours.
MAX_HEADER = 2**22

Tensors = dict[str, NDArray[Any]]


class ModelFileError(ValueError):
    """A file that is not a model, or not a whole and sound one; the message names the file and the fault."""


def write(path: str | os.PathLike[str], description: dict[str, Any], tensors: Tensors) -> None:
    """Write a model; whatever happens meanwhile, `path` is the old file or the whole new one."""
    text = json.dumps(description, allow_nan=False, default=_plain)
    arrays = {name: np.ascontiguousarray(array) for name, array in tensors.items()}
    metadata = {"numpy-neural-mf": VERSION, "description": text, "sha256": digest(text, arrays)}
    with replacing(path) as temporary, temporary.open("wb") as file:
        _write_safetensors(file, arrays, metadata)


def _write_safetensors(file: BinaryIO, arrays: Tensors, metadata: dict[str, str]) -> None:
    """Array by array: the package's own `save` makes the whole file in memory, mapped ratings and all."""
    forms = {name: (array.dtype, array.shape) for name, array in arrays.items()}
    write_safetensors(file, forms, lambda name: iter([arrays[name]]), metadata)


def read(path: str | os.PathLike[str]) -> tuple[dict[str, Any], Tensors]:
    """The description and the arrays of a file whose digest is right; what they mean is not checked.

    Raises
    ------
    ModelFileError
    OSError
        The file cannot be read.
    """
    path = Path(path)
    _check_header_size(path)
    try:
        with safe_open(path, framework="np") as file:
            metadata = file.metadata() or {}
            if "numpy-neural-mf" not in metadata:
                refuse(path, "not a model of numpy-neural-mf")
            if metadata["numpy-neural-mf"] != VERSION:
                found = metadata["numpy-neural-mf"][:20]
                refuse(path, f"expected version {VERSION} of the format, found {found!r}")
            tensors = file.get_tensors()
    except (SafetensorError, TypeError, KeyError, AttributeError) as error:  # or a dtype unknown to NumPy
        refuse(path, f"truncated, or no safetensors file ({error})")
    text = metadata.get("description", "")
    if digest(text, tensors) != metadata.get("sha256"):
        refuse(path, "damaged or changed: its content does not have the digest that it was written with")
    try:
        description = json.loads(text)
    except (ValueError, RecursionError):
        refuse(path, "the description is no JSON")
    if not isinstance(description, dict):
        refuse(path, "the description is no JSON object")
    return description, tensors


def refuse(path: str | os.PathLike[str], fault: str) -> NoReturn:
    """Raise the error that names a file and its fault."""
    raise ModelFileError(f"{os.fspath(path)}: {fault}")


def digest(text: str, tensors: Tensors) -> str:
    """SHA-256 of the description and of every array with its name, dtype and shape."""
    hashed = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        array = tensors[name]
        hashed.update(f"\0{name}\0{array.dtype.name}\0{array.shape}\0".encode())
        hashed.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return hashed.hexdigest()


def encoded_ids(ids: NDArray[Any]) -> NDArray[Any]:
    """Ids as numbers: int64 as they are, strings as uint32 code points of shape (n_ids, longest)."""
    return ids if ids.dtype.kind == "i" else ids.view(np.uint32).reshape(len(ids), -1)


def decoded_ids(path: str | os.PathLike[str], name: str, numbers: NDArray[Any]) -> NDArray[Any]:
    """What `encoded_ids` made numbers of, sorted and unique."""
    if numbers.dtype == np.uint32 and numbers.ndim == 2 and numbers.shape[1] and numbers.shape[0]:
        if numbers.max() > 0x10FFFF:
            refuse(path, f"{name}: expected characters, found the number {numbers.max()}")
        ids = numbers.view(f"U{numbers.shape[1]}").reshape(-1)
    elif numbers.dtype == np.int64 and numbers.ndim == 1 and len(numbers):
        ids = numbers
    else:
        refuse(path, f"{name}: expected ids, found {numbers.dtype} of shape {numbers.shape}")
    if not (ids[:-1] < ids[1:]).all():
        refuse(path, f"{name}: expected sorted unique ids")
    return ids


def _check_header_size(path: Path) -> None:
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
    if not 2 <= size <= min(MAX_HEADER, path.stat().st_size - 8):
        refuse(path, f"truncated, or no safetensors file: it claims a header of {size:,} bytes")


def _plain(number: Any) -> Any:
    """A number of NumPy's as JSON has it."""
    if isinstance(number, np.generic):
        return number.item()
    raise TypeError(f"expected what JSON has, found {type(number).__name__}")
