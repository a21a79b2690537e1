"""The state of a training on disk after each epoch: an interrupted training resumes bit for bit."""

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from io import BufferedRandom, BufferedReader
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from ..mf.parameters import is_table
from ..utils.atomic_io import expanded, is_first_process, replacing, require_file
from ..utils.safetensors_stream import MAX_HEADER, in_order, write_safetensors
from ..utils.settings import check_fields
from .distributed import Communicator
from .engines.base import Engine

Arrays = dict[str, NDArray[Any]]
Forms = Mapping[str, tuple[np.dtype[Any], tuple[int | None, ...]]]
# Errors that reading a modified file may raise.
FAULTS = (
    SafetensorError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError
)  # fmt: skip
# Entries of the optimiser's state that only the engine "torch" in reduced precision has.
OPTIONAL = {"optimizer/loss_scale/scale", "optimizer/loss_scale/_growth_tracker"}
FILE = "checkpoint.safetensors"
SINGLE = Communicator()
AT_ONCE = 2**14  # rows of a process that are read at once
# Position of the digest in a file: it is the first value of the header, in hexadecimal digits.
DIGEST = slice(8 + len('{"__metadata__": {"sha256": "'), 8 + len('{"__metadata__": {"sha256": "') + 64)


class Checkpoint:
    """The state of one training in a file that is replaced as a whole, so a kill leaves a complete one.

    `belongs_to` identifies the training (see `fingerprint`). The states of its `generators` are restored.
    """

    def __init__(
        self, folder: str | os.PathLike[str], belongs_to: str, generators: Mapping[str, np.random.Generator]
    ) -> None:
        self.path = expanded(folder) / FILE
        self.belongs_to = belongs_to
        self.generators = generators

    def save(self, engine: Engine, inferred: Arrays, progress: Mapping[str, Any]) -> None:
        """Write the state of an engine and the inferred arrays; `progress` is the loop's, in JSON types."""
        arrays: Arrays = {f"parameters/{name}": a for name, a in engine.parameters.items()}
        arrays |= {f"inferred/{name}": a for name, a in inferred.items()}
        for name, state in engine.optimizer.state.items():
            arrays |= {f"optimizer/{name}/{slot}": a for slot, a in state.items()}
        self.write(arrays, progress, engine.communicator)

    def write(self, arrays: Arrays, progress: Mapping[str, Any], communicator: Communicator = SINGLE) -> None:
        """Write arrays, generator states and `progress`; each process must call it with its table rows."""
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
            with replacing(self.path) as temporary:
                write_file(temporary, forms, rows_of, state)
        else:
            for name in in_order(forms):
                list(rows_of(name))

    def restore(self, engine: Engine, inferred: Arrays) -> dict[str, Any] | None:
        """Restore the saved state (see `read`); return `progress`, or None without a file."""
        expected: Arrays = {f"parameters/{name}": a for name, a in engine.parameters.items()}
        expected |= {f"inferred/{name}": a for name, a in inferred.items()}
        for name, value in engine.parameters.items():
            expected |= {f"optimizer/{name}/{slot}": value for slot in engine.optimizer.slots}
            expected[f"optimizer/{name}/step"] = np.zeros(())
        forms = {name: (a.dtype, a.shape) for name, a in expected.items()}
        saved = self.read(forms, engine.communicator)
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

    def read(self, forms: Forms, communicator: Communicator = SINGLE) -> tuple[Arrays, dict[str, Any]] | None:
        """Restore the generators; return the arrays, with the process's rows of tables, and `progress`.

        `forms` holds the dtype and shape expected of each array in this process; None means any length.
        Returns None if there is no checkpoint yet. Raises ValueError if the file is not a checkpoint, is
        damaged, or belongs to another training.
        """
        if not self.path.exists():
            return None
        require_file(self.path)
        with self.refusing():
            with self.path.open("rb") as file:
                if (size := int.from_bytes(file.read(8), "little")) > MAX_HEADER:
                    raise ValueError(f"a header of {size:,} bytes")
                sha256 = _digest(file)
                file.seek(DIGEST.start)
                if file.read(len(sha256)) != sha256:
                    raise ValueError("one that is damaged or of another version: its digest differs")
            with safe_open(self.path, framework="numpy") as file:
                state = json.loads((file.metadata() or {})["state"])
                if not isinstance(state["belongs_to"], str):
                    raise ValueError("no name of the training that it belongs to")
                if state["belongs_to"] != self.belongs_to:
                    raise _AnotherTrainingError
                arrays = {name: _own(file, name, communicator) for name in file.keys()}  # noqa: SIM118
            _require_sound(arrays, forms)
            if state["generators"].keys() != self.generators.keys():
                raise ValueError(f"the generators {sorted(state['generators'])}")
            for name, of_generator in state["generators"].items():
                check_fields(f"generator {name}", of_generator, self.generators[name].bit_generator.state)
                self.generators[name].bit_generator.state = of_generator
            return arrays, dict(state["progress"])

    @contextmanager
    def refusing(self) -> Iterator[None]:
        """Turn an error in the data read into a ValueError that names the file."""
        try:
            yield
        except _AnotherTrainingError:
            found = "expected the checkpoint of this training, found one of other ratings or settings"
            advice = "name another folder, or delete it to start again"
            raise ValueError(f"{self.path}: {found}; {advice}") from None
        except FAULTS as error:
            found = f"one without {error}" if isinstance(error, KeyError) else str(error)
            raise ValueError(f"{self.path}: expected a checkpoint, found: {found}") from error


class _AnotherTrainingError(Exception):
    """The checkpoint does not belong to this training."""


def write_file(
    path: Path,
    forms: Mapping[str, tuple[np.dtype[Any], tuple[int, ...]]],
    rows_of: Callable[[str], Iterator[NDArray[Any]]],
    state: Mapping[str, Any],
) -> None:
    """Write a file with arrays, a state and its digest."""
    with path.open("wb+") as file:
        write_safetensors(file, forms, rows_of, {"sha256": "0" * 64, "state": json.dumps(state)})
        sha256 = _digest(file)
        file.seek(DIGEST.start)
        file.write(sha256)


def _digest(file: BufferedReader | BufferedRandom) -> bytes:
    """Return the SHA-256 of a file without the digest in it, in hexadecimal digits."""
    file.seek(0)
    before = hashlib.sha256(file.read(DIGEST.start))
    file.seek(DIGEST.stop)
    return hashlib.file_digest(file, lambda: before).hexdigest().encode()


def _require_sound(arrays: Arrays, forms: Forms) -> None:
    """Raise ValueError unless all arrays are there, finite, and in the form that compiled loops expect."""
    if missing := forms.keys() - arrays.keys():
        raise ValueError(f"no {min(missing)}")
    for name, array in arrays.items():
        if name not in forms and name not in OPTIONAL:
            raise ValueError(f"{name}, which is not expected")
        dtype, shape = forms.get(name, (np.dtype(np.float64), ()))
        fits = len(shape) == array.ndim and all(
            expected in (None, found) for expected, found in zip(shape, array.shape, strict=True)
        )
        if array.dtype != dtype or not fits:
            raise ValueError(f"{name}: {array.dtype} of shape {array.shape}, not {dtype} of shape {shape}")
        if not np.isfinite(array).all():
            raise ValueError(f"{name}: numbers that are not finite")
        if name.endswith("/step") and not 0 <= array < 2**53:
            raise ValueError(f"{name}: {array}, which is not a number of steps")


def _is_shard(name: str, n_dimensions: int) -> bool:
    """Return whether each process has some rows of this array: a part of its name names a table."""
    return n_dimensions == 2 and any(is_table(part) for part in name.split("/"))


def _own(file: Any, name: str, communicator: Communicator) -> NDArray[Any]:
    """Return a copy of the process's part of an array; optimisers write into their state."""
    saved = file.get_slice(name)
    shape = saved.get_shape()
    if not _is_shard(name, len(shape)):
        return np.array(file.get_tensor(name))
    parts, at_once = [], AT_ONCE * communicator.size
    for first in range(0, shape[0], at_once):
        parts.append(saved[first : min(first + at_once, shape[0])][communicator.rows].copy())
    return np.concatenate(parts)


def fingerprint(settings: str, columns: Iterable[NDArray[Any]]) -> str:
    """Return a hash of what a training depends on: its settings as text and the columns of its ratings."""
    digest = hashlib.blake2b(settings.encode(), digest_size=16)
    for column in columns:
        digest.update(f"{column.dtype} {column.shape}".encode())
        digest.update(np.ascontiguousarray(column).data)
    return digest.hexdigest()
