"""Entries of every kind under a volume cap, crashes, and another hand that meddles: what must have a stop has one, and once is enough.

TRADEAGENT_CAMPAIGN_STEPS sets how many random histories are played (25 by default).
"""

import os
import shutil
import tempfile
from decimal import Decimal
from pathlib import Path

from hands import fills_at_most, other_hand
from hypothesis import HealthCheck, settings
from hypothesis import Phase as Stage
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from world import AGENT, World

from tradeagent.domain.errors import RefusedError
from tradeagent.domain.names import Actor, ReconcilePhase, VerdictKind
from tradeagent.execution.protection import cancel_order
from tradeagent.execution.reconcile import reconcile, verify
from tradeagent.ledger import notes
from tradeagent.venue.state import Phase

D = Decimal
KINDS = st.sampled_from(["market", "limit", "stop_market"])
SIDES = st.sampled_from(["buy", "sell"])
SIZES = st.integers(500, 20_000).map(lambda lots: D(lots) / 1000)
MOVES = st.integers(-120, 120).map(lambda bps: D(bps) / 10_000)
CAPS = st.sampled_from([None, D("0.3"), D(2), D(7)])


class Meddling(RuleBasedStateMachine):
    """An agent that must have stops, a person without, and somebody at the venue's own page."""

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp())
        self.is_whole = True

    @initialize()
    def begin(self) -> None:
        self.world = World(self.root, limits={"require_stops": True}, slippage_bps=D(2))

    def teardown(self) -> None:
        if hasattr(self, "world"):
            self.world.done()
        shutil.rmtree(self.root)

    def bar(self, move: Decimal) -> None:
        start = D(self.world.feed.bars["BTC"][-1].open) / 1000
        end = start * (1 + move)
        high, low = max(start, end) * D("1.002"), min(start, end) * D("0.998")
        self.world.play(BTC=tuple(str(x.quantize(D("0.01"))) for x in (start, high, low, end)))  # type: ignore[arg-type]

    @rule(kind=KINDS, side=SIDES, size=SIZES, cap=CAPS, move=MOVES, away=st.integers(1, 80))
    def enter(self, kind: str, side: str, size: Decimal, cap: Decimal | None, move: Decimal, away: int) -> None:
        fills_at_most(self.world, cap)
        sign, mark = (1 if side == "buy" else -1), self.world.price()
        at = mark * (1 - sign * D(away) / 20_000) if kind == "limit" else mark * (1 + sign * D(away) / 20_000)
        price = {"limit": {"price": at}, "stop_market": {"trigger": at}, "market": {}}[kind]
        base = mark if kind == "market" else at
        distance = D(away + 20) / 10_000
        levels = {"stop": base * (1 - sign * distance), "target": base * (1 + sign * distance * 2)}
        verdict = self.world.submit(side, size=size, type=kind, **price, **levels)
        assert verdict.kind is not VerdictKind.UNKNOWN
        self.bar(move)

    @rule(side=SIDES, size=SIZES)
    def a_person_trades_without_a_stop(self, side: str, size: Decimal) -> None:
        self.world.manual(side, size=size)

    @rule(move=MOVES, cap=CAPS)
    def play(self, move: Decimal, cap: Decimal | None) -> None:
        fills_at_most(self.world, cap)
        self.bar(move)

    @rule(which=st.integers(0, 9))
    def the_agent_cancels(self, which: int) -> None:
        live = self.world.orders()
        if live:
            cancel_order(self.world.engine, live[which % len(live)].cloid, Actor.AGENT)

    @rule(part=st.sampled_from([None, D("0.4")]))
    def the_agent_closes(self, part: Decimal | None) -> None:
        fills_at_most(self.world, None)
        held = self.world.held(controller=AGENT)
        if held:
            size = None if part is None else (abs(held) * part).quantize(D("0.001"))
            self.world.submit("sell" if held > 0 else "buy", reduce_only=True, size=size or None)

    @rule(which=st.integers(0, 9))
    def another_hand_cancels(self, which: int) -> None:
        there = self.world.paper.open_orders()
        if there:
            with other_hand(self.world) as broker:
                try:
                    broker.cancel(there[which % len(there)].cloid)
                except RefusedError:
                    return
            self.is_whole = False

    @rule(move=MOVES, cap=CAPS)
    def the_process_dies_before_it_covers(self, move: Decimal, cap: Decimal | None) -> None:
        self.world.engine.after_fills = lambda: None
        fills_at_most(self.world, cap)
        self.bar(move)
        self.settle(self.world.restart())

    @rule()
    def compare(self) -> None:
        self.settle(reconcile(self.world.engine).phase)
        if self.is_whole:
            assert reconcile(self.world.engine).repairs == (), "once is enough"

    def settle(self, phase: ReconcilePhase) -> None:
        """Ledger and venue agree, or a bare part could not be closed because its bar has no volume left, and an incident says so."""
        self.is_whole = phase is ReconcilePhase.CONSISTENT
        with self.world.ledger.reading() as tx:
            told = [incident["message"] for incident in notes.list_incidents(tx, only_open=True)]
        assert self.is_whole or any("No liquidity" in message for message in told), told

    @invariant()
    def what_must_have_a_stop_has_one(self) -> None:
        if not hasattr(self, "world") or not self.is_whole:
            return
        if self.world.engine.is_unresolved:  # a run compares again five seconds later
            self.settle(reconcile(self.world.engine).phase)
            return
        assert verify(self.world.engine) == []
        net, own = self.world.held(), self.world.held(controller=AGENT)
        guards = [
            order
            for order in self.world.paper._fresh().orders.values()
            if order.reduce_only and order.phase is not Phase.PARENT and order.side.sign * net < 0 and not order.type.is_target
        ]
        covered = sum(order.remaining for order in guards) / D(1000)
        need = min(abs(own), abs(net)) if own * net > 0 else D(0)
        is_too_small = not guards and need * self.world.price() < 10  # no venue takes an order for it
        assert covered >= need or is_too_small, (own, net, guards)
        if net == 0:
            assert all(order.waits for order in self.world.paper.open_orders() if order.reduce_only and order.type.is_trigger)


TestMeddling = Meddling.TestCase
TestMeddling.settings = settings(
    max_examples=int(os.environ.get("TRADEAGENT_CAMPAIGN_STEPS", "25")),
    stateful_step_count=20,
    deadline=None,
    phases=(Stage.explicit, Stage.reuse, Stage.generate),
    suppress_health_check=list(HealthCheck),
)
