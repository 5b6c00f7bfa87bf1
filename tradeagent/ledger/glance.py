"""What `status` shows, read from the ledger file with the standard library alone: importing SQLAlchemy costs as much as all the rest.

Plain SQL over the tables of `schema`; a ledger of another version goes through `store.open_ledger`, which migrates or refuses it.
"""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from tradeagent.domain.errors import DataError
from tradeagent.domain.names import EventKind, ReconcilePhase
from tradeagent.domain.performance import Day
from tradeagent.ledger.version import SCHEMA_VERSION, schema_version

MOST_RUNS = 500


@dataclass(frozen=True, slots=True)
class RunGlance:
    """A deployment with what its wallet is worth. Money in quote units, times UTC ms.

    `replay` is what the run plays, None by the wall clock; `clock_ms` the instant of a wallet that a replay drove last, else None.
    """

    id: str
    kind: str
    slug: str
    wallet: str
    network: str
    state: str
    mode: str
    model: str
    ticks: int
    ended_ms: int | None
    last_tick_ms: int | None
    next_tick_ms: int | None
    stopped_because: str | None
    boot_id: str
    replay: str | None
    halt: str | None
    market_clock_ms: int | None
    clock_ms: int | None
    cash: Decimal
    last_equity: Decimal
    day: Day


@dataclass(frozen=True, slots=True)
class Held:
    """One netted position at its last mark."""

    size: Decimal
    cost: Decimal
    mark: Decimal | None


@dataclass(frozen=True, slots=True)
class LedgerGlance:
    """The ledger at one instant: runs newest first, positions and reconciliation by wallet, open incidents by deployment."""

    runs: tuple[RunGlance, ...]
    held: dict[str, list[Held]]
    phases: dict[str, ReconcilePhase]
    incidents: dict[str | None, int]
    networks: frozenset[str]
    kill_switch: bool


_RUNS = """
SELECT d.id, d.kind, d.slug, d.wallet, w.network, d.state, d.mode, d.model, d.ticks, d.ended_ms, d.last_tick_ms, d.next_tick_ms,
       d.stopped_because, d.boot_id, json_extract(d.source, '$.replay') AS replay, r.halt, r.market_clock_ms,
       CASE WHEN r.clock_source = 'replay' THEN r.market_clock_ms END AS clock_ms,
       r.cash, r.last_equity, r.day_start_ms, r.day_start_equity, r.day_flows
FROM deployments d JOIN wallets w ON w.name = d.wallet JOIN risk_state r ON r.wallet = d.wallet
ORDER BY d.created_ms DESC, d.id DESC LIMIT ?
"""
# By wallet from the newest event back: a runner writes a phase every minute, so one is near, and there are too many to group.
# `kind || ''` keeps SQLite from the index by kind, where the phases of a busy wallet lie before those of a quiet one.
_PHASES = """
SELECT name, (SELECT data FROM events WHERE wallet = name AND kind || '' = ? ORDER BY seq DESC LIMIT 1) FROM wallets
"""


def glance(file: Path) -> LedgerGlance:
    """Read it in one transaction. Raises as `open_ledger`, and DataError when the file cannot be read."""
    with _connected(file) as db:
        held: dict[str, list[Held]] = {}
        for wallet, size, cost, mark in db.execute("SELECT wallet, size, cost, mark FROM positions WHERE controller_id = ''"):
            if Decimal(size):
                held.setdefault(wallet, []).append(Held(Decimal(size), Decimal(cost), None if mark is None else Decimal(mark)))
        phases = db.execute(_PHASES, (EventKind.RECONCILE_PHASE.value,))
        switch = db.execute("SELECT value FROM kv WHERE key = 'kill_switch'").fetchone()
        return LedgerGlance(
            runs=tuple(_run(row) for row in db.execute(_RUNS, (MOST_RUNS,))),
            held=held,
            phases={wallet: ReconcilePhase(json.loads(data)["phase"]) for wallet, data in phases if data is not None},
            incidents=dict(db.execute("SELECT deployment, count(*) FROM incidents WHERE state = 'open' GROUP BY deployment").fetchall()),
            networks=frozenset(network for (network,) in db.execute("SELECT DISTINCT network FROM wallets")),
            kill_switch=switch is not None and bool(json.loads(switch[0])),
        )


@contextmanager
def _connected(file: Path) -> Iterator[sqlite3.Connection]:
    if not file.exists() or schema_version(file) != SCHEMA_VERSION:
        from tradeagent.ledger.store import open_ledger

        open_ledger(file).close()
    try:
        db = sqlite3.connect(f"file:{file}?mode=ro", uri=True, isolation_level=None)
        db.row_factory = sqlite3.Row
        try:
            db.execute("BEGIN")
            yield db
        finally:
            db.close()
    except sqlite3.DatabaseError as error:
        raise DataError(f"the ledger {file} cannot be read: {error}", hint="check the disk; restore a backup if it stays") from error


def _run(row: sqlite3.Row) -> RunGlance:
    values = dict(row)
    day = Day(values.pop("day_start_ms"), Decimal(values.pop("day_start_equity")), Decimal(values.pop("day_flows")))
    cash, last_equity = Decimal(values.pop("cash")), Decimal(values.pop("last_equity"))
    return RunGlance(**values, cash=cash, last_equity=last_equity, day=day)
