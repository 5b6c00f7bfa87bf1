"""Compilation of the kernel's functions: to machine code, free of the interpreter's lock.

Only the entrances are kept on disk, each with everything it calls, under the fingerprint of all sources that it is made of: numba itself
looks at the file of the entrance alone. Functions that other rooms call as plain Python (`algos.machine`, `algos.levels`) stay what they
are; `understood` lets compiled code call them.
"""

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
from numba.extending import register_jitable

from tradeagent.research.version import kernel_version

Function = TypeVar("Function", bound=Callable[..., Any])

# Arrays are counted by the caller and Python never calls these functions: without the counting and the wrappers they are a third faster.
OPTIONS = {"error_model": "numpy", "_nrt": False, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}


def native(function: Function) -> Function:
    """The function compiled with its caller; integer division does not look for zero, so callers never divide by it."""
    return cast(Function, numba.njit(**OPTIONS)(function))


def small(function: Function) -> Function:
    """As `native`, for a few instructions of arithmetic: always put in place of the call."""
    return cast(Function, numba.njit(**OPTIONS, forceinline=True)(function))


def inlined(function: Function) -> Function:
    """As `native`, made part of its caller: what takes the whole tape would otherwise be handed a copy of its descriptors each time."""
    return cast(Function, numba.njit(**OPTIONS, inline="always")(function))


def entrance(function: Function) -> Function:
    """A function that Python calls: compiled on its first call and kept on disk. It closes over FINGERPRINT when it calls others."""
    return cast(Function, numba.njit(cache=True, nogil=True, error_model="numpy", _nrt=False)(function))


def understood(*functions: Callable[..., Any]) -> None:
    """Let compiled code call plain functions; they are compiled with their caller."""
    for function in functions:
        register_jitable(error_model="numpy")(function)


FINGERPRINT = int(kernel_version(), 16)
