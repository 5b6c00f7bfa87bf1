"""Fifty agents in one process, one tick every ten seconds each, their starts spread over the interval: do they hold their schedule?

Lateness is what the runners themselves count: from the mark of a tick to the moment its runner gets to it.
"""

import asyncio
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks.measure import scratch
from benchmarks.report import Row, main
from benchmarks.worlds import live_place
from tradeagent.runtime.assembly import RunRequest, assembled
from tradeagent.runtime.ground import Pace
from tradeagent.runtime.runner import Runner

AGENTS, INTERVAL_S, TICKS = 50, 10, 7
POLICIES = ("momentum", "mean_reversion", "breakout")


def rows() -> list[Row]:
    """p99 of lateness, and the CPU that fifty agents take."""
    with scratch() as folder:
        lateness, cores = asyncio.run(_fleet(folder / "ws"))
    p99 = sorted(lateness)[int(len(lateness) * 0.99)]
    what = f"{AGENTS} agents, a tick every {INTERVAL_S} s each, {len(lateness)} ticks"
    return [
        Row(f"{what}: p99 lateness", p99, "ms", bound=200),
        Row(f"{what}: worst lateness", max(lateness), "ms"),
        Row(f"{what}: CPU", cores, "cores"),
    ]


async def _fleet(folder: Path) -> tuple[list[int], float]:
    """Lateness of every tick in ms, and the CPU seconds a second of the whole process."""
    agents = {f"agent_{number:02}": f"offline/{POLICIES[number % len(POLICIES)]}" for number in range(AGENTS)}
    place = live_place(folder, agents, every=f"{INTERVAL_S}s")
    with ExitStack() as stack:
        runners = [Runner(stack.enter_context(assembled(place, RunRequest(slug, Pace(max_ticks=TICKS))))) for slug in agents]
        began = time.monotonic(), time.process_time()
        await asyncio.gather(*(_later(runner, number * INTERVAL_S / AGENTS) for number, runner in enumerate(runners)))
        cores = (time.process_time() - began[1]) / (time.monotonic() - began[0])
    place.ledger.close()
    assert all(runner.tally.ticks == TICKS and runner.tally.last is not None for runner in runners), "every agent ticked to its end"
    assert not any(runner.tally.blocked for runner in runners), "no agent was blocked"
    return [late for runner in runners for late in runner.tally.lateness_ms], cores


async def _later(runner: Runner[Any], seconds: float) -> None:
    await asyncio.sleep(seconds)
    await runner.run()


if __name__ == "__main__":
    main(rows)
