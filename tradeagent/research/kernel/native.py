"""Compilation of the kernel's functions: to machine code, free of the interpreter's lock.

Only the entrances are kept on disk, each with everything it calls, under the fingerprint of all sources that it is made of: numba itself
looks at the file of the entrance alone. Functions that other rooms call as plain Python (`algos.machine`, `algos.levels`) stay what they
are; `understood` lets compiled code call them.
"""

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
from llvmlite import ir
from numba import types
from numba.extending import intrinsic, register_jitable
from numba.np.arrayobj import make_array

from tradeagent.research.version import kernel_version

Function = TypeVar("Function", bound=Callable[..., Any])

# Arrays are counted by the caller and Python never calls these functions: without the counting and the wrappers they are a third faster.
OPTIONS = {"error_model": "numpy", "_nrt": False, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}


def native(function: Function) -> Function:
    """The function compiled with its caller; integer division does not look for zero, so callers never divide by it."""
    return cast(Function, numba.njit(**OPTIONS)(function))


def inlined(function: Function) -> Function:
    """As `native`, always put in place of the call: for a few instructions, and for what every trade needs and is called in one place."""
    return cast(Function, numba.njit(**OPTIONS, forceinline=True)(function))


def entrance(function: Function) -> Function:
    """A function that Python calls: compiled on its first call and kept on disk. It closes over FINGERPRINT when it calls others."""
    return cast(Function, numba.njit(cache=True, nogil=True, error_model="numpy", _nrt=False)(function))


def understood(*functions: Callable[..., Any]) -> None:
    """Let compiled code call plain functions; they are compiled with their caller."""
    for function in functions:
        register_jitable(error_model="numpy")(function)


FINGERPRINT = int(kernel_version(), 16)


def _prefetch(_context: Any, base: Any, _index: Any) -> Any:
    """Ask for the memory of a place behind an address, which need not exist, without waiting for it."""

    def generate(target: Any, builder: Any, _signature: Any, values: Any) -> Any:
        word = ir.IntType(32)
        place = builder.bitcast(builder.gep(values[0], [values[1]]), ir.IntType(8).as_pointer())
        ask = builder.module.declare_intrinsic(
            "llvm.prefetch", [place.type], ir.FunctionType(ir.VoidType(), [place.type, word, word, word])
        )
        builder.call(ask, [place, word(0), word(3), word(1)])
        return target.get_dummy_value()

    return types.void(base, types.int64), generate


def _flagged(_context: Any, codes: Any, _index: Any, _masks: Any) -> Any:
    """How many of the eight bytes behind a place come before the first that has a flag of its byte of the mask."""

    def generate(_target: Any, builder: Any, _signature: Any, values: Any) -> Any:
        place = builder.bitcast(builder.gep(values[0], [values[1]]), ir.IntType(64).as_pointer())
        found = builder.and_(builder.load(place, align=1), values[2])
        return builder.lshr(builder.cttz(found, ir.Constant(ir.IntType(1), 0)), ir.Constant(ir.IntType(64), 3))

    return types.int64(codes, types.int64, types.int64), generate


def _pointer(_context: Any, array: Any) -> Any:
    """The address of an array's data, to be indexed flat: to hand it on is one word, and no shape is multiplied to reach into it."""

    def generate(target: Any, builder: Any, signature: Any, values: Any) -> Any:
        return make_array(signature.args[0])(target, builder, values[0]).data

    return types.CPointer(array.dtype)(array), generate


prefetch = cast(Callable[[Any, int], None], intrinsic(_prefetch))
flagged = cast(Callable[[Any, int, int], int], intrinsic(_flagged))
pointer = cast(Callable[[Any], Any], intrinsic(_pointer))
