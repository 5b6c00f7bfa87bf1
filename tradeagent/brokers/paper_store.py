"""The file of a paper account: the venue's state, its recent finished orders, and everything that ever happened on it."""

import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Any

from tradeagent.brokers.protocol import Activity, CashFlow, Liquidation, OrderChange
from tradeagent.domain.errors import DataError
from tradeagent.domain.names import ExitReason, Liquidity, OrderState, Side
from tradeagent.domain.order import Fill, FundingPayment, OrderReport
from tradeagent.venue import VenueState, events
from tradeagent.venue.state import FINISHED_KEPT

FORMAT = 1
_SCHEMA = """
CREATE TABLE IF NOT EXISTS venue (id INTEGER PRIMARY KEY CHECK (id = 1), version INTEGER NOT NULL, state TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS activity (seq INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, data TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS finished (cloid TEXT PRIMARY KEY, data TEXT NOT NULL);
"""
_KEEP = "INSERT INTO venue VALUES (1, 1, ?) ON CONFLICT (id) DO UPDATE SET version = version + 1, state = excluded.state"
_DECIMALS = frozenset({"size", "price", "fee", "realised_pnl", "oracle_price", "rate", "payment", "amount", "filled", "average_price"})


class PaperStore:
    """One connection to the file. `reload` gives the state only when another process changed it since."""

    def __init__(self, file: Path, *, durable: bool) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        self._synchronous = "FULL" if durable else "NORMAL"
        try:
            self._db = sqlite3.connect(file, isolation_level=None, timeout=10.0, check_same_thread=False)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute(f"PRAGMA synchronous={self._synchronous}")
            self._db.execute("PRAGMA fullfsync=ON")
            (found,) = self._db.execute("PRAGMA user_version").fetchone()
            if found > FORMAT:
                raise DataError(f"the paper account {file} has format {found}, this version knows {FORMAT}", hint="update tradeagent")
            if found == 0:
                self._db.executescript(_SCHEMA)
                self._db.execute(f"PRAGMA user_version={FORMAT}")
        except sqlite3.DatabaseError as error:
            raise DataError(
                f"the paper account {file} cannot be opened: {error}", hint="check its permissions, or restore a backup"
            ) from error
        self._seen_change: int | None = None

    def close(self) -> None:
        self._db.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            self._seen_change = None
            raise

    def reload(self) -> VenueState | None:
        """The stored state when another process changed it since it was read here, else None; None too when nothing was stored yet."""
        change = self._change()
        if change == self._seen_change:
            return None
        self._seen_change = change
        row = self._db.execute("SELECT state FROM venue").fetchone()
        if row is None:
            return None
        kept = self._db.execute("SELECT data FROM finished ORDER BY rowid DESC LIMIT ?", (FINISHED_KEPT,)).fetchall()
        (text,) = row
        return VenueState.from_json(text, finished=[_update_in(json.loads(data)) for (data,) in reversed(kept)])

    def save(self, state: VenueState, items: Sequence[Any], finished: Sequence[events.OrderUpdate]) -> None:
        """Inside a transaction: the new state, what happened, and the orders that ended."""
        self._db.execute(_KEEP, (state.to_json(with_finished=False),))
        self._db.executemany("INSERT INTO activity (kind, data) VALUES (?, ?)", [(type(item).__name__, _dump(item)) for item in items])
        self._db.executemany("INSERT OR REPLACE INTO finished VALUES (?, ?)", [(update.cloid, _dump(update)) for update in finished])

    def note(self, state: VenueState) -> bool:
        """Keep a state in which only prices have moved; a power cut may lose it, and playing its bars again gives it back.

        False when another process wrote since the last reload: the state was made from an older one, and nothing was kept.
        """
        self._db.execute("PRAGMA synchronous=NORMAL")
        try:
            with self.transaction():
                if self._change() != self._seen_change:
                    return False
                self.save(state, (), ())
            return True
        finally:
            self._db.execute(f"PRAGMA synchronous={self._synchronous}")

    def _change(self) -> int:
        """A number that moves when another connection has committed, never with this one's own writes."""
        (change,) = self._db.execute("PRAGMA data_version").fetchone()
        return int(change)

    def activity_since(self, cursor: int) -> list[Activity]:
        rows = self._db.execute("SELECT seq, kind, data FROM activity WHERE seq > ? ORDER BY seq", (cursor,)).fetchall()
        return [Activity(row[0], _item_in(row[1], json.loads(row[2]))) for row in rows]


def _dump(item: Any) -> str:
    return json.dumps(asdict(item), default=_plain_value, separators=(",", ":"))


def _plain_value(value: Any) -> str:
    return value.value if isinstance(value, StrEnum) else f"{value:f}"


def _decimals(data: dict[str, Any]) -> dict[str, Any]:
    return {key: Decimal(value) if key in _DECIMALS and value is not None else value for key, value in data.items()}


def _item_in(kind: str, raw: dict[str, Any]) -> Fill | FundingPayment | CashFlow | Liquidation | OrderChange:
    if kind == "OrderChange":
        report = _decimals(raw["report"])
        return OrderChange(raw["time_ms"], OrderReport(**{**report, "state": OrderState(report["state"])}))
    data = _decimals(raw)
    if kind == "Fill":
        reason = ExitReason(data["reason"]) if data["reason"] else None
        return Fill(**{**data, "side": Side(data["side"]), "liquidity": Liquidity(data["liquidity"]), "reason": reason})
    if kind == "FundingPayment":
        return FundingPayment(**data)
    return CashFlow(**data) if kind == "CashFlow" else Liquidation(**data)


def _update_in(data: dict[str, Any]) -> events.OrderUpdate:
    return events.OrderUpdate(**{**data, "state": OrderState(data["state"])})
