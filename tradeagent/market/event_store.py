"""News and calendar events in one DuckDB file of the warehouse, each with the moment from which it may be seen.

The file is opened for one short operation at a time under a file lock, so that screens, cron and runners never meet DuckDB's own lock.
No money depends on it, and of the rules of risk only the news lockout: it holds its events in memory, and refuses when it cannot read them.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tradeagent.domain.clock import HOUR_MS, iso
from tradeagent.domain.errors import DataError, InvalidInput
from tradeagent.workspace.locks import fair_lock

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

FILE_NAME = "events.duckdb"
LOCK_TIMEOUT_S = 15.0
HIGH_IMPORTANCE = 0.7
# The source of an event that was found in a headline begins with it.
FROM_NEWS = "news:"
Signature = tuple[tuple[str, int, int], ...]
# Kinds of events and the importance of one that says nothing about its own.
KINDS: dict[str, float] = {
    "fomc": 1.0,
    "cpi": 0.9,
    "ppi": 0.6,
    "nfp": 0.9,
    "jobless_claims": 0.5,
    "gdp": 0.7,
    "pce": 0.8,
    "ecb_rate": 0.8,
    "boe_rate": 0.7,
    "boj_rate": 0.7,
    "crypto_unlock": 0.5,
    "exchange_listing": 0.5,
    "halving": 0.9,
    "mainnet_launch": 0.5,
    "regulatory": 0.7,
    "earnings": 0.5,
    "other": 0.3,
}
_EXTRACTED = "events_from_news"
_BATCH = 2_000
_SCHEMA = """
CREATE SEQUENCE IF NOT EXISTS news_seq;
CREATE TABLE IF NOT EXISTS news (
    seq BIGINT DEFAULT nextval('news_seq'), source VARCHAR NOT NULL, external_id VARCHAR NOT NULL, title VARCHAR NOT NULL,
    url VARCHAR NOT NULL, summary VARCHAR NOT NULL, symbols VARCHAR[] NOT NULL, sentiment DOUBLE,
    published BIGINT NOT NULL, ingested BIGINT NOT NULL);
CREATE TABLE IF NOT EXISTS events (
    kind VARCHAR NOT NULL, hour BIGINT NOT NULL, symbols VARCHAR[] NOT NULL, time BIGINT NOT NULL, title VARCHAR NOT NULL,
    importance DOUBLE NOT NULL, source VARCHAR NOT NULL, known BIGINT NOT NULL);
CREATE TABLE IF NOT EXISTS watermarks (name VARCHAR NOT NULL, seq BIGINT NOT NULL);
"""


@dataclass(frozen=True, slots=True)
class NewsItem:
    """One report. `sentiment` is −1…1, None when its source says nothing; times are UTC ms. `ingested` is set by the store."""

    source: str
    external_id: str
    title: str
    url: str
    summary: str
    symbols: tuple[str, ...]
    sentiment: float | None
    published: int
    ingested: int = 0

    @property
    def visible(self) -> int:
        """When it may first be seen: it must have been published, and we must have had it."""
        return max(self.published, self.ingested)

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values, times as ISO text."""
        times = {"published": iso(self.published), "ingested": iso(self.ingested), "visible": iso(self.visible)}
        return {**asdict(self), "symbols": list(self.symbols), **times}


@dataclass(frozen=True, slots=True)
class CalendarEvent:
    """Something that happens at `time` (UTC ms). `known` is when we had it, from which on it may be seen; 0 = set by the store.

    One event a kind, hour and set of symbols, and a calendar's own beside one that was found in a headline. Importance 0–1, high from 0.7.
    """

    kind: str
    time: int
    title: str
    importance: float
    symbols: tuple[str, ...] = ()
    source: str = ""
    known: int = 0

    @property
    def hour(self) -> int:
        return self.time - self.time % HOUR_MS

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values, times as ISO text."""
        high = self.importance >= HIGH_IMPORTANCE
        return {**asdict(self), "symbols": list(self.symbols), "time": iso(self.time), "known": iso(self.known), "high": high}


@dataclass(frozen=True, slots=True)
class Added:
    """How many of the given were new, and how many were there already."""

    written: int
    duplicates: int


@dataclass(frozen=True, slots=True)
class Extracted:
    """One pass over news that nobody had looked at: items read, events found among them that are new."""

    read: int
    found: int
    written: int


@dataclass(frozen=True, slots=True)
class Window:
    """What a reader asks for. Only what could be seen at `as_of` (UTC ms); `since`, `until` bound the item's own time, `until` excluded."""

    as_of: int
    since: int | None = None
    until: int | None = None
    symbols: tuple[str, ...] = ()
    limit: int = 100


class EventStore:
    """The store in a warehouse's folder. Cheap to make; every call opens and closes the file. BusyError after `patience_s` of waiting."""

    def __init__(self, root: Path, *, patience_s: float = LOCK_TIMEOUT_S) -> None:
        self._file = root / FILE_NAME
        self._patience_s = patience_s

    def signature(self) -> Signature:
        """A value that differs once the file was written, replaced, made or removed."""
        return tuple((file.name, stat.st_ino, stat.st_mtime_ns) for file, stat in _stats(self._file))

    def add_news(self, items: Iterable[NewsItem], now_ms: int) -> Added:
        """Store the items whose (source, external_id) is not there, as ingested now."""
        given = list(items)
        once = {(item.source, item.external_id): replace(item, ingested=now_ms) for item in reversed(given)}
        if not once:
            return Added(0, 0)
        with self._writing() as database:
            written = _insert_news(database, list(reversed(once.values())))
        return Added(written, len(given) - written)

    def add_events(self, events: Iterable[CalendarEvent], now_ms: int) -> Added:
        """Store the events whose (kind, hour, symbols) is not there; one without `known` becomes known now.

        InvalidInput for a kind that is none, an importance outside 0–1, or an event known from the future.
        """
        given = [replace(event, known=event.known or now_ms, symbols=_sorted(event.symbols)) for event in events]
        for event in given:
            _check(event, now_ms)
        if not given:
            return Added(0, 0)
        with self._writing() as database:
            written = _insert_events(database, given)
        return Added(written, len(given) - written)

    def news(self, window: Window, words: Sequence[str] = ()) -> list[NewsItem]:
        """Items newest first that could be seen at `window.as_of`, with every one of `words` in title or summary."""
        where, values = _bounds(window, "published", "greatest(published, ingested)")
        for word in words:
            where.append("contains(lower(title || ' ' || summary), ?)")
            values.append(word.lower())
        columns = "source, external_id, title, url, summary, symbols, sentiment, published, ingested"
        query = f"SELECT {columns} FROM news WHERE {' AND '.join(where)} ORDER BY published DESC, seq DESC LIMIT ?"
        return [_item(row) for row in self._rows(query, [*values, window.limit])]

    def events(self, window: Window, kinds: Sequence[str] = (), min_importance: float = 0.0) -> list[CalendarEvent]:
        """Events in time order that were known at `window.as_of`; they may lie in its future, as calendars do."""
        where, values = _bounds(window, "time", "known")
        where.append("importance >= ?")
        values.append(min_importance)
        if kinds:
            where.append("list_contains(?, kind)")
            values.append(list(kinds))
        columns = "kind, time, title, importance, symbols, source, known"
        query = f"SELECT {columns} FROM events WHERE {' AND '.join(where)} ORDER BY time, kind LIMIT ?"
        return [_event(row) for row in self._rows(query, [*values, window.limit])]

    def scheduled(self, since_ms: int) -> list[CalendarEvent]:
        """Events of high importance from `since_ms` on that a calendar or a person wrote, in time order, whenever they became known.

        What was found in headlines is left out: a report of an event comes at any time and says nothing about the next one.
        """
        query = (
            "SELECT kind, time, title, importance, symbols, source, known FROM events "
            "WHERE time >= ? AND importance >= ? AND NOT starts_with(source, ?) ORDER BY time, kind"
        )
        return [_event(row) for row in self._rows(query, [since_ms, HIGH_IMPORTANCE, FROM_NEWS])]

    def extract(self, pick: Callable[[NewsItem], CalendarEvent | None]) -> Extracted:
        """Events that `pick` sees in news nobody has looked at yet. The watermark moves with them in one transaction, or not at all."""
        with self._writing() as database:
            row = database.execute("SELECT max(seq) FROM watermarks WHERE name = ?", [_EXTRACTED]).fetchone()
            mark = (row[0] if row else None) or 0
            columns = "seq, source, external_id, title, url, summary, symbols, sentiment, published, ingested"
            found = database.execute(f"SELECT {columns} FROM news WHERE seq > ? ORDER BY seq LIMIT ?", [mark, _BATCH]).fetchall()
            items = [_item(row[1:]) for row in found]
            picked = [(item, event) for item in items if (event := pick(item)) is not None]
            events = [replace(event, known=item.visible, symbols=_sorted(event.symbols)) for item, event in picked]
            written = _insert_events(database, events) if events else 0
            if found:
                database.execute("DELETE FROM watermarks WHERE name = ?", [_EXTRACTED])
                database.execute("INSERT INTO watermarks VALUES (?, ?)", [_EXTRACTED, found[-1][0]])
        return Extracted(len(items), len(events), written)

    def _rows(self, query: str, values: list[Any]) -> list[tuple[Any, ...]]:
        if not self._file.exists():
            return []
        with self._opened(read_only=True) as database:
            return database.execute(query, values).fetchall()

    @contextmanager
    def _writing(self) -> "Iterator[DuckDBPyConnection]":
        """One transaction in a file that has its tables."""
        with self._opened(read_only=False) as database:
            database.execute(_SCHEMA)
            database.begin()
            try:
                yield database
            except BaseException:
                database.rollback()
                raise
            database.commit()

    @contextmanager
    def _opened(self, *, read_only: bool) -> "Iterator[DuckDBPyConnection]":
        import duckdb

        with fair_lock(self._file.with_name(f".{self._file.name}.lock"), self._patience_s):
            try:
                settings: dict[str, str | bool | int | float | list[str]] = {
                    "memory_limit": "256MB",
                    "threads": 1,
                    "autoinstall_known_extensions": False,
                    "autoload_known_extensions": False,
                }
                with duckdb.connect(self._file, read_only=read_only, config=settings) as database:
                    yield database
            except duckdb.Error as error:
                reason = str(error).splitlines()[0]
                raise DataError(
                    f"{self._file}: news and events cannot be read: {reason}",
                    hint=f"move {self._file} away and fetch and import them again",
                ) from error


def _stats(file: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """The file and what of it is not merged yet, where they exist."""
    for part in (file, file.with_name(f"{file.name}.wal")):
        with suppress(FileNotFoundError):
            yield part, part.stat()


def _item(row: tuple[Any, ...]) -> NewsItem:
    source, external_id, title, url, summary, symbols, sentiment, published, ingested = row
    return NewsItem(source, external_id, title, url, summary, tuple(symbols), sentiment, published, ingested)


def _event(row: tuple[Any, ...]) -> CalendarEvent:
    kind, time, title, importance, symbols, source, known = row
    return CalendarEvent(kind, time, title, importance, tuple(symbols), source, known)


def _bounds(window: Window, time: str, visible: str) -> tuple[list[str], list[Any]]:
    """Conditions and their values that every reader has."""
    where, values = [f"{visible} <= ?"], [window.as_of]
    bounds: list[tuple[str, Any]] = [(f"{time} >= ?", window.since), (f"{time} < ?", window.until)]
    # What names no market concerns all of them.
    bounds.append(("(len(symbols) = 0 OR list_has_any(symbols, ?))", list(window.symbols) or None))
    for condition, value in bounds:
        if value is not None:
            where.append(condition)
            values.append(value)
    return where, values


def _insert_news(database: "DuckDBPyConnection", items: Sequence[NewsItem]) -> int:
    columns = [[getattr(item, name) for item in items] for name in ("source", "external_id", "title", "url", "summary")]
    columns += [[list(item.symbols) for item in items], [item.sentiment for item in items]]
    columns += [[getattr(item, name) for item in items] for name in ("published", "ingested")]
    types = ["VARCHAR"] * 5 + ["VARCHAR[]", "DOUBLE", "BIGINT", "BIGINT"]
    names = "source, external_id, title, url, summary, symbols, sentiment, published, ingested"
    given = ", ".join(f"unnest(?::{kind}[]) AS {name}" for kind, name in zip(types, names.split(", "), strict=True))
    return _counted(
        database,
        f"INSERT INTO news ({names}) SELECT * FROM (SELECT {given}) g "
        "WHERE NOT EXISTS (SELECT 1 FROM news n WHERE n.source = g.source AND n.external_id = g.external_id)",
        columns,
    )


def _insert_events(database: "DuckDBPyConnection", events: Sequence[CalendarEvent]) -> int:
    once = list({(event.kind, event.hour, event.symbols): event for event in reversed(events)}.values())
    columns: list[list[Any]] = [[getattr(event, name) for event in once] for name in ("kind", "hour")]
    columns.append([list(event.symbols) for event in once])
    columns += [[getattr(event, name) for event in once] for name in ("time", "title", "importance", "source", "known")]
    types = ["VARCHAR", "BIGINT", "VARCHAR[]", "BIGINT", "VARCHAR", "DOUBLE", "VARCHAR", "BIGINT"]
    names = "kind, hour, symbols, time, title, importance, source, known"
    given = ", ".join(f"unnest(?::{kind}[]) AS {name}" for kind, name in zip(types, names.split(", "), strict=True))
    return _counted(
        database,
        f"INSERT INTO events ({names}) SELECT * FROM (SELECT {given}) g "
        "WHERE NOT EXISTS (SELECT 1 FROM events e WHERE e.kind = g.kind AND e.hour = g.hour AND e.symbols = g.symbols "
        f"AND (starts_with(g.source, '{FROM_NEWS}') OR NOT starts_with(e.source, '{FROM_NEWS}')))",
        columns,
    )


def _counted(database: "DuckDBPyConnection", insert: str, columns: list[list[Any]]) -> int:
    row = database.execute(insert, columns).fetchone()
    return int(row[0]) if row else 0


def _sorted(symbols: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(set(symbols)))


def _check(event: CalendarEvent, now_ms: int) -> None:
    if event.kind not in KINDS:
        raise InvalidInput(f"kind: {event.kind!r} is no kind of event", hint=f"one of {', '.join(KINDS)}")
    if not 0 <= event.importance <= 1:
        raise InvalidInput(f"importance: {event.importance} of {event.title!r} is not from 0 to 1", hint="0.7 and above is high")
    if event.known > now_ms:
        raise InvalidInput(
            f"known: {event.title!r} cannot be known from {iso(event.known)}, which is later than now", hint="leave known out: it is now"
        )
