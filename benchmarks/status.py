"""`tradeagent status --json` on a workspace with ten deployments: what cron and shells ask most."""

import asyncio
import json
from dataclasses import replace
from pathlib import Path

from benchmarks.measure import bare_python, median, scratch, tradeagent_command
from benchmarks.report import Row, main
from tradeagent.runtime.assembly import assembled
from tradeagent.runtime.demo import demo_place, demo_request
from tradeagent.runtime.runner import Runner

DEPLOYMENTS = 10
TICKS = 20


def rows() -> list[Row]:
    """CPU of `status --json`."""
    with scratch() as folder:
        _deploy(folder / "ws")
        command = ("--workspace", str(folder / "ws"), "status", "--json")
        assert len(json.loads(tradeagent_command(*command).output)["deployments"]) == DEPLOYMENTS
        cpu = median(lambda: tradeagent_command(*command).cpu_s)
    return [Row(f"`tradeagent status --json`, {DEPLOYMENTS} deployments", cpu, "CPU s", bound=0.5, floor=bare_python())]


def _deploy(folder: Path) -> None:
    """Ten wallets that each ran the demo's agent for a while."""
    place = demo_place(folder, 0)
    for number in range(DEPLOYMENTS):
        with assembled(place, replace(demo_request(TICKS, 0), wallet=f"wallet_{number}")) as run:
            asyncio.run(Runner(run).run())
    place.ledger.close()


if __name__ == "__main__":
    main(rows)
