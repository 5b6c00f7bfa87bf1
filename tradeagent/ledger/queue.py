"""The queue in front of the ledger's writers: one lock file, held for one transaction, freed by the kernel when its holder dies.

A general lock opens and checks its file at every acquisition, which costs about as much as the transaction it guards. Here the file stays
open, and taking its turn is one system call; the lock is the same `flock`, so every other program that takes it that way waits too.
"""

import fcntl
import os
import time
from pathlib import Path

POLL_S = 0.005


class WriterQueue:
    """One writer's place in the queue of processes. Threads of one process take turns before they come here."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._descriptor = -1
        self._process = 0

    def acquire(self, timeout_s: float) -> bool:
        """Take the lock, asking every 5 ms; False when it was not free within `timeout_s` seconds. Raises OSError."""
        self._open()
        deadline = time.monotonic() + timeout_s
        while not self._take():
            if time.monotonic() >= deadline:
                return False
            time.sleep(POLL_S)
        return True

    def release(self) -> None:
        fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _open(self) -> None:
        """A fork shares its parent's lock and a deleted file is locked in vain, so either gets a file of its own."""
        if self._descriptor >= 0 and (self._process != os.getpid() or os.fstat(self._descriptor).st_nlink == 0):
            self.close()
        if self._descriptor < 0:
            self._descriptor = os.open(self._file, os.O_RDWR | os.O_CREAT, 0o644)
            self._process = os.getpid()

    def _take(self) -> bool:
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
