"""A person, an agent, the market and crashes in any order: cash adds up exactly and ledger and venue agree to the last unit.

TRADEAGENT_CAMPAIGN_STEPS sets how many random histories are played (40 by default).
"""

import os
import shutil
import tempfile
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hands import incidents
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from world import AGENT, WALLET, World, proposal

from tradeagent.domain.clock import HOUR_MS
from tradeagent.domain.costs import FeeSchedule
from tradeagent.domain.names import Actor, ExitReason, IntentKind, OrderState, VerdictKind
from tradeagent.domain.order import Verdict
from tradeagent.execution.halts import clear_halt, flatten
from tradeagent.execution.protection import cancel_order, move_protection
from tradeagent.ledger import trading
from tradeagent.ledger.trading import OrderRow

D = Decimal
MARKETS = st.sampled_from(["BTC", "ETH"])
SIDES = st.sampled_from(["buy", "sell"])
ACTORS = st.sampled_from([Actor.AGENT, Actor.MANUAL])
LOTS = st.integers(1, 40_000).map(lambda lots: D(lots) / 1000)
AWAY = st.integers(1, 200).map(lambda bps: D(bps) / 10_000)
MOVE = st.integers(-150, 150).map(lambda bps: D(bps) / 10_000)
SPREAD = st.integers(0, 25).map(lambda bps: D(bps) / 10_000)
BAR = st.tuples(MOVE, SPREAD)
SMALLEST_ORDER = 10  # quote; no venue takes a stop for less
BOUND: tuple[tuple[Actor, ...], ...] = ((), (Actor.AGENT,), (Actor.AGENT, Actor.MANUAL))
CAPS = (None, None, 1, 3)  # % of a bar's volume of 1,000 base that may be filled; None without a cap
LIMITS = {"max_daily_loss_quote": 2000, "max_drawdown_pct": 15, "halt_drawdown_pct": 25, "max_daily_trades": 100}


class Trading(RuleBasedStateMachine):
    """Ledger and paper venue under everything that may happen to a wallet."""

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp())
        self.deposits = D(10_000)
        self.covered = 0

    @initialize(live=st.booleans(), bound=st.sampled_from(BOUND), cap=st.sampled_from(CAPS))
    def begin(self, live: bool, bound: tuple[Actor, ...], cap: int | None = None) -> None:
        """`bound` are those whose every position must have a stop; `cap` is the part of a bar's volume that may be filled."""
        self.bound, self.cap = bound, cap
        agent, person = (LIMITS | {"require_stops": actor in bound} for actor in (Actor.AGENT, Actor.MANUAL))
        self.world = World(self.root, limits=agent, manual=person, fees=FeeSchedule(), slippage_bps=D(2), live=live)
        self.world.feed.rates["BTC"] = [(self.world.now - self.world.now % HOUR_MS + h * HOUR_MS, (-1) ** h * 125_017) for h in range(48)]
        self.world.feed.rates["ETH"] = [(self.world.now - self.world.now % HOUR_MS + h * HOUR_MS, 99_991) for h in range(48)]

        assert self.world.submit("buy", "BTC", size="30.001", stop=80, target=120).kind is VerdictKind.EXECUTED
        assert self.world.manual("sell", "ETH", size="20.003", stop=60).kind is VerdictKind.EXECUTED
        self.world.play()
        self._set_cap()

    def _set_cap(self) -> None:
        self.world.paper._config = replace(self.world.paper._config, volume_cap_pct=self.cap)

    def teardown(self) -> None:
        if hasattr(self, "world"):
            self.world.done()
        shutil.rmtree(self.root)

    def is_answered(self, verdict: Verdict) -> None:
        assert verdict.kind in (VerdictKind.EXECUTED, VerdictKind.REJECTED)
        if verdict.kind is VerdictKind.REJECTED:
            assert verdict.rejection is not None or verdict.message.startswith("venue:")

    @rule(market=MARKETS, side=SIDES, actor=ACTORS, size=LOTS, away=AWAY, shape=st.tuples(st.booleans(), st.booleans()), bar=BAR)
    def trade(
        self, market: str, side: str, actor: Actor, size: Decimal, away: Decimal, shape: tuple[bool, bool], bar: tuple[Decimal, Decimal]
    ) -> None:
        """An order at the market or resting nearby, and the bar after it."""
        protected, rests = shape
        sign = 1 if side == "buy" else -1
        at = self.world.price(market) * (1 - sign * away / 4 if rests else 1)
        levels = {"stop": at * (1 - sign * away), "target": at * (1 + sign * away)} if protected else {}
        resting = {"type": "limit", "price": at} if rests else {}
        self.is_answered(self.world.submit(side, market, actor, size=size, **levels, **resting))
        self.play_one(bar[0], -bar[0], bar[1])

    @rule(market=MARKETS, actor=ACTORS, part=st.sampled_from([None, D("0.37")]))
    def reduce_or_close(self, market: str, actor: Actor, part: Decimal | None) -> None:
        held = self.world.held(market, None if actor is Actor.MANUAL else AGENT)
        if held == 0:
            return
        size = None if part is None else (abs(held) * part).quantize(D("0.001"))
        kind = IntentKind.CLOSE if size is None else IntentKind.REDUCE
        self.is_answered(self.world.submit("sell" if held > 0 else "buy", market, actor, kind=kind, reduce_only=True, size=size or None))

    @rule(market=MARKETS, actor=ACTORS, below=AWAY, above=AWAY)
    def protect(self, market: str, actor: Actor, below: Decimal, above: Decimal) -> None:
        held = self.world.held(market, None if actor is Actor.MANUAL else AGENT)
        sign, mark = (1 if held > 0 else -1), self.world.price(market)
        wanted: dict[str, Any] = {"stop": mark * (1 - sign * below), "target": mark * (1 + sign * above)}
        self.is_answered(move_protection(self.world.engine, proposal("sell", market, actor, kind=IntentKind.UPDATE, **wanted), actor))

    @rule(actor=ACTORS, which=st.integers(0, 20))
    def cancel(self, actor: Actor, which: int) -> None:
        live = sorted(self.world.orders(), key=lambda order: (order.created_ms, order.oid or 0))
        if live:
            self.is_answered(cancel_order(self.world.engine, live[which % len(live)].cloid, actor))

    @rule(btc=MOVE, eth=MOVE, spread=SPREAD)
    def play_a_bar(self, btc: Decimal, eth: Decimal, spread: Decimal) -> None:
        self.play_one(btc, eth, spread)

    def play_one(self, btc: Decimal, eth: Decimal, spread: Decimal) -> None:
        shapes = {}
        for market, move in (("BTC", btc), ("ETH", eth)):
            start = D(self.world.feed.bars[market][-1].open if not self.world.live else self.world.feed.bars[market][-1].close) / 1000
            end = start * (1 + move)
            shapes[market] = tuple(
                str(x.quantize(D("0.01"))) for x in (start, max(start, end) * (1 + spread), min(start, end) * (1 - spread), end)
            )
        self.world.play(**shapes)

    @rule(count=st.integers(2, 15))
    def play_quiet_bars(self, count: int) -> None:
        self.world.play_many(count)

    @rule(reason=st.sampled_from([ExitReason.FLATTEN, ExitReason.END]))
    def flatten_all(self, reason: ExitReason) -> None:
        for verdict in flatten(self.world.engine, Actor.MANUAL, reason):
            self.is_answered(verdict)
        assert self.world.engine.book.held_markets == [] or self.cap

    @rule(amount=st.integers(-2000, 3000).filter(bool))
    def transfer(self, amount: int) -> None:
        if amount > 0 or self.world.paper.free() >= -amount:
            self.world.transfer(amount)
            self.deposits += amount

    @rule()
    def clear_the_halt(self) -> None:
        clear_halt(self.world.engine)

    @rule()
    def crash_and_start_again(self) -> None:
        before = (self.world.engine.book.risk.cash, self.world.held("BTC"), self.world.held("ETH"))
        assert self.world.restart().value == "consistent"
        self._set_cap()
        assert before == (self.world.engine.book.risk.cash, self.world.held("BTC"), self.world.held("ETH"))

    @invariant()
    def the_books_are_right(self) -> None:
        if not hasattr(self, "world"):
            return
        with self.world.ledger.reading() as tx:
            fills = trading.fills_of(tx, wallet=WALLET)
            live = trading.live_orders(tx, WALLET)
            orders = {cloid: trading.order(tx, cloid) for cloid in {f["cloid"] for f in fills}}
        self.ledger_and_venue_agree(live)
        self.cash_adds_up_exactly(fills)
        self.flat_means_no_live_reduce_only_order(live)
        for cloid, order in orders.items():
            filled = sum((f["size"] for f in fills if f["cloid"] == cloid), D(0))
            assert order is not None and filled == order.filled <= order.size

    @invariant()
    def no_position_is_naked(self) -> None:
        """Where stops are required, what is held at the end of the bar is covered at the venue, by stops or by its close.

        Where a bar's volume leaves none for the close either, that is an incident, and the next bar tries again.
        """
        if not hasattr(self, "world") or not self.bound:
            return
        resting = [o for o in self.world.paper.open_orders() if o.reduce_only and not o.waits and (o.type.is_stop or o.type == "market")]
        for market, (net, _) in self.world.paper.account().positions.items():
            held = self.world.held(market, None if Actor.MANUAL in self.bound else AGENT)
            if held * net > 0:
                guards = sum((o.size - o.filled for o in resting if o.market == market and o.side.sign * held < 0), D(0))
                lack = (min(abs(held), abs(net)) - guards) * self.world.price(market)
                is_known = self.cap is not None and self.world.engine.is_bare and "naked_position" in incidents(self.world)
                assert lack < SMALLEST_ORDER or is_known, f"{market}: {held} of {net} are held, {guards} are covered"
                self.covered += 1

    def ledger_and_venue_agree(self, live: list[OrderRow]) -> None:
        assert self.world.differences() == []
        assert {o.cloid for o in live} == set(self.world.paper.account().open_cloids)
        for market in ("BTC", "ETH"):
            rows = [r for r in self.world.engine.book.rows if r.market == market and r.controller_id]
            assert sum((r.size for r in rows), D(0)) == self.world.held(market)
            assert len({r.size > 0 for r in rows if r.size}) <= 1, f"{market} is held on both sides: {rows}"
            assert all((r.trip is not None) == (r.size != 0) for r in rows)

    def cash_adds_up_exactly(self, fills: list[dict[str, Any]]) -> None:
        risk = self.world.engine.book.risk
        assert risk.cash == self.deposits + risk.realised - risk.fees - risk.funding
        assert risk.flows == self.deposits
        assert risk.fees == sum((f["fee"] for f in fills), D(0)) and risk.realised == sum((f["realised_pnl"] for f in fills), D(0))
        flows = sum((f["size"] * f["price"] * (-1 if f["side"] == "buy" else 1) for f in fills), D(0))
        cost = sum((self.world.engine.book.net(m).cost for m in ("BTC", "ETH")), D(0))
        assert risk.realised - cost == flows, "Σ realised + unrealised = Σ cash flows"
        if all(r.size == 0 for r in self.world.engine.book.rows):
            assert sum((t["pnl"] for t in self.world.trips()), D(0)) == risk.cash - self.deposits, "every fee and payment is in some trade"

    def flat_means_no_live_reduce_only_order(self, live: list[OrderRow]) -> None:
        waiting = {o.cloid for o in live}
        for order in live:
            if order.reduce_only and self.world.held(order.market) == 0:
                assert order.parent_cloid in waiting or order.state == OrderState.PENDING.value


def test_a_position_whose_stop_is_gone_at_the_venue_is_found_naked() -> None:
    machine = Trading()
    try:
        machine.begin(live=False, bound=(Actor.AGENT,))
        machine.no_position_is_naked()
        assert machine.covered == 1
        (stop,) = machine.world.orders("BTC", "stop")
        machine.world.paper.cancel(stop.cloid)
        with pytest.raises(AssertionError, match=r"BTC: 30\.001 of 30\.001 are held, 0 are covered"):
            machine.no_position_is_naked()
    finally:
        machine.teardown()


TestTrading = Trading.TestCase
TestTrading.settings = settings(
    max_examples=int(os.environ.get("TRADEAGENT_CAMPAIGN_STEPS", "40")),
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
