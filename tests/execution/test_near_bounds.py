"""Bounds that are met a hair's breadth away: a stop close to its entry, room that resting orders take, an order that has filled in part."""

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal

import pytest
from hands import fills_at_most
from test_executors import end, row_of, start
from world import AGENT, World, proposal

from tradeagent.domain.names import Actor, HaltReason, Rule, VerdictKind
from tradeagent.execution.planning import plan
from tradeagent.execution.protection import cancel_order
from tradeagent.execution.reconcile import reconcile
from tradeagent.execution.rules import halted
from tradeagent.ledger import notes

D = Decimal
NewWorld = Callable[..., World]
EXECUTED = VerdictKind.EXECUTED
CHASER = {"distance": "0.01", "refresh_threshold": "0.005"}


@pytest.mark.parametrize(("side", "stop", "target"), [("buy", "99.99", "100.01"), ("sell", "100.01", "99.99")])
def test_levels_may_be_as_near_as_the_grid_has_prices(new_world: NewWorld, side: str, stop: str, target: str) -> None:
    world = new_world()
    assert world.submit(side, size=1, stop=stop, target=target).kind is EXECUTED
    swapped = new_world().submit(side, size=1, stop=target, target=stop)
    assert swapped.rule is Rule.PROTECTION


def test_what_rests_on_the_other_side_takes_all_the_room_once_another_market_has_grown(new_world: NewWorld) -> None:
    world = new_world(limits={"max_total_exposure_pct": 5})
    assert world.submit("sell", size=4, type="limit", price=120).kind is EXECUTED
    assert world.submit("buy", "ETH", size="0.39").kind is EXECUTED
    assert world.submit("buy", size="0.2", type="limit", price=99).kind is EXECUTED, "its worst case is the sale, which has room"
    world.play(ETH=60)
    verdict = world.submit("buy", size="0.2", type="limit", price=98)
    assert verdict.rule is Rule.EXPOSURE_CAP and verdict.rejection is not None
    assert verdict.rejection.max_ok in (None, "0"), "the sale alone, with the other market, is above the cap now"


def test_who_halted_it_is_said_with_what_reopens_it(new_world: NewWorld) -> None:
    world = new_world()
    state = world.state()
    made = plan(proposal(size=1), state, lambda draft: (D(10**9), None))
    said = []
    for halt in (HaltReason.KILL, HaltReason.DRAWDOWN):
        found = halted(made, replace(state, risk=replace(state.risk, halt=halt.value))).rejection
        assert found is not None
        said.append(found.message)
    assert said == [
        "killed; only `kill --clear` by a person reopens entries",
        "halted (drawdown); only `clear-halt` by a person reopens entries",
    ]


def test_each_missing_stop_has_an_incident_of_its_own(new_world: NewWorld) -> None:
    world = new_world(limits={"require_stops": True})
    for market, stop in (("BTC", 95), ("ETH", 45)):
        assert world.submit("buy", market, size=2, stop=stop).kind is EXECUTED
    for order in world.orders(leg="stop"):
        world.paper.cancel(order.cloid)
    assert reconcile(world.engine).phase.value == "consistent"
    with world.ledger.reading() as tx:
        said = {str(row["message"]) for row in notes.list_incidents(tx)}
    assert said == {f"{market} 2 of {AGENT} had no stop at the venue: placed again at {at}" for market, at in (("BTC", 95), ("ETH", 45))}


def test_bars_that_follow_each_other_leave_no_gap(new_world: NewWorld) -> None:
    world = new_world()
    world.play_many(3)
    assert world.playback.take_gaps() == []


def test_the_target_of_an_order_executor_lies_toward_the_entry(new_world: NewWorld) -> None:
    world = new_world()
    made = start(world, "order", amount="1", strategy="market", stop="90.0004", target="110.0006")
    laid = row_of(world, made).layout
    assert (D(laid["stop"]), D(laid["target"])) == (D("90.001"), D("110.000"))


def test_a_chaser_goes_on_with_what_is_left_after_a_part_and_ends_when_its_order_is_taken(new_world: NewWorld) -> None:
    world = new_world()
    fills_at_most(world, D("0.5"))
    made = start(world, "order", amount="2", strategy="limit_chaser", chaser=CHASER)
    world.play(BTC=("100", "100", "98.9", "100"))
    assert world.held() == D("0.5")
    fills_at_most(world, None)
    world.play(BTC="101")
    assert [(order.size, order.price) for order in world.orders(leg="entry")] == [(D("1.5"), D("99.99"))]
    cancel_order(world.engine, world.orders(leg="entry")[0].cloid, Actor.MANUAL)
    world.play()
    assert (end(world, made), world.held("BTC", AGENT)) == (("terminated", "early_stop"), D("0.5"))
