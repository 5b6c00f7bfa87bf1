"""The transcript of a conversation: a markdown file that grows while a model speaks, and that every screen tails."""

import re
from pathlib import Path

from tradeagent.domain.clock import Clock
from tradeagent.workspace.files import append_raw
from tradeagent.workspace.plain_text import visible

WRITES_PER_SECOND = 20
_OURS = re.compile(r"(\n[ \t]*)(>|#)")


class Transcript:
    """Collects what a turn says and appends it at most 20 times a second; `flush` writes the rest."""

    def __init__(self, file: Path, clock: Clock, *, live: bool) -> None:
        self._file = file
        self._clock = clock
        self._live = live
        self._waiting: list[str] = []
        self._last_write = 0.0
        self._at_line_start = True

    def say(self, text: str) -> None:
        """Add a model's words. A line of theirs that would read as ours, a tool's answer or a tick's heading, is quoted."""
        text = visible(text)
        self.add(as_said(text) if self._at_line_start else _OURS.sub(r"\1\\\2", text))

    def add(self, text: str) -> None:
        """Add text, without what a terminal would obey; it is on disk within 50 ms of more text coming, or at the next flush."""
        text = visible(text)
        self._waiting.append(text)
        if text.strip(" \t"):
            self._at_line_start = text.rstrip(" \t").endswith("\n")
        if self._live and self._clock.monotonic() - self._last_write >= 1 / WRITES_PER_SECOND:
            self.flush()

    def flush(self) -> None:
        if self._waiting:
            text = "".join(self._waiting)
            self._waiting.clear()
            append_raw(self._file, text)
            self._last_write = self._clock.monotonic()


def as_said(text: str) -> str:
    """Somebody's words from the beginning of a line, those lines quoted that would read as ours."""
    return _OURS.sub(r"\1\\\2", f"\n{text}")[1:]
