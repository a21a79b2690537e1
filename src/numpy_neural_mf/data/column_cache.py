"""Ratings kept as columns next to the file that they were read from, and mapped from there the next time.

The file is no safetensors file, as models and checkpoints are. There an array begins where the one before it
ends, and text is no type; here each column begins at a page, and text ids are as they are in memory.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from ..utils.atomic_io import replacing
from .columns import blocks
from .ratings import Ratings

VERSION = 2
# In this order in the file, after the ids.
COLUMNS = ("users", "items", "values", "timestamps")
SETTINGS = ("scale", "scale_is_guessed", "n_dropped")
# Bytes of which arrays begin at a multiple: a page, so that a piece of a column lies in as few as can be.
ALIGNED = 4096


def store_path(source: Path, folder: Path | None = None) -> Path:
    """Where the columns of a file of ratings are kept: next to it, or in a folder."""
    return (source.parent if folder is None else folder) / f"{source.name}.columns"


def identity_of(source: Path, settings: Mapping[str, Any]) -> dict[str, Any]:
    """What must be the same for kept columns to be those of the source: to take note of before it is read."""
    status = source.stat()
    identity = {
        "version": VERSION,
        "source": str(source.absolute()),
        "size": status.st_size,
        "changed": status.st_mtime_ns,
        "settings": dict(settings),
    }
    return dict(json.loads(json.dumps(identity)))  # as it comes back from a file: tuples are lists


def save_columns(path: Path, ratings: Ratings, identity: Mapping[str, Any]) -> None:
    """Write ratings whole or not at all, with the identity of their source.

    The file is a line of JSON, then for each array, ids and columns, the header of `numpy.save` and its data.
    """
    arrays = {name: getattr(ratings, name) for name in ("user_ids", "item_ids", *COLUMNS)}
    arrays = {name: array for name, array in arrays.items() if array is not None}
    settings = {name: getattr(ratings, name) for name in SETTINGS}
    metadata: dict[str, Any] = {**identity, "arrays": list(arrays), **settings}
    metadata["checksum"] = _checksum(metadata, arrays.values())
    with replacing(path) as temporary, temporary.open("wb") as file:
        file.write(json.dumps(metadata).encode() + b"\n")
        for array in arrays.values():
            file.write(b"\0" * (-file.tell() % ALIGNED))
            np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(array))
            file.write(b"\0" * (-file.tell() % ALIGNED))
            array.tofile(file)


def load_columns(path: Path, identity: Mapping[str, Any]) -> Ratings | None:
    """The ratings that `save_columns` wrote, their columns mapped; None if anything is not as it was.

    They are taken if they have the same identity (source, its size and the time of its last change, settings,
    version of this format) and the checksum that was noted.
    """
    try:
        with path.open("rb") as file:
            metadata = json.loads(file.readline(1 << 16))
            if metadata | identity != metadata:
                return None
            arrays: dict[str, Any] = {name: _mapped(path, file) for name in metadata["arrays"]}
        if metadata.pop("checksum") != _checksum(metadata, arrays.values()):
            return None
        ids: dict[str, Any] = {name: np.array(arrays.pop(name)) for name in ("user_ids", "item_ids")}
        settings = {name: metadata[name] for name in SETTINGS}
        return Ratings(**arrays, **ids, **settings | {"scale": tuple(metadata["scale"])})
    except (OSError, ValueError, KeyError, TypeError):  # not there, cut off, or something else altogether
        return None


def _mapped(path: Path, file: BinaryIO) -> NDArray[Any]:
    """The next array of the file, which is then read as far as its end."""
    file.seek(-file.tell() % ALIGNED, os.SEEK_CUR)
    version = np.lib.format.read_magic(file)
    if version != (1, 0):
        raise ValueError(f"expected an array in the format 1.0, found {version}")
    shape, _, dtype = np.lib.format.read_array_header_1_0(file)
    file.seek(-file.tell() % ALIGNED, os.SEEK_CUR)
    if dtype.kind not in "ifU":
        raise ValueError(f"expected numbers or text, found {dtype}")
    array = np.memmap(path, dtype, "r", file.tell(), shape)
    file.seek(array.nbytes, os.SEEK_CUR)
    return np.asarray(array)


def _checksum(metadata: Mapping[str, Any], arrays: Iterable[NDArray[Any]]) -> int:
    checksum = zlib.crc32(json.dumps(metadata).encode())
    for array in arrays:
        for block in blocks(len(array)):
            checksum = zlib.crc32(array[block].view(np.uint8).data, checksum)
    return checksum
