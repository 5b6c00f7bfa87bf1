"""The workspaces that benchmarks run in: a replay's, with the demo's synthetic market, and a live one, whose bars end now."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from tradeagent.domain.bars import parse_duration
from tradeagent.domain.clock import SystemClock
from tradeagent.ledger.store import open_ledger
from tradeagent.market.instruments import HYPERLIQUID
from tradeagent.market.synthetic import SyntheticMarket, store_synthetic, synthetic_market
from tradeagent.market.warehouse import Warehouse
from tradeagent.runtime.assembly import Place
from tradeagent.runtime.workspace import init_workspace
from tradeagent.workspace.config import load_config
from tradeagent.workspace.paths import Workspace

LIVE_INTERVAL = "1h"
_AGENT = """\
---
name: {slug}
description: An agent of the benchmarks.
model: {model}
markets: [BTC]
tick_interval: {every}
context: {{bars: {{interval: 1h, lookback: 96}}, funding: true}}
limits: {{max_daily_trades: 1000, max_single_order_quote: 100, max_position_size_quote: 2000, max_portfolio_risk_quote: 1000}}
---

# {slug}

You trade one market, BTC, one position at a time. Enter when the averages have just turned, with a stop at every entry, and write one
journal line every tick, also when you do nothing.
"""


def live_place(folder: Path, agents: Mapping[str, str], every: str) -> Place:
    """A workspace whose BTC bars end at the last full hour, so that a live agent finds them fresh; `agents` are slugs with their models."""
    init_workspace(folder)
    workspace, clock = Workspace(folder), SystemClock(0)
    hour, bars = parse_duration(LIVE_INTERVAL), 400
    made = synthetic_market(0, bars, "BTC", hour, clock.now_ms() // hour * hour - bars * hour)
    real = SyntheticMarket(replace(made.bars, venue=HYPERLIQUID), replace(made.funding, venue=HYPERLIQUID), made.instrument)
    store_synthetic(Warehouse(workspace.warehouse_dir), real)
    for slug, model in agents.items():
        (workspace.agent_dir(slug)).mkdir()
        (workspace.agent_dir(slug) / "agent.md").write_text(_AGENT.format(slug=slug, model=model, every=every))
    return Place(workspace, load_config(workspace.config_file, {}), open_ledger(workspace.ledger_file), clock)
