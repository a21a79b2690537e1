"""All that the package needs of Numba's internals: caching, inlining, threads, a prefetch instruction."""

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import Compiler
from numba.extending import intrinsic

from .base import require_same_process

CACHE_LINE = 64

# Number of rows by which prefetching is ahead.
AHEAD = 16

OPTIONS = {"fastmath": True, "nogil": True, "error_model": "numpy"}
# Neither code to call a function from Python and C nor counts of references to its arrays.
ONLY_INLINED = {"forceinline": True, "no_cpython_wrapper": True, "no_cfunc_wrapper": True, "_nrt": False}

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


class InlinedLibrary(JITCodeLibrary):  # type: ignore[misc]  # Numba has no types
    """The code of a function that is only inlined: LLVM optimises its callers, not the code itself."""

    def _optimize_final_module(self) -> None:
        pass


class InlinedCompiler(Compiler):  # type: ignore[misc]
    """Compiles a function into an `InlinedLibrary`."""

    def __init__(self, typing_context: Any, context: Any, library: Any, *more: Any) -> None:
        super().__init__(typing_context, context, InlinedLibrary(context.codegen(), "inlined"), *more)


def inlined(function: Callable[..., Any] | None = None, **options: Any) -> Any:
    """Inline a function into its compiled callers; Python cannot call it, and it cannot make arrays.

    Without inlining, the process that compiled both functions would call another copy than the processes that
    load the caller from disk, and the copies may round differently.
    """
    if function is None:
        return lambda given: inlined(given, **options)
    options = OPTIONS | ONLY_INLINED | options
    return njit(pipeline_class=InlinedCompiler, **options)(function)


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


def borrowed(context: Any, builder: Any, kind: Any, value: Any) -> Any:
    """Return a value whose arrays do not own their memory, so nothing counts references to them."""
    if isinstance(kind, types.BaseTuple):
        elements = zip(kind.types, cgutils.unpack_tuple(builder, value), strict=True)
        return context.make_tuple(builder, kind, [borrowed(context, builder, *one) for one in elements])
    if isinstance(kind, types.Array):
        array = context.make_array(kind)(context, builder, value)
        array.meminfo = cgutils.get_null_value(array.meminfo.type)
        array.parent = cgutils.get_null_value(array.parent.type)
        return array._getvalue()
    return value


@intrinsic
def in_threads(typing_context: Any, function: Any, n: Any, arguments: Any) -> Any:
    """Call an inlined function(number, *arguments) for each number below n, in Numba's threads.

    `start_threads` comes first. Numba's own parallel loops took twice as long to compile: they pass every
    array as an argument, and LLVM optimises the body of the loop again for each wrapper around it.
    """
    called = function.get_call_type(typing_context, (types.intp, *arguments.types), {})
    void, size, byte = ir.VoidType(), ir.IntType(64), ir.IntType(8).as_pointer()

    def some_calls(context: Any, module: Any, kind: Any) -> Any:
        """Make the function that a thread runs, a NumPy ufunc's loop over the elements of one array."""
        compiled = function.dispatcher.overloads[called.args]
        context.add_linking_libs([compiled.library])
        form = ir.FunctionType(void, [byte.as_pointer(), size.as_pointer(), size.as_pointer(), byte])
        loop = ir.Function(module, form, "in_threads." + compiled.fndesc.mangled_name)
        loop.linkage = "internal"
        # Left to itself, LLVM uses half of AVX-512's registers. It knows the attribute, llvmlite does not.
        set.add(loop.attributes, '"prefer-vector-width"="512"')
        arrays, sizes, _, data = loop.args
        builder = ir.IRBuilder(loop.append_basic_block())
        first = builder.ptrtoint(builder.load(arrays), size)
        packed = builder.load(builder.bitcast(data, kind.as_pointer()))
        given = cgutils.unpack_tuple(builder, borrowed(context, builder, arguments, packed))
        with cgutils.for_range(builder, builder.load(sizes)) as one:
            number = builder.add(first, one.index)
            context.call_internal_no_propagate(builder, compiled.fndesc, called, [number, *given])
        builder.ret_void()
        return loop

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        def external(name: str, result: Any, *kinds: Any) -> Any:
            return cgutils.get_or_insert_function(builder.module, ir.FunctionType(result, kinds), name)

        # The array begins at address 0 and has elements of one byte, so an element's address is its number.
        n_calls = context.cast(builder, values[1], signature.args[1], types.intp)
        given = [cgutils.alloca_once_value(builder, v) for v in (byte(None), n_calls, size(1), values[2])]
        given.insert(0, some_calls(context, builder.module, values[2].type))
        run = external("numba_parallel_for", void, *[byte] * 5, *[size] * 3)
        n_threads = builder.call(external("get_num_threads", size), [])
        builder.call(run, [*(builder.bitcast(v, byte) for v in given), size(0), size(1), n_threads])
        return context.get_dummy_value()

    return types.void(function, n, arguments), generate


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
    for offset in range(start, start + table.shape[1] * table.itemsize, CACHE_LINE):
        prefetch_byte(table, offset)
