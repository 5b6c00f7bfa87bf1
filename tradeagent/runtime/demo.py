"""The demo's world: an example agent, a seeded synthetic market labelled as such, a paper wallet, time running fast."""

from pathlib import Path

from tradeagent.domain.bars import parse_duration
from tradeagent.domain.clock import SystemClock
from tradeagent.ledger.store import open_ledger
from tradeagent.market.synthetic import store_synthetic, synthetic_market
from tradeagent.market.warehouse import Warehouse
from tradeagent.runtime.assembly import RunRequest
from tradeagent.runtime.ground import Pace
from tradeagent.runtime.place import Place
from tradeagent.runtime.workspace import init_workspace
from tradeagent.workspace.config import load_config
from tradeagent.workspace.paths import Workspace

DEMO_AGENT = "btc_momentum"
DEMO_INTERVAL = "5m"
DEMO_SOURCE = f"synthetic:BTC:{DEMO_INTERVAL}"
DEMO_BARS = 12_000
DEMO_SPEED = 150


def demo_place(folder: Path, seed: int) -> Place:
    """A fresh workspace with a synthetic BTC market of 12,000 five-minute bars."""
    init_workspace(folder)
    workspace = Workspace(folder)
    made = synthetic_market(seed, DEMO_BARS, "BTC", parse_duration(DEMO_INTERVAL))
    store_synthetic(Warehouse(workspace.warehouse_dir), made)
    return Place(workspace, load_config(workspace.config_file, {}), open_ledger(workspace.ledger_file), SystemClock(seed))


def demo_request(ticks: int, seed: int) -> RunRequest:
    """The demo's run: as many ticks as asked for, without waiting."""
    return RunRequest(DEMO_AGENT, Pace(replay=DEMO_SOURCE, max_ticks=ticks, seed=seed))
