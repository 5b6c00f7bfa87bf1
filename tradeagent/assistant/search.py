"""Full-text search over documents that others may change at any time: an index of SQLite FTS5 in a file of its own.

The index is a cache: it follows the documents before each search, and is made again when it is missing, damaged or of another version.
"""

import errno
import os
import re
import sqlite3
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from tradeagent.agents.text import one_line
from tradeagent.assistant.meaning import Embedding, nearest
from tradeagent.domain.errors import BusyError, DataError, InvalidInput, ModelError, TradeAgentError
from tradeagent.workspace.files import disk_error
from tradeagent.workspace.locks import file_lock
from tradeagent.workspace.plain_text import visible

VERSION = 1
MAX_QUERY_WORDS = 32
MAX_HITS = 100
WAIT_S = 5.0
SNIPPET_WORDS = 24
SNIPPET_CHARACTERS = 300
BATCH = 500
# A word in the path of a document counts as much as three in its text.
PATH_WEIGHT, TEXT_WEIGHT = 3.0, 1.0
# How far a rank counts when two lists of hits are put together (reciprocal rank fusion).
RANK_OFFSET = 60
_BUSY = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
_DISK = {
    sqlite3.SQLITE_FULL: errno.ENOSPC,
    sqlite3.SQLITE_READONLY: errno.EROFS,
    sqlite3.SQLITE_CANTOPEN: errno.EACCES,
    sqlite3.SQLITE_PERM: errno.EACCES,
}
_SCHEMA = f"""
CREATE TABLE documents (id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, inode INTEGER, size INTEGER, modified_ns INTEGER, title TEXT);
CREATE VIRTUAL TABLE words USING fts5 (path, body, tokenize = "unicode61 remove_diacritics 2");
CREATE TABLE chunks (document INTEGER NOT NULL, begin INTEGER NOT NULL, length INTEGER NOT NULL, hash TEXT NOT NULL);
CREATE INDEX chunks_document ON chunks (document);
CREATE TABLE vectors (model TEXT NOT NULL, hash TEXT NOT NULL, vector BLOB NOT NULL, PRIMARY KEY (model, hash)) WITHOUT ROWID;
PRAGMA user_version = {VERSION};
"""
_MATCH = f"""
SELECT documents.key, documents.title, documents.modified_ns, snippet(words, 1, '**', '**', '…', {SNIPPET_WORDS}), words.rank
FROM words JOIN documents ON documents.id = words.rowid
WHERE words MATCH ? AND words.rank MATCH 'bm25({PATH_WEIGHT}, {TEXT_WEIGHT})' AND substr(documents.key, 1, ?) = ?
ORDER BY words.rank LIMIT ?
"""
_HEADING = re.compile(r"^#{1,6}[ \t]+(.+)$", re.MULTILINE)

Stamp = tuple[int, int, int]
"""Inode, size and time of the last write (ns): what tells one state of a document from another."""


class Source(Protocol):
    """The documents of an index."""

    def stamps(self) -> Mapping[str, Stamp]:
        """Every document by key; the same object while nothing changed."""

    def text(self, key: str) -> str:
        """The words of one; empty when it cannot be read."""

    def close(self) -> None:
        """Nothing more will be asked."""


@dataclass(frozen=True, slots=True)
class Hit:
    """A document that was found. `snippet` has the found words between `**`; `score` grows with the match, within one search only."""

    key: str
    title: str
    snippet: str
    score: float
    modified_ms: int


@dataclass(frozen=True, slots=True)
class Found:
    """What a search gave. `matched`: `all` words, `any` of them when no document has all; `notice`: what could not be done, and why."""

    hits: tuple[Hit, ...]
    matched: str
    notice: str = ""


class TextIndex:
    """One index file and the documents it follows. Threads of one process take turns; several processes may use the file."""

    def __init__(self, file: Path, source: Source) -> None:
        self._file = file
        self._source = source
        self._turn = threading.Lock()
        self._database: sqlite3.Connection | None = None
        self._indexed: Mapping[str, Stamp] | None = None

    def search(self, query: str, *, folder: str = "", limit: int = 10, embedding: Embedding | None = None) -> Found:
        """Documents with every word of `query` (with any, when none has all), best first, at most `limit`; only those below `folder`.

        With `embedding` also those that mean the like. Raises InvalidInput without a word, BusyError, and the errors of the disk.
        """
        words = words_of(query)
        limit = max(1, min(limit, MAX_HITS))
        start = f"{folder}/" if folder else ""
        with self._turn:
            try:
                return self._found(words, query, start, limit, embedding)
            except sqlite3.DatabaseError as error:
                self._let_go()
                if told := self._told(error):
                    raise told from error
            # Damaged, or of another version: the documents are all there, so the index is made again.
            self._discard()
            try:
                return self._found(words, query, start, limit, embedding)
            except sqlite3.DatabaseError as error:
                self._let_go()
                raise self._told(error) or DataError(f"cannot index: {error}", hint=f"remove {self._file} and repeat") from error

    def close(self) -> None:
        """Close the file and the source."""
        with self._turn:
            self._let_go()
            self._source.close()

    def _found(self, words: list[str], query: str, start: str, limit: int, embedding: Embedding | None) -> Found:
        database = self._followed()
        matched, hits = "all", _matching(database, " ".join(words), start, limit)
        if not hits and len(words) > 1:
            matched, hits = "any", _matching(database, " OR ".join(words), start, limit)
        if embedding is None:
            return Found(tuple(hits), matched)
        try:
            near = nearest(database, embedding, query, start, limit)
        except ModelError as error:
            return Found(tuple(hits), matched, f"not searched by meaning: {error.message}")
        return Found(tuple(_fused(hits, [Hit(*row) for row in near], limit)), matched)

    def _followed(self) -> sqlite3.Connection:
        """The index, brought to the state of its documents."""
        if self._database is None:
            self._database, self._indexed = self._opened(), None
        stamps = self._source.stamps()
        if stamps is not self._indexed:
            self._follow(self._database, stamps)
            self._indexed = stamps
        return self._database

    def _follow(self, database: sqlite3.Connection, stamps: Mapping[str, Stamp]) -> None:
        """Index what differs from what was seen last, by this process or, when it looks for the first time, by any."""
        known = self._indexed
        if known is None:
            known = {key: tuple(stamp) for key, *stamp in database.execute("SELECT key, inode, size, modified_ns FROM documents")}
        gone = list(known.keys() - stamps.keys())
        changed = [key for key, stamp in stamps.items() if known.get(key) != stamp]
        for begin in range(0, max(len(changed), bool(gone)), BATCH):
            texts = [(key, self._source.text(key)) for key in changed[begin : begin + BATCH]]
            database.execute("BEGIN IMMEDIATE")
            try:
                forget(database, [*gone, *(key for key, _ in texts)])
                for key, text in texts:
                    remember(database, key, stamps[key], text)
                database.execute("COMMIT")
            except BaseException:
                database.execute("ROLLBACK")
                raise
            gone = []

    def _opened(self) -> sqlite3.Connection:
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise disk_error(self._file, error) from error
        database = sqlite3.connect(self._file, timeout=WAIT_S, isolation_level=None, check_same_thread=False)
        try:
            if _version(database) != VERSION:
                with file_lock(self._lock):
                    _make(database)
            database.execute("PRAGMA synchronous=NORMAL")
        except BaseException:
            database.close()
            raise
        return database

    def _discard(self) -> None:
        with file_lock(self._lock):
            for suffix in ("", "-wal", "-shm"):
                with suppress(FileNotFoundError):
                    self._file.with_name(f"{self._file.name}{suffix}").unlink()

    def _let_go(self) -> None:
        if self._database is not None:
            self._database.close()
            self._database = None

    @property
    def _lock(self) -> Path:
        return self._file.with_name(f"{self._file.name}.lock")

    def _told(self, error: sqlite3.DatabaseError) -> TradeAgentError | None:
        """What an error means that says nothing against the index; None when the index is to be made again."""
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF
        if code in _BUSY:
            return BusyError(f"{self._file.name} is being written by another process", hint="try again in a moment")
        number = _DISK.get(code)
        return None if number is None else disk_error(self._file, OSError(number, os.strerror(number)))


def words_of(query: str) -> list[str]:
    """The words of a person's or model's query, quoted, so that nothing in it is syntax; a `*` at the end of a word finds its beginnings.

    Raises InvalidInput when there is no word.
    """
    words = [word for word in visible(query).split() if any(character.isalnum() for character in word)]
    if not words:
        raise InvalidInput(f"query: {query[:60]!r} has no word", hint="give the words to look for", details={"field": "query"})
    return [_quoted(word) for word in words[:MAX_QUERY_WORDS]]


def _quoted(word: str) -> str:
    bare = word.rstrip("*")
    return f'"{bare.replace(chr(34), chr(34) * 2)}"' + ("*" if bare != word else "")


def _version(database: sqlite3.Connection) -> int:
    return int(database.execute("PRAGMA user_version").fetchone()[0])


def _make(database: sqlite3.Connection) -> None:
    """The tables, unless another process has made them by now. A file of another version or use counts as damaged."""
    if (version := _version(database)) == VERSION:
        return
    if version or database.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        raise sqlite3.DatabaseError("another version")
    database.execute("PRAGMA journal_mode=WAL")
    database.executescript(f"BEGIN IMMEDIATE;{_SCHEMA}COMMIT;")


def forget(database: sqlite3.Connection, keys: Sequence[str]) -> None:
    """Take documents out of the index; keys that are not in it do no harm."""
    for key in keys:
        for (number,) in database.execute("SELECT id FROM documents WHERE key = ?", (key,)).fetchall():
            database.execute("DELETE FROM words WHERE rowid = ?", (number,))
            database.execute("DELETE FROM chunks WHERE document = ?", (number,))
            database.execute("DELETE FROM documents WHERE id = ?", (number,))


def remember(database: sqlite3.Connection, key: str, stamp: Stamp, text: str) -> None:
    """Put one document into the index."""
    heading = _HEADING.search(text)
    title = one_line(heading[1] if heading else Path(key).stem, 80)
    row = (key, *stamp, title)
    number = database.execute("INSERT INTO documents (key, inode, size, modified_ns, title) VALUES (?, ?, ?, ?, ?)", row).lastrowid
    database.execute("INSERT INTO words (rowid, path, body) VALUES (?, ?, ?)", (number, key.removesuffix(".md"), text))


def _matching(database: sqlite3.Connection, query: str, start: str, limit: int) -> list[Hit]:
    rows = database.execute(_MATCH, (query, len(start), start, limit))
    return [
        Hit(key, title, one_line(snippet, SNIPPET_CHARACTERS), round(-rank, 4), modified_ns // 1_000_000)
        for key, title, modified_ns, snippet, rank in rows
    ]


def _fused(by_words: Sequence[Hit], by_meaning: Sequence[Hit], limit: int) -> list[Hit]:
    """Both lists as one (reciprocal rank fusion, Cormack et al. 2009); of a document in both, the snippet with the words."""
    found = {hit.key: hit for hit in (*by_meaning, *by_words)}
    scores = dict.fromkeys(found, 0.0)
    for hits in (by_words, by_meaning):
        for rank, hit in enumerate(hits, 1):
            scores[hit.key] += 1 / (RANK_OFFSET + rank)
    ordered = sorted(found.values(), key=lambda hit: (-scores[hit.key], hit.key))
    return [replace(hit, score=round(scores[hit.key], 4)) for hit in ordered[:limit]]
