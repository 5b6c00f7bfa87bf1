"""Exchange two file names in one step, where the system can: renameat2 on Linux, renamex_np on macOS."""

import ctypes
import errno
import os
import sys
from functools import cache
from typing import Any

_AT_FDCWD = -100
_EXCHANGE = 2
_UNSUPPORTED = frozenset({errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP})


def exchange_names(first: str, second: str) -> bool:
    """Swap what the two names mean, atomically; False when the system or the file system cannot. Raises OSError."""
    function = _system_call()
    if function is None:
        return False
    ctypes.set_errno(0)
    if function(os.fsencode(first), os.fsencode(second)) == 0:
        return True
    code = ctypes.get_errno()
    if code in _UNSUPPORTED:
        return False
    raise OSError(code, os.strerror(code), second)


@cache
def _system_call() -> Any:
    """The C function as `(first, second) -> 0 or -1`, or None."""
    library = ctypes.CDLL(None, use_errno=True)
    if sys.platform == "darwin":
        function = getattr(library, "renamex_np", None)
        return function and (lambda first, second: function(first, second, _EXCHANGE))
    function = getattr(library, "renameat2", None)
    return function and (lambda first, second: function(_AT_FDCWD, first, _AT_FDCWD, second, _EXCHANGE))
