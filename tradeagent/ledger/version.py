"""The version of the ledger's schema, and of a ledger file: asked before anything that needs SQLAlchemy is loaded."""

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
        hint = f"reading it too needs a little room: free some space, and make {file.parent} writable"
        raise DataError(f"the ledger {file} cannot be opened: {error}", hint=hint) from error
    except sqlite3.DatabaseError as error:
        raise DataError(f"{file} cannot be read as a ledger: {error}", hint="restore it from a backup, or move it away") from error
