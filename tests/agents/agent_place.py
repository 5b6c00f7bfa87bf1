"""An agent's folder with a ledger, and the hands that a test needs on them."""

from dataclasses import dataclass
from pathlib import Path

from tradeagent.agents.folder import Agent, Known, load_agent
from tradeagent.agents.sessions import create_session
from tradeagent.agents.suggestions import Decider, SuggestionBox
from tradeagent.domain.clock import SimulatedClock
from tradeagent.ledger import notes
from tradeagent.ledger.store import Ledger, create_ledger

KNOWN = Known(tools={"market", "config"}, offline_policies={"hold"}, intervals=("5m", "15m"), markets={"BTC"})
NOON = 1_741_953_600_000  # 2025-03-14 12:00 UTC
AGENT_MD = """\
---
name: A
model: offline/hold  # free
markets: [BTC]
tick_interval: 5m
configs: {risk_per_trade_pct: 0.1, trend_interval: 4h, aggressive: false, most: 3}
limits:
  max_single_order_quote: 80   # mine
  max_risk_per_trade_pct: 0.4
---

# Strategy

Wait.
"""
CONFIG_YML = "# my values\nrisk_per_trade_pct: 0.2   # more than the default\n\n# the end\n"


@dataclass(frozen=True)
class AgentPlace:
    """`trading_agents/btc` with both files and one session, saved as version 1."""

    folder: Path
    ledger: Ledger
    clock: SimulatedClock

    @property
    def agent(self) -> Agent:
        return load_agent(self.folder, KNOWN)

    @property
    def config(self) -> str:
        return (self.folder / "config.yml").read_text()

    @property
    def decider(self) -> Decider:
        return Decider(self.folder.parent, KNOWN, self.ledger, self.clock)

    def box(self, tick: int = 1, *, keeps: bool = True) -> SuggestionBox:
        return SuggestionBox(self.agent, self.ledger, self.clock, "btc_1", tick, keeps)

    def save(self, note: str = "used by a run") -> int:
        with self.ledger.transaction() as tx:
            return notes.save_version(tx, "btc", self.agent.payload, self.agent.payload_hash, note, self.clock.now_ms())

    def edit(self, file: str, old: str, new: str) -> None:
        path = self.folder / file
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new, 1))


def made(root: Path) -> AgentPlace:
    folder = root / "trading_agents" / "btc"
    folder.mkdir(parents=True)
    (folder / "agent.md").write_text(AGENT_MD)
    (folder / "config.yml").write_text(CONFIG_YML)
    place = AgentPlace(folder, create_ledger(root / "state" / "ledger.sqlite"), SimulatedClock(NOON))
    create_session(folder, {}, durable=False)
    place.save()
    return place
