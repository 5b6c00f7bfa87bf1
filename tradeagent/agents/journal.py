"""The journal of a session: short-term memory a person can read and edit while the agent writes (agents.md §4).

A rewrite never drops a line: what leaves the journal is in `journal_archive.md` first. Hand edits win: an update meets the
newest text, and when that cannot be had both texts are kept and a Conflict is returned for an incident.
"""

import threading
from pathlib import Path

from tradeagent.agents.journal_lines import DecisionLine, TickLine, parse_decision, parse_tick
from tradeagent.agents.journal_text import JournalText, JournalUpdate, empty_journal
from tradeagent.domain.errors import BusyError
from tradeagent.workspace.files import (
    Conflict,
    Identity,
    append_text,
    content_hash,
    identity,
    keep_beside,
    read_settled,
    read_text,
    try_replace,
)

NAME = "journal.md"
ARCHIVE = "journal_archive.md"
ATTEMPTS = 5
ARCHIVE_TAIL = 200


class Journal:
    """`journal.md` of one session folder. Safe for several threads; other processes only read it, and people edit it."""

    def __init__(self, folder: Path, agent_id: str, *, durable: bool) -> None:
        self._path = folder / NAME
        self._archive = folder / ARCHIVE
        self._agent_id = agent_id
        self._durable = durable
        self._lock = threading.Lock()
        self._held: JournalText | None = None
        self._text = ""
        self._hash: str | None = None
        self._identity: Identity | None = None
        self._known: dict[str, str] = {}
        # Whether a crash or a conflict may have left lines in the archive that are still in the journal.
        self._archive_unsure = True

    def record(self, update: JournalUpdate) -> Conflict | None:
        """Add an update in one atomic rewrite; the same tick again changes nothing.

        Raises the disk errors of `workspace.files`; the journal on disk is then as it was.
        """
        with self._lock:
            try:
                return self._record(update)
            except BaseException:
                self._held, self._archive_unsure = None, True
                raise

    def read(self) -> JournalText:
        """The journal as it is on disk now, for reading."""
        with self._lock:
            if self._held is not None and self._identity is not None and identity(self._path) == self._identity:
                return self._held
            try:
                text = read_settled(self._path, self._hash)
            except FileNotFoundError:
                text = ""
            if self._held is not None and text == self._text:
                return self._held
        return JournalText(text, self._agent_id)

    def _record(self, update: JournalUpdate) -> Conflict | None:
        for _ in range(ATTEMPTS):
            try:
                held = self._held or self._load()
            except BusyError:
                break
            gone = held.apply(update, self._known.values())
            if gone is None:
                if self._hash is None or self._is_current():
                    return None
                self._held = None
                continue
            if gone:
                self._put_in_archive(gone)
            text = held.text
            written = try_replace(self._path, self._hash, text, durable=self._durable, known=self._identity)
            if written is not None:
                self._identity, self._archive_unsure = written, False
                self._text, self._hash, self._held = text, content_hash(text), held
                self._remember(update)
                return None
            self._held, self._identity, self._archive_unsure = None, None, True
        return self._keep_both(update)

    def _load(self) -> JournalText:
        """Read the journal; an editor may have changed it since our last write."""
        try:
            text = read_settled(self._path, self._hash)
        except FileNotFoundError:
            self._text, self._hash, self._held = "", None, JournalText("", self._agent_id)
        else:
            self._text, self._hash, self._held = text, content_hash(text), JournalText(text, self._agent_id)
        return self._held

    def _is_current(self) -> bool:
        try:
            return content_hash(read_text(self._path)) == self._hash
        except FileNotFoundError:
            return False

    def _put_in_archive(self, lines: list[str]) -> None:
        if self._archive_unsure:
            there = set(self._archive_tail())
            lines = [line for line in lines if line not in there]
        if lines:
            title = "" if self._archive.exists() else f"# Journal archive - {self._agent_id}\n\n"
            append_text(self._archive, title + "".join(f"{line}\n" for line in lines), durable=self._durable)

    def _archive_tail(self) -> list[str]:
        try:
            return read_text(self._archive).split("\n")[-ARCHIVE_TAIL:]
        except FileNotFoundError:
            return []

    def _remember(self, update: JournalUpdate) -> None:
        """Lines we wrote ourselves: rewriting them later loses no word of a person."""
        if update.summary is not None:
            self._known |= {f"summary {index}": line for index, line in enumerate(update.summary.render())}
        self._known |= {executor.key: executor.render() for executor in update.executors}

    def _keep_both(self, update: JournalUpdate) -> Conflict:
        try:
            held = self._load()
        except BusyError:
            held = JournalText(empty_journal(self._agent_id), self._agent_id)
        held.apply(update, ())
        kept = keep_beside(self._path, held.text, durable=self._durable)
        self._held = None
        return Conflict(self._path, kept)


def last_decisions(journal: JournalText, count: int = 3) -> tuple[DecisionLine, ...]:
    """The newest decisions, oldest of them first."""
    return tuple(found for line in journal.ours("Decisions")[-count:] if (found := parse_decision(line)))


def last_tick(journal: JournalText) -> TickLine | None:
    """The newest tick line."""
    lines = journal.ours("Ticks")
    return parse_tick(lines[-1]) if lines else None


def archived_lines(folder: Path) -> list[str]:
    """Lines of the archive, each once: a crash in the middle of a trim may have written one twice."""
    try:
        text = read_text(folder / ARCHIVE)
    except FileNotFoundError:
        return []
    return list(dict.fromkeys(line for line in text.split("\n") if line.startswith("- ")))
