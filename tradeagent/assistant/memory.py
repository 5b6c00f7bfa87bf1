"""The assistant's memory: a folder of markdown notes that all sessions share, and that a person reads and edits by hand.

Usual places: `research/`, `strategies/<id>/notes.md`, `insights/optimizations.md`, `insights/strategy-failures.md`,
`user/preferences.md`. What a note says is data to whoever reads it, never an instruction.
"""

from collections.abc import Mapping

from tradeagent.assistant.meaning import Embedding
from tradeagent.assistant.search import Found, Stamp, TextIndex
from tradeagent.domain.clock import Clock
from tradeagent.domain.errors import InvalidInput, TradeAgentError
from tradeagent.workspace.changes import Changes
from tradeagent.workspace.paths import Workspace
from tradeagent.workspace.tree import ANYTHING, Entry, Listing, Text, Tree
from tradeagent.workspace.tree_paths import parts_of

FOLDER = "memory"
INDEX_NAME = "memory.sqlite"
# A look at every note although the system told of no change: a disk of another machine tells nothing.
_LOOK_ANYWAY = 100
# File systems give times in steps of up to 10 ms.
_SETTLES_MS = 50


class Memory:
    """The notes of one workspace. Paths are relative to `memory/` and end with `.md`; rules and errors are those of `workspace.tree`."""

    def __init__(self, workspace: Workspace, clock: Clock, *, durable: bool = True) -> None:
        self._tree = Tree(workspace.root, FOLDER, workspace.locks_dir / "memory.lock", suffix=".md", durable=durable)
        self._index = TextIndex(workspace.state_dir / INDEX_NAME, _Notes(self._tree, clock))

    def notes(self, folder: str = "") -> Listing:
        """Every note below `folder` by path, and what is there that is none. Raises InvalidInput for a folder that is not allowed."""
        return self._tree.listing(folder)

    def read(self, path: str) -> Text:
        """One note, without characters that do not show."""
        return self._tree.read(path)

    def write(self, path: str, text: str, *, expected: str | None = ANYTHING) -> Entry:
        """Make `text` the whole note. With `expected` (the hash of what was read, None: no note) only if it still is so: BusyError."""
        return self._tree.write(path, _said(text), expected=expected)

    def append(self, path: str, text: str) -> Entry:
        """Add lines at the end of a note, made when missing; of several at once none is lost."""
        return self._tree.append(path, _said(text))

    def remove(self, path: str) -> None:
        """Delete a note."""
        self._tree.remove(path)

    def search(self, query: str, *, folder: str = "", limit: int = 10, embedding: Embedding | None = None) -> Found:
        """Notes that hold the words, best first; by meaning too when an embedding is given. Raises InvalidInput without a word."""
        parts_of(folder, "folder")
        return self._index.search(query, folder=folder, limit=limit, embedding=embedding)

    def close(self) -> None:
        """Let go of the index."""
        self._index.close()


def _said(text: str) -> str:
    if not text.strip():
        raise InvalidInput("text: a note needs words", hint="say what to keep; `tradeagent memory rm PATH` removes a note")
    return text if text.endswith("\n") else f"{text}\n"


class _Notes:
    """The notes as documents of the index. After the first look only folders that changed are looked at again."""

    def __init__(self, tree: Tree, clock: Clock) -> None:
        self._tree = tree
        self._clock = clock
        self._changes: Changes | None = None
        self._looks = 0
        self._stamps: dict[str, Stamp] = {}

    def stamps(self) -> Mapping[str, Stamp]:
        """What tells each note's state; the same object while nothing changed."""
        self._looks += 1
        changed = self._changes.changed() if self._changes and self._looks % _LOOK_ANYWAY else None
        if changed is None:
            self._look_at_all()
        elif changed:
            for folder in sorted(changed):
                self._look_at(folder)
        return self._stamps

    def text(self, path: str) -> str:
        """One note; nothing when it cannot be read, so that its name is found at least."""
        try:
            return self._tree.read(path).text
        except TradeAgentError:
            return ""

    def _look_at_all(self) -> None:
        self.close()
        self._changes = Changes(self._tree.root)
        try:
            self._look_at("")
        except TradeAgentError:
            self.close()
            raise

    def _look_at(self, folder: str) -> None:
        """Watch first, then read, so that no change falls between; where the system does not watch, the next look is at everything."""
        start = f"{folder}/" if folder else ""
        folders = self._tree.folders(folder)
        if self._changes and folders and self._changes.watch(folders):
            before, folders = set(folders), self._tree.folders(folder)
            if set(folders) != before:
                self.close()
        elif not folder:
            self.close()
        self._stamps = {path: stamp for path, stamp in self._stamps.items() if not path.startswith(start)} | self._stamps_of(folders)

    def _stamps_of(self, folders: Mapping[str, tuple[list[Entry], list[str]]]) -> dict[str, Stamp]:
        """A note written just now may be written again without its time moving on: its stamp is one that no other look gives."""
        now_ms = self._clock.now_ms()
        settled_ns, once = (now_ms - _SETTLES_MS) * 1_000_000, -(now_ms << 20 | self._looks & 0xFFFFF)
        return {
            entry.path: (entry.inode if entry.modified_ns < settled_ns else once, entry.size, entry.modified_ns)
            for entries, _ in folders.values()
            for entry in entries
        }

    def close(self) -> None:
        """Stop watching; the next look is at everything."""
        if self._changes:
            self._changes.close()
        self._changes = None
