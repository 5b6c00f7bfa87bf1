"""Which of some folders changed since the last look, told by the system where it can (inotify on Linux).

It only spares work: whoever asks reads everything again when the answer is "not known", and from time to time in any case, since a file
system of another machine tells nothing.
"""

import ctypes
import os
import struct
import sys
from collections.abc import Iterable
from pathlib import Path

_WANTED = 0x2 | 0x4 | 0x8 | 0x40 | 0x80 | 0x100 | 0x200 | 0x400 | 0x800
_ONLY_FOLDERS = 0x01000000 | 0x02000000
_OVERFLOW = 0x4000
_HEAD = struct.Struct("iIII")
_BUFFER = 1 << 16


class Changes:
    """Watches folders below `root`, named by relative paths. Not available: `watch` answers False, and the caller looks by itself."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._folders: dict[int, str] = {}
        self._library = ctypes.CDLL(None, use_errno=True) if sys.platform.startswith("linux") else None
        self._descriptor = self._library.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC) if self._library else -1

    def watch(self, folders: Iterable[str]) -> bool:
        """Watch these from now on; call it before reading them. False when the system does not watch, or not so many."""
        if self._library is None or self._descriptor < 0:
            return False
        for folder in folders:
            place = os.fsencode(self._root / folder)
            number = self._library.inotify_add_watch(self._descriptor, place, ctypes.c_uint32(_WANTED | _ONLY_FOLDERS))
            if number < 0:
                return False
            self._folders[number] = folder
        return True

    def changed(self) -> set[str] | None:
        """Folders in which anything was written, made, moved or removed since the last call; None when that is not known."""
        found: set[str] = set()
        while True:
            try:
                data = os.read(self._descriptor, _BUFFER)
            except BlockingIOError:
                return found
            except OSError:
                return None
            at = 0
            while at < len(data):
                number, mask, _, length = _HEAD.unpack_from(data, at)
                at += _HEAD.size + length
                if mask & _OVERFLOW or number not in self._folders:
                    return None
                found.add(self._folders[number])

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
