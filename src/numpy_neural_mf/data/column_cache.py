"""Cache of ratings: columns in a file next to the source, which the next read maps into memory.

The file has one line of JSON, followed by the ids and columns that this line lists. Unlike files of models
and checkpoints, it is not a safetensors file: each array begins at a page, and text ids are stored as in
memory.
"""

import json
import re
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..utils.atomic_io import replacing, require_file
from ..utils.safetensors_stream import as_bytes
from ..utils.settings import check_boolean, check_integer
from .columns import blocks
from .ratings import Ratings

VERSION = 4
# Arrays in the order of the file, with their dtypes.
IDS = r"<i8|<U[0-9]{1,3}"
DTYPES = {
    "user_ids": IDS,
    "item_ids": IDS,
    "users": "<i4",
    "items": "<i4",
    "values": "<f4",
    "timestamps": "<i8",
}
SETTINGS = ("scale", "scale_is_guessed", "n_dropped")
# Arrays begin at a multiple of this number of bytes, a page, so that a piece of a column spans few pages.
ALIGNED = 4096


def store_path(source: Path, folder: Path | None = None) -> Path:
    """Return the path of the cached columns of a file of ratings: next to it, or in a folder."""
    return (source.parent if folder is None else folder) / f"{source.name}.columns"


def identity_of(source: Path, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return what identifies a source; cached columns are valid while it is equal. Call it before reading."""
    status = source.stat()
    state = str(source.absolute()), status.st_size, status.st_mtime_ns
    identity = {"version": VERSION, "source": state, "settings": dict(settings)}
    return dict(json.loads(json.dumps(identity)))  # as read back from a file: tuples become lists


def save_columns(path: Path, ratings: Ratings, identity: Mapping[str, Any]) -> None:
    """Write ratings, completely or not at all, with the identity of their source."""
    arrays = {name: array for name in DTYPES if (array := getattr(ratings, name)) is not None}
    listed = [(name, array.dtype.str, len(array)) for name, array in arrays.items()]
    metadata = {**identity, "arrays": listed, **{name: getattr(ratings, name) for name in SETTINGS}}
    metadata["checksum"] = _checksum(metadata, arrays.values())
    if path.exists():
        require_file(path)  # writing to a pipe would block until somebody reads it
    with replacing(path) as temporary, temporary.open("wb") as file:
        file.write(json.dumps(metadata).encode() + b"\n")
        for array in arrays.values():
            file.write(b"\0" * (-file.tell() % ALIGNED))
            file.write(as_bytes(array))


def load_columns(path: Path, identity: Mapping[str, Any]) -> Ratings | None:
    """Return the ratings that `save_columns` wrote for this identity, mapped; None if anything changed."""
    try:
        require_file(path)
        with path.open("rb") as file:
            metadata = json.loads(file.readline(1 << 16))
            end = file.tell()
        if metadata | identity != metadata:
            return None
        arrays: dict[str, Any] = {}
        for name, dtype, length in metadata["arrays"]:
            if not re.fullmatch(DTYPES[name], dtype):
                return None
            start = end + -end % ALIGNED
            arrays[name] = np.asarray(np.memmap(path, dtype, "r", start, length))
            end = start + arrays[name].nbytes
        if metadata.pop("checksum") != _checksum(metadata, arrays.values()):
            return None
        ids = {name: np.array(arrays[name]) for name in ("user_ids", "item_ids")}
        settings = {name: metadata[name] for name in SETTINGS}
        check_boolean("scale_is_guessed", settings["scale_is_guessed"])
        check_integer("n_dropped", settings["n_dropped"], at_least=0)
        if not len(arrays["users"]):
            return None
        return Ratings(**arrays | ids, **settings | {"scale": tuple(metadata["scale"])})
    # Missing, truncated or another kind of file.
    except (OSError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError):
        return None


def _checksum(metadata: Mapping[str, Any], arrays: Iterable[NDArray[Any]]) -> int:
    checksum = zlib.crc32(json.dumps(metadata).encode())
    for array in arrays:
        for block in blocks(len(array)):
            checksum = zlib.crc32(array[block].view(np.uint8).data, checksum)
    return checksum
