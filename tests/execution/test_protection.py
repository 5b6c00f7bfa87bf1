"""Moving stops and targets, and cancelling: a stop only tightens, a position is never bare, nobody touches another's orders."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from world import AGENT, World, proposal

from tradeagent.domain.errors import VenueError
from tradeagent.domain.names import Actor, IntentKind, OrderState, Rule, VerdictKind
from tradeagent.domain.order import OrderReport, OrderRequest, Verdict
from tradeagent.execution.protection import cancel_everything, cancel_order, move_protection
from tradeagent.ledger import trading

D = Decimal
NewWorld = Callable[..., World]
EXECUTED, REJECTED = VerdictKind.EXECUTED, VerdictKind.REJECTED


def protect(world: World, market: str = "BTC", actor: Actor = Actor.AGENT, **levels: Any) -> Verdict:
    return move_protection(world.engine, proposal("sell", market, actor, kind=IntentKind.UPDATE, **levels), actor)


def levels(world: World) -> dict[str, Decimal | None]:
    return {order.leg: order.trigger for order in world.orders() if order.reduce_only}


@pytest.fixture
def strict(new_world: NewWorld) -> World:
    """An agent that must have stops, long 5 BTC with a stop at 95 and a target at 110."""
    world = new_world(limits={"require_stops": True})
    assert world.submit(size=5, stop=95, target=110).kind is EXECUTED
    return world


def test_a_tighter_stop_replaces_the_old_one_and_leaves_the_target(strict: World) -> None:
    verdict = protect(strict, stop=97)
    assert verdict.kind is EXECUTED and verdict.order is not None and verdict.order["trigger"] == "97"
    assert levels(strict) == {"stop": D(97), "target": D(110)}
    assert strict.differences() == []


def test_a_target_moves_without_touching_the_stop(strict: World) -> None:
    assert protect(strict, target=105).kind is EXECUTED
    assert levels(strict) == {"stop": D(95), "target": D(105)}


@pytest.mark.parametrize("side", ["buy", "sell"])
@pytest.mark.parametrize("size", ["0.5", "1", "5"])
def test_levels_lie_on_their_sides_of_the_mark_whatever_the_size(side: str, size: str, new_world: NewWorld) -> None:
    world = new_world()
    below, above = {"stop": 90}, {"target": 110}
    if side == "sell":
        below, above = {"target": 90}, {"stop": 110}
    assert world.submit(side, size=size).kind is EXECUTED
    for level in (below, above):
        assert protect(world, **level).kind is EXECUTED
        ((name, price),), word = level.items(), "above" if level is above else "below"
        other = protect(world, **{name: 200 - price})
        assert other.rule is Rule.PROTECTION and other.rejection is not None and f"must be {word} the mark 100" in other.rejection.message
    assert levels(world) == below | above


def test_both_levels_move_at_once(strict: World) -> None:
    assert protect(strict, stop=98, target=104).kind is EXECUTED
    assert levels(strict) == {"stop": D(98), "target": D(104)}


def test_a_looser_stop_is_refused_and_the_tightest_is_named(strict: World) -> None:
    verdict = protect(strict, stop=94)
    assert verdict.rule is Rule.PROTECTION and verdict.intent_id is not None
    assert verdict.rejection is not None and (verdict.rejection.limit_key, verdict.rejection.limit) == ("require_stops", "95")
    assert protect(strict, stop="94.999").rule is Rule.PROTECTION
    assert protect(strict, stop=95).kind is EXECUTED, "equal is not looser"
    assert levels(strict)["stop"] == 95


def test_one_stop_for_two_entries_may_not_loosen_the_tighter(strict: World) -> None:
    strict.submit(size=1, stop=98)
    assert protect(strict, stop=96).rule is Rule.PROTECTION
    assert protect(strict, stop=98).kind is EXECUTED
    assert [(o.size, o.trigger) for o in strict.orders(leg="stop")] == [(6, D(98))]


def test_a_person_without_required_stops_may_loosen(new_world: NewWorld) -> None:
    world = new_world()
    world.manual(size=5, stop=95)
    assert protect(world, actor=Actor.MANUAL, stop=90).kind is EXECUTED
    assert levels(world) == {"stop": D(90)}


def test_a_shorts_stop_tightens_downwards(new_world: NewWorld) -> None:
    world = new_world(limits={"require_stops": True})
    world.submit("sell", size=5, stop=105)
    assert protect(world, stop=106).rule is Rule.PROTECTION
    assert protect(world, stop=104, target=90).kind is EXECUTED
    assert levels(world) == {"stop": D(104), "target": D(90)}


@pytest.mark.parametrize("stated", [{"stop": 100}, {"stop": 101}, {"target": 100}, {"target": 99}])
def test_a_level_on_the_wrong_side_of_the_mark_is_refused(stated: dict[str, int], strict: World) -> None:
    assert protect(strict, **stated).rule is Rule.PROTECTION
    assert levels(strict) == {"stop": D(95), "target": D(110)}


def test_a_stop_past_the_liquidation_price_is_refused(new_world: NewWorld) -> None:
    world = new_world(cash=1000)
    world.submit(size=100, leverage=20)
    # 1000 + 100 (p − 100) = 100 p / 100, so p = 90.909…
    assert protect(world, stop="90.90").rule is Rule.PROTECTION
    assert protect(world, stop="90.91").kind is EXECUTED


def test_a_tighter_stop_past_the_liquidation_price_is_less_risk_than_before(new_world: NewWorld) -> None:
    world = new_world(cash=1000)
    world.submit(size=60, leverage=20, stop=90)
    world.submit(size=40, leverage=20)
    assert protect(world, stop="89.99").rule is Rule.PROTECTION
    assert protect(world, stop="90.5").kind is EXECUTED, "liquidation comes at 90.909…, the stop that it replaces lay at 90"


SHAPELESS: list[dict[str, Any]] = [
    {},
    {"stop": "NaN"},
    {"stop": "sNaN"},
    {"stop": -1},
    {"stop": 0},
    {"target": "Infinity"},
    {"stop": "1e308"},
]


@pytest.mark.parametrize("stated", SHAPELESS)
def test_levels_that_are_no_prices_are_refused(stated: dict[str, Any], strict: World) -> None:
    assert protect(strict, **stated).rule is Rule.SHAPE
    assert levels(strict) == {"stop": D(95), "target": D(110)}


def test_nothing_held_means_nothing_to_protect(strict: World) -> None:
    assert protect(strict, "ETH", stop=49).rule is Rule.SHAPE
    strict.manual(market="ETH", size=2)
    assert protect(strict, "ETH", stop=49).rule is Rule.SHAPE, "a person's position is not the agent's"
    assert protect(strict, "DOGE", stop=49).rule is Rule.SCOPE


class Recorder:
    """Notes the order of writes, and refuses or loses new orders when told to."""

    def __init__(self, inner: Any, fail: str = "") -> None:
        self._inner = inner
        self.calls: list[str] = []
        self.fail = fail

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def place(self, orders: list[OrderRequest]) -> list[OrderReport]:
        self.calls.append("place")
        if self.fail == "lose":
            raise VenueError("timeout")
        if self.fail == "refuse":
            return [OrderReport(o.cloid, None, OrderState.REJECTED, D(0), None, "not today") for o in orders]
        return list(self._inner.place(orders))

    def cancel(self, cloid: str) -> OrderReport:
        self.calls.append("cancel")
        found: OrderReport = self._inner.cancel(cloid)
        return found


def test_the_new_stop_rests_before_the_old_one_is_cancelled(strict: World) -> None:
    strict.engine.broker = recorder = Recorder(strict.paper)
    protect(strict, stop=96)
    assert recorder.calls == ["place", "cancel"]


@pytest.mark.parametrize(("fail", "kind"), [("refuse", REJECTED), ("lose", VerdictKind.UNKNOWN)])
def test_the_old_stop_stays_when_the_new_one_does_not_come(fail: str, kind: VerdictKind, strict: World) -> None:
    strict.engine.broker = recorder = Recorder(strict.paper, fail)
    verdict = protect(strict, stop=96)
    assert verdict.kind is kind and recorder.calls == ["place"]
    strict.engine.broker = strict.paper
    assert strict.restart().value == "consistent"
    assert levels(strict) == {"stop": D(95), "target": D(110)}


def test_protection_does_not_move_in_a_dry_run(new_world: NewWorld) -> None:
    world = new_world()
    world.submit(size=1, stop=95)
    world.engine.dry_run = True
    assert protect(world, stop=96).rule is Rule.DRY_RUN
    assert cancel_order(world.engine, world.orders()[0].cloid, Actor.AGENT).rule is Rule.DRY_RUN
    assert levels(world) == {"stop": D(95)}


def test_the_moved_stop_of_a_person_closes_the_agents_trade_for_the_agent(strict: World) -> None:
    assert protect(strict, actor=Actor.MANUAL, stop=97).kind is EXECUTED
    strict.play(BTC=("100", "100", "96", "96"))
    assert strict.held() == 0 and strict.orders() == []
    trip = strict.trips()[0]
    assert (trip["controller_id"], trip["exit_reason"], trip["realised_pnl"]) == (AGENT, "stop", D(-15))
    assert trip["r_multiple"] == D("-0.6"), "R is measured from the first stop, 5 away"


# --- cancelling ---------------------------------------------------------------------------------------------------------------


def cancel(world: World, leg: str, actor: Actor = Actor.AGENT) -> Verdict:
    return cancel_order(world.engine, world.orders(leg=leg)[0].cloid, actor)


def test_an_agent_cannot_cancel_a_stop_its_limits_require(strict: World) -> None:
    verdict = cancel(strict, "stop")
    assert verdict.rule is Rule.PROTECTION and verdict.rejection is not None and verdict.rejection.limit_key == "require_stops"
    assert cancel(strict, "target").kind is EXECUTED
    assert levels(strict) == {"stop": D(95)}


def test_an_agent_cannot_strip_the_stop_off_a_waiting_entry(new_world: NewWorld) -> None:
    world = new_world(limits={"require_stops": True})
    world.submit(size=5, stop=90, type="limit", price=95)
    assert cancel(world, "stop").rule is Rule.PROTECTION
    assert cancel(world, "entry").kind is EXECUTED
    assert world.orders() == [], "its children go with it"


def test_a_person_cannot_take_the_stop_that_an_agents_limits_require(strict: World) -> None:
    verdict = cancel(strict, "stop", Actor.MANUAL)
    assert verdict.rule is Rule.PROTECTION and verdict.rejection is not None
    assert verdict.rejection.message == f"the limits of {AGENT} require this stop; close the position, or change them"
    assert levels(strict)["stop"] == 95
    assert cancel(strict, "target", Actor.MANUAL).kind is EXECUTED
    assert protect(strict, actor=Actor.MANUAL, stop=90).kind is EXECUTED, "but moves it wherever it wants"
    assert levels(strict) == {"stop": D(90)}
    assert cancel(strict, "stop", Actor.MANUAL).rule is Rule.PROTECTION, "the person's guards the agent's position now"


def test_a_person_may_take_the_stop_of_an_agent_whose_limits_do_not_require_one(new_world: NewWorld) -> None:
    world = new_world()
    world.submit(size=5, stop=95)
    assert cancel(world, "stop", Actor.MANUAL).kind is EXECUTED
    world.play()
    assert levels(world) == {}


def test_an_agent_cannot_cancel_anothers_order_but_a_person_can_cancel_any(new_world: NewWorld) -> None:
    world = new_world()
    world.manual(size=1, type="limit", price=90)
    assert cancel(world, "entry").rule is Rule.SCOPE
    world.submit(size=1, type="limit", price=91)
    assert len(world.orders()) == 2
    for order in world.orders():
        assert cancel_order(world.engine, order.cloid, Actor.MANUAL).kind is EXECUTED
    assert world.orders() == []


def test_an_order_is_found_by_the_venues_number_too(new_world: NewWorld) -> None:
    world = new_world()
    verdict = world.submit(size=1, type="limit", price=90)
    assert verdict.order is not None
    assert cancel_order(world.engine, str(verdict.order["order_id"]), Actor.AGENT).kind is EXECUTED
    assert cancel_order(world.engine, str(verdict.order["order_id"]), Actor.AGENT).rule is Rule.SHAPE
    assert cancel_order(world.engine, "None", Actor.AGENT).rule is Rule.SHAPE


def test_an_order_that_is_gone_at_the_venue_says_so(new_world: NewWorld) -> None:
    world = new_world()
    verdict = world.submit(size=1, type="limit", price=90)
    assert verdict.order is not None
    world.paper.cancel(str(verdict.order["cloid"]))
    late = cancel_order(world.engine, str(verdict.order["cloid"]), Actor.AGENT)
    assert late.kind is REJECTED and late.message.startswith("venue:")
    assert world.orders() == []
    with world.ledger.reading() as tx:
        found = trading.intent(tx, str(late.intent_id))
    assert found is not None and found["state"] == "venue_rejected"


def test_cancel_everything_leaves_no_live_order(strict: World) -> None:
    strict.submit(size=1, type="limit", price=90, stop=80)
    strict.manual(market="ETH", size=2, stop=45)
    assert cancel_everything(strict.engine) == 5
    assert strict.orders() == [] and strict.paper.account().open_cloids == frozenset()
    assert cancel_everything(strict.engine) == 0


def test_a_stop_on_a_position_that_went_flat_is_gone(strict: World) -> None:
    strict.close()
    assert strict.orders() == [] and strict.differences() == []
