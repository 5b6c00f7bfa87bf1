"""The door of a backtest: the real engine over a paper account that nobody keeps, for one algorithm.

Without limits it judges what no person set: shape, ownership, levels on the right side of entry and liquidation, margin. The compiled
kernel refuses the same.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path

from tradeagent.brokers.paper import PaperBroker
from tradeagent.brokers.paper_store import PaperStore
from tradeagent.brokers.protocol import OrderChange
from tradeagent.domain.clock import SimulatedClock
from tradeagent.domain.costs import FeeSchedule
from tradeagent.domain.instrument import Instrument
from tradeagent.domain.limits import SPECS, Limits
from tradeagent.domain.names import Actor, LimitKind, Rule
from tradeagent.domain.order import Fill, FundingPayment, OrderReport, Rejection, RuleCheck
from tradeagent.execution import rules
from tradeagent.execution.engine import ExecutionEngine
from tradeagent.execution.planning import Plan
from tradeagent.execution.recover import recover
from tradeagent.execution.setup import Costs, Setup, Terms
from tradeagent.execution.state import MarketState, RiskState, Scope
from tradeagent.ledger import runs, wallets
from tradeagent.ledger.store import Ledger, create_ledger, open_ledger
from tradeagent.venue import VenueState
from tradeagent.workspace.latch import Gate

WALLET = "backtest"
ALGO = "backtest_1"
Happening = Fill | FundingPayment | OrderReport
UNLIMITED_RULES = frozenset({Rule.SHAPE, Rule.LEASE, Rule.SCOPE, Rule.PROTECTION, Rule.MARGIN})
NO_LIMITS = Limits(LimitKind.ALGO, dict.fromkeys(SPECS), dict.fromkeys(SPECS, "off"))


@dataclass(frozen=True, slots=True)
class Account:
    """What a backtest trades with: `cash` in quote units, what fills cost, and the venue's bar semantics (execution.md §7)."""

    cash: Decimal
    fees: FeeSchedule
    slippage_bps: Decimal
    path: str = "adverse"
    fill_no_volume: bool = False


class _UnwatchedStore(PaperStore):
    """An account file that no other process reads: prices that only moved stay in memory."""

    def note(self, state: VenueState) -> bool:
        return True


class BacktestPaper(PaperBroker):
    """A paper account that fills in bars without volume when asked, and writes no more than it must."""

    def __init__(self, file: Path, instruments: Mapping[str, Instrument], clock: SimulatedClock, account: Account) -> None:
        super().__init__(file, instruments, clock, fees=account.fees, slippage_bps=account.slippage_bps, path=account.path, durable=False)
        self._store.close()
        self._store = _UnwatchedStore(file, durable=False)
        self._config = replace(self._config, fill_no_volume=account.fill_no_volume)


class UnlimitedEngine(ExecutionEngine):
    """The door with the rules that do not come from a person's limits or the state of the market."""

    def _judge(self, made: Plan, state: RiskState) -> tuple[Rejection | None, tuple[RuleCheck, ...]]:
        checks = [RuleCheck(Rule.SHAPE, ok=True)]
        for rule, entry_only, check in rules.CHECKS:
            if rule not in UNLIMITED_RULES or (entry_only and not made.is_entry):
                continue
            found = check(made, state)
            checks.append(RuleCheck(rule, found.rejection is None, found.value, found.limit))
            if found.rejection is not None:
                return found.rejection, tuple(checks)
        return None, tuple(checks)


@dataclass(frozen=True, slots=True)
class BacktestDoor:
    """An open door with its paper account and the ledger that goes with the folder."""

    engine: ExecutionEngine
    paper: BacktestPaper
    ledger: Ledger
    clock: SimulatedClock

    @property
    def cursor(self) -> int:
        """How far the book has followed the venue."""
        return self.engine.book.risk.activity_cursor

    def happened_since(self, cursor: int) -> list[Happening]:
        """Fills, funding payments and order reports after `cursor`, in the venue's own order."""
        found: list[Happening] = []
        for one in self.paper.activity_since(cursor):
            item = one.item.report if isinstance(one.item, OrderChange) else one.item
            if isinstance(item, Fill | FundingPayment | OrderReport):
                found.append(item)
        return found

    def close(self) -> None:
        self.paper.close()
        self.ledger.close()
        self.engine.gate.close()


def open_backtest_door(
    folder: Path, instruments: Mapping[str, Instrument], account: Account, begin_ms: int, limits: Limits | None = None
) -> BacktestDoor:
    """A door on a fresh account at `begin_ms`, kept in `folder` and nowhere else; `limits` None leaves `UNLIMITED_RULES`."""
    clock = SimulatedClock(begin_ms)
    create_ledger(folder / "ledger.db").close()
    ledger = open_ledger(folder / "ledger.db", durable=False)
    paper = BacktestPaper(folder / "paper.db", instruments, clock, account)
    with ledger.transaction() as tx:
        wallet = wallets.WalletRow(WALLET, "paper", "paper", "algo", {}, begin_ms)
        wallets.create(tx, wallet)
        token = runs.take_lease(tx, WALLET, "backtest", None, begin_ms)
    used = limits or NO_LIMITS
    terms = {
        Actor.ALGO: Terms(Scope(Actor.ALGO, ALGO, frozenset(instruments)), used),
        Actor.SYSTEM: Terms(Scope(Actor.SYSTEM, "system", None), used),
    }
    markets = {symbol: MarketState(known) for symbol, known in instruments.items()}
    setup = Setup(wallet, token, terms, markets, Gate(folder / "kill", WALLET), Costs(account.fees, account.slippage_bps), in_thread=False)
    made = ExecutionEngine if limits is not None else UnlimitedEngine
    engine = made(ledger, paper, clock, setup)
    paper.transfer(account.cash)
    with engine.transaction() as tx:
        engine.sync(tx)
        engine.book.flush(tx)
    recover(engine)
    return BacktestDoor(engine, paper, ledger, clock)
