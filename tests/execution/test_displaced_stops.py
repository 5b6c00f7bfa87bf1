"""Which stops a further stop order takes the place of: the oldest, as many as do not fit beside it, by what is left of them."""

from collections.abc import Callable
from decimal import Decimal

import pytest
from test_executors import start
from world import World, proposal

from tradeagent.domain.names import Actor, IntentKind, Rule, VerdictKind
from tradeagent.domain.order import Verdict
from tradeagent.execution.protection import cancel_order, move_protection
from tradeagent.ledger import trading

D = Decimal
NewWorld = Callable[..., World]
TWO = (("2", "90"), ("2", "97"))


def stop_order(world: World, size: str, trigger: str) -> Verdict:
    side = "sell" if world.held() > 0 else "buy"
    return world.manual(side, kind=IntentKind.REDUCE, size=size, type="stop_market", trigger=trigger, reduce_only=True)


def holding(new_world: NewWorld, side: str, stops: tuple[tuple[str, str], ...], **limits: object) -> World:
    """The agent's five coins at 100 with a person's stop orders in place, the oldest first; a short's are mirrored at 100."""
    world = new_world(manual=limits)
    world.submit(side, size=5)
    for size, trigger in stops:
        assert stop_order(world, size, mirrored(side, trigger)).kind is VerdictKind.EXECUTED
    return world


def mirrored(side: str, price: str) -> str:
    return price if side == "buy" else str(200 - D(price))


def triggers(world: World, side: str) -> list[Decimal]:
    return sorted(D(mirrored(side, str(order.trigger))) for order in world.orders())


@pytest.mark.parametrize("side", ["buy", "sell"])
@pytest.mark.parametrize(
    ("stops", "new", "left"),
    [
        ((("2", "95"),), ("3", "60"), [60, 95]),
        ((("4.5", "95"),), ("1", "95"), [95]),
        ((("4.5", "95"),), ("1", "95.5"), [D("95.5")]),
        (TWO, ("1", "93"), [90, 93, 97]),
        (TWO, ("2", "93"), [93, 97]),
        (TWO, ("3", "93"), [93, 97]),
    ],
)
def test_a_stop_order_that_takes_the_place_of_looser_ones_only_is_placed(
    new_world: NewWorld, side: str, stops: tuple[tuple[str, str], ...], new: tuple[str, str], left: list[Decimal]
) -> None:
    """The door says beforehand what the venue then does."""
    world = holding(new_world, side, stops, require_stops=True)
    assert stop_order(world, new[0], mirrored(side, new[1])).kind is VerdictKind.EXECUTED
    assert triggers(world, side) == left and world.differences() == []


@pytest.mark.parametrize("side", ["buy", "sell"])
@pytest.mark.parametrize(
    ("stops", "new", "tighter"),
    [
        ((("2", "95"),), ("3.001", "60"), "95"),
        ((("4.5", "95"),), ("1", "94.5"), "95"),
        (TWO, ("3.001", "93"), "97"),
        ((("2", "97"), ("2", "90")), ("1.001", "93"), "97"),
    ],
)
def test_a_stop_order_that_takes_the_place_of_a_tighter_one_is_refused(
    new_world: NewWorld, side: str, stops: tuple[tuple[str, str], ...], new: tuple[str, str], tighter: str
) -> None:
    world = holding(new_world, side, stops, require_stops=True)
    verdict = stop_order(world, new[0], mirrored(side, new[1]))
    assert verdict.rule is Rule.PROTECTION and verdict.rejection is not None
    assert verdict.rejection.limit == mirrored(side, tighter)
    assert [check.rule for check in verdict.checks if not check.ok] == [Rule.PROTECTION]
    assert triggers(world, side) == sorted(D(trigger) for _, trigger in stops)


def filled_in_part(world: World, trigger: str, filled: str) -> None:
    """As the ledger tells it of a stop that was reached and found too few buyers."""
    (order,) = (order for order in world.orders() if order.trigger == D(trigger))
    with world.ledger.transaction() as tx:
        trading.update_order(tx, order.cloid, filled=D(filled))


@pytest.mark.parametrize(("size", "is_refused"), [("2", False), ("3", False), ("3.001", True), ("3.5", True)])
def test_of_a_stop_that_filled_in_part_only_the_rest_counts(new_world: NewWorld, size: str, is_refused: bool) -> None:
    """2 of 3 are left, and 2 at 97: a position of 5 carries 1 beside them, and 3 when the older one goes."""
    world = holding(new_world, "buy", (("3", "90"), ("2", "97")), require_stops=True)
    filled_in_part(world, "90", "1")
    assert (stop_order(world, size, "93").rule is Rule.PROTECTION) is is_refused


def test_what_a_stop_has_filled_already_protects_nothing(new_world: NewWorld) -> None:
    world = holding(new_world, "buy", (("3", "95"), ("2", "96")), max_risk_per_trade_pct="0.3")
    filled_in_part(world, "95", "1")
    (younger,) = (order for order in world.orders() if order.trigger == 96)
    verdict = cancel_order(world.engine, younger.cloid, Actor.MANUAL)
    assert verdict.rejection is not None and verdict.rule is Rule.TRADE_RISK
    assert verdict.rejection.value == "3.1", "2 lose 5 each and 3 all of 100: 310 of 10,000"


def test_an_agent_keeps_to_its_own_stops_where_a_person_has_one_for_his_own(new_world: NewWorld) -> None:
    world = new_world(limits={"require_stops": True})
    world.submit(size=5, stop=95)
    world.manual(size=2, stop=97)
    persons = {order.cloid for order in world.orders() if order.trigger == 97}
    moved = move_protection(world.engine, proposal("sell", kind=IntentKind.UPDATE, stop=96), Actor.AGENT)
    assert moved.kind is VerdictKind.EXECUTED, "looser than the person's, tighter than its own"
    assert {order.cloid for order in world.orders() if order.trigger == 97} == persons
    assert triggers(world, "buy") == [96, 97] and world.differences() == []


def test_an_executor_replaces_its_own_stop_where_there_is_room_for_both(new_world: NewWorld) -> None:
    world = new_world()
    world.submit(size=3)
    start(world, "position", amount="1", barriers={"stop_loss": "0.05", "trailing_stop": {"activation": "0.02", "delta": "0.01"}})
    stop_order(world, "1", "80")
    assert triggers(world, "buy") == [80, 95]
    (persons,) = (order.cloid for order in world.orders() if order.trigger == 80)
    world.play(BTC=("100", "103", "100", "102.9"))
    assert triggers(world, "buy") == [80, 102]
    assert persons in {order.cloid for order in world.orders()}
