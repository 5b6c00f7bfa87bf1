"""Answers that were lost: what the venue knows is adopted, what it does not know yet stays unknown until it can no longer arrive."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from decimal import Decimal

import pytest
from hands import incidents, told
from world import AGENT, STEP, WALLET, World

from tradeagent.domain.errors import VenueError
from tradeagent.domain.names import OrderState, Rule, Tif, VerdictKind
from tradeagent.domain.order import OrderReport, OrderRequest
from tradeagent.execution.orders import EXPIRES_AFTER_MS, order_request
from tradeagent.execution.reconcile import reconcile
from tradeagent.execution.recover import recover
from tradeagent.ledger import trading

D = Decimal
NewWorld = Callable[..., World]
EXECUTED, UNKNOWN = VerdictKind.EXECUTED, VerdictKind.UNKNOWN


class Slow:
    """A venue far away: what is sent is on its way until `deliver`, and the sender hears nothing."""

    delivers_late = True

    def __init__(self, world: World) -> None:
        self.world = world
        self.sent: list[Sequence[OrderRequest]] = []

    def __getattr__(self, name: str) -> object:
        return getattr(self.world.paper, name)

    def place(self, orders: Sequence[OrderRequest]) -> list[OrderReport]:
        self.sent.append(orders)
        raise VenueError("no answer within 10 s")

    def deliver(self) -> list[OrderReport]:
        return [report for orders in self.sent for report in self.world.paper.place(orders)]


class Mute(Slow):
    """Takes every order and loses its answer."""

    def place(self, orders: Sequence[OrderRequest]) -> list[OrderReport]:
        self.world.paper.place(orders)
        return super().place(orders)


class Behind(Slow):
    """Answers at once, and tells of fills only when it has caught up."""

    def place(self, orders: Sequence[OrderRequest]) -> list[OrderReport]:
        return self.world.paper.place(orders)

    def activity_since(self, cursor: int) -> list[object]:
        return []


@pytest.fixture
def world(new_world: NewWorld) -> World:
    return new_world(limits={"max_position_pct": 10})


def states(world: World) -> list[str]:
    return [data["state"] for data in told(world, "intent.state")]


def reserved(world: World) -> Decimal:
    with world.ledger.reading() as tx:
        return sum((held.size for held in trading.active_reservations(tx, WALLET)), D(0))


def lost(world: World, broker: Slow) -> Slow:
    """Send an entry whose answer does not come."""
    world.engine.broker = broker  # type: ignore[assignment]
    verdict = world.submit(size=4, type="limit", price=99, stop=95)
    assert verdict.kind is UNKNOWN and world.engine.is_unresolved
    return broker


def test_an_order_that_may_still_arrive_stays_unknown_and_keeps_its_risk(world: World) -> None:
    lost(world, Slow(world))
    for _ in range(2):
        assert reconcile(world.engine).phase.value == "consistent"
        assert world.engine.is_unresolved and reserved(world) == 4 and "unknown_intent" in incidents(world)
    assert world.submit(size=1).rule is Rule.RECONCILING
    assert world.submit(market="ETH", size=1).kind is UNKNOWN, "another market is free"
    assert states(world)[:2] == ["pending", "unknown"]


def test_an_order_that_arrives_late_is_adopted(world: World) -> None:
    slow = lost(world, Slow(world))
    reconcile(world.engine)
    world.clock.advance_to(world.now + EXPIRES_AFTER_MS)
    assert [report.state for report in slow.deliver()] == [OrderState.OPEN, OrderState.PENDING]
    done = reconcile(world.engine)
    assert any("executed, resolved by asking the venue" in words for words in done.repairs)
    assert states(world) == ["pending", "unknown", "executed"]
    assert (reserved(world), {order.leg for order in world.orders()}, incidents(world)) == (0, {"entry", "stop"}, {})
    assert not world.engine.is_unresolved and world.differences() == []
    assert world.engine.book.risk.entries_today == {"agent": 1}


def test_an_order_that_did_not_arrive_in_time_never_will(world: World) -> None:
    slow = lost(world, Slow(world))
    world.clock.advance_to(world.now + EXPIRES_AFTER_MS + 1)
    assert [(report.state, report.reason) for report in slow.deliver()] == [(OrderState.REJECTED, "Action already expired")] * 2
    reconcile(world.engine)
    assert world.engine.is_unresolved and reserved(world) == 4, "the venue's clock may be a little behind"
    world.clock.advance_to(world.now + 5_000)
    reconcile(world.engine)
    assert (states(world)[-1], reserved(world), world.orders(), incidents(world)) == ("cancelled", 0, [], {})
    assert not world.engine.is_unresolved and world.paper.open_orders() == []


def test_a_process_that_died_while_sending_asks_before_it_gives_up(world: World) -> None:
    real = world.engine._send
    world.engine._send = lambda *_: None  # type: ignore[assignment,method-assign]  # dies after the intent was written
    world.submit(size=4, type="limit", price=99, stop=95)
    world.engine._send = real  # type: ignore[method-assign]
    world.paper.close()
    world._open()
    world.engine.broker = Slow(world)  # type: ignore[assignment]
    assert recover(world.engine).value == "consistent"
    assert states(world) == ["pending", "unknown"] and reserved(world) == 4
    world.clock.advance_to(world.now + STEP)
    reconcile(world.engine)
    assert states(world) == ["pending", "unknown", "cancelled"] and reserved(world) == 0


def test_on_paper_an_order_that_is_not_there_never_was(world: World) -> None:
    world.engine._send = lambda *_: None  # type: ignore[assignment,method-assign]
    world.submit(size=4, type="limit", price=99, stop=95)
    assert world.restart().value == "consistent"
    assert states(world) == ["pending", "cancelled"] and world.orders() == [] and reserved(world) == 0
    assert world.submit(size=4, type="limit", price=99, stop=95).kind is EXECUTED


def test_an_order_whose_answer_was_lost_after_it_filled_is_adopted_with_its_fill(world: World) -> None:
    world.engine.broker = Mute(world)  # type: ignore[assignment]
    assert world.submit(size=4, stop=95).kind is UNKNOWN
    world.engine.broker = world.paper
    assert world.held() == 0
    assert reconcile(world.engine).phase.value == "consistent"
    assert (world.held(), len(world.fills()), states(world)[-1]) == (4, 1, "executed")
    assert [(order.size, order.trigger) for order in world.orders(leg="stop")] == [(4, 95)]


def test_a_fill_that_is_told_long_after_the_position_is_booked_once(world: World) -> None:
    world.engine.broker = Mute(world)  # type: ignore[assignment]
    assert world.submit(size=4, stop=95).kind is UNKNOWN
    world.engine.broker = Behind(world)  # type: ignore[assignment]
    for _ in range(2):
        assert reconcile(world.engine).phase.value == "failed"
        assert world.held() == 0, "nobody takes over what an own order explains"
    assert world.submit(size=1).rule is Rule.RECONCILING
    world.engine.broker = world.paper
    assert reconcile(world.engine).phase.value == "consistent"
    assert (world.held(), world.held(controller=AGENT), len(world.fills()), incidents(world)) == (4, 4, 1, {})
    assert [(order.size, order.trigger) for order in world.orders(leg="stop")] == [(4, 95)]


def test_a_refusal_whose_answer_was_lost_is_the_venues_no(world: World) -> None:
    world.engine.broker = Mute(world)  # type: ignore[assignment]
    verdict = world.submit(size=4, type="limit", price=101, tif=Tif.ALO)
    assert verdict.kind is UNKNOWN
    world.engine.broker = world.paper
    reconcile(world.engine)
    assert (states(world)[-1], reserved(world), world.orders()) == ("venue_rejected", 0, [])
    with world.ledger.reading() as tx:
        [order] = trading.orders_of_intent(tx, verdict.intent_id or "")
    assert order.state == "rejected" and order.reason.startswith("Post only order")
    assert world.engine.book.risk.entries_today == {}, "it is none of today's entries"


def test_a_repeated_order_is_the_same_order(world: World) -> None:
    slow = lost(world, Slow(world))
    with world.ledger.reading() as tx:
        rows = {order.cloid: order for order in trading.live_orders(tx, WALLET)}
    [sent] = slow.sent
    assert [replace(order, at_mark=False) for order in sent] == [order_request(rows[order.cloid]) for order in sent]
    assert {order.expires_ms for order in sent} == {world.now + EXPIRES_AFTER_MS}
    first, second = slow.deliver(), slow.deliver()
    assert [report.oid for report in first] == [report.oid for report in second]
    assert len(world.paper.open_orders()) == 2
