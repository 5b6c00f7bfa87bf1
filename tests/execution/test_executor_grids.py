"""A grid level by level: which entries rest, which give way, what a level that took its profit does, and where the whole ends."""

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hands import fills_at_most
from test_executor_refusals import refuse
from test_executors import end, grid, reserved, row_of
from world import AGENT, WALLET, World

from tradeagent.domain.names import Actor
from tradeagent.execution.executors.desk import step_all
from tradeagent.execution.protection import cancel_order
from tradeagent.ledger import trading

D = Decimal
NewWorld = Callable[..., World]
SIZES = {90: D("0.222"), 92: D("0.217"), 94: D("0.212"), 96: D("0.208"), 98: D("0.204")}
SHORT = {"side": "sell", "start_price": "102", "end_price": "110", "limit_price": "115"}


def resting(world: World) -> list[Decimal]:
    """The prices of the entries that wait, the highest first."""
    return sorted((order.price or D(0) for order in world.orders(leg="entry")), reverse=True)


def take_back(world: World, price: str) -> None:
    (order,) = (order for order in world.orders(leg="entry") if order.price == D(price))
    cancel_order(world.engine, order.cloid, Actor.MANUAL)


def intents(world: World, made: str) -> list[dict[str, Any]]:
    """What the executor has handed to the door, in its order."""
    with world.ledger.reading() as tx:
        found = (trading.intent(tx, f"{made}.{number}") for number in range(1, 100))
        return [one for one in found if one is not None]


@pytest.mark.parametrize(
    ("fields", "levels"),
    [
        ({}, {"98": "98.98", "96": "96.96", "94": "94.94"}),
        (SHORT, {"102": "100.98", "104": "102.96", "106": "104.94"}),
        ({"take_profit": "0.0204"}, {"98": "99.999", "96": "97.958", "94": "95.917"}),
    ],
)
def test_every_level_has_its_own_profit_and_the_stop_of_the_whole(
    new_world: NewWorld, fields: dict[str, str], levels: dict[str, str]
) -> None:
    world = new_world()
    made = grid(world, **fields)
    with world.ledger.reading() as tx:
        families = [trading.orders_of_intent(tx, str(one["id"])) for one in intents(world, made)]
    found = {order.price: {child.leg: child.trigger for child in family} for family in families for order in family if order.leg == "entry"}
    stop = D(fields.get("limit_price", "85"))
    assert found == {D(price): {"entry": None, "stop": stop, "target": D(target)} for price, target in levels.items()}


def test_a_level_at_the_mark_waits_until_the_mark_has_left_it(new_world: NewWorld) -> None:
    world = new_world()
    grid(world, end_price="100", start_price="92")
    assert resting(world) == [98, 96, 94]
    world.play(BTC="100.001")
    assert resting(world) == [100, 98, 96]


@pytest.mark.parametrize(("band", "prices"), [(4, [98, 96]), (D("3.999"), [98]), (None, [98, 96, 94, 92, 90])])
def test_levels_as_far_as_the_price_band_rest(new_world: NewWorld, band: Any, prices: list[int]) -> None:
    world = new_world(limits={"price_band_pct": band})
    grid(world, max_open_orders=5)
    assert resting(world) == prices
    assert reserved(world) == sum((size for price, size in SIZES.items() if price not in prices), D(0))


def test_the_band_is_measured_from_the_mark(new_world: NewWorld) -> None:
    world = new_world(limits={"price_band_pct": 4})
    grid(world, max_open_orders=5)
    world.play(BTC="98.5")
    assert resting(world) == [98, 96], "4 % below 98.5 are 94.56"
    world.play(BTC="102.5")
    assert resting(world) == [], "4 % below 102.5 are 98.4: what rests too far gives way"


def test_the_farthest_entry_gives_way_to_a_level_that_is_free_again_and_returns(new_world: NewWorld) -> None:
    world = new_world()
    made = grid(world, max_open_orders=2, take_profit="0.005")
    assert resting(world) == [98, 96]
    for close in ("97.5", "95.9"):
        world.play(BTC=close)
    assert world.held() == SIZES[98] + SIZES[96] and resting(world) == [94, 92]
    for close in ("96.6", "96.6"):
        world.play(BTC=close)
    row = row_of(world, made)
    assert world.held() == SIZES[98] and resting(world) == [96, 94], "96 took its profit at 96.48"
    assert (row.state["rounds"], row.state["moving"], row.state.get("off")) == (1, [], None)
    for close in ("95", "93.9"):
        world.play(BTC=close)
    assert world.held() == SIZES[98] + SIZES[96] + SIZES[94] and resting(world) == [92, 90], "92 may rest again"
    assert reserved(world) == 0


def test_two_profits_are_two_rounds(new_world: NewWorld) -> None:
    world = new_world()
    made = grid(world, take_profit="0.005")
    for close in ("97.5", "95.9", "96.6", "97.6", "98.6"):
        world.play(BTC=close)
    assert end(world, made) == ("terminated", "take_profit")
    assert row_of(world, made).detail == "the market left the range with 2 profits taken"


@pytest.mark.parametrize(
    ("fields", "entry", "target", "inside", "edge"),
    [({}, "97.9", "98.5", "97.999", "98"), (SHORT, "102.1", "101.5", "102.01", "102")],
)
def test_a_grid_without_inventory_ends_where_the_market_leaves_its_range(
    new_world: NewWorld, fields: dict[str, str], entry: str, target: str, inside: str, edge: str
) -> None:
    world = new_world()
    made = grid(world, take_profit="0.004", **fields)
    world.play(BTC=entry)
    assert abs(world.held()) > 0
    world.play(BTC=(entry, max(entry, target, key=D), min(entry, target, key=D), inside))
    row = row_of(world, made)
    assert (world.held(), row.state.get("rounds"), row.is_live) == (0, 1, True), "a profit, and the mark is still inside"
    world.clock.advance_to(world.now + 1)
    world.engine.markets["BTC"] = replace(world.engine.markets["BTC"], mark=D(edge))
    step_all(world.engine)
    assert (end(world, made), world.orders()) == (("terminated", "take_profit"), [])


def test_what_is_held_keeps_a_grid_alive_beyond_its_range(new_world: NewWorld) -> None:
    world = new_world()
    made = grid(world, take_profit="0.008")
    for close in ("97.5", "95.9", "96.8", "98.3"):
        world.play(BTC=close)
    row = row_of(world, made)
    assert (row.state["rounds"], row.is_live, world.held()) == (1, True, SIZES[98]), "98 takes its profit at 98.784"
    world.play(BTC="98.8")
    assert end(world, made) == ("terminated", "take_profit") and row_of(world, made).detail.endswith("with 2 profits taken")


@pytest.mark.parametrize(
    ("side", "limit", "ended"),
    [("buy", "100", "stop_loss"), ("buy", "99.999", None), ("sell", "100", "stop_loss"), ("sell", "100.01", None)],
)
def test_a_grid_ends_when_the_mark_is_at_its_limit_price(new_world: NewWorld, side: str, limit: str, ended: str | None) -> None:
    """The whole range is beyond the mark, so that nothing rests and nothing is held."""
    start, stop = ("105", "110") if side == "buy" else ("90", "95")
    world = new_world()
    made = grid(world, side=side, start_price=start, end_price=stop, limit_price=limit)
    assert (end(world, made)[1], world.orders(), world.held()) == (ended, [], 0)
    assert row_of(world, made).detail == ("the limit price 100 was reached" if ended else "")


def test_a_level_whose_stop_was_filled_ends_the_grid_wherever_the_mark_went(new_world: NewWorld) -> None:
    world = new_world()
    made = grid(world, max_open_orders=1)
    world.play(BTC="97.5")
    world.play(BTC=("97.5", "97.5", "84.9", "97.5"))
    world.play()
    assert end(world, made) == ("terminated", "stop_loss") and (world.held(), world.orders()) == (0, [])


def test_a_level_that_a_person_takes_back_stays_off_and_is_not_reserved(new_world: NewWorld) -> None:
    world = new_world()
    made = grid(world)
    take_back(world, "96")
    for _ in range(3):
        world.play()
        assert resting(world) == [98, 94, 92] and row_of(world, made).state["off"] == [3]
        assert reserved(world) == SIZES[90]
    for price in ("98", "94", "92"):
        take_back(world, price)
    world.play()
    assert resting(world) == [90] and row_of(world, made).is_live and reserved(world) == 0
    take_back(world, "90")
    world.play()
    assert end(world, made) == ("terminated", "early_stop")


def test_an_entry_that_fills_in_part_keeps_its_place_among_those_that_rest(new_world: NewWorld) -> None:
    world = new_world()
    fills_at_most(world, D("0.1"))
    grid(world, max_open_orders=2)
    world.play(BTC=("100", "100", "97.9", "98.1"))
    fills_at_most(world, None)
    assert world.held() == D("0.1") and resting(world) == [98, 96]
    take_back(world, "96")
    world.play(BTC="98.2")
    assert resting(world) == [98, 94], "one place was free, and 92 would have been a third"


def test_a_refused_level_bars_the_others_for_a_while(new_world: NewWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    world = new_world()
    with monkeypatch.context() as patch:
        refuse(world, patch)
        made = grid(world)
        assert [one["state"] for one in intents(world, made)] == ["venue_rejected"], "one is enough to know"
    row = row_of(world, made)
    assert (row.state["children"], row.state["blocked_until"]) == ([], world.now + 300_000)
    assert "not today" in row.state["refusal"] and reserved(world) == sum(SIZES.values())
    world.clock.advance_to(world.now + 299_999)
    step_all(world.engine)
    assert resting(world) == []
    world.clock.advance_to(world.now + 1)
    step_all(world.engine)
    assert resting(world) == [98, 96, 94]


def test_a_grid_that_waits_writes_nothing(new_world: NewWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    world = new_world()
    made = grid(world)
    world.play(BTC="97.5")
    before, orders, commits = row_of(world, made), world.orders(), []
    real = world.ledger.transaction
    monkeypatch.setattr(world.ledger, "transaction", lambda **how: commits.append(how) or real(**how))
    step_all(world.engine)
    assert commits == [] and (row_of(world, made), world.orders()) == (before, orders)


def test_reservations_and_orders_of_a_grid_add_up_to_its_size_at_every_bar(new_world: NewWorld) -> None:
    world = new_world()
    made = grid(world, take_profit="0.005", max_open_orders=2)
    whole = D(row_of(world, made).layout["size"])
    assert whole == sum(SIZES.values())
    for close in ("97.5", "95.9", "96.6", "96.6", "95", "93.9", "94.6"):
        world.play(BTC=close)
        with world.ledger.reading() as tx:
            entries = sum((order.size - order.filled for order in trading.live_orders(tx, WALLET) if order.leg == "entry"), D(0))
        assert entries + reserved(world) + world.held() == whole, close


def test_what_a_grid_without_levels_still_holds_stays_with_whoever_made_it(new_world: NewWorld) -> None:
    world = new_world()
    made = grid(world, total_amount_quote="20")
    for close in ("98.5", "97", "95.5", "93.9"):
        world.play(BTC=close)
    assert world.held() == SIZES[94]
    for order in world.orders():
        cancel_order(world.engine, order.cloid, Actor.MANUAL)
    world.play()
    assert (end(world, made), row_of(world, made).detail) == (("terminated", "early_stop"), "no level is left to trade")
    assert world.held("BTC", AGENT) == SIZES[94]
