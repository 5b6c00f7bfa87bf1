"""Bringing an older ledger to today's schema: a backup, the migration of a copy, and one rename. The only place that loads Alembic.

Whatever happens on the way, `kill -9` included, the file is the whole old ledger or the whole new one.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import Connection, NullPool, create_engine
from sqlalchemy.exc import SQLAlchemyError

from tradeagent.domain.errors import BusyError, DataError, Defect, RefusedError
from tradeagent.domain.names import IntentState
from tradeagent.ledger.store import LOCK_TIMEOUT_S
from tradeagent.ledger.version import SCHEMA_VERSION, schema_version
from tradeagent.workspace.files import disk_error, sync_directory
from tradeagent.workspace.locks import file_lock

MIGRATIONS = Path(__file__).parent / "migrations"
BUSY_TIMEOUT_S = 5.0


def upgrade(file: Path) -> None:
    """Migrate the ledger to SCHEMA_VERSION, leaving `<file>.backup-v<N>` beside it; nothing happens when it is there already.

    Raises BusyError while another process has it open, RefusedError while the outcome of an intent is unknown,
    DataError or UserError when the disk refuses, Defect when the migration itself fails. The ledger is then unchanged.
    """
    with file_lock(Path(f"{file}.lock"), LOCK_TIMEOUT_S), _disk_errors(file):
        version = schema_version(file)
        if version >= SCHEMA_VERSION:
            return
        with closing(_open(file)) as ledger:
            _take(ledger, file)
            _refuse_unknown_outcomes(ledger, file)
            _copy(ledger, Path(f"{file}.backup-v{version}"))
            fresh = Path(f"{file}.upgrading")
            _copy(ledger, fresh)
            try:
                _migrate(fresh, version)
                fresh.replace(file)
            finally:
                _discard(fresh)
            sync_directory(file.parent, durable=True)  # the rename survives a power cut before anything is written to the new file


def alembic_config(connection: Connection) -> Config:
    """What Alembic needs to run the scripts on this connection."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.set_main_option("path_separator", "os")
    config.set_main_option("file_template", "%%(rev)s_%%(slug)s")
    config.attributes["connection"] = connection
    return config


def revision_of(version: int) -> str:
    """Name of the script that leads to a schema version."""
    return f"{version:04d}"


def _open(file: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(file, timeout=BUSY_TIMEOUT_S, isolation_level=None)
    connection.execute("PRAGMA fullfsync=ON")
    return connection


def _take(ledger: sqlite3.Connection, file: Path) -> None:
    """Fold the write-ahead log into the file and keep everybody out: possible only while no other connection is open.

    A log left beside the file would be replayed into the new one, and a process still writing the old one would lose what it writes.
    """
    try:
        ledger.execute("PRAGMA journal_mode=DELETE").fetchone()
        # The lock outlives this empty transaction, which must end: SQLite copies no database that is being written.
        ledger.execute("PRAGMA locking_mode=EXCLUSIVE").fetchone()
        ledger.execute("BEGIN EXCLUSIVE")
        ledger.execute("COMMIT")
    except sqlite3.OperationalError as error:
        if "locked" not in str(error):
            raise
        raise BusyError(
            f"the ledger {file} must be upgraded, and another tradeagent process has it open",
            hint="stop `tradeagent up`, `run` and every open screen, then repeat",
            details={"file": str(file)},
        ) from error


def _refuse_unknown_outcomes(ledger: sqlite3.Connection, file: Path) -> None:
    if ledger.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'intents'").fetchone() is None:
        return
    found = [row[0] for row in ledger.execute("SELECT id FROM intents WHERE state = ? ORDER BY id", (IntentState.UNKNOWN.value,))]
    if found:
        raise RefusedError(
            f"the ledger {file} is not upgraded while {len(found)} intent(s) have an unknown outcome: {', '.join(found[:5])}",
            hint="start the tradeagent version you came from, let `tradeagent reconcile DEPLOYMENT` settle them, then upgrade",
            details={"file": str(file), "intents": found},
        )


def _copy(ledger: sqlite3.Connection, target: Path) -> None:
    """A whole copy under a temporary name, then its own; what an interrupted copy left is thrown away first."""
    partial = Path(f"{target}.partial")
    _discard(partial)
    with closing(_open(partial)) as copy:
        ledger.backup(copy)
    partial.replace(target)


def _migrate(file: Path, version: int) -> None:
    engine = create_engine(f"sqlite:///{file}", poolclass=NullPool)
    try:
        with engine.connect() as connection:
            config = alembic_config(connection)
            if version:
                command.stamp(config, revision_of(version))
            command.upgrade(config, revision_of(SCHEMA_VERSION))
            # The version of a ledger is its user_version alone: readable without SQLAlchemy, and one truth instead of two.
            connection.exec_driver_sql("DROP TABLE alembic_version")
            connection.exec_driver_sql(f"PRAGMA user_version={SCHEMA_VERSION}")
            connection.commit()
    except (SQLAlchemyError, CommandError) as error:
        raise Defect(
            f"the ledger could not be upgraded from version {version} to {SCHEMA_VERSION}, and is unchanged: {error}",
            hint="keep using the tradeagent version you came from, and report this",
        ) from error


def _discard(file: Path) -> None:
    """Remove a copy that is not (or no longer) wanted, with the journal that would be replayed into its successor."""
    file.unlink(missing_ok=True)
    Path(f"{file}-journal").unlink(missing_ok=True)


@contextmanager
def _disk_errors(file: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise disk_error(file, error) from error
    except sqlite3.Error as error:
        full = "full" in str(error)
        raise DataError(
            f"the ledger {file} could not be upgraded, and is unchanged: {error}",
            hint=f"make room for two copies of it in {file.parent}, then repeat" if full else "check the disk, or restore a backup",
            code="disk_full" if full else None,
        ) from error
