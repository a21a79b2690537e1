"""Writing named arrays to a safetensors file by rows, so that no array must be in memory as a whole."""

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

# The names of dtypes in safetensors.
DTYPES = {
    "float32": "F32", "float64": "F64", "int32": "I32", "int64": "I64", "uint32": "U32", "uint8": "U8",
}  # fmt: skip
MAX_HEADER = 2**24  # bytes; the longest histories take less, see `training.loop.MAX_EPOCHS`
Forms = Mapping[str, tuple[np.dtype[Any], tuple[int, ...]]]
RowsOf = Callable[[str], Iterator[NDArray[Any]]]


def write_safetensors(file: BinaryIO, forms: Forms, rows_of: RowsOf, metadata: Mapping[str, str]) -> None:
    """Write arrays of these dtypes and shapes, in order, each as its rows are generated.

    A file has the length of the header, the header in JSON, padded for alignment, and the arrays.
    """
    header: dict[str, Any] = {"__metadata__": dict(metadata)}
    end = 0
    for name in in_order(forms):
        dtype, shape = forms[name]
        start, end = end, end + dtype.itemsize * int(np.prod(shape))
        header[name] = {"dtype": DTYPES[dtype.name], "shape": shape, "data_offsets": (start, end)}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    file.write(len(text).to_bytes(8, "little") + text)
    for name in in_order(forms):
        for rows in rows_of(name):
            file.write(as_bytes(rows.astype(rows.dtype.newbyteorder("<"), copy=False)))


def mapped_safetensors(path: Path) -> dict[str, NDArray[Any]]:
    """Map the arrays of a file, read-only; all processes that map the file share the memory."""
    content = np.asarray(np.memmap(path, np.uint8, "r"))
    start = 8 + int.from_bytes(content[:8].tobytes(), "little")
    header = json.loads(content[8:start].tobytes())
    types = {name: np.dtype(dtype).newbyteorder("<") for dtype, name in DTYPES.items()}
    arrays = {}
    for name in header.keys() - {"__metadata__"}:
        first, end = header[name]["data_offsets"]
        array = content[start + first : start + end].view(types[header[name]["dtype"]])
        arrays[name] = array.reshape(header[name]["shape"])
    return arrays


def as_bytes(array: NDArray[Any]) -> memoryview:
    """Return the bytes of an array; writing them raises the error of a full disk, unlike `tofile`."""
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data


def in_order(forms: Forms) -> list[str]:
    """Return names in the order of the file: larger item sizes first, so that all arrays are aligned."""
    return sorted(forms, key=lambda name: (-forms[name][0].itemsize, name))
