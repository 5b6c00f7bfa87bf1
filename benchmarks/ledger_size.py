"""A ledger with a million fills: what people and runners ask first must not take longer than on a young one.

All fills are of one wallet, which is worse than any spread. Fewer orders and events than such a wallet would have are beside them.
"""

import asyncio
import json
import shutil
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from benchmarks.history import FILLS_OF_A_TRADE, Past, trade
from benchmarks.measure import scratch, tradeagent_command
from benchmarks.report import Floor, Row, main
from benchmarks.worlds import live_place
from tradeagent.ledger.store import open_ledger
from tradeagent.runtime.assembly import Place, RunRequest, assembled
from tradeagent.runtime.ground import Pace
from tradeagent.workspace.paths import Workspace

WALLETS, FILLS, TRADES_IN_FULL, RUNS = 10, 1_000_000, 20_000, 5
STATUS_S = 0.5
SLOWER, NOISE_S = 1.2, 0.03
_BUSY, _QUIET = "agent_0", "agent_1"
_STATUS = "`tradeagent status --json`"
COMMANDS = {
    "status": ("status",),
    "fills --limit 20": ("fills", "--limit", "20"),
    "fills --wallet BUSY --limit 20": ("fills", "--wallet", _BUSY, "--limit", "20"),
    "fills --wallet QUIET --limit 20": ("fills", "--wallet", _QUIET, "--limit", "20"),
    "position list": ("position", "list"),
}


def rows() -> list[Row]:
    """CPU of reading commands and of a start, with a million fills and with twenty."""
    with scratch() as folder:
        young = live_place(folder / "young", {f"agent_{number}": "offline/hold" for number in range(WALLETS)}, every="1h")
        for number in range(WALLETS):
            asyncio.run(trade(young, f"agent_{number}"))
        young.ledger.close()
        shutil.copytree(folder / "young", folder / "old")
        workspace = Workspace(folder / "old")
        old = replace(young, workspace=workspace, ledger=open_ledger(workspace.ledger_file))
        old.ledger.close()
        past = Past(workspace.ledger_file, _BUSY)
        past.grow(TRADES_IN_FULL)
        past.grow(FILLS // FILLS_OF_A_TRADE, ("fills", "round_trips"))
        taken = {"start of a run": _both(young, old, _started)}
        taken |= {f"`tradeagent {what} --json`": _both(young, old, partial(_asked, command)) for what, command in COMMANDS.items()}
    return [_row(what, *took) for what, took in taken.items()]


def _row(what: str, young: float, old: float) -> Row:
    bound = young * SLOWER + NOISE_S
    floor = Floor("the same, 20 fills", young)
    return Row(f"{what}, {FILLS:,} fills", old, "CPU s", bound=min(bound, STATUS_S) if what == _STATUS else bound, floor=floor)


def _both(young: Place, old: Place, measure: Callable[[Place], float]) -> tuple[float, float]:
    """Medians on both ledgers, asked in turn, so that a busy machine is busy for both."""
    taken = [(measure(young), measure(old)) for _ in range(RUNS)]
    return statistics.median(first for first, _ in taken), statistics.median(second for _, second in taken)


def _asked(command: tuple[str, ...], place: Place) -> float:
    used = tradeagent_command("--workspace", str(place.workspace.root), *command, "--json")
    assert "error" not in json.loads(used.output)
    return used.cpu_s


def _started(place: Place) -> float:
    """From nothing to the first tick: lease, recovery, what is owed by an earlier run, and the market as of now."""
    began = time.process_time()
    with assembled(place, RunRequest(_BUSY, Pace())):
        took = time.process_time() - began
    place.ledger.close()
    return took


if __name__ == "__main__":
    main(rows)
