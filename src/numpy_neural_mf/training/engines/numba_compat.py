"""All that the package needs of Numba's internals: caching, threads, and a prefetch instruction."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numba
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from .forks import require_same_process

CACHE_LINE = 64

# Rows whose arrival from memory is asked for ahead of their turn.
AHEAD = 16

OPTIONS = {"fastmath": True, "nogil": True, "error_model": "numpy"}

# How threads wait for each other: some microseconds awake, the time to the next loop, then asleep. To sleep
# at once and be woken took as long as a step of some hundred ratings; where another program wants the
# processor too, threads that never sleep made a step several times longer.
WAITING = {"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "2000"}

_one_at_a_time = threading.Lock()


def compiled(function: Callable[..., Any] | None = None, **options: Any) -> Any:
    """`numba.njit` with the options of this package, cached on disk if there is a folder to write to."""
    if function is None:
        return lambda given: compiled(given, **options)
    options = OPTIONS | options
    try:
        dispatcher = njit(cache=True, **options)(function)
    except RuntimeError:  # no HOME, or another user's files: each process compiles
        return njit(**options)(function)
    _stamp(dispatcher, function)
    return dispatcher


def _stamp(dispatcher: Any, function: Callable[..., Any]) -> None:
    """Let cached code be valid as long as no file of kernels in this folder has changed.

    Numba asks only of the function's own file whether it has, and would keep old code of what it calls.
    """
    folder = Path(function.__code__.co_filename).parent
    files = sorted([*folder.glob("numba_*.py"), *folder.glob("kernels.py")])
    dispatcher._cache._cache_file._source_stamp = [
        (file.name, file.stat().st_mtime, file.stat().st_size) for file in files
    ]


def is_cached(dispatcher: Any) -> bool:
    """Whether some process has left compiled code of a function on disk."""
    folder = dispatcher.stats.cache_path
    name = f"{dispatcher.py_func.__module__.rpartition('.')[2]}.{dispatcher.py_func.__qualname__}"
    return folder is not None and any(Path(folder).glob(f"{name}-*.nbi"))


def start_threads() -> int:
    """Start Numba's threads, if they are not running, and return their number.

    Raises
    ------
    RuntimeError
        This process was forked from one in which they were running.
    """
    if "OMP_WAIT_POLICY" in os.environ:
        n_threads = numba.get_num_threads()
    else:
        with _environment(WAITING):  # read when the threads start
            n_threads = numba.get_num_threads()
    if numba.threading_layer() == "omp":
        require_same_process("numba")
    return int(n_threads)


def launch(kernel: Callable[..., Any], *arguments: Any) -> Any:
    """Call a parallel kernel; one at a time, if Numba's threads serve only one Python thread."""
    layer = numba.threading_layer()
    if layer == "workqueue":
        with _one_at_a_time:
            return kernel(*arguments)
    if layer == "omp":
        require_same_process("numba")
    return kernel(*arguments)


@contextmanager
def _environment(variables: dict[str, str]) -> Iterator[None]:
    """Environment variables for a while; those that are set already stay."""
    added = {name: value for name, value in variables.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            del os.environ[name]


@intrinsic
def prefetch_byte(typing_context: Any, table: Any, offset: Any) -> Any:
    """Ask for the cache line of a byte of a table, to be written, without waiting for it."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        offset = context.cast(builder, arguments[1], signature.args[1], types.intp)
        byte, flag = ir.IntType(8).as_pointer(), ir.IntType(32)
        address = builder.gep(builder.bitcast(array.data, byte), [offset])
        kind = ir.FunctionType(ir.VoidType(), [byte, flag, flag, flag])
        function = builder.module.declare_intrinsic("llvm.prefetch", [byte], kind)
        builder.call(function, [address, flag(1), flag(3), flag(1)])
        return context.get_dummy_value()

    return types.void(table, offset), generate


@compiled
def prefetch(table, row):
    """Ask for a row of a table."""
    start = row * table.strides[0]
    for offset in range(start, start + table.strides[0], CACHE_LINE):
        prefetch_byte(table, offset)
