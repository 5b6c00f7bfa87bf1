"""A wallet, an agent, a person and a hand-made market in memory: what the tests of the door trade in.

Two markets, BTC at 100 and ETH at 50, sizes in thousandths, five-minute bars that are flat unless a test says otherwise.
"""

import itertools
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

from tradeagent.brokers.paper import PaperBroker
from tradeagent.brokers.protocol import Broker
from tradeagent.brokers.refusing import RefusingBroker
from tradeagent.domain.bars import Bar
from tradeagent.domain.clock import MINUTE_MS, SimulatedClock, ulid
from tradeagent.domain.costs import FeeSchedule
from tradeagent.domain.instrument import Instrument, MarginTier
from tradeagent.domain.limits import resolve_limits
from tradeagent.domain.money import ZERO
from tradeagent.domain.names import Actor, IntentKind, LimitKind, OrderType, ReconcilePhase, Side, Tif
from tradeagent.domain.order import Proposal, Verdict
from tradeagent.execution.engine import ExecutionEngine
from tradeagent.execution.playback import Playback
from tradeagent.execution.reconcile import compare
from tradeagent.execution.recover import recover
from tradeagent.execution.setup import Costs, Setup, Terms
from tradeagent.execution.state import MANUAL_CONTROLLER, MarketState, RiskState, Scope
from tradeagent.ledger import runs, trading, wallets
from tradeagent.ledger.runs import DeploymentRow
from tradeagent.ledger.store import create_ledger, open_ledger
from tradeagent.ledger.trading import OrderRow
from tradeagent.market.series import BarSeries
from tradeagent.workspace.latch import Gate

D = Decimal
NOON = 1_767_787_200_000  # 2026-01-07 12:00 UTC
STEP = 5 * MINUTE_MS
AGENT = "momentum_1"
WALLET = "w"
FREE = FeeSchedule(ZERO, ZERO)
OPEN_LIMITS: dict[str, Any] = dict.fromkeys(
    (
        "max_single_order_quote",
        "max_position_size_quote",
        "max_daily_loss_quote",
        "max_daily_loss_pct",
        "max_drawdown_pct",
        "halt_drawdown_pct",
        "max_risk_per_trade_pct",
        "max_portfolio_risk_quote",
        "max_market_risk_pct",
        "max_daily_trades",
        "min_reward_risk",
    )
) | {
    "max_position_pct": 1000,
    "max_total_exposure_pct": 1000,
    "max_leverage": 20,
    "max_open_positions": 50,
    "max_positions_per_market": 50,
    "price_band_pct": 80,
    "require_stops": False,
}

INSTRUMENTS = {
    "BTC": Instrument("hyperliquid", "BTC", 3, (MarginTier(ZERO, 50),)),
    "ETH": Instrument("hyperliquid", "ETH", 3, (MarginTier(ZERO, 20), MarginTier(D(50_000), 10))),
}
FIRST_PRICES = {"BTC": D(100), "ETH": D(50)}


class HandMadeFeed:
    """Bars in a list per market, all of one interval; funding rates where a test puts them."""

    def __init__(self, bars: dict[str, list[Bar]]) -> None:
        self.bars = bars
        self.rates: dict[str, list[tuple[int, int]]] = {market: [] for market in bars}

    @property
    def markets(self) -> tuple[str, ...]:
        return tuple(self.bars)

    def interval_ms(self, market: str) -> int:
        return STEP

    def bars_closing(self, after_ms: int, until_ms: int) -> list[dict[str, Bar]]:
        instants: dict[int, dict[str, Bar]] = {}
        for market, bars in self.bars.items():
            for bar in bars:
                if after_ms < bar.close_ms <= until_ms:
                    instants.setdefault(bar.close_ms, {})[market] = bar
        return [instants[close] for close in sorted(instants)]

    def bar_opening_at(self, ms: int) -> dict[str, Bar]:
        return {market: bar for market, bars in self.bars.items() for bar in bars if bar.open_ms == ms}

    def history(self, market: str, interval_ms: int, as_of_ms: int, count: int) -> BarSeries:
        raise NotImplementedError

    def funding(self, market: str, after_ms: int, until_ms: int) -> list[tuple[int, int]]:
        return [(hour, rate) for hour, rate in self.rates[market] if after_ms < hour <= until_ms]

    def newest_close(self, market: str, as_of_ms: int) -> int | None:
        return max((bar.close_ms for bar in self.bars[market] if bar.close_ms <= as_of_ms), default=None)

    def refresh(self) -> bool:
        return False


class CountingClock(SimulatedClock):
    """Its ids follow each other, so that a history played again is the same to the last row."""

    def __init__(self, now_ms: int) -> None:
        super().__init__(now_ms)
        self._ids = itertools.count()

    def new_id(self) -> str:
        return ulid(self.now_ms(), next(self._ids))


class World:
    """One wallet with its door. `limits` are the agent's, over limits that are all off unless `default_limits`.

    The bar that opens next is known to the feed unless `live`, so that a market order fills at its open at once; `play` decides how
    that bar went and plays it.
    """

    def __init__(
        self,
        root: Path,
        *,
        cash: Decimal | int = 10_000,
        limits: Mapping[str, Any] | None = None,
        manual: Mapping[str, Any] | None = None,
        default_limits: bool = False,
        kind: LimitKind = LimitKind.AGENT,
        fees: FeeSchedule = FREE,
        slippage_bps: Decimal = ZERO,
        dry_run: bool = False,
        live: bool = False,
        start_ms: int = NOON,
        budget_cap: Decimal | None = None,
        durable: bool = False,
    ) -> None:
        self.root = root
        base = {} if default_limits else OPEN_LIMITS
        self.limits = resolve_limits(kind, {**base, **(limits or {})})
        self.manual_limits = resolve_limits(LimitKind.MANUAL, {**base, **(manual or {})})
        self.costs = Costs(fees, slippage_bps)
        self.dry_run, self.live, self.budget_cap, self.durable = dry_run, live, budget_cap, durable
        self.clock: SimulatedClock = CountingClock(start_ms)
        self.feed = HandMadeFeed({m: [_flat(m, start_ms - STEP, int(p * 1000))] for m, p in FIRST_PRICES.items()})
        create_ledger(root / "ledger.db").close()
        self.ledger = open_ledger(root / "ledger.db", durable=durable)
        with self.ledger.transaction() as tx:
            if wallets.find(tx, WALLET) is None:
                wallets.create(tx, wallets.WalletRow(WALLET, "paper", "paper", "agent", {}, start_ms))
                runs.add_deployment(tx, deployment_row(start_ms))
        self._open()
        if cash:
            self.transfer(cash)
        recover(self.engine)
        self._start()

    def _open(self) -> None:
        with self.ledger.transaction() as tx:
            token = runs.take_lease(tx, WALLET, "test", AGENT, self.clock.now_ms())
            wallet = wallets.get(tx, WALLET)
        self.paper = PaperBroker(
            self.root / "paper.db",
            INSTRUMENTS,
            self.clock,
            fees=self.costs.fees,
            slippage_bps=self.costs.slippage_bps,
            durable=self.durable,
        )
        terms = {
            Actor.AGENT: Terms(
                Scope(Actor.AGENT, AGENT, frozenset(INSTRUMENTS), AGENT), self.limits, slug="momentum", budget_cap=self.budget_cap
            ),
            Actor.MANUAL: Terms(Scope(Actor.MANUAL, MANUAL_CONTROLLER, None, AGENT), self.manual_limits),
            Actor.SYSTEM: Terms(Scope(Actor.SYSTEM, "system", None, AGENT), self.limits),
        }
        markets = {name: MarketState(known) for name, known in INSTRUMENTS.items()}
        setup = Setup(wallet, token, terms, markets, Gate(self.root / "kill", WALLET), self.costs, self.dry_run, in_thread=False)
        broker: Broker = RefusingBroker(self.paper) if self.dry_run else self.paper
        self.engine = ExecutionEngine(self.ledger, broker, self.clock, setup)

    def _start(self) -> None:
        self.playback = Playback(self.engine, self.paper, self.feed, self.clock.advance_to)
        self.playback.start(self.now, "replay")
        if not self.live:
            self._foresee()

    def restart(self) -> ReconcilePhase:
        """As after a crash: nothing of the old process is kept, and starting is recovering."""
        self.paper.close()
        self._open()
        phase = recover(self.engine)
        self._start()
        self.playback.advance(self.now)
        return phase

    # --- the market -------------------------------------------------------------------------------------------------------

    @property
    def now(self) -> int:
        return self.clock.now_ms()

    def price(self, market: str = "BTC") -> Decimal:
        mark = self.engine.markets[market].mark
        assert mark is not None
        return mark

    def _foresee(self) -> None:
        for market, bars in self.feed.bars.items():
            if bars[-1].close_ms <= self.now:
                bars.append(_flat(market, bars[-1].close_ms, bars[-1].close))

    def play(self, **bars: tuple[str, str, str, str] | str | int | Decimal) -> None:
        """Play one bar: `BTC=(open, high, low, close)` or only its close; markets not named stay flat."""
        if self.live:
            self._foresee()
        for market, shape in bars.items():
            upcoming = self.feed.bars[market].pop()
            if isinstance(shape, tuple):
                o, h, low, c = (int(D(x) * 1000) for x in shape)
            else:
                o, c = upcoming.open, int(D(shape) * 1000)
                h, low = max(o, c), min(o, c)
            self.feed.bars[market].append(replace(upcoming, open=o, high=h, low=low, close=c))
        self.clock.advance_to(self.now + STEP)
        self.playback.advance(self.now)
        if not self.live:
            self._foresee()

    def play_many(self, count: int) -> None:
        for _ in range(count):
            self.play()

    # --- who trades -------------------------------------------------------------------------------------------------------

    def submit(self, side: str = "buy", market: str = "BTC", actor: Actor = Actor.AGENT, **stated: Any) -> Verdict:
        return self.engine.submit_now(proposal(side, market, actor, **stated), actor)

    def manual(self, side: str = "buy", market: str = "BTC", **stated: Any) -> Verdict:
        return self.submit(side, market, Actor.MANUAL, **stated)

    def close(self, market: str = "BTC", actor: Actor = Actor.AGENT) -> Verdict:
        held = self.held(market, None if actor is Actor.MANUAL else AGENT)
        return self.submit("sell" if held > 0 else "buy", market, actor, kind=IntentKind.CLOSE, reduce_only=True)

    def transfer(self, amount: Decimal | int) -> None:
        self.paper.transfer(D(amount))
        with self.ledger.transaction() as tx:
            self.engine.sync(tx)
            self.engine.book.flush(tx)

    # --- what is there ----------------------------------------------------------------------------------------------------

    @property
    def equity(self) -> Decimal:
        return self.engine.book.equity()

    def held(self, market: str = "BTC", controller: str | None = None) -> Decimal:
        if controller is None:
            return self.engine.book.net(market).size
        return next((r.size for r in self.engine.book.rows if (r.market, r.controller_id) == (market, controller)), ZERO)

    def orders(self, market: str | None = None, leg: str | None = None) -> list[OrderRow]:
        with self.ledger.reading() as tx:
            live = trading.live_orders(tx, WALLET)
        return [o for o in live if (market is None or o.market == market) and (leg is None or o.leg == leg)]

    def fills(self) -> list[dict[str, Any]]:
        with self.ledger.reading() as tx:
            return trading.fills_of(tx, wallet=WALLET)

    def trips(self) -> list[dict[str, Any]]:
        with self.ledger.reading() as tx:
            return trading.round_trips_of(tx, wallet=WALLET, limit=1000)

    def state(self, actor: Actor = Actor.AGENT) -> RiskState:
        with self.ledger.reading() as tx:
            return self.engine.state(tx, actor)

    def differences(self) -> list[str]:
        return compare(self.engine)

    def done(self) -> None:
        self.paper.close()
        self.ledger.close()


def proposal(side: str = "buy", market: str = "BTC", actor: Actor = Actor.AGENT, **stated: Any) -> Proposal:
    """A proposal with its numbers written as text or integers."""
    numbers = (
        "size",
        "quote",
        "risk_quote",
        "pct_of_equity",
        "risk_per_trade_pct",
        "price",
        "trigger",
        "stop",
        "target",
        "confidence",
        "conviction",
    )
    values = {key: D(value) if key in numbers and value is not None else value for key, value in stated.items()}
    if "type" in values:
        values["type"] = OrderType(values["type"])
    if "tif" in values:
        values["tif"] = Tif(values["tif"])
    owner = {Actor.AGENT: AGENT, Actor.MANUAL: MANUAL_CONTROLLER, Actor.SYSTEM: "system"}[actor]
    return Proposal(market, Side(side), values.pop("controller_id", owner), **values)


def deployment_row(now_ms: int) -> DeploymentRow:
    return DeploymentRow(
        id=AGENT,
        kind="agent",
        slug="momentum",
        wallet=WALLET,
        version=1,
        mode="loop",
        state="running",
        number=1,
        model="",
        markets=sorted(INSTRUMENTS),
        limits={},
        source={},
        equity_start=ZERO,
        ticks=0,
        failures=0,
        created_ms=now_ms,
        ended_ms=None,
        last_tick_ms=None,
        next_tick_ms=None,
        stopped_because=None,
        boot_id="",
        pid=0,
    )


def _flat(market: str, open_ms: int, price: int) -> Bar:
    return Bar(market, open_ms, STEP, price, price, price, price, 1_000_000)
