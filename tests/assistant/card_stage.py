"""A small workspace with synthetic bars and paper wallets, and a bench and a place to prepare and commit cards in."""

from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from tradeagent.assistant.drafts import Bench
from tradeagent.domain.clock import SimulatedClock
from tradeagent.ledger import cards
from tradeagent.ledger.cards import CardRow
from tradeagent.ledger.store import Ledger, open_ledger
from tradeagent.ledger.wallets import WalletRow
from tradeagent.market.synthetic import store_synthetic, synthetic_market
from tradeagent.market.warehouse import Warehouse
from tradeagent.runtime.assembly import Place
from tradeagent.runtime.wallets import WalletRequest, create_wallet
from tradeagent.runtime.workspace import init_workspace
from tradeagent.tools.known import known_to_agents
from tradeagent.workspace.config import load_config
from tradeagent.workspace.paths import Workspace

HOUR = 3_600_000
NOW = 1_800_000_000_000
STRATEGY = "# Strategy\n\nBuy breakouts, stop below the range, else wait.\n"


@dataclass(frozen=True)
class Stage:
    """One workspace, opened; `place_of` opens it again with other settings, as a second process would."""

    place: Place
    bench: Bench
    clock: SimulatedClock

    @property
    def ledger(self) -> Ledger:
        return self.place.ledger

    def card(self, reference: str) -> CardRow:
        with self.ledger.reading() as tx:
            return cards.get(tx, reference)

    def wallet(self, name: str, group: str = "algo", cash: str = "1000") -> WalletRow:
        place = self.place
        return create_wallet(place.workspace, place.config, place.ledger, self.clock, WalletRequest(name, group=group, cash=cash))

    def equity(self, name: str) -> Decimal:
        from tradeagent.ledger import wallets

        with self.ledger.reading() as tx:
            return wallets.risk(tx, name).cash


def make(root: Path, *, bars: int = 0) -> Stage:
    """A new workspace below `root`, with that many hours of BTC."""
    init_workspace(root)
    if bars:
        store_synthetic(Warehouse(Workspace(root).warehouse_dir), synthetic_market(3, bars, "BTC", HOUR))
    return opened(root)


def opened(root: Path, settings: dict[str, Any] | None = None, now_ms: int = NOW) -> Stage:
    workspace = Workspace(root)
    config = load_config(workspace.config_file, {}, settings)
    clock = SimulatedClock(now_ms)
    place = Place(workspace, config, open_ledger(workspace.ledger_file), clock)
    return Stage(place, Bench(workspace, config, place.ledger, clock, known_to_agents(config)), clock)
