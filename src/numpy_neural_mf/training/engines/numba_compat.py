"""All that the package needs of Numba's internals: caching, threads, and a prefetch instruction."""

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from .base import require_same_process

CACHE_LINE = 64

# Number of rows by which prefetching is ahead.
AHEAD = 16

OPTIONS = {"fastmath": True, "nogil": True, "error_model": "numpy"}

# How threads wait for each other: awake for some microseconds, the time to the next loop, then asleep. Going
# to sleep at once and waking up took as long as a step of some hundred ratings. If another program also wants
# the processor, threads that never sleep made a step several times longer.
WAITING = {"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "2000"}

_one_at_a_time = threading.Lock()


def compiled(function: Callable[..., Any] | None = None, **options: Any) -> Any:
    """Apply `numba.njit` with the options of this package, cached on disk if there is a writable folder."""
    if function is None:
        return lambda given: compiled(given, **options)
    options = OPTIONS | options
    try:
        dispatcher = njit(cache=True, **options)(function)
    except RuntimeError:  # no HOME, or another user's files: each process compiles
        return njit(**options)(function)
    # Numba checks only whether the function's own file has changed, and would keep old code of the functions
    # it calls. With this stamp, cached code is valid as long as no file of kernels in the folder has changed.
    folder = Path(function.__code__.co_filename).parent
    files = [(file, file.stat()) for file in sorted([*folder.glob("numba_*.py"), *folder.glob("kernels.py")])]
    stamp = [(file.name, found.st_mtime, found.st_size) for file, found in files]
    dispatcher._cache._cache_file._source_stamp = stamp
    return dispatcher


def inlined(function: Callable[..., Any]) -> Any:
    """Compile a function and inline it into its callers.

    Without inlining, the process that compiled both functions would call another copy than the processes that
    load the caller from disk, and the copies may round differently.
    """
    return compiled(function, forceinline=True)


def is_cached(dispatcher: Any) -> bool:
    """Return whether some process has left compiled code of a function on disk."""
    folder = dispatcher.stats.cache_path
    name = f"{dispatcher.py_func.__module__.rpartition('.')[2]}.{dispatcher.py_func.__qualname__}"
    return folder is not None and any(Path(folder).glob(f"{name}-*.nbi"))


def start_threads() -> int:
    """Start Numba's threads if they are not running, and return their number.

    Raises RuntimeError if this process was forked from one in which they were running.
    """
    added = set() if "OMP_WAIT_POLICY" in os.environ else WAITING.keys() - os.environ.keys()
    os.environ.update({name: WAITING[name] for name in added})
    try:
        n_threads = int(numba.get_num_threads())  # reads the variables when the threads start
    finally:
        for name in added:
            del os.environ[name]
    if numba.threading_layer() == "omp":
        require_same_process("numba")
    return n_threads


def launch(kernel: Callable[..., Any], *arguments: Any) -> Any:
    """Call a parallel kernel; one at a time if Numba's threads serve only one Python thread."""
    layer = numba.threading_layer()
    if layer == "workqueue":
        with _one_at_a_time:
            return kernel(*arguments)
    if layer == "omp":
        require_same_process("numba")
    return kernel(*arguments)


@intrinsic
def prefetch_byte(typing_context: Any, table: Any, offset: Any) -> Any:
    """Prefetch the cache line of a byte of a table for writing, without waiting for it."""

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


@inlined
def prefetch(table, row):
    """Prefetch a row of a table."""
    start = row * table.strides[0]
    for offset in range(start, start + table.strides[0], CACHE_LINE):
        prefetch_byte(table, offset)
