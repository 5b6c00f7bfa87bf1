"""The decorator of compiled functions: machine code kept on disk beside the source, and no interpreter lock held while it runs.

Modules that use it load numba when they are imported, so they are imported inside functions. Numba looks at a function's own file only:
after a change, remove the machine code of the modules that call what changed (`__pycache__/*.nbi`).
"""

from collections.abc import Callable
from typing import Any, TypeVar, cast

from numba import njit, types
from numba.extending import intrinsic

Function = TypeVar("Function", bound=Callable[..., object])


def compiled(function: Function) -> Function:
    return cast(Function, njit(cache=True, nogil=True)(function))


def _fused(_context: Any, a: Any, b: Any, c: Any) -> Any:
    """a × b + c, rounded once."""

    def generate(_target: Any, builder: Any, _signature: Any, values: Any) -> Any:
        return builder.fma(*values)

    return types.float64(a, b, c), generate


fused = cast(Callable[[float, float, float], float], intrinsic(_fused))
