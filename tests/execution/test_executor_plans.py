"""Twap, dca and position by their clocks and prices: what is sent when, what waits, and what every part still reserves."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from test_executors import BARRIERS, ask, dca, end, reserved, row_of, start, twap
from world import NOON, World

from tradeagent.domain.names import Actor, Rule
from tradeagent.execution.executors.desk import step_all
from tradeagent.execution.protection import cancel_order

D = Decimal
NewWorld = Callable[..., World]


def at(world: World, ms: int) -> None:
    """Step everything `ms` after noon, between two bars."""
    world.clock.advance_to(NOON + ms)
    step_all(world.engine)


def sizes(world: World) -> list[Decimal]:
    return [fill["size"] for fill in world.fills()]


# --- twap -------------------------------------------------------------------------------------------------------------------


def test_a_slice_is_sent_once_and_when_its_time_has_come_to_the_millisecond(new_world: NewWorld) -> None:
    world = new_world()
    made = twap(world)
    world.play()
    assert len(sizes(world)) == 1, "the next one waits for the open that begins now"
    sent = []
    for ms in (300_000, 300_001, 450_000, 599_999, 600_000, 600_001, 899_999, 900_000, 1_199_999):
        world.clock.advance_to(NOON + ms)
        world.playback.advance(world.now)
        world._foresee()
        step_all(world.engine)
        sent.append(row_of(world, made).state["seq"])
    assert sent == [2, 2, 2, 2, 3, 3, 3, 4, 4]


def test_a_twap_spends_quote_and_reserves_what_its_total_still_buys_at_its_first_price(new_world: NewWorld) -> None:
    world = new_world()
    made = twap(world, stop="30")
    assert (sizes(world), reserved(world)) == ([D("0.25")], D("0.75"))
    world.play(BTC="98.5")
    assert (len(sizes(world)), reserved(world)) == (1, D("0.497")), "0.253 wait for the open"
    world.play()
    assert (sizes(world)[1], row_of(world, made).state["spent"]) == (D("0.253"), "49.920500")
    assert reserved(world) == D("0.246795"), "50.0795 are left, and the 0.254 that wait count at 100"
    world.play()
    world.play()
    assert sizes(world) == [D("0.25"), D("0.253"), D("0.254"), D("0.254")]
    assert (end(world, made), reserved(world)) == (("terminated", "completed"), 0)


def test_slices_of_exactly_the_minimum_are_sent_to_the_last(new_world: NewWorld) -> None:
    world = new_world()
    made = twap(world, total_amount_quote="40")
    world.play_many(2)
    assert (len(sizes(world)), row_of(world, made).is_live) == (2, True)
    world.play_many(2)
    assert sizes(world) == [D("0.1")] * 4
    assert (end(world, made), row_of(world, made).detail) == (("terminated", "completed"), "")


def test_what_is_left_below_the_minimum_completes_a_twap(new_world: NewWorld) -> None:
    world = new_world()
    made = twap(world, total_amount_quote="20.06", duration_s=600)
    world.play_many(2)
    assert (sizes(world), end(world, made)) == ([D("0.1"), D("0.1")], ("terminated", "completed"))
    assert world.held("BTC", world.engine.terms[Actor.AGENT].scope.controller_id) == D("0.2")


@pytest.mark.parametrize(("side", "limit", "sent"), [("buy", "100", 1), ("buy", "99.999", 0), ("sell", "100", 1), ("sell", "100.01", 0)])
def test_a_slice_is_sent_at_its_price_limit_and_not_beyond(new_world: NewWorld, side: str, limit: str, sent: int) -> None:
    world = new_world()
    twap(world, side=side, price_limit=limit)
    assert len(sizes(world)) == sent


@pytest.mark.parametrize(("after_ms", "ended"), [(1_199_999, None), (1_200_000, "time_limit")])
def test_a_twap_is_over_at_its_duration(new_world: NewWorld, after_ms: int, ended: str | None) -> None:
    world = new_world()
    made = twap(world, price_limit="99")
    at(world, after_ms)
    assert end(world, made)[1] == ended
    assert row_of(world, made).detail == ("100 USDC of 100 were not sent" if ended else "")
    assert (reserved(world), sizes(world)) == (0 if ended else 1, [])


def test_a_twap_that_sells_stops_at_its_own_stop(new_world: NewWorld) -> None:
    world = new_world()
    made = twap(world, side="sell", stop="105")
    assert (world.held(), [order.trigger for order in world.orders(leg="stop")]) == (D("-0.25"), [105])
    world.play(BTC=("100", "106", "100", "104"))
    world.play()
    assert (end(world, made), world.held()) == (("terminated", "stop_loss"), 0)


def test_a_reduce_only_twap_ends_when_somebody_else_closed_the_rest(new_world: NewWorld) -> None:
    world = new_world()
    world.submit(size=1)
    made = twap(world, side="sell", reduce_only=True)
    assert world.held() == D("0.75")
    world.close()
    world.play()
    assert (end(world, made), row_of(world, made).detail) == (("terminated", "completed"), "nothing is left to reduce")


# --- dca --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("side", "prices", "barrier", "is_refused"),
    [
        ("buy", ["100", "96"], "0.04", True),
        ("buy", ["100", "96"], "0.0401", False),
        ("buy", ["99", "98"], {"price": "98"}, True),
        ("buy", ["99", "98"], {"price": "97.999"}, False),
        ("sell", ["100", "104"], "0.04", True),
        ("sell", ["100", "104"], "0.0401", False),
        ("sell", ["101", "102"], {"price": "102"}, True),
        ("sell", ["101", "102"], {"price": "102.01"}, False),
    ],
)
def test_the_stop_of_a_dca_lies_beyond_its_last_price(
    new_world: NewWorld, side: str, prices: list[str], barrier: Any, is_refused: bool
) -> None:
    verdict, row = ask(new_world(), "dca", side=side, prices=prices, amounts_quote=["50", "50"], stop_loss=barrier)
    assert (row is None) is is_refused
    assert (verdict.rule is Rule.SHAPE) is is_refused


def test_a_short_dca_is_mirrored(new_world: NewWorld) -> None:
    world = new_world()
    prices, amounts = ["101", "102", "103"], ["101", "102", "103"]
    made = start(world, "dca", side="sell", prices=prices, amounts_quote=amounts, stop_loss="0.05", take_profit="0.02")
    layout = row_of(world, made).layout
    assert (D(layout["size"]), D(layout["entry"]), D(layout["stop"]), D(layout["target"])) == (3, 102, D("107.1"), D("99.96"))
    world.play(BTC=("100", "101.5", "100", "101.4"))
    assert {(o.leg, o.trigger) for o in world.orders() if o.state == "open" and o.leg != "entry"} == {
        ("stop", D("106.05")),
        ("target", D("98.98")),
    }
    world.play(BTC=("101.4", "102.1", "101.4", "101.9"))
    own = {(o.leg, o.trigger, o.size) for o in world.orders() if o.state == "open" and o.leg != "entry"}
    assert own == {("stop", D("106.57"), D(2)), ("target", D("99.47"), D(2))}
    world.play(BTC=("101.9", "101.9", "99.4", "99.5"))
    assert end(world, made) == ("terminated", "take_profit")
    assert row_of(world, made).net_pnl_quote == 2 * (D("101.5") - D("99.47"))


def test_a_trailing_stop_of_a_dca_is_measured_from_its_average(new_world: NewWorld) -> None:
    world = new_world()
    made = dca(world, take_profit=None, trailing_stop={"activation": "0.02", "delta": "0.01"})
    world.play(BTC=("100", "100", "97.9", "98"))
    assert [(o.trigger, o.size) for o in world.orders(leg="stop") if o.parent_cloid is None] == [(D("93.575"), D(2))]
    world.play(BTC=("98", "99.9", "98", "99.8"))
    assert [o.trigger for o in world.orders(leg="stop") if o.size == 2] == [D("93.575")], "2 % above 98.5 are 100.47"
    world.play(BTC=("99.8", "100.47", "99.8", "100.4"))
    assert [o.trigger for o in world.orders(leg="stop") if o.size == 2] == [D("99.485")], "1 % of 98.5 below it"
    world.play(BTC=("100.4", "100.4", "99.4", "99.5"))
    world.play()
    assert end(world, made) == ("terminated", "trailing_stop")


def test_a_rung_that_somebody_takes_back_is_neither_sent_again_nor_reserved(new_world: NewWorld) -> None:
    world = new_world(limits={"price_band_pct": 2})
    made = dca(world)
    (waits,) = (order for order in world.orders(leg="entry") if order.price == 98)
    cancel_order(world.engine, waits.cloid, Actor.MANUAL)
    for _ in range(2):
        world.play()
        assert [order.price for order in world.orders(leg="entry")] == [99] and reserved(world) == 1
        assert row_of(world, made).state["done"] == [1]


def test_a_dca_that_waits_writes_nothing(new_world: NewWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    world = new_world()
    made = dca(world)
    world.play(BTC=("100", "100", "98.5", "98.6"))
    before, orders, commits = row_of(world, made), world.orders(), []
    real = world.ledger.transaction
    monkeypatch.setattr(world.ledger, "transaction", lambda **how: commits.append(how) or real(**how))
    step_all(world.engine)
    assert commits == [] and (row_of(world, made), world.orders()) == (before, orders)


# --- position ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("side", "price", "stop", "target", "bar"),
    [("buy", "95", "93.1", "97.85", ("100", "100", "94.9", "95.1")), ("sell", "105", "107.1", "101.85", ("100", "105.1", "100", "104.9"))],
)
def test_barriers_are_measured_from_the_price_of_the_entry(
    new_world: NewWorld, side: str, price: str, stop: str, target: str, bar: tuple[str, str, str, str]
) -> None:
    world = new_world()
    made = start(world, "position", side=side, amount_quote="210", entry_price=price, barriers=BARRIERS)
    layout = row_of(world, made).layout
    assert (D(layout["entry"]), D(layout["price"]), D(layout["stop"]), D(layout["target"])) == (D(price), D(price), D(stop), D(target))
    assert D(layout["size"]) == (D("2.21") if side == "buy" else D(2))
    world.play(BTC=bar)
    assert {(o.leg, o.trigger) for o in world.orders()} == {("stop", D(stop)), ("target", D(target))}
    assert row_of(world, made).state["entered"] is True


def test_an_entry_at_the_market_has_no_price_of_its_own(new_world: NewWorld) -> None:
    world = new_world()
    made = start(world, "position", amount_quote="210", barriers=BARRIERS)
    assert "price" not in row_of(world, made).layout and world.fills()[0]["price"] == 100


def test_an_entry_that_somebody_takes_back_ends_its_executor(new_world: NewWorld) -> None:
    world = new_world()
    made = start(world, "position", amount="1", entry_price="95", barriers=BARRIERS)
    cancel_order(world.engine, world.orders(leg="entry")[0].cloid, Actor.MANUAL)
    world.play()
    assert (end(world, made), row_of(world, made).detail) == (("terminated", "early_stop"), "the entry ended without a fill")
    assert (world.orders(), reserved(world)) == ([], 0)
