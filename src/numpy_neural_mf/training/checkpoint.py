"""The state of a training on disk after each epoch: an interrupted one resumes, to the bit."""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from ..mf.parameters import is_table
from ..utils.atomic_io import is_first_process, replacing
from ..utils.safetensors_stream import in_order, write_safetensors
from .distributed import Communicator
from .engines.base import Engine

Arrays = dict[str, NDArray[Any]]
FILE = "checkpoint.safetensors"
SINGLE = Communicator()
AT_ONCE = 2**14  # rows of a process that are read at a time


class Checkpoint:
    """The state of one training in a folder, in a file that is replaced whole: a kill leaves the last one.

    It `belongs_to` a training, see `fingerprint`, that draws from `generators`, whose states it restores.
    """

    def __init__(
        self, folder: str | os.PathLike[str], belongs_to: str, generators: Mapping[str, np.random.Generator]
    ) -> None:
        self.path = Path(folder) / FILE
        self.belongs_to = belongs_to
        self.generators = generators

    def save(self, engine: Engine, inferred: Arrays, progress: Mapping[str, Any]) -> None:
        """Write the state of an engine and what is inferred; `progress` is the loop's, as JSON holds it."""
        arrays: Arrays = {f"parameters/{name}": a for name, a in engine.parameters.items()}
        arrays |= {f"inferred/{name}": a for name, a in inferred.items()}
        for name, state in engine.optimizer.state.items():
            arrays |= {f"optimizer/{name}/{slot}": a for slot, a in state.items()}
        self.write(arrays, progress, engine.communicator)

    def write(self, arrays: Arrays, progress: Mapping[str, Any], communicator: Communicator = SINGLE) -> None:
        """Write arrays, generator states and `progress`; every process must call it, with its table rows."""
        generators = {name: g.bit_generator.state for name, g in self.generators.items()}
        state = {"belongs_to": self.belongs_to, "progress": progress, "generators": generators}
        shards = {name for name, array in arrays.items() if _is_shard(name, array.ndim)}
        forms = {
            name: (array.dtype, communicator.whole_shape(array) if name in shards else array.shape)
            for name, array in arrays.items()
        }

        def rows_of(name: str) -> Iterator[NDArray[Any]]:
            return communicator.whole(arrays[name]) if name in shards else iter([arrays[name]])

        if is_first_process():
            with replacing(self.path) as temporary, temporary.open("wb") as file:
                write_safetensors(file, forms, rows_of, {"state": json.dumps(state)})
        else:
            for name in in_order(forms):
                list(rows_of(name))

    def restore(self, engine: Engine, inferred: Arrays) -> dict[str, Any] | None:
        """Put the saved state back, see `read`; `progress`, if there is a file."""
        saved = self.read(engine.communicator)
        if saved is None:
            return None
        for name, array in saved[0].items():
            kind, _, name = name.partition("/")
            if kind == "parameters":
                engine.parameters[name][...] = array
            elif kind == "inferred":
                inferred[name][...] = array
            else:
                name, _, slot = name.rpartition("/")
                engine.optimizer.state.setdefault(name, {})[slot] = array
        return saved[1]

    def read(self, communicator: Communicator = SINGLE) -> tuple[Arrays, dict[str, Any]] | None:
        """Put the state of the generators back; the arrays, of tables the rows of a process, and `progress`.

        None if there is no checkpoint yet; ValueError if the file is none, or is of another training.
        """
        if not self.path.exists():
            return None
        try:
            with safe_open(self.path, framework="numpy") as file:
                state = json.loads((file.metadata() or {})["state"])
                arrays = {name: _own(file, name, communicator) for name in file.keys()}  # noqa: SIM118
        except (SafetensorError, KeyError, ValueError) as error:
            raise ValueError(f"{self.path}: expected a checkpoint, found: {error}") from error
        if state["belongs_to"] != self.belongs_to:
            found = "expected the checkpoint of this training, found one of other ratings or settings"
            raise ValueError(f"{self.path}: {found}; name another folder, or delete it to start again")
        for name, of_generator in state["generators"].items():
            self.generators[name].bit_generator.state = of_generator
        return arrays, state["progress"]


def _is_shard(name: str, n_dimensions: int) -> bool:
    """Whether processes have rows of this array, which has the name of a table among its parts."""
    return n_dimensions == 2 and any(is_table(part) for part in name.split("/"))


def _own(file: Any, name: str, communicator: Communicator) -> NDArray[Any]:
    """What a process has of an array; a copy, since optimisers write into their state."""
    saved = file.get_slice(name)
    shape = saved.get_shape()
    if not _is_shard(name, len(shape)):
        return np.array(file.get_tensor(name))
    parts, at_once = [], AT_ONCE * communicator.size
    for first in range(0, shape[0], at_once):
        parts.append(saved[first : min(first + at_once, shape[0])][communicator.rows].copy())
    return np.concatenate(parts)


def fingerprint(settings: str, columns: Iterable[NDArray[Any]]) -> str:
    """A hash of what a training depends on: its settings as text, and the columns of its ratings."""
    digest = hashlib.blake2b(settings.encode(), digest_size=16)
    for column in columns:
        digest.update(f"{column.dtype} {column.shape}".encode())
        digest.update(np.ascontiguousarray(column).data)
    return digest.hexdigest()
