"""Rewriting a small markdown file that a person may edit at any time: read, edit in memory, compare-and-swap, again."""

from collections.abc import Callable
from pathlib import Path

from tradeagent.domain.errors import BusyError
from tradeagent.workspace.files import Conflict, content_hash, keep_beside, read_settled, try_replace

ATTEMPTS = 5


class EditedFile:
    """One such file; remembers what it wrote, so that only a text changed by others is waited for."""

    def __init__(self, path: Path, *, durable: bool) -> None:
        self.path = path
        self.durable = durable
        self._hash: str | None = None
        self._text = ""

    def read(self) -> str:
        """The text now; empty when there is no file. Raises BusyError while an editor keeps writing, DataError when unreadable."""
        try:
            text = read_settled(self.path, self._hash)
        except FileNotFoundError:
            self._hash = None
            return ""
        if text != self._text or self._hash is None:
            self._text, self._hash = text, content_hash(text)
        return text

    def rewrite(self, edit: Callable[[str], str]) -> Conflict | None:
        """Apply `edit` to the newest text. After five lost races, or while the file never settles, both texts are kept."""
        text = ""
        for _ in range(ATTEMPTS):
            try:
                text = self.read()
            except BusyError:
                break
            after = edit(text)
            if after == text:
                return None
            if try_replace(self.path, self._hash, after, durable=self.durable) is not None:
                self._text, self._hash = after, content_hash(after)
                return None
        return Conflict(self.path, keep_beside(self.path, edit(text), durable=self.durable))
