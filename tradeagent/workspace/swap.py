"""Exchange two file names, or take a free one, in one step where the system can: renameat2 on Linux, renameatx_np on macOS."""

import ctypes
import errno
import os
import sys
from functools import cache
from typing import Any

_AT_FDCWD = -2 if sys.platform == "darwin" else -100
_EXCHANGE = 2
_ONLY_NEW = 4 if sys.platform == "darwin" else 1
_UNSUPPORTED = frozenset({errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP})


def exchange_names(first: str, second: str, folder: int = _AT_FDCWD) -> bool:
    """Swap what the two names mean, atomically; False when the system or the file system cannot. Raises OSError.

    `folder` is an open directory that both names are in; without it they are paths.
    """
    return _renamed(first, second, folder, _EXCHANGE)


def rename_new(first: str, second: str, folder: int) -> None:
    """Rename inside an open directory; FileExistsError when `second` is taken. Where the system can, no instant shows both names."""
    if not _renamed(first, second, folder, _ONLY_NEW):
        os.link(first, second, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)
        os.unlink(first, dir_fd=folder)


def _renamed(first: str, second: str, folder: int, how: int) -> bool:
    function = _system_call()
    if function is None:
        return False
    ctypes.set_errno(0)
    if function(folder, os.fsencode(first), folder, os.fsencode(second), how) == 0:
        return True
    code = ctypes.get_errno()
    if code in _UNSUPPORTED:
        return False
    raise OSError(code, os.strerror(code), second)


@cache
def _system_call() -> Any:
    """The C function as `(folder, first, folder, second, flags) -> 0 or -1`, or None."""
    name = "renameatx_np" if sys.platform == "darwin" else "renameat2"
    return getattr(ctypes.CDLL(None, use_errno=True), name, None)
