"""Following a transcript while another process appends to it: only what is new is read, and whole characters come out."""

import codecs
import os
from dataclasses import dataclass
from pathlib import Path

from tradeagent.tui.text import clean
from tradeagent.workspace.files import open_plain

LAST_BYTES = 24_576


@dataclass(frozen=True, slots=True)
class Tailed:
    """What a read found. `restarted` = forget what came before: the file is new, was cut, or grew by more than is shown."""

    text: str
    restarted: bool = False


class TranscriptTail:
    """Reads one growing UTF-8 file. The first read starts at most `last_bytes` before its end, at the beginning of a line.

    Bytes that are no UTF-8 become U+FFFD, control characters are dropped. A missing file is an empty one.
    """

    def __init__(self, file: Path, *, last_bytes: int = LAST_BYTES) -> None:
        self.file = file
        self._last_bytes = last_bytes
        self._inode = 0
        self._offset = 0
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def read(self) -> Tailed:
        """What was appended since the last read. DataError for what is no file; OSError other than a missing file passes through."""
        try:
            found = self.file.stat()
        except FileNotFoundError:
            return self._gone()
        is_same = found.st_ino == self._inode and found.st_size >= self._offset
        if is_same and found.st_size == self._offset:
            return Tailed("")
        with os.fdopen(open_plain(self.file, os.O_RDONLY), "rb") as file:
            here = os.fstat(file.fileno())
            restarted = here.st_ino != self._inode or not self._offset <= here.st_size <= self._offset + self._last_bytes
            if restarted:
                self._restart(here.st_ino)
                self._offset = max(0, here.st_size - self._last_bytes)
                file.seek(self._offset)
                # Somewhere inside a line: what is left of it means nothing.
                self._offset += len(file.readline()) if self._offset else 0
            file.seek(self._offset)
            data = file.read(max(0, here.st_size - self._offset))
        self._offset += len(data)
        return Tailed(clean(self._decoder.decode(data)), restarted)

    def _restart(self, inode: int) -> None:
        self._inode = inode
        self._offset = 0
        self._decoder.reset()

    def _gone(self) -> Tailed:
        was_there = self._inode != 0
        self._restart(0)
        return Tailed("", restarted=was_there)
