"""The version of the ledger's schema, and of a ledger file: asked before anything that needs SQLAlchemy is loaded."""

import os
import shlex
import sqlite3
from pathlib import Path

from tradeagent.domain.errors import DataError

SCHEMA_VERSION = 3


def schema_version(file: Path) -> int:
    """`PRAGMA user_version` of the file; DataError when it is no SQLite database."""
    try:
        connection = sqlite3.connect(f"file:{file}?mode=ro", uri=True)
        try:
            return int(connection.execute("PRAGMA user_version").fetchone()[0])
        finally:
            connection.close()
    except sqlite3.OperationalError as error:
        raise _unopened(file, error) from error
    except sqlite3.DatabaseError as error:
        raise DataError(f"{file} cannot be read as a ledger: {error}", hint="restore it from a backup, or move it away") from error


def _unopened(file: Path, error: sqlite3.OperationalError) -> DataError:
    """Readers and writers agree through files beside the ledger, and where these cannot be made nobody reads: what is a read-only disk here
    may be written through another mount or from another machine."""
    if _is_on_read_only_disk(file):
        copied = f"cp -r {shlex.quote(str(file.parents[1]))} COPY, then --workspace COPY"
        hint = f"read a copy: {copied}; or mount it writable"
        return DataError(f"the ledger {file} cannot be opened: the file system is read-only", hint=hint)
    hint = f"reading it too needs a little room: free some space, and make {file.parent} writable"
    return DataError(f"the ledger {file} cannot be opened: {error}", hint=hint)


def _is_on_read_only_disk(file: Path) -> bool:
    try:
        return bool(os.statvfs(file).f_flag & os.ST_RDONLY)
    except OSError:
        return False
