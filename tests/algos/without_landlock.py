"""Runs a command on a kernel that answers as one without Landlock: a seccomp filter gives ENOSYS to the call that would begin it, for the
command and everything it starts. Nothing of the product is replaced.

    python without_landlock.py PROGRAM ARGUMENT …
"""

import ctypes
import os
import struct
import sys
from collections.abc import Sequence

NO_NEW_PRIVS, SET_SECCOMP, FILTER = 38, 22, 2
LANDLOCK_CREATE, NO_SUCH_CALL = 444, 0x00050000 | 38
LOAD, EQUAL, GIVE, ALLOW = 0x20, 0x15, 0x06, 0x7FFF0000


def close_landlock() -> None:
    """From here on, and in every child: there is no Landlock."""
    lines = [(LOAD, 0, 0, 0), (EQUAL, 0, 1, LANDLOCK_CREATE), (GIVE, 0, 0, NO_SUCH_CALL), (GIVE, 0, 0, ALLOW)]
    program = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in lines))
    handle = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(lines), ctypes.addressof(program)))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(NO_NEW_PRIVS, 1, 0, 0, 0) or libc.prctl(SET_SECCOMP, FILTER, handle, 0, 0):
        raise OSError(ctypes.get_errno(), "no seccomp filter can be set here")


def main(arguments: Sequence[str]) -> None:
    close_landlock()
    os.execv(arguments[0], list(arguments))


if __name__ == "__main__":
    main(sys.argv[1:])
