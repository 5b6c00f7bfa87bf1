"""A program on a terminal of its own: keys go in, what it drew comes out, and what is waited for is named when it does not come."""

import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Sequence
from contextlib import suppress
from fcntl import ioctl
from pathlib import Path
from types import TracebackType
from typing import Self

_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b\][^\x07]*\x07|\x1b[=>()][A-Z0-9]?|\r")
PATIENCE_S = 60.0


class Terminal:
    """`with Terminal(command) as terminal`: `expect` waits for words on the screen, `send` types."""

    def __init__(self, command: Sequence[str], env: dict[str, str] | None = None, cwd: Path | None = None) -> None:
        self._command, self._cwd = list(command), cwd
        self._env = {**os.environ, "TERM": "xterm-256color", "PROMPT_TOOLKIT_NO_CPR": "1", **(env or {})}
        self._raw = b""
        self._seen = 0

    def __enter__(self) -> Self:
        self._master, slave = pty.openpty()
        ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
        self.process = subprocess.Popen(
            self._command, stdin=slave, stdout=slave, stderr=slave, env=self._env, cwd=self._cwd, start_new_session=True
        )
        os.close(slave)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        os.close(self._master)

    @property
    def screen(self) -> str:
        """Everything drawn so far, without colours and movements."""
        return _ESCAPES.sub("", self._raw.decode("utf-8", "replace"))

    def expect(self, words: str) -> str:
        """Wait until the words are drawn after what was expected before; what was drawn up to them."""
        until = time.monotonic() + PATIENCE_S
        while (at := self.screen.find(words, self._seen)) < 0:
            assert time.monotonic() < until, f"{words!r} did not appear after:\n{self.screen[self._seen :]}"
            assert self._read() or self.process.poll() is None or words in self.screen[self._seen :], (
                f"it ended before {words!r}:\n{self.screen}"
            )
        drawn, self._seen = self.screen[self._seen : at], at + len(words)
        return drawn

    def send(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    def line(self, text: str) -> None:
        self.send(f"{text}\r")

    def end(self) -> int:
        """Wait for the program's own end; its exit code."""
        until = time.monotonic() + PATIENCE_S
        while self.process.poll() is None and time.monotonic() < until:
            self._read()
        return self.process.wait(1)

    def leave(self) -> int:
        """Ctrl-D until the program ends; its exit code. One that is typed while it draws is the terminal's and not the program's."""
        until = time.monotonic() + PATIENCE_S
        while self.process.poll() is None and time.monotonic() < until:
            with suppress(OSError):  # it has just ended
                self.send("\x04")
            again = time.monotonic() + 2
            while self.process.poll() is None and time.monotonic() < again:
                self._read()
        return self.process.wait(1)

    def _read(self) -> bool:
        """Take what was drawn; False when there was nothing for a moment."""
        if not select.select([self._master], [], [], 0.1)[0]:
            return False
        try:
            data = os.read(self._master, 65_536)
        except OSError:
            return False
        self._raw += data
        return bool(data)
