"""What the compiled loops share: how they are compiled, and how rows are asked for ahead."""

from __future__ import annotations

import os
from typing import Any

from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

CACHE_LINE = 64

# How threads wait for each other, if nobody said otherwise before they were started: some microseconds awake,
# the time to the next loop, then asleep. To sleep at once and be woken took as long as a step of some hundred
# ratings; where another program wants the processor too, threads that never sleep made a step several times
# longer.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ["OMP_WAIT_POLICY"] = "passive"
    os.environ.setdefault("GOMP_SPINCOUNT", "2000")

# Rows whose arrival from memory is asked for ahead of their turn.
AHEAD = 16

compiled = njit(fastmath=True, nogil=True, error_model="numpy", cache=True)


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
