"""Executors on a replayed market: every type to its end, on the terms of the agent that made it, over crashes, halts and hand orders."""

from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import replace
from decimal import Decimal
from functools import partial
from typing import Any

import pytest
from world import AGENT, NOON, WALLET, World

from tradeagent.domain.costs import FeeSchedule
from tradeagent.domain.errors import InvalidInput, NotFound, RefusedError, VenueError
from tradeagent.domain.names import Actor, EventKind, ExecutorType, ExitReason, Rule, VerdictKind
from tradeagent.domain.order import Verdict
from tradeagent.execution.executors.admission import Order, create, create_now
from tradeagent.execution.executors.desk import figures_of, step_all, stop
from tradeagent.execution.executors.specs import parse_spec
from tradeagent.execution.halts import flatten
from tradeagent.execution.protection import cancel_order
from tradeagent.execution.reading import limits_out
from tradeagent.execution.usage import used_limits
from tradeagent.ledger import events, executors, runs, trading
from tradeagent.ledger.executors import ExecutorRow
from tradeagent.workspace.latch import set_latch

D = Decimal
NewWorld = Callable[..., World]


def ask(world: World, kind: str, **fields: Any) -> tuple[Verdict, ExecutorRow | None]:
    fields = {"market": "BTC", "side": "buy", **fields}
    return create_now(world.engine, Order(ExecutorType(kind), parse_spec(ExecutorType(kind), fields), "test"), Actor.AGENT)


def start(world: World, kind: str, **fields: Any) -> str:
    verdict, row = ask(world, kind, **fields)
    assert verdict.kind is VerdictKind.EXECUTED and row is not None, verdict
    return row.id


def row_of(world: World, executor_id: str) -> ExecutorRow:
    with world.ledger.reading() as tx:
        found = executors.find(tx, executor_id)
    assert found is not None
    return found


def reserved(world: World) -> Decimal:
    with world.ledger.reading() as tx:
        return sum((kept.size for kept in trading.active_reservations(tx, WALLET)), D(0))


def end(world: World, executor_id: str) -> tuple[str, str | None]:
    row = row_of(world, executor_id)
    return row.status, row.close_type


BARRIERS = {"stop_loss": "0.02", "take_profit": "0.03"}


# --- position ---------------------------------------------------------------------------------------------------------------


def test_a_position_executor_enters_with_its_barriers_resting_and_ends_at_its_target(new_world: NewWorld) -> None:
    world = new_world(fees=FeeSchedule(D("0.0005"), D("0.0002")))
    made = start(world, "position", amount_quote="200", barriers=BARRIERS)
    assert world.held("BTC", f"{AGENT}/{made}") == D(2)
    assert {(o.leg, o.trigger, o.reduce_only) for o in world.orders()} == {("stop", D(98), True), ("target", D(103), True)}
    assert end(world, made) == ("active", None) and reserved(world) == 0
    world.play(BTC=("100", "104", "100", "103.5"))
    row = row_of(world, made)
    assert (row.status, row.close_type) == ("terminated", "take_profit")
    assert (row.volume_quote, row.fees_paid_quote) == (D(406), D("0.203"))
    assert row.net_pnl_quote == D(6) - D("0.203") and row.ended_ms == world.now
    assert world.orders() == [] and world.differences() == []


def test_barriers_off_the_grid_lie_toward_the_entry(new_world: NewWorld) -> None:
    world = new_world()
    start(world, "position", amount="1", barriers={"stop_loss": "0.0200002", "take_profit": "0.0300002"})
    assert {order.leg: order.trigger for order in world.orders()} == {"stop": D("98"), "target": D("103")}


def test_a_position_executor_ends_at_its_stop(new_world: NewWorld) -> None:
    world = new_world()
    made = start(world, "position", amount="1", barriers=BARRIERS)
    world.play(BTC=("100", "101", "97", "97.5"))
    assert end(world, made) == ("terminated", "stop_loss")
    assert row_of(world, made).net_pnl_quote == D(-2)


def test_a_position_executor_ends_at_its_time_limit(new_world: NewWorld) -> None:
    world = new_world()
    made = start(world, "position", amount="1", barriers={**BARRIERS, "time_limit_s": 600})
    world.play()
    assert end(world, made) == ("active", None)
    world.play_many(2)  # the close decided on one bar fills at the open of the next
    assert end(world, made) == ("terminated", "time_limit")
    assert world.held() == 0 and world.fills()[-1]["exit_reason"] == "time_limit"


def test_an_entry_that_waits_is_cancelled_at_the_time_limit(new_world: NewWorld) -> None:
    world = new_world()
    made = start(world, "position", amount="1", entry_price="95", barriers={**BARRIERS, "time_limit_s": 300})
    assert [o.leg for o in world.orders(leg="entry")] == ["entry"] and end(world, made)[0] == "active"
    world.play()
    assert end(world, made) == ("terminated", "time_limit")
    assert world.orders() == [] and row_of(world, made).volume_quote == 0


@pytest.mark.parametrize("kind", ["position", "dca"])
def test_an_entry_that_waits_is_left_until_its_time_is_over_to_the_last_millisecond(new_world: NewWorld, kind: str) -> None:
    world = new_world()
    if kind == "position":
        made = start(world, "position", amount="1", entry_price="95", barriers={**BARRIERS, "time_limit_s": 200})
    else:
        made = dca(world, time_limit_s=200)
    for after, status in ((1_000, "active"), (199_999, "active"), (200_000, "terminated")):
        world.clock.advance_to(NOON + after)
        step_all(world.engine)
        assert end(world, made)[0] == status, after
    assert (end(world, made)[1], world.orders()) == ("time_limit", [])


def test_a_trailing_stop_follows_the_best_price_passed_and_only_tightens(new_world: NewWorld) -> None:
    world = new_world()
    trailing = {"activation": "0.02", "delta": "0.01"}
    made = start(world, "position", amount="1", barriers={"stop_loss": "0.05", "trailing_stop": trailing})
    world.play(BTC=("100", "101.5", "100", "101"))
    assert [o.trigger for o in world.orders(leg="stop")] == [D(95)]
    world.play(BTC=("101", "104", "101", "103.8"))
    assert [o.trigger for o in world.orders(leg="stop")] == [D(103)]
    world.play(BTC=("103.8", "103.9", "103.2", "103.5"))
    assert [o.trigger for o in world.orders(leg="stop")] == [D(103)]
    world.play(BTC=("103.5", "103.5", "102", "102"))
    assert end(world, made) == ("terminated", "trailing_stop")
    assert row_of(world, made).net_pnl_quote == D(3)


@pytest.mark.parametrize(
    ("side", "best", "stop"), [("buy", ("100", "104.03", "100", "104"), "102.81"), ("sell", ("100", "100", "96.97", "97"), "98.197")]
)
def test_a_trailing_stop_between_two_prices_goes_to_the_one_nearer_to_the_market(
    new_world: NewWorld, side: str, best: tuple[str, ...], stop: str
) -> None:
    world = new_world()
    trailing = {"activation": "0.02", "delta": "0.012271"}
    start(world, "position", side=side, amount="1", barriers={"stop_loss": "0.05", "trailing_stop": trailing})
    world.play(BTC=best)
    assert [o.trigger for o in world.orders(leg="stop")] == [D(stop)]


def test_a_bar_that_closes_beyond_its_new_trailing_stop_closes_at_the_market(new_world: NewWorld) -> None:
    world = new_world()
    made = start(world, "position", amount="1", barriers={"stop_loss": "0.05", "trailing_stop": {"activation": "0.02", "delta": "0.01"}})
    world.play(BTC=("100", "104", "100", "101"))
    world.play()
    assert end(world, made) == ("terminated", "trailing_stop") and world.held() == 0
    assert world.fills()[-1]["price"] == D(101)


def test_a_short_position_is_mirrored(new_world: NewWorld) -> None:
    world = new_world()
    made = start(world, "position", side="sell", amount="1", barriers=BARRIERS)
    assert {(o.leg, o.trigger) for o in world.orders()} == {("stop", D(102)), ("target", D(97))}
    world.play(BTC=("100", "100", "96", "96.5"))
    assert end(world, made) == ("terminated", "take_profit") and row_of(world, made).net_pnl_quote == D(3)


def test_inventory_of_an_executor_is_its_own_until_it_is_kept(new_world: NewWorld) -> None:
    world = new_world()
    world.submit(quote="100")
    made = start(world, "position", amount="1", barriers=BARRIERS)
    assert world.held("BTC", AGENT) == D(1) and world.held("BTC", f"{AGENT}/{made}") == D(1)
    world.close()
    assert world.held("BTC", AGENT) == D(0) and world.held("BTC", f"{AGENT}/{made}") == D(1)
    stop(world.engine, made, keep_position=True, deployment=AGENT)
    assert end(world, made) == ("terminated", "early_stop")
    assert world.held("BTC", AGENT) == D(1) and world.held("BTC", f"{AGENT}/{made}") == D(0)
    assert {(o.leg, o.controller_id) for o in world.orders()} == {("stop", AGENT), ("target", AGENT)}


def test_kept_inventory_joins_what_the_agent_holds_already(new_world: NewWorld) -> None:
    world = new_world()
    world.submit(quote="100")
    made = start(world, "position", amount="1", barriers=BARRIERS)
    stop(world.engine, made, keep_position=True, deployment=AGENT)
    assert world.held("BTC", AGENT) == D(2)
    (held,) = (row for row in world.engine.book.rows if row.controller_id == AGENT and row.size)
    assert (held.cost, held.entries) == (D(200), 2)
    world.close()
    assert [trip["size"] for trip in world.trips()] == [D(2)] and world.differences() == []


def test_unwinding_closes_only_what_the_executor_holds(new_world: NewWorld) -> None:
    world = new_world()
    world.submit(quote="100")
    made = start(world, "position", amount="1", barriers=BARRIERS)
    stop(world.engine, made, keep_position=False, deployment=AGENT)
    assert end(world, made) == ("terminated", "early_stop") and row_of(world, made).detail == "stopped, its position unwound"
    assert world.held() == D(1) == world.held("BTC", AGENT) and world.orders() == []


def test_an_executor_of_somebody_else_cannot_be_stopped(new_world: NewWorld) -> None:
    world = new_world()
    made = start(world, "position", amount="1", barriers=BARRIERS)
    with pytest.raises(RefusedError) as refused:
        stop(world.engine, made, keep_position=True, deployment="other_1")
    assert refused.value.code == Rule.SCOPE
    with pytest.raises(NotFound):
        stop(world.engine, "01J", keep_position=True, deployment=AGENT)


# --- order ------------------------------------------------------------------------------------------------------------------


def test_a_market_order_executor_completes_and_leaves_its_position_with_its_stop_to_the_agent(new_world: NewWorld) -> None:
    world = new_world()
    made = start(world, "order", amount_quote="150", strategy="market", stop="95", target="110")
    assert end(world, made) == ("terminated", "completed")
    assert world.held("BTC", AGENT) == D("1.5")
    assert {(o.leg, o.controller_id, o.size) for o in world.orders()} == {("stop", AGENT, D("1.5")), ("target", AGENT, D("1.5"))}
    assert row_of(world, made).volume_quote == D(150)


def test_a_limit_order_executor_waits_for_its_price(new_world: NewWorld) -> None:
    world = new_world()
    made = start(world, "order", amount="1", strategy="limit", price="98", stop="90")
    assert end(world, made) == ("active", None) and reserved(world) == 0
    world.play(BTC=("100", "100", "97", "97"))
    assert end(world, made) == ("terminated", "completed") and world.held("BTC", AGENT) == D(1)


def test_a_post_only_order_that_would_trade_at_once_fails_with_the_words_of_the_venue(new_world: NewWorld) -> None:
    world = new_world()
    _, row = ask(world, "order", amount="1", strategy="limit_maker", price="101")
    assert row is not None and (row.status, row.close_type) == ("terminated", "failed")
    assert "Post only" in row.detail and world.held() == 0


def test_a_chaser_follows_the_mark_and_keeps_what_has_filled(new_world: NewWorld) -> None:
    world = new_world()
    chaser = {"distance": "0.01", "refresh_threshold": "0.005"}
    made = start(world, "order", amount="2", strategy="limit_chaser", chaser=chaser, stop="80")
    assert [o.price for o in world.orders(leg="entry")] == [D(99)]
    world.play(BTC="100.4")
    assert [o.price for o in world.orders(leg="entry")] == [D(99)]
    world.play(BTC="102")
    assert [o.price for o in world.orders(leg="entry")] == [D("100.98")]
    world.play(BTC=("102", "102", "100", "101"))
    assert end(world, made) == ("terminated", "completed") and world.held("BTC", AGENT) == D(2)
    assert [fill["price"] for fill in world.fills()] == [D("100.98")]


def test_a_reduce_only_order_closes_what_the_agent_holds_and_nothing_else(new_world: NewWorld) -> None:
    world = new_world()
    world.submit(quote="100")
    made = start(world, "order", side="sell", amount="3", strategy="market", reduce_only=True)
    assert world.held() == 0 and end(world, made) == ("terminated", "completed")
    refused, row = ask(world, "order", side="sell", amount="1", strategy="market", reduce_only=True)
    assert row is None and refused.rule is Rule.SHAPE and refused.rejection is not None
    assert "nothing to reduce" in refused.rejection.message


def test_an_order_that_a_person_cancels_ends_its_executor(new_world: NewWorld) -> None:
    world = new_world()
    made = start(world, "order", amount="1", strategy="limit", price="95", stop="90")
    cancel_order(world.engine, world.orders(leg="entry")[0].cloid, Actor.MANUAL)
    world.play()
    assert end(world, made) == ("terminated", "early_stop") and world.orders() == []


# --- twap -------------------------------------------------------------------------------------------------------------------


def twap(world: World, **fields: Any) -> str:
    return start(world, "twap", **{"total_amount_quote": "100", "duration_s": 1200, "interval_s": 300, **fields})


def test_a_twap_sends_equal_slices_and_completes(new_world: NewWorld) -> None:
    world = new_world()
    made = twap(world, stop="90")
    assert reserved(world) == D("0.75")
    assert world.held("BTC", f"{AGENT}/{made}") == D("0.25")
    world.play_many(2)
    assert [fill["size"] for fill in world.fills()] == [D("0.25")] * 2
    world.play_many(3)
    assert [fill["size"] for fill in world.fills()] == [D("0.25")] * 4
    assert end(world, made) == ("terminated", "completed") and reserved(world) == 0
    assert world.held("BTC", AGENT) == D(1) and len(world.orders(leg="stop")) == 4


def test_a_twap_beyond_its_price_limit_waits_carries_at_most_three_slices_and_does_not_chase_the_end(new_world: NewWorld) -> None:
    world = new_world()
    made = twap(world, total_amount_quote="240", duration_s=3000, price_limit="100")
    for _ in range(5):
        world.play(BTC="101")
    world.play(BTC="100")
    world.play(BTC="101")
    sizes = [fill["size"] for fill in world.fills()]
    assert sizes == [D("0.24"), D("0.72")]
    for _ in range(6):
        world.play(BTC="101")
    row = row_of(world, made)
    assert (row.status, row.close_type) == ("terminated", "time_limit") and "were not sent" in row.detail
    assert sum(fill["size"] for fill in world.fills()) == D("0.96") and world.held("BTC", AGENT) == D("0.96")


def test_a_twap_ends_at_its_stop(new_world: NewWorld) -> None:
    world = new_world()
    made = twap(world, stop="95")
    world.play(BTC=("100", "100", "94", "94"))
    world.play(BTC="94")
    assert end(world, made) == ("terminated", "stop_loss") and world.held() == 0


def test_a_reduce_only_twap_sells_out_in_parts(new_world: NewWorld) -> None:
    world = new_world()
    world.submit(quote="100")
    made = twap(world, side="sell", reduce_only=True)
    assert world.held() == D("0.75") and reserved(world) == 0
    world.play_many(5)
    assert world.held() == 0 and end(world, made) == ("terminated", "completed")


# --- dca --------------------------------------------------------------------------------------------------------------------


def dca(world: World, **fields: Any) -> str:
    stated = {"amounts_quote": ["99", "98", "97"], "prices": ["99", "98", "97"], "stop_loss": "0.05", "take_profit": "0.02", **fields}
    return start(world, "dca", **stated)


@pytest.mark.parametrize("only_tighter", [False, True])
def test_a_dca_rests_every_entry_and_its_barriers_follow_the_average(new_world: NewWorld, only_tighter: bool) -> None:
    world = new_world(limits={"require_stops": only_tighter})
    made = dca(world)
    assert sorted(o.price for o in world.orders(leg="entry") if o.price) == [D(97), D(98), D(99)] and reserved(world) == 0
    world.play(BTC=("100", "100", "98.5", "98.6"))
    own = [o for o in world.orders() if o.state == "open" and o.leg != "entry"]
    assert {(o.leg, o.trigger, o.size) for o in own} == {("stop", D("94.05"), D(1)), ("target", D("100.98"), D(1))}
    world.play(BTC=("98.6", "98.6", "96.9", "97.5"))
    own = [o for o in world.orders() if o.state == "open"]
    assert {(o.leg, o.trigger, o.size) for o in own} == {("stop", D("93.1"), D(3)), ("target", D("99.96"), D(3))}
    world.play(BTC=("97.5", "100", "97.5", "99.9"))
    assert end(world, made) == ("terminated", "take_profit")
    assert row_of(world, made).net_pnl_quote == 3 * (D("99.96") - D(98)) and world.differences() == []


def test_a_dca_that_takes_its_profit_early_withdraws_the_other_entries(new_world: NewWorld) -> None:
    world = new_world()
    made = dca(world)
    world.play(BTC=("100", "100", "98.5", "98.6"))
    world.play(BTC=("98.6", "102", "98.6", "101"))
    assert end(world, made) == ("terminated", "take_profit") and world.orders() == []


def test_entries_of_a_dca_outside_the_price_band_wait_with_their_part_reserved(new_world: NewWorld) -> None:
    world = new_world(limits={"price_band_pct": 2})
    made = dca(world)
    assert sorted(o.price for o in world.orders(leg="entry") if o.price) == [D(98), D(99)] and reserved(world) == D(1)
    world.play(BTC="98.9")
    assert len(world.orders(leg="entry")) == 2 and reserved(world) == 0
    assert end(world, made) == ("active", None)


def test_a_stop_that_would_close_a_dca_before_its_last_entry_is_refused(new_world: NewWorld) -> None:
    world = new_world()
    verdict, row = ask(world, "dca", amounts_quote=["50", "50"], prices=["99", "90"], stop_loss="0.05")
    assert row is None and verdict.rule is Rule.SHAPE and verdict.rejection is not None
    assert "is not beyond the last price 90" in verdict.rejection.message


# --- grid -------------------------------------------------------------------------------------------------------------------


def grid(world: World, **fields: Any) -> str:
    stated = {"start_price": "90", "end_price": "98", "limit_price": "85", "total_amount_quote": "100", "min_order_quote": "20"}
    return start(world, "grid", **{**stated, "take_profit": "0.01", "max_open_orders": 3, **fields})


def test_a_grid_rests_its_nearest_levels_and_reserves_the_rest(new_world: NewWorld) -> None:
    world = new_world()
    grid(world)
    assert sorted(o.price for o in world.orders(leg="entry") if o.price) == [D(94), D(96), D(98)]
    assert reserved(world) == D("0.222") + D("0.217")


def test_a_grid_never_rests_more_orders_than_it_may(new_world: NewWorld) -> None:
    world = new_world()
    grid(world, total_amount_quote="200", max_open_orders=2)
    seen = [len(world.orders(leg="entry"))]
    for close in ("99", "97.5", "97.3", "95.7", "97", "99", "100", "98.5"):
        world.play(BTC=close)
        seen.append(len(world.orders(leg="entry")))
    assert max(seen) == 2 and seen[0] == 2 and world.fills()


def test_a_level_takes_its_profit_and_enters_again(new_world: NewWorld) -> None:
    world = new_world()
    made = grid(world)
    world.play(BTC=("97", "97", "95", "95"))
    assert world.held() == D("0.204") + D("0.208") and D(96) not in [o.price for o in world.orders(leg="entry")]
    world.play(BTC=("95", "97.5", "95", "97.5"))
    assert world.held() == D("0.204") and world.orders(leg="entry")[0].price == D(94), "bars of more than 2 % bar new entries"
    world.play(BTC="97.5")
    assert D(96) in [o.price for o in world.orders(leg="entry")]
    assert reserved(world) + D("0.204") + sum(o.size for o in world.orders(leg="entry")) == D(row_of(world, made).layout["size"])


def test_a_grid_that_the_market_leaves_with_profits_ends_with_take_profit(new_world: NewWorld) -> None:
    world = new_world()
    made = grid(world)
    world.play(BTC=("97.5", "97.6", "97.4", "97.5"))
    world.play(BTC=("97.5", "99.5", "97.5", "99.5"))
    assert end(world, made) == ("terminated", "take_profit") and world.orders() == [] and reserved(world) == 0
    assert row_of(world, made).net_pnl_quote > 0


def test_a_grid_ends_at_its_limit_price(new_world: NewWorld) -> None:
    world = new_world()
    made = grid(world)
    world.play(BTC=("100", "100", "93", "93"))
    assert world.held() == D("0.204") + D("0.208") + D("0.212")
    world.play(BTC=("93", "93", "84", "84"))
    world.play()
    assert end(world, made) == ("terminated", "stop_loss")
    assert world.held() == 0 and world.orders() == [] and world.differences() == []


def test_a_short_grid_is_mirrored(new_world: NewWorld) -> None:
    world = new_world()
    made = grid(world, side="sell", start_price="102", end_price="110", limit_price="115")
    assert sorted(o.price for o in world.orders(leg="entry") if o.price) == [D(102), D(104), D(106)]
    world.play(BTC=("100", "102.5", "100", "102.2"))
    assert world.held() < 0
    world.play(BTC=("102.2", "116", "102.2", "116"))
    world.play()
    assert end(world, made) == ("terminated", "stop_loss") and world.held() == 0


# --- the door for the whole -------------------------------------------------------------------------------------------------


def test_max_open_executors_counts_what_is_alive_and_equal_passes(new_world: NewWorld) -> None:
    world = new_world(limits={"max_open_executors": 2})
    first = start(world, "position", amount="1", barriers=BARRIERS)
    start(world, "position", market="ETH", amount="1", barriers=BARRIERS)
    verdict, row = ask(world, "position", amount="1", barriers=BARRIERS)
    assert row is None and verdict.rule is Rule.OPEN_EXECUTORS and verdict.rejection is not None
    assert (verdict.rejection.limit, verdict.rejection.value) == ("2", "3")
    assert used_limits(world.state())["max_open_executors"] == 2
    stop(world.engine, first, keep_position=False, deployment=AGENT)
    assert ask(world, "position", amount="1", barriers=BARRIERS)[0].kind is VerdictKind.EXECUTED


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        ("position", {"amount_quote": "{}", "barriers": BARRIERS}),
        ("order", {"amount_quote": "{}", "strategy": "limit", "price": "99", "stop": "95"}),
        ("twap", {"total_amount_quote": "{}", "duration_s": 1200, "interval_s": 300, "stop": "95"}),
        (
            "grid",
            {
                "start_price": "90",
                "end_price": "98",
                "limit_price": "85",
                "total_amount_quote": "{}",
                "take_profit": "0.01",
            },
        ),
        ("dca", {"amounts_quote": ["40", "{}"], "prices": ["99", "98"], "stop_loss": "0.05"}),
    ],
)
def test_the_planned_total_is_what_the_order_cap_bounds(new_world: NewWorld, kind: str, fields: dict[str, Any]) -> None:
    world = new_world(limits={"max_single_order_quote": 100})

    def filled(value: Any, total: str) -> Any:
        if isinstance(value, list):
            return [filled(one, str(D(total) - 40)) for one in value]
        return total if value == "{}" else value

    over, row = ask(world, kind, **{name: filled(value, "100.01") for name, value in fields.items()})
    assert row is None and over.rule is Rule.SINGLE_ORDER and over.rejection is not None
    assert (over.rejection.value, over.rejection.limit) == ("100.01", "100")
    equal, row = ask(world, kind, **{name: filled(value, "100") for name, value in fields.items()})
    assert row is not None and equal.kind is VerdictKind.EXECUTED and row.amount_quote == D(100)


def test_several_creates_accumulate_against_the_position_cap(new_world: NewWorld) -> None:
    world = new_world(limits={"max_position_size_quote": 200})
    twap(world, stop="90")
    start(world, "position", market="ETH", amount_quote="50", barriers=BARRIERS)
    verdict, row = ask(world, "order", amount_quote="50.1", strategy="market", stop="95")
    assert row is None and verdict.rule is Rule.POSITION_CAP and verdict.rejection is not None
    assert verdict.rejection.limit_key == "max_position_size_quote"
    assert ask(world, "order", amount_quote="50", strategy="market", stop="95")[1] is not None


def test_what_an_executor_fills_replaces_its_reservation_and_never_adds_to_it(new_world: NewWorld) -> None:
    world = new_world()
    made = twap(world, stop="90")
    for _ in range(5):
        row = row_of(world, made)
        total = reserved(world) + world.held() + sum(order.size - order.filled for order in world.orders(leg="entry"))
        assert total == D(1) if row.is_live else reserved(world) == 0
        world.play()


def test_an_executor_is_one_entry_of_the_day_and_one_in_its_market(new_world: NewWorld) -> None:
    world = new_world(limits={"max_daily_trades": 2, "max_positions_per_market": 2})
    twap(world, stop="90")
    world.play_many(2)
    assert world.engine.book.risk.entries_today == {"agent": 1}
    assert world.submit(quote="50", stop="90").kind is VerdictKind.EXECUTED
    verdict, _ = ask(world, "order", amount_quote="50", strategy="market", stop="95")
    assert verdict.rule is Rule.OPEN_POSITIONS
    world.play_many(3)
    assert sum(fill["size"] for fill in world.fills()) == D("1.5")


def test_the_stop_that_limits_require_may_be_any_executors_own(new_world: NewWorld) -> None:
    world = new_world(limits={"require_stops": True})
    bare, row = ask(world, "position", amount="1", barriers={"take_profit": "0.02"})
    assert row is None and bare.rule is Rule.PROTECTION
    assert ask(world, "twap", total_amount_quote="100", duration_s=1200, interval_s=300)[0].rule is Rule.PROTECTION
    made = [
        start(world, "position", amount="1", barriers=BARRIERS),
        twap(world, stop="90"),
        grid(world),
        dca(world, take_profit=None),
    ]
    world.play(BTC=("99", "99", "98.2", "98.2"))
    assert all(row_of(world, one).is_live for one in made)
    with world.ledger.reading() as tx:
        assert [row.state.get("refusal") for row in executors.live(tx, WALLET)] == [None] * 4


def test_the_target_that_limits_require_is_each_levels_own_in_a_grid_and_asked_of_the_others(new_world: NewWorld) -> None:
    world = new_world(limits={"require_stops": True, "require_targets": True})
    grid(world)
    assert len(world.orders(leg="entry")) == 3
    for kind, fields in (
        ("position", {"amount": "1", "barriers": {"stop_loss": "0.02"}}),
        ("twap", {"total_amount_quote": "100", "duration_s": 1200, "interval_s": 300, "stop": "90"}),
        ("dca", {"amounts_quote": ["99"], "prices": ["99"], "stop_loss": "0.05"}),
    ):
        refused, row = ask(world, kind, **fields)
        assert row is None and refused.rejection is not None, kind
        assert (refused.rule, refused.rejection.limit_key) == (Rule.PROTECTION, "require_targets"), kind
    assert world.held("BTC", f"{AGENT}/{start(world, 'position', amount='1', barriers=BARRIERS)}") == 1
    dca(world)
    assert len(world.orders(leg="entry")) == 6, "its orders carry a stop, and its target follows the average"


def test_the_other_side_of_a_market_that_is_held_is_refused(new_world: NewWorld) -> None:
    world = new_world()
    world.submit(quote="100")
    verdict, row = ask(world, "position", side="sell", amount="1", barriers=BARRIERS)
    assert row is None and verdict.rule is Rule.SHAPE and verdict.rejection is not None
    assert "other side of BTC" in verdict.rejection.message


def test_half_a_coin_on_its_own_side_is_joined_by_an_executor(new_world: NewWorld) -> None:
    world = new_world()
    for market, side in (("BTC", "buy"), ("ETH", "sell")):
        world.submit(side, market, size="0.5")
        start(world, "position", market=market, side=side, amount="1", barriers=BARRIERS)
        other = "sell" if side == "buy" else "buy"
        assert ask(world, "position", market=market, side=other, amount="1", barriers=BARRIERS)[0].rule is Rule.SHAPE


@pytest.mark.parametrize(("other", "is_refused"), [("BTC", True), ("ETH", False)])
def test_an_executor_that_waits_on_the_other_side_bars_its_market_and_no_other(new_world: NewWorld, other: str, is_refused: bool) -> None:
    world = new_world()
    waiting = start(world, "position", market=other, amount="2", entry_price=str(world.price(other) * D("0.9")), barriers=BARRIERS)
    verdict, row = ask(world, "position", side="sell", amount="1", barriers=BARRIERS)
    assert (row is None) is is_refused
    if is_refused:
        assert verdict.rejection is not None and verdict.rejection.message.startswith(f"{AGENT}/{waiting} is on the other side of BTC")
    assert ask(world, "position", market=other, amount="1", barriers=BARRIERS)[1] is not None, "the same side may be joined"


def test_a_market_without_a_price_takes_no_executor(new_world: NewWorld) -> None:
    world = new_world()
    verdict, row = ask(world, "position", market="DOGE", amount="1", barriers=BARRIERS)
    assert row is None and verdict.rule is Rule.SHAPE


def test_a_child_below_the_minimum_refuses_the_whole_with_its_numbers(new_world: NewWorld) -> None:
    world = new_world()
    verdict, row = ask(world, "twap", total_amount_quote="39.9", duration_s=1200, interval_s=300)
    assert row is None and verdict.rule is Rule.SHAPE and verdict.rejection is not None
    assert "each of 4 slices is 0.099 BTC at 100 after rounding down = 9.9 USDC, below the minimum of 10" in verdict.rejection.message
    last_is_larger, row = ask(world, "twap", total_amount_quote="19.999999", duration_s=600, interval_s=300)
    assert row is None and last_is_larger.rule is Rule.SHAPE, "9.999999 and 10"
    with world.ledger.reading() as tx:
        assert executors.live(tx, WALLET) == []


def test_a_dry_run_starts_nothing(new_world: NewWorld) -> None:
    world = new_world(dry_run=True)
    verdict, row = ask(world, "position", amount="1", barriers=BARRIERS)
    assert row is None and verdict.rule is Rule.DRY_RUN


@pytest.mark.parametrize(
    ("kind", "fields", "word"),
    [
        ("position", {"amount": "1", "amount_quote": "100", "barriers": {}}, "one of them"),
        ("position", {"amount": "1", "barriers": {"stop_loss": "2"}}, "stop_loss"),
        ("position", {"amount": "1", "barriers": {}, "leverge": 3}, "leverge"),
        ("order", {"amount": "1", "strategy": "limit"}, "price"),
        ("order", {"amount": "1", "strategy": "limit_chaser"}, "chaser"),
        (
            "grid",
            {"start_price": "90", "end_price": "80", "limit_price": "70", "total_amount_quote": "100", "take_profit": "0.01"},
            "below",
        ),
        (
            "grid",
            {"start_price": "90", "end_price": "95", "limit_price": "91", "total_amount_quote": "100", "take_profit": "0.01"},
            "limit",
        ),
        ("dca", {"amounts_quote": ["50", "50"], "prices": ["90", "95"]}, "below"),
        ("dca", {"amounts_quote": ["50"], "prices": ["90", "85"]}, "one price for each"),
        ("twap", {"total_amount_quote": "100", "duration_s": 60, "interval_s": 29}, "interval_s"),
        ("twap", {"total_amount_quote": "nan", "duration_s": 60, "interval_s": 30}, "total_amount_quote"),
    ],
)
def test_a_specification_that_does_not_fit_names_its_field(new_world: NewWorld, kind: str, fields: dict[str, Any], word: str) -> None:
    with pytest.raises(InvalidInput, match=word):
        ask(new_world(), kind, **fields)


# --- halts, kills and crashes -----------------------------------------------------------------------------------------------


def test_flatten_ends_every_executor(new_world: NewWorld) -> None:
    world = new_world()
    made = [start(world, "position", amount="1", barriers=BARRIERS), grid(world), twap(world, market="ETH", stop="40")]
    flatten(world.engine, Actor.MANUAL, ExitReason.FLATTEN)
    assert {end(world, one) for one in made} == {("terminated", "early_stop")}
    assert world.held() == 0 == world.held("ETH") and world.orders() == [] and reserved(world) == 0
    world.play_many(2)
    assert len(world.fills()) == 4 and world.differences() == []


def test_a_halt_ends_every_executor(new_world: NewWorld) -> None:
    world = new_world(limits={"max_daily_loss_quote": 20})
    made = [
        start(world, "position", amount="10", barriers={"stop_loss": "0.5"}),
        grid(world, start_price="70", end_price="80", limit_price="60"),
    ]
    world.play(BTC="97.9")
    assert world.engine.book.risk.halt == "daily_loss"
    assert {end(world, one) for one in made} == {("terminated", "early_stop")}
    assert world.held() == 0 and world.orders() == []


def test_a_position_that_a_person_closes_ends_its_executor(new_world: NewWorld) -> None:
    world = new_world()
    made = start(world, "position", amount="1", barriers=BARRIERS)
    world.close(actor=Actor.MANUAL)
    world.play()
    assert end(world, made) == ("terminated", "early_stop") and world.orders() == []


def test_a_kill_ends_every_executor(new_world: NewWorld) -> None:
    world = new_world()
    made = [start(world, "position", amount="1", barriers=BARRIERS), twap(world, market="ETH", stop="40")]
    set_latch(world.root / "kill", WALLET)
    world.play()
    assert {end(world, one) for one in made} == {("terminated", "early_stop")}
    assert [fill["exit_reason"] for fill in world.fills()] == [None, None, "kill", "kill"]
    assert world.orders() == [] and reserved(world) == 0 == world.held()


def test_a_moved_stop_gives_back_what_the_venue_trimmed_from_somebody_else(new_world: NewWorld) -> None:
    world = new_world()
    world.submit(quote="100", stop="90")
    start(world, "position", amount="1", barriers={"stop_loss": "0.05", "trailing_stop": {"activation": "0.02", "delta": "0.01"}})
    world.play(BTC=("100", "103", "100", "102.9"))
    assert {(o.controller_id == AGENT, o.trigger, o.size) for o in world.orders(leg="stop")} == {(True, D(90), D(1)), (False, D(102), D(1))}


def test_an_answer_that_was_lost_is_waited_for_and_the_child_not_sent_twice(new_world: NewWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    world = new_world()
    place = world.paper.place

    def lose(orders: Any) -> Any:
        place(orders)
        raise VenueError("the answer was lost")

    monkeypatch.setattr(world.paper, "place", lose)
    verdict, row = ask(world, "position", amount="1", barriers=BARRIERS)
    monkeypatch.undo()
    assert verdict.kind is VerdictKind.EXECUTED and row is not None and row.is_live
    step_all(world.engine)
    world.restart()
    world.play(BTC=("100", "104", "100", "103.5"))
    assert end(world, row.id) == ("terminated", "take_profit")
    assert len(world.fills()) == 2 and world.differences() == []


def test_an_executor_goes_on_without_its_agent_on_the_terms_it_was_created_under(new_world: NewWorld) -> None:
    world = new_world()
    made = twap(world, stop="90")
    with world.ledger.transaction() as tx:
        runs.update_deployment(tx, AGENT, limits=limits_out(world.limits), state="stopped")
    del world.engine.terms[Actor.AGENT]
    world.play_many(5)
    assert end(world, made) == ("terminated", "completed") and world.held("BTC", AGENT) == D(1)


async def test_a_person_is_asked_about_the_whole_once(new_world: NewWorld) -> None:
    world, asked = new_world(), []

    async def approve(made: dict[str, Any]) -> str:
        asked.append((made["executor"], made["notional"]))
        return "" if len(asked) == 1 else "not again"

    world.engine.terms[Actor.AGENT] = replace(world.engine.terms[Actor.AGENT], approve=approve)
    fields = {"market": "BTC", "side": "buy", "total_amount_quote": "100", "duration_s": 1200, "interval_s": 300, "stop": "90"}
    wanted = Order(ExecutorType.TWAP, parse_spec(ExecutorType.TWAP, fields))
    first, row = await create(world.engine, wanted, Actor.AGENT)
    assert first.kind is VerdictKind.EXECUTED and row is not None
    world.play_many(5)
    assert len(world.fills()) == 4 and asked == [("twap", "100")]
    second, none = await create(world.engine, wanted, Actor.AGENT)
    assert none is None and second.rule is Rule.APPROVAL and len(asked) == 2


def test_an_executor_tells_the_feed_where_it_stands(new_world: NewWorld) -> None:
    world = new_world()
    made = start(world, "position", amount="1", barriers=BARRIERS)
    world.play(BTC=("100", "104", "100", "103.5"))
    with world.ledger.reading() as tx:
        told = events.read(tx, kinds=(EventKind.EXECUTOR_STATE.value,))
    assert [(one["subject"], one["data"]["status"], one["data"]["close_type"]) for one in told] == [
        (made, "created", None),
        (made, "active", None),
        (made, "terminated", "take_profit"),
    ]


class Crash(Exception):
    """The process dies here."""


STORIES: dict[str, tuple[dict[str, Any], list[dict[str, Any]]]] = {
    "position": (
        {"amount": "1", "barriers": {"stop_loss": "0.05", "trailing_stop": {"activation": "0.02", "delta": "0.01"}}},
        [{"BTC": ("100", "103", "100", "102.9")}, {"BTC": ("102.9", "103", "101.5", "101.5")}, {}],
    ),
    "order": (
        {"amount": "2", "strategy": "limit_chaser", "chaser": {"distance": "0.01", "refresh_threshold": "0.005"}, "stop": "80"},
        [{"BTC": "102"}, {"BTC": ("102", "102", "100", "101")}, {}],
    ),
    "twap": ({"total_amount_quote": "100", "duration_s": 900, "interval_s": 300, "stop": "90"}, [{}, {}, {}, {}]),
    "dca": (
        {"amounts_quote": ["99", "98", "97"], "prices": ["99", "98", "97"], "stop_loss": "0.05", "take_profit": "0.02"},
        [{"BTC": ("100", "100", "98.5", "98.6")}, {"BTC": ("98.6", "98.6", "96.9", "97.5")}, {"BTC": ("97.5", "100", "97.5", "99.9")}, {}],
    ),
    "grid": (
        {
            "start_price": "90",
            "end_price": "98",
            "limit_price": "85",
            "total_amount_quote": "100",
            "min_order_quote": "20",
            "take_profit": "0.01",
            "max_open_orders": 3,
        },
        [
            {"BTC": ("100", "100", "95.5", "96")},
            {"BTC": ("96", "97.5", "96", "97.4")},
            {"BTC": "97.4"},
            {"BTC": ("97", "97", "84", "84")},
            {},
        ],
    ),
}


@pytest.mark.parametrize("kind", STORIES)
def test_a_crash_after_any_commit_of_ledger_or_venue_leads_to_the_same_end(
    new_world: NewWorld, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    fields, bars = STORIES[kind]
    calm = new_world()
    end_of_calm, commits = _tell(calm, monkeypatch, kind, fields, bars, None)
    assert end_of_calm["status"] == "terminated" and commits > 10
    for at in range(1, commits + 1):
        world = new_world()
        found, _ = _tell(world, monkeypatch, kind, fields, bars, at)
        assert found == end_of_calm, f"crash after commit {at} of {commits}"
        assert world.differences() == []


class Fuse:
    """Ends the process once, right after the `at`-th commit of ledger or venue; None never does."""

    def __init__(self, at: int | None) -> None:
        self.at = at
        self.count = 0

    def burn(self) -> None:
        self.count += 1
        if self.count == self.at:
            raise Crash

    def lay(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        plain = world.ledger.transaction

        @contextmanager
        def transaction(**settings: Any) -> Any:
            with plain(**settings) as tx:
                yield tx
            self.burn()

        monkeypatch.setattr(world.ledger, "transaction", transaction)
        for name in ("place", "cancel"):
            monkeypatch.setattr(world.paper, name, self._behind(getattr(world.paper, name)))

    def _behind(self, call: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def done(argument: Any) -> Any:
            answer = call(argument)
            self.burn()
            return answer

        return done


def _tell(
    world: World, monkeypatch: pytest.MonkeyPatch, kind: str, fields: dict[str, Any], bars: list[dict[str, Any]], at: int | None
) -> tuple[dict[str, Any], int]:
    """Play a story with a fuse; how it ended, and how many commits there were."""
    made, fuse = ExecutorType(kind), Fuse(at)
    order = Order(made, parse_spec(made, {"market": "BTC", "side": "buy", **fields}), "story")
    fuse.lay(world, monkeypatch)

    def survive(work: Callable[[], Any]) -> None:
        try:
            work()
        except Crash:
            monkeypatch.undo()
            world.restart()
            step_all(world.engine)

    survive(lambda: create_now(world.engine, order, Actor.AGENT))
    for shapes in bars:
        survive(partial(world.play, **shapes))
        if world.feed.bars["BTC"][-1].close_ms <= world.now:
            world._foresee()
    monkeypatch.undo()
    with world.ledger.reading() as tx:
        [row] = executors.of_deployment(tx, AGENT)
    end_of_it = {"status": row.status, "close_type": row.close_type, "figures": figures_of(world.engine, row)}
    return {**end_of_it, "held": world.held(), "reserved": reserved(world)}, fuse.count
