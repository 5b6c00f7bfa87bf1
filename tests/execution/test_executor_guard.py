"""Barriers to the last tick: at a price, one step before it and one behind it, for a long and mirrored at 100 for a short."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from test_executor_refusals import refuse
from test_executors import BARRIERS, end, row_of, start
from world import NOON, World

from tradeagent.domain.names import Actor, OrderState
from tradeagent.execution.executors.desk import step_all
from tradeagent.execution.protection import cancel_order

D = Decimal
NewWorld = Callable[..., World]
TRAILING = {"activation": "0.02", "delta": "0.01"}

both_sides = pytest.mark.parametrize("side", ["buy", "sell"])


def seen_by(side: str, *prices: str) -> tuple[str, ...]:
    """Open, best, worst and close of a long's bar, as a bar for this side: a short's is mirrored at 100."""
    o, best, worst, c = prices
    return (o, best, worst, c) if side == "buy" else tuple(mirrored(side, price) for price in (o, worst, best, c))


def mirrored(side: str, price: str) -> str:
    return price if side == "buy" else str(200 - D(price))


def play(world: World, side: str, *prices: str) -> None:
    world.play(BTC=seen_by(side, *prices))  # type: ignore[arg-type]  # four of them


def levels(world: World, leg: str, side: str) -> list[Decimal]:
    """Where the levels are, as a long would see them."""
    return [D(mirrored(side, str(order.trigger))) for order in world.orders(leg=leg)]


def trailing(world: World, side: str, **barriers: Any) -> str:
    return start(world, "position", side=side, amount="1", barriers={"stop_loss": "0.05", "trailing_stop": TRAILING, **barriers})


@both_sides
@pytest.mark.parametrize(("best", "stop"), [("101.999", "95"), ("102", "101"), ("102.01", "101.01")])
def test_a_stop_trails_from_its_activation_on(new_world: NewWorld, side: str, best: str, stop: str) -> None:
    world = new_world()
    trailing(world, side)
    play(world, side, "100", best, "100", "101.9")
    assert levels(world, "stop", side) == [D(stop)]


@both_sides
@pytest.mark.parametrize(("close", "ends"), [("103.001", False), ("103", True), ("102.999", True)])
def test_a_bar_that_closes_at_its_trailing_stop_ends_the_position(new_world: NewWorld, side: str, close: str, ends: bool) -> None:
    world = new_world()
    made = trailing(world, side)
    play(world, side, "100", "104", "100", close)
    assert row_of(world, made).state.get("stopping", {}).get("type") == ("trailing_stop" if ends else None)
    assert levels(world, "stop", side) == [D("95" if ends else "103")]
    world.play()
    assert end(world, made) == (("terminated", "trailing_stop") if ends else ("active", None))


@both_sides
def test_the_tighter_of_fixed_and_trailing_stop_rests(new_world: NewWorld, side: str) -> None:
    world = new_world()
    trailing(world, side, stop_loss="0.005", trailing_stop={"activation": "0.01", "delta": "0.021"})
    for best, stop in (("101.2", "99.5"), ("101.59", "99.5"), ("101.61", "99.51"), ("101.8", "99.7")):
        play(world, side, "101", best, "101", "101")
        assert levels(world, "stop", side) == [D(stop)], best


@both_sides
def test_the_best_price_only_gets_better(new_world: NewWorld, side: str) -> None:
    world = new_world()
    made = trailing(world, side)
    for best, close, stop in (("103", "102.5", "102"), ("102.7", "102.4", "102"), ("103.5", "103.2", "102.5"), ("103.4", "102.6", "102.5")):
        play(world, side, close, best, close, close)
        assert levels(world, "stop", side) == [D(stop)], best
    assert D(mirrored(side, row_of(world, made).state["best"])) == D("103.5")


@pytest.mark.parametrize(("side", "stop"), [("buy", "100.51"), ("sell", "100.49")])
def test_what_a_bar_did_before_the_entry_is_no_best_price(new_world: NewWorld, side: str, stop: str) -> None:
    world = new_world()
    start(
        world,
        "position",
        side=side,
        amount="1",
        entry_price=mirrored(side, "99"),
        barriers={"stop_loss": {"price": mirrored(side, "95")}, "trailing_stop": TRAILING},
    )
    play(world, side, "100", "104", "98.9", "100")
    assert (abs(world.held()), levels(world, "stop", side)) == (1, [D(95)]), "the bar was at 104 before it was at 99, as far as one knows"
    play(world, side, "100", "101.5", "100", "101")
    assert levels(world, "stop", side) == [D(stop)], "1 % of 99, or of 101, behind the best price"


def test_between_bars_the_mark_is_the_best_price(new_world: NewWorld) -> None:
    world = new_world()
    made = trailing(world, "buy")
    play(world, "buy", "100", "101.5", "100", "101")
    step_all(world.engine)
    assert (D(row_of(world, made).state["best"]), row_of(world, made).state["trails"]) == (D("101.5"), False)


def test_a_stop_before_its_activation_is_no_trailing_stop(new_world: NewWorld) -> None:
    world = new_world()
    made = trailing(world, "buy")
    play(world, "buy", "100", "101.9", "100", "101")
    play(world, "buy", "101", "101", "94", "94")
    assert end(world, made) == ("terminated", "stop_loss")


@both_sides
@pytest.mark.parametrize("moving", [False, True])
def test_an_executor_whose_levels_are_in_place_writes_nothing(
    new_world: NewWorld, monkeypatch: pytest.MonkeyPatch, side: str, moving: bool
) -> None:
    world = new_world()
    made = trailing(world, side, take_profit="0.2")
    if moving:
        play(world, side, "100", "103", "100", "102.9")
    before, orders, commits = row_of(world, made), world.orders(), []
    real = world.ledger.transaction
    monkeypatch.setattr(world.ledger, "transaction", lambda **how: commits.append(how) or real(**how))
    step_all(world.engine)
    assert commits == [] and (row_of(world, made), world.orders()) == (before, orders)


@pytest.mark.parametrize(("after_ms", "ends"), [(599_999, False), (600_000, True)])
def test_what_is_held_is_closed_when_its_time_is_over_to_the_millisecond(new_world: NewWorld, after_ms: int, ends: bool) -> None:
    world = new_world()
    made = start(world, "position", amount="1", barriers={**BARRIERS, "time_limit_s": 600})
    world.play()
    world.clock.advance_to(NOON + after_ms)
    step_all(world.engine)
    assert row_of(world, made).state.get("stopping", {}).get("type") == ("time_limit" if ends else None)


@both_sides
@pytest.mark.parametrize(
    ("close", "ended"),
    [("97.999", "stop_loss"), ("98", "stop_loss"), ("98.001", None), ("102.999", None), ("103", "take_profit"), ("103.001", "take_profit")],
)
def test_a_level_that_can_not_rest_ends_the_position_when_the_mark_has_reached_it(
    new_world: NewWorld, monkeypatch: pytest.MonkeyPatch, side: str, close: str, ended: str | None
) -> None:
    world = new_world()
    made = start(world, "position", side=side, amount="1", barriers=BARRIERS)
    for order in world.orders():
        cancel_order(world.engine, order.cloid, Actor.MANUAL)
    with monkeypatch.context() as patch:
        refuse(world, patch, closes=True)
        world.play(BTC=mirrored(side, close))
    assert row_of(world, made).state.get("stopping", {}).get("type") == ended
    if ended:
        world.play_many(2)
        assert (end(world, made), world.held()) == (("terminated", ended), 0)


@pytest.mark.parametrize("leg", ["stop", "target"])
def test_a_level_that_somebody_took_rests_again_and_the_other_stays(new_world: NewWorld, leg: str) -> None:
    world = new_world()
    start(world, "position", amount="1", barriers=BARRIERS)
    before = {order.leg: order for order in world.orders()}
    cancel_order(world.engine, before[leg].cloid, Actor.MANUAL)
    world.play()
    after = {order.leg: order for order in world.orders()}
    other = "target" if leg == "stop" else "stop"
    assert after[other].cloid == before[other].cloid
    assert (after[leg].cloid != before[leg].cloid, after[leg].trigger, after[leg].size) == (True, before[leg].trigger, 1)
    assert {order.state for order in after.values()} == {OrderState.OPEN.value}
