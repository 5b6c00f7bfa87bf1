"""Opening the ledger, and the one way to write it: short transactions, queued on a file lock, durable unless said otherwise.

SQLite in WAL mode. A durable transaction commits with `synchronous=FULL`; one that carries no money (heartbeats, progress) or belongs
to a replay commits with NORMAL: it survives `kill -9`, and a power cut may lose its last commits, never the file.
"""

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from sqlalchemy import Connection, create_engine, event
from sqlalchemy.dialects import sqlite
from sqlalchemy.exc import DatabaseError
from sqlalchemy.pool import ConnectionPoolEntry, QueuePool
from sqlalchemy.schema import CreateIndex, CreateTable, ExecutableDDLElement

from tradeagent.domain.errors import BusyError, DataError, Defect, NotFound, TradeAgentError
from tradeagent.ledger.direct import raw
from tradeagent.ledger.minds_schema import metadata
from tradeagent.ledger.queue import WriterQueue
from tradeagent.ledger.version import SCHEMA_VERSION, schema_version

LOCK_TIMEOUT_S = 30.0


class Ledger:
    """The durable record of one workspace. Safe to share between threads; any number of processes may open it."""

    def __init__(self, file: Path, *, durable: bool = True, lock_timeout_s: float = LOCK_TIMEOUT_S) -> None:
        self.file = file
        self._durable = durable
        self._lock_timeout_s = lock_timeout_s
        self._thread_lock = threading.RLock()
        self._queue = WriterQueue(file.with_name(file.name + ".lock"))
        self._engine = create_engine(
            f"sqlite:///{file}",
            poolclass=QueuePool,
            pool_size=4,
            max_overflow=8,
            isolation_level="AUTOCOMMIT",
            connect_args={"check_same_thread": False, "timeout": 5.0, "cached_statements": 256},
        )
        event.listen(self._engine, "connect", _configure)
        self._writer: Connection | None = None
        self._synchronous = ""
        self._watch_lock = threading.Lock()
        self._watch: sqlite3.Connection | None = None

    @contextmanager
    def transaction(self, *, durable: bool = True) -> Iterator[Connection]:
        """One unit of work. Raises BusyError when the queue does not move, DataError when the disk refuses the write."""
        with self._thread_lock, self._queued():
            try:
                writer = self._writing("FULL" if durable and self._durable else "NORMAL")
                driver = raw(writer)
                driver.execute("BEGIN IMMEDIATE")
                try:
                    yield writer
                    driver.execute("COMMIT")
                except BaseException:
                    if driver.in_transaction:
                        driver.execute("ROLLBACK")
                    raise
            except (DatabaseError, sqlite3.DatabaseError) as error:
                raise _explained(error, self.file) from error

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A consistent snapshot for reads; never blocks a writer."""
        try:
            with self._engine.connect() as reader:
                driver = raw(reader)
                driver.execute("BEGIN")
                try:
                    yield reader
                finally:
                    driver.execute("COMMIT")
        except (DatabaseError, sqlite3.DatabaseError) as error:
            raise _explained(error, self.file) from error

    def data_version(self) -> int:
        """A number that changes whenever another connection has committed; the wake signal of every reader."""
        with self._watch_lock:
            if self._watch is None:
                self._watch = sqlite3.connect(self.file, check_same_thread=False)
            row = self._watch.execute("PRAGMA data_version").fetchone()
        return int(row[0])

    def close(self) -> None:
        with self._thread_lock:
            if self._writer is not None:
                self._writer.close()
                self._writer = None
            self._engine.dispose()
            self._queue.close()
        with self._watch_lock:
            if self._watch is not None:
                self._watch.close()
                self._watch = None

    @contextmanager
    def _queued(self) -> Iterator[None]:
        try:
            if not self._queue.acquire(self._lock_timeout_s):
                raise BusyError(
                    f"the ledger is locked by another process for more than {self._lock_timeout_s:g} s ({self.file})",
                    hint="see who holds it with `tradeagent doctor`",
                )
        except OSError as error:
            raise _unwritable(self.file, error) from error
        try:
            yield
        finally:
            self._queue.release()

    def _writing(self, synchronous: str) -> Connection:
        if self._writer is None:
            self._writer = self._engine.connect()
            self._synchronous = ""
        if self._synchronous != synchronous:
            raw(self._writer).execute(f"PRAGMA synchronous={synchronous}")
            self._synchronous = synchronous
        return self._writer


def create_ledger(file: Path) -> Ledger:
    """Make a new ledger at the current schema version, or open the one that is there."""
    if not file.exists():
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _unwritable(file, error) from error
        ledger = Ledger(file)
        with ledger.transaction() as tx:
            for statement in _creation():
                tx.exec_driver_sql(statement)
            tx.exec_driver_sql(f"PRAGMA user_version={SCHEMA_VERSION}")
        return ledger
    return open_ledger(file)


@cache
def _creation() -> tuple[str, ...]:
    """The statements that make what is missing of the schema; another process may make it at the same moment."""
    tables = metadata.sorted_tables
    made: list[ExecutableDDLElement] = [CreateTable(table, if_not_exists=True) for table in tables]
    made += [
        CreateIndex(index, if_not_exists=True) for table in tables for index in sorted(table.indexes, key=lambda index: str(index.name))
    ]
    return tuple(str(statement.compile(dialect=sqlite.dialect())) for statement in made)


def open_ledger(file: Path, *, durable: bool = True, lock_timeout_s: float = LOCK_TIMEOUT_S) -> Ledger:
    """Open an existing ledger; an older one is migrated with a backup first, a newer one is refused."""
    if not file.exists():
        raise NotFound(f"no ledger at {file}", hint="make a workspace with `tradeagent init`")
    found = schema_version(file)
    if found > SCHEMA_VERSION:
        raise DataError(
            f"the ledger {file} has schema version {found}, this tradeagent knows up to {SCHEMA_VERSION}",
            hint="update tradeagent, or point --workspace at another folder",
        )
    if found < SCHEMA_VERSION:
        from tradeagent.ledger.migrate import upgrade

        upgrade(file)
    return Ledger(file, durable=durable, lock_timeout_s=lock_timeout_s)


def _configure(connection: sqlite3.Connection, _entry: ConnectionPoolEntry) -> None:
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA foreign_keys=ON")
    connection.execute("PRAGMA fullfsync=ON")
    connection.execute("PRAGMA wal_autocheckpoint=2000")


def _unwritable(file: Path, reason: object) -> DataError:
    return DataError(f"the ledger {file} cannot be written: {reason}", hint="check the permissions of the workspace folder")


def _explained(error: DatabaseError | sqlite3.DatabaseError, file: Path) -> TradeAgentError:
    text = str(error.orig if isinstance(error, DatabaseError) else error)
    if "locked" in text or "busy" in text:
        return BusyError(f"the ledger {file} is busy: {text}", hint="try again; `tradeagent doctor` shows who holds it")
    if "full" in text:
        return DataError(f"the disk is full, the ledger {file} was not changed", hint="free some space; nothing was sent", code="disk_full")
    if "disk I/O error" in text or "malformed" in text or "not a database" in text:
        return DataError(
            f"the ledger {file} cannot be used: {text}", hint="check the disk; nothing was half-written, restore a backup if it stays"
        )
    if "readonly" in text or "unable to open" in text or not os.access(file.parent, os.W_OK):
        return _unwritable(file, text)
    return Defect(f"the ledger {file} failed: {text}")
