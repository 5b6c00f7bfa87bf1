"""One live tick with an offline model on a durable paper wallet: its CPU, and how often it makes the disk sync.

Two kinds: a tick that holds, and one that places an order with stop and target. Syncs are counted by strace, SQLite's own among them.
"""

import argparse
import asyncio
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Set
from contextlib import suppress
from pathlib import Path
from typing import cast

from benchmarks.measure import bare_json_ms, child, scratch
from benchmarks.report import Floor, Row, main
from benchmarks.worlds import live_place
from tradeagent.domain.names import Actor
from tradeagent.execution.protection import cancel_order
from tradeagent.ledger import trading
from tradeagent.llm.offline.context import Context
from tradeagent.llm.offline.policies import POLICIES, Plan, Policy
from tradeagent.llm.offline.trade import Call
from tradeagent.runtime.assembly import Run, RunRequest, assembled
from tradeagent.runtime.ground import Pace

KINDS = ("holds", "places an order")
WARM, TICKS = 5, 30
PROMPT_CHARACTERS = 11_000
_MARK = 60_000  # no open file has this number, so a sync of it fails, does nothing, and shows in the trace
_HOLD = Plan("hold", "a benchmark holds", "none")


def rows() -> list[Row]:
    """CPU and syncs of one tick of each kind."""
    with scratch() as folder:
        cpu = json.loads(child(["-m", "benchmarks.live_tick", "--in", str(folder / "cpu")]).output)
        syncs = _syncs(folder)
    floor = Floor("a prompt's text as JSON, there and back", bare_json_ms("x" * PROMPT_CHARACTERS))
    found = [Row(f"live tick that {kind}", cpu[kind], "CPU ms", bound=15, floor=floor) for kind in KINDS]
    return found + [Row(f"live tick that {kind}", count, "fsyncs", bound=10) for kind, count in syncs.items()]


def _syncs(folder: Path) -> dict[str, float]:
    """Median syncs by kind; nothing where there is no strace."""
    if shutil.which("strace") is None:
        print("no strace here: syncs are not counted", file=sys.stderr)
        return {}
    trace = folder / "trace"
    command = ["strace", "-f", "-q", "-o", str(trace), "-e", "trace=fsync,fdatasync", sys.executable, "-m", "benchmarks.live_tick"]
    subprocess.run([*command, "--in", str(folder / "traced"), "--marked"], check=True, capture_output=True)
    counts: dict[str, list[int]] = {kind: [] for kind in KINDS}
    current: list[int] | None = None
    for line in trace.read_text().splitlines():
        if f"fsync({_MARK})" in line:
            current = None
        elif any(f"fsync({_MARK + 1 + number})" in line for number in range(len(KINDS))):
            current = counts[KINDS[int(line.split("(")[1].split(")")[0]) - _MARK - 1]]
            current.append(0)
        elif current is not None and "resumed" not in line:
            current[-1] += 1
    return {kind: statistics.median(found[WARM:]) for kind, found in counts.items()}


async def measured(folder: Path, *, marked: bool) -> dict[str, float]:
    """Median CPU ms by kind of tick, each after the same warm-up."""
    plan = [_HOLD]

    def policy(context: Context, _tools: Set[str]) -> Plan:
        return plan[0] if plan[0] is _HOLD else _entry(context)

    cast(dict[str, Policy], POLICIES)["benchmark"] = policy
    place = live_place(folder, {"bench": "offline/benchmark"}, every="1h")
    taken: dict[str, list[float]] = {kind: [] for kind in KINDS}
    with assembled(place, RunRequest("bench", Pace(), cash="10000")) as run:
        for number in range(1, 2 * (WARM + TICKS) + 1):
            kind = KINDS[number % 2]
            plan[0] = _HOLD if kind == "holds" else Plan("enter", "a benchmark enters", "none", (_ANY,))
            taken[kind].append(await _tick(run, number, KINDS.index(kind), marked=marked))
    place.ledger.close()
    return {kind: statistics.median(found[WARM:]) for kind, found in taken.items()}


_ANY = Call("propose_order", {})


def _entry(context: Context) -> Plan:
    """A resting order a little below the mark, with stop and target."""
    mark = context.marks["BTC"]
    arguments: dict[str, str | float] = {"market": "BTC", "side": "buy", "quote": "50", "type": "limit", "reason": "a benchmark enters"}
    levels = {"price": mark * 0.99, "stop": mark * 0.97, "target": mark * 1.05}
    call = Call("propose_order", arguments | {key: f"{level:.0f}" for key, level in levels.items()})
    return Plan("enter", "a benchmark enters", "none", (call,))


async def _tick(run: Run, number: int, kind: int, *, marked: bool) -> float:
    """CPU ms of one tick as the runner does it; what it placed is cancelled afterwards, unmeasured."""

    def advance() -> None:
        run.stage.feed.refresh()
        run.playback.advance(run.stage.clock.now_ms())

    _mark(_MARK + 1 + kind, marked=marked)
    began = time.process_time()
    await run.door.engine.alone(advance)
    record = await run.ticks.tick(number, 3_600_000, None)
    took = (time.process_time() - began) * 1000
    _mark(_MARK, marked=marked)
    assert record.actions == kind, record
    with run.stage.ledger.reading() as tx:
        entries = [order.cloid for order in trading.live_orders(tx, run.stage.wallet.name) if order.leg == "entry"]
    for cloid in entries:
        cancel_order(run.door.engine, cloid, Actor.MANUAL)
    return took


def _mark(number: int, *, marked: bool) -> None:
    if marked:
        with suppress(OSError):
            os.fsync(number)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--in", dest="folder", type=Path)
    parser.add_argument("--marked", action="store_true")
    asked, _ = parser.parse_known_args()
    if asked.folder is None:
        main(rows)
    else:
        print(json.dumps(asyncio.run(measured(asked.folder, marked=asked.marked))))
