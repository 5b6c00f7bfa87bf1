"""`export`: what happened to the user's money as files for tax and analysis, in one folder with a manifest of checksums.

The tables are one consistent look at the ledger; the markdown of agents is copied as it is. Definitions, keys and tokens are not in it.
"""

import csv
import io
import json
import os
import shutil
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import Boolean, Column, Connection, Integer, Table, select

from tradeagent.domain.clock import Clock, iso
from tradeagent.domain.errors import InvalidInput
from tradeagent.domain.money import plain
from tradeagent.ledger import minds_schema, schema
from tradeagent.ledger.schema import Money
from tradeagent.ledger.store import Ledger
from tradeagent.ledger.version import SCHEMA_VERSION
from tradeagent.market.warehouse import database, explained, sql_text
from tradeagent.workspace.files import content_hash, disk_error, sync_directory, write_atomic
from tradeagent.workspace.paths import Workspace

FORMATS = ("csv", "jsonl", "parquet")
MANIFEST = "manifest.json"
_compact = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_FORMULA = frozenset("=+-@\t\r")
_KEPT = (
    "learnings.md",
    "reflection.md",
    "pinned.md",
    "suggestions.yml",
    "dry_runs/*.md",
    "sessions/session_*/*.md",
    "sessions/session_*/*.yml",
)
_FILES = (*_KEPT, "sessions/session_*/status.json", "sessions/session_*/snapshots/snapshot_*.md")


@dataclass(frozen=True, slots=True)
class Source:
    """A table under its exported name; `at` is the column that a span of time cuts."""

    name: str
    table: Table
    at: str


SOURCES = (
    Source("fills", schema.fills, "time_ms"),
    Source("funding", schema.funding_payments, "time_ms"),
    Source("flows", schema.account_flows, "time_ms"),
    Source("round_trips", schema.round_trips, "closed_ms"),
    Source("orders", schema.orders, "created_ms"),
    Source("intents", schema.intents, "created_ms"),
    Source("executors", schema.executors, "created_ms"),
    Source("equity", schema.equity_points, "time_ms"),
    Source("audit", schema.events, "time_ms"),
    Source("incidents", schema.incidents, "time_ms"),
    Source("usage", schema.llm_usage, "time_ms"),
    Source("suggestions", minds_schema.suggestions, "created_ms"),
)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to export: times UTC ms, `until` not included; None = all. A wallet leaves out what belongs to none."""

    format: str
    wallet: str | None = None
    since_ms: int | None = None
    until_ms: int | None = None


def export_all(workspace: Workspace, ledger: Ledger, clock: Clock, folder: Path, wanted: Wanted) -> dict[str, Any]:
    """Write the export whole or not at all, and return its manifest. InvalidInput for a format or a folder that is there."""
    if wanted.format not in FORMATS:
        raise InvalidInput(f"--format: {wanted.format!r} is not a format", hint=f"one of {', '.join(FORMATS)}")
    if folder.exists() or folder.is_symlink():
        raise InvalidInput(f"{folder}: it is there already", hint="name a folder that is not")
    making = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    try:
        making.mkdir(parents=True)
        files = [*_tables(ledger, making, wanted), *_copies(workspace, making)]
        manifest = {
            "made_at": iso(clock.now_ms()),
            "schema": SCHEMA_VERSION,
            "format": wanted.format,
            "wallet": wanted.wallet,
            "from": iso(wanted.since_ms),
            "to": iso(wanted.until_ms),
            "money": "exact decimals as text, quote units (USDC) unless a size; realised_pnl is gross, pnl of a round trip net",
            "files": files,
        }
        write_atomic(making / MANIFEST, json.dumps(manifest, indent=1, ensure_ascii=False) + "\n", durable=True)
        making.rename(folder)
        sync_directory(folder.parent, durable=True)
    except OSError as error:
        raise disk_error(folder, error) from error
    finally:
        shutil.rmtree(making, ignore_errors=True)
    return manifest


def _tables(ledger: Ledger, folder: Path, wanted: Wanted) -> Iterator[dict[str, Any]]:
    with ledger.reading() as tx:
        for source in SOURCES:
            if wanted.wallet is not None and "wallet" not in source.table.c:
                continue
            rows = _rows(tx, source, wanted)
            path = folder / f"{source.name}.{wanted.format}"
            _WRITERS[wanted.format](path, source.table, rows)
            yield _listed(path, folder, rows=len(rows))


def _rows(tx: Connection, source: Source, wanted: Wanted) -> list[dict[str, Any]]:
    at, query = source.table.c[source.at], select(source.table)
    if wanted.wallet is not None:
        query = query.where(source.table.c.wallet == wanted.wallet)
    if wanted.since_ms is not None:
        query = query.where(at >= wanted.since_ms)
    if wanted.until_ms is not None:
        query = query.where(at < wanted.until_ms)
    order = source.table.c.seq if "seq" in source.table.c else at
    return [
        {_name(column): _value(column, row[index]) for index, column in enumerate(source.table.c)}
        for row in tx.execute(query.order_by(order))
    ]


def _name(column: Column[Any]) -> str:
    """`time_ms` → `time`, `created_ms` → `created_at`: instants are ISO texts here."""
    stem = column.name.removesuffix("_ms")
    return stem if stem in (column.name, "time") else f"{stem}_at"


def _value(column: Column[Any], value: Any) -> Any:
    if column.name.endswith("_ms") and value is not None:
        return iso(value)
    return plain(value) if isinstance(value, Decimal) else value


def _write_csv(path: Path, table: Table, rows: list[dict[str, Any]]) -> None:
    """Texts that a spreadsheet would take for a formula begin with an apostrophe: reasons are a model's words."""
    columns = {_name(column): column for column in table.c}
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        writer.writerow([_cell(columns[name], value) for name, value in row.items()])
    write_atomic(path, out.getvalue(), durable=True)


def _cell(column: Column[Any], value: Any) -> Any:
    flat = _flat(value)
    is_words = isinstance(flat, str) and not isinstance(column.type, Money)
    return f"'{flat}" if is_words and flat[:1] in _FORMULA else flat


def _flat(value: Any) -> Any:
    """A structure as compact JSON text."""
    return _compact(value) if isinstance(value, (dict, list)) else value


def _write_jsonl(path: Path, _table: Table, rows: list[dict[str, Any]]) -> None:
    write_atomic(path, "".join(f"{_compact(row)}\n" for row in rows), durable=True)


def _write_parquet(path: Path, table: Table, rows: list[dict[str, Any]]) -> None:
    columns = {_name(column): column for column in table.c}
    held = {name: np.array([_flat(row[name]) for row in rows], dtype=object) for name in columns}
    casts = ", ".join(f'CAST("{name}" AS {_sql_type(column)}) AS "{name}"' for name, column in columns.items())
    cursor = database()
    cursor.register("exported_rows", held)
    try:
        with explained(f"{path} cannot be written", hint="check free space and permissions"):
            cursor.execute(f"COPY (SELECT {casts} FROM exported_rows) TO {sql_text(str(path))} (FORMAT parquet, COMPRESSION zstd)")
    finally:
        cursor.unregister("exported_rows")


def _sql_type(column: Column[Any]) -> str:
    if column.name.endswith("_ms"):
        return "VARCHAR"
    return "BOOLEAN" if isinstance(column.type, Boolean) else "BIGINT" if isinstance(column.type, Integer) else "VARCHAR"


_WRITERS: Mapping[str, Callable[[Path, Table, list[dict[str, Any]]], None]] = {
    "csv": _write_csv,
    "jsonl": _write_jsonl,
    "parquet": _write_parquet,
}


def _copies(workspace: Workspace, folder: Path) -> Iterator[dict[str, Any]]:
    """The memory of every agent: journals, learnings, reflection, pinned notes, canvases, snapshots. Links are not followed."""
    agents = sorted(path.parent for path in workspace.agents_dir.glob("*/agent.md"))
    for agent in agents:
        for path in sorted(found for pattern in _FILES for found in agent.glob(pattern)):
            if not stat.S_ISREG(path.lstat().st_mode):
                continue
            target = folder / "agents" / agent.name / path.relative_to(agent)
            target.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(target, path.read_bytes(), durable=False)
            yield _listed(target, folder)


def _listed(path: Path, folder: Path, *, rows: int | None = None) -> dict[str, Any]:
    data = path.read_bytes()
    return {"file": path.relative_to(folder).as_posix(), "rows": rows, "bytes": len(data), "sha256": content_hash(data)}
