"""The door: from a proposal to its recorded outcome on a durable paper wallet, beside two bare durable commits on the same disk.

The protocol needs two commits, the intent before the order is sent and the outcome after it. What the broker takes in between is the
venue's, not the door's, and is left out; the paper broker's own commits are such time.
"""

import asyncio
import statistics
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

from benchmarks.measure import bare_commit_ms, scratch
from benchmarks.report import Floor, Row, main
from benchmarks.worlds import live_place
from tradeagent.domain.names import Actor, OrderType, Side, VerdictKind
from tradeagent.domain.order import Proposal
from tradeagent.execution.engine import ExecutionEngine
from tradeagent.execution.protection import cancel_order
from tradeagent.runtime.assembly import RunRequest, assembled
from tradeagent.runtime.ground import Pace

WARM, SUBMITS = 10, 60
ALLOWED_MS = 4


def rows() -> list[Row]:
    """Wall ms of intent and outcome against two bare commits, and the CPU of the whole call."""
    with scratch() as folder:
        wall, cpu = asyncio.run(_submits(folder / "ws"))
        commit = bare_commit_ms(folder)
    two = Floor("two bare FULL commits", 2 * commit)
    return [
        Row("`ExecutionEngine.submit`: intent and outcome", wall, "ms wall", bound=2 * commit + ALLOWED_MS, floor=two),
        Row("`ExecutionEngine.submit`: intent and outcome", cpu, "CPU ms", bound=ALLOWED_MS),
    ]


async def _submits(folder: Path) -> tuple[float, float]:
    """Median (wall ms, CPU ms) of a submit without the broker's part; each resting order is cancelled again, unmeasured."""
    place = live_place(folder, {"bench": "offline/momentum"}, every="1h")
    wall, cpu = [], []
    with assembled(place, RunRequest("bench", Pace(), cash="10000")) as run:
        engine = run.door.engine
        venue = _Stopwatch(engine)
        mark = engine.markets["BTC"].mark or Decimal(0)
        for _ in range(WARM + SUBMITS):
            venue.reset()
            began = time.perf_counter(), time.process_time()
            verdict = await engine.submit(_proposal(run.row.id, mark), Actor.AGENT)
            wall.append((time.perf_counter() - began[0] - venue.wall_s) * 1000)
            cpu.append((time.process_time() - began[1] - venue.cpu_s) * 1000)
            assert verdict.kind is VerdictKind.EXECUTED, verdict
            cancel_order(engine, str((verdict.order or {})["order_id"]), Actor.MANUAL)
    place.ledger.close()
    return statistics.median(wall[WARM:]), statistics.median(cpu[WARM:])


def _proposal(deployment: str, mark: Decimal) -> Proposal:
    """A resting order a little below the mark, with stop and target."""
    price, stop, target = ((mark * part).quantize(Decimal(1)) for part in (Decimal("0.99"), Decimal("0.97"), Decimal("1.05")))
    return Proposal(
        market="BTC",
        side=Side.BUY,
        controller_id=deployment,
        type=OrderType.LIMIT,
        quote=Decimal(50),
        price=price,
        stop=stop,
        target=target,
        reason="a benchmark enters",
    )


class _Stopwatch:
    """Sums what the broker's calls take."""

    def __init__(self, engine: ExecutionEngine) -> None:
        self.reset()
        for name in ("place", "set_leverage", "activity_since"):
            setattr(engine.broker, name, self._timed(getattr(engine.broker, name)))

    def reset(self) -> None:
        self.wall_s = self.cpu_s = 0.0

    def _timed(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*arguments: Any) -> Any:
            wall, cpu = time.perf_counter(), time.process_time()
            try:
                return call(*arguments)
            finally:
                self.wall_s += time.perf_counter() - wall
                self.cpu_s += time.process_time() - cpu

        return timed


if __name__ == "__main__":
    main(rows)
