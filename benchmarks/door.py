"""Admission at the door: the CPU from a proposal to the moment its order is at the broker, with ever more orders in the wallet's past.

Until then every rule has passed and the intent with its reservation is durable. A history of trades must not slow it down.
"""

import asyncio
import sqlite3
import statistics
import time
from collections.abc import Callable
from contextlib import ExitStack
from decimal import Decimal
from pathlib import Path
from typing import Any

from benchmarks.history import ORDERS_OF_A_TRADE, Past, entry, trade
from benchmarks.measure import median, scratch
from benchmarks.report import Floor, Row, main
from benchmarks.worlds import live_place
from tradeagent.domain.names import Actor, OrderType, VerdictKind
from tradeagent.execution.engine import ExecutionEngine
from tradeagent.execution.protection import cancel_order
from tradeagent.runtime.assembly import Run, RunRequest, assembled
from tradeagent.runtime.ground import Pace

HISTORIES = (0, 1_000, 10_000)
WARM, SUBMITS = 10, 60
ALLOWED_MS = 3
FLAT = 1.15


def rows() -> list[Row]:
    """CPU ms of admission by length of history, and how much the longest one adds."""
    with scratch() as folder:
        taken = asyncio.run(_admissions(folder))
        commit = _bare_commit_cpu_ms(folder)
    found = [
        Row(f"admission with {past:,} past orders", cpu, "CPU ms", bound=ALLOWED_MS, floor=Floor("a bare FULL commit", commit))
        for past, cpu in taken.items()
    ]
    first, last = taken[HISTORIES[0]], taken[HISTORIES[-1]]
    return [*found, Row(f"admission, {HISTORIES[-1]:,} past orders against none", last / first, "×", bound=FLAT)]


async def _admissions(folder: Path) -> dict[int, float]:
    """Median CPU ms by history: a workspace for each, asked in turn, so that a busy machine is busy for all of them."""
    with ExitStack() as stack:
        runs = {orders: await _with_past(folder / f"past_{orders}", orders, stack) for orders in HISTORIES}
        reached = {orders: _Reached(run.door.engine) for orders, run in runs.items()}
        taken: dict[int, list[float]] = {orders: [] for orders in HISTORIES}
        for _ in range(WARM + SUBMITS):
            for orders, run in runs.items():
                taken[orders].append(await _admission(run, reached[orders]))
    return {orders: statistics.median(found[WARM:]) for orders, found in taken.items()}


async def _with_past(folder: Path, orders: int, stack: ExitStack) -> Run:
    """A live run on a wallet that has placed so many orders."""
    place = live_place(folder, {"bench": "offline/momentum"}, every="1h")
    await trade(place, "bench")
    place.ledger.close()
    Past(place.workspace.ledger_file, "bench").grow(orders // ORDERS_OF_A_TRADE)
    stack.callback(place.ledger.close)
    run = stack.enter_context(assembled(place, RunRequest("bench", Pace())))
    run.playback.advance(place.clock.now_ms())
    return run


async def _admission(run: Run, reached: "_Reached") -> float:
    """CPU ms of admitting a resting order, which is cancelled again, unmeasured."""
    engine, reached.at = run.door.engine, 0.0
    proposal = entry(run.row.id, engine.markets["BTC"].mark or Decimal(0), OrderType.LIMIT)
    began = time.process_time()
    verdict = await engine.submit(proposal, Actor.AGENT)
    assert verdict.kind is VerdictKind.EXECUTED, verdict
    cancel_order(engine, str((verdict.order or {})["order_id"]), Actor.MANUAL)
    return (reached.at - began) * 1000


class _Reached:
    """When the broker was first called."""

    def __init__(self, engine: ExecutionEngine) -> None:
        self.at = 0.0
        for name in ("place", "set_leverage"):
            setattr(engine.broker, name, self._before(getattr(engine.broker, name)))

    def _before(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def called(*arguments: Any) -> Any:
            if not self.at:
                self.at = time.process_time()
            return call(*arguments)

        return called


def _bare_commit_cpu_ms(folder: Path) -> float:
    """CPU ms of one durable SQLite commit (WAL, FULL) of a small row."""
    database = sqlite3.connect(folder / "bare.sqlite", isolation_level=None)
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("PRAGMA synchronous=FULL")
    database.execute("CREATE TABLE rows (id INTEGER PRIMARY KEY, text TEXT)")

    def commit() -> float:
        began = time.process_time()
        for _ in range(20):
            database.execute("INSERT INTO rows (text) VALUES (?)", ("x" * 200,))
        return (time.process_time() - began) * 50

    took = median(commit)
    database.close()
    return took


if __name__ == "__main__":
    main(rows)
