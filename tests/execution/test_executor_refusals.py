"""Executors whose orders are refused, lost on the way or taken back: each pauses, plans again or ends with the words it was told."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hands import at_venue, fills_at_most
from pydantic import ValidationError
from test_executors import BARRIERS, ask, end, reserved, row_of, start
from world import AGENT, STEP, World, deployment_row

from tradeagent.domain.costs import FeeSchedule
from tradeagent.domain.errors import InvalidInput, NotFound
from tradeagent.domain.names import Actor, EventKind, ExecutorType, OrderState, Rule, Side, VerdictKind
from tradeagent.domain.order import OrderReport, OrderRequest
from tradeagent.execution.executors.admission import Order, create, create_now
from tradeagent.execution.executors.desk import adopt, end_all, figures_of, step_all, stop
from tradeagent.execution.executors.records import figures, terms_for
from tradeagent.execution.executors.specs import GridSpec, TwapSpec, parse_spec
from tradeagent.execution.executors.work import ENTRY_PAUSE_MS, Work
from tradeagent.execution.protection import cancel_order
from tradeagent.execution.reading import limits_out
from tradeagent.execution.state import MarketState
from tradeagent.ledger import events, executors, runs
from tradeagent.workspace.latch import Gate, Latched, set_latch

D = Decimal
NewWorld = Callable[..., World]
ENTERING: dict[str, dict[str, Any]] = {
    "position": {"amount": "1", "barriers": BARRIERS},
    "order": {"amount": "1", "strategy": "market"},
    "twap": {"total_amount_quote": "100", "duration_s": 1500, "interval_s": 300},
    "dca": {"prices": ["99", "98"], "amounts_quote": ["50", "50"], "stop_loss": "0.05"},
    "grid": {"start_price": "97", "end_price": "99.5", "limit_price": "90", "total_amount_quote": "100", "take_profit": "0.004"},
}


def pause(world: World, state: str = "paused") -> None:
    with world.ledger.transaction() as tx:
        runs.update_deployment(tx, AGENT, state=state)


def lose_the_first(world: World, monkeypatch: pytest.MonkeyPatch, then: Callable[[], None] = lambda: None) -> None:
    """A kill comes between the checks and the sending of the next order, and is gone again; `then` happens with it."""
    real, lost = Gate.sending, []

    @contextmanager
    def sending(gate: Gate, *, reduces: bool) -> Iterator[None]:
        if not lost:
            lost.append(True)
            then()
            raise Latched("the kill latch is on: nothing was sent", code=Rule.KILL_SWITCH.value)
        with real(gate, reduces=reduces):
            yield

    monkeypatch.setattr(Gate, "sending", sending)


def refuse(world: World, monkeypatch: pytest.MonkeyPatch, *, closes: bool = False) -> None:
    """The venue refuses every entry, or with `closes` every close."""
    real = world.paper.place

    def place(orders: Sequence[OrderRequest]) -> list[OrderReport]:
        if orders[0].reduce_only is not closes:
            return real(orders)
        return [OrderReport(order.cloid, None, OrderState.REJECTED, D(0), None, "not today") for order in orders]

    monkeypatch.setattr(world.paper, "place", place)


def test_an_executor_in_the_name_of_somebody_else_is_refused_and_told(new_world: NewWorld) -> None:
    world = new_world()
    spec = parse_spec(ExecutorType.ORDER, {"market": "BTC", "side": "buy", **ENTERING["order"]})
    verdict, row = create_now(world.engine, Order(ExecutorType.ORDER, spec, controller_id="another_1"), Actor.AGENT)
    assert (verdict.rule, row, world.held()) == (Rule.SCOPE, None, 0)
    with world.ledger.reading() as tx:
        (told,) = events.read(tx, kinds=(EventKind.PROPOSAL_REJECTED.value,))
    assert told["data"]["rule"] == "SCOPE" and told["deployment"] == AGENT
    verdict, row = create_now(world.engine, Order(ExecutorType.ORDER, spec, controller_id=AGENT), Actor.AGENT)
    assert row is not None and world.held() == 1


@pytest.mark.parametrize("kind", ENTERING)
def test_an_order_that_never_left_is_planned_again(new_world: NewWorld, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    world = new_world()
    lose_the_first(world, monkeypatch)
    made = start(world, kind, **ENTERING[kind])
    world.play()
    assert world.held() or world.orders(leg="entry"), "sent at the second attempt"
    assert row_of(world, made).close_type in (None, "completed")
    assert world.differences() == []


@pytest.mark.parametrize("kind", ENTERING)
def test_an_entry_that_a_pause_refuses_waits_and_is_made_when_the_pause_is_over(
    new_world: NewWorld, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    world = new_world()
    lose_the_first(world, monkeypatch, then=lambda: pause(world))
    made = start(world, kind, **ENTERING[kind])
    world.play()
    assert (world.held(), world.orders(), row_of(world, made).is_live) == (0, [], True)
    assert reserved(world) > 0, "what it plans stays reserved"
    with world.ledger.reading() as tx:
        before = len(world.fills()), executors.find(tx, made)
    pause(world, "running")
    step_all(world.engine)
    if kind != "twap":  # a slice comes at its own time
        assert (world.held(), world.orders()) == (0, []), f"it knocks again after {ENTRY_PAUSE_MS} ms"
    world.play()
    assert (world.held() or world.orders(leg="entry") or kind == "twap") and before[1] is not None
    assert world.differences() == []


@pytest.mark.parametrize(("kind", "ends"), [("position", "failed"), ("order", "failed"), ("dca", None), ("grid", None), ("twap", None)])
def test_an_entry_that_the_venue_refuses_ends_or_pauses_its_executor(
    new_world: NewWorld, monkeypatch: pytest.MonkeyPatch, kind: str, ends: str | None
) -> None:
    world = new_world()
    refuse(world, monkeypatch)
    _, row = ask(world, kind, **ENTERING[kind])
    assert row is not None
    now = row_of(world, row.id)
    assert (now.close_type, world.held(), world.orders()) == (ends, 0, [])
    if ends:
        assert "not today" in now.detail and reserved(world) == 0
    elif kind != "twap":
        assert "not today" in str(now.state["refusal"])
        assert now.state["blocked_until"] == world.now + ENTRY_PAUSE_MS


def test_a_refused_exit_is_tried_again_at_the_next_bar_and_not_in_a_circle(new_world: NewWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    world = new_world()
    made = start(world, "position", amount="1", barriers=BARRIERS)
    world.play()
    with monkeypatch.context() as patch:
        refuse(world, patch, closes=True)
        row = stop(world.engine, made, keep_position=False, deployment=AGENT)
        assert row.is_live and world.held() == 1
        with world.ledger.reading() as tx:
            tried = executors.find(tx, made)
        assert tried is not None and tried.state["seq"] == 2, "one exit"
    world.play_many(2)
    assert (world.held(), end(world, made)) == (0, ("terminated", "early_stop"))


def test_a_grid_without_any_level_left_ends(new_world: NewWorld) -> None:
    world = new_world()
    made = start(world, "grid", **ENTERING["grid"])
    while orders := world.orders(leg="entry"):
        for order in orders:
            cancel_order(world.engine, order.cloid, Actor.MANUAL)
        world.play()
    assert end(world, made) == ("terminated", "early_stop")
    assert row_of(world, made).detail == "no level is left to trade" and reserved(world) == 0


def test_a_dca_whose_entries_are_all_taken_back_ends(new_world: NewWorld) -> None:
    world = new_world()
    made = start(world, "dca", **ENTERING["dca"])
    for order in world.orders(leg="entry"):
        cancel_order(world.engine, order.cloid, Actor.MANUAL)
    world.play()
    assert end(world, made) == ("terminated", "early_stop") and reserved(world) == 0


def test_barriers_of_a_dca_may_be_prices(new_world: NewWorld) -> None:
    world = new_world()
    fields = {**ENTERING["dca"], "stop_loss": {"price": "90"}, "take_profit": {"price": "105"}}
    start(world, "dca", **fields)
    world.play(BTC=("100", "100", "98.5", "99"))
    assert {(o.leg, o.trigger) for o in world.orders() if o.leg != "entry"} == {
        ("stop", D(90)),
        ("target", D(105)),
    }


def test_a_stop_or_target_that_was_passed_before_it_could_rest_closes_at_the_market(
    new_world: NewWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    for close, close_type in (("97", "stop_loss"), ("104", "take_profit")):
        world = new_world()
        made = start(world, "position", amount="1", barriers=BARRIERS)
        for order in world.orders():
            cancel_order(world.engine, order.cloid, Actor.MANUAL)
        world.play(BTC=close)
        world.play()
        assert (world.held(), end(world, made)) == (0, ("terminated", close_type))


def test_an_order_executor_whose_part_was_closed_by_somebody_else_does_not_buy_the_rest(new_world: NewWorld) -> None:
    world = new_world()
    chaser = {"distance": "0.005", "refresh_threshold": "0.001"}
    fills_at_most(world, 1)
    made = start(world, "order", amount="2", strategy="limit_chaser", chaser=chaser)
    world.play(BTC=("100", "100", "99", "100"))
    assert world.held() == 1
    fills_at_most(world, None)
    world.manual("sell", size=1, reduce_only=True)
    world.play(BTC=("100", "103", "100", "103"))
    world.play()
    assert (world.held(), world.orders()) == (0, [])
    assert not row_of(world, made).is_live


def test_a_slice_that_rounds_below_the_minimum_is_carried_into_the_next(new_world: NewWorld) -> None:
    world = new_world()
    made = start(world, "twap", total_amount_quote="40.08", duration_s=1200, interval_s=300)
    world.play(BTC="101")
    assert [fill["size"] for fill in world.fills()] == [D("0.1")], "0.099 BTC at 101 are 9.999 USDC, which is no order"
    world.play()
    world.play()
    assert [fill["size"] for fill in world.fills()] == [D("0.1"), D("0.198")]
    assert row_of(world, made).is_live and world.differences() == []


@pytest.mark.parametrize(
    ("kind", "fields", "word"),
    [
        ("order", {"amount": "1", "strategy": "market", "reduce_only": True, "stop": "90"}, "reduce_only"),
        ("grid", {**ENTERING["grid"], "side": "sell", "limit_price": "99"}, "limit_price 99 of a short grid"),
        ("twap", {"total_amount_quote": "100", "duration_s": 100, "interval_s": 200}, "interval_s 200"),
        ("twap", {"total_amount_quote": "100", "duration_s": 100, "interval_s": 50, "reduce_only": True, "stop": "90"}, "reduce_only"),
    ],
)
def test_fields_that_contradict_each_other_are_named(kind: str, fields: dict[str, Any], word: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        parse_spec(ExecutorType(kind), {"market": "BTC", "side": "buy", **fields})
    assert word in refused.value.message


@pytest.mark.parametrize(
    ("kind", "fields", "word"),
    [
        ("order", {"amount": "1e20", "strategy": "market"}, "is above"),
        ("order", {"amount": "1.00005", "strategy": "market"}, "off the step"),
        ("dca", {**ENTERING["dca"], "prices": ["99", "0.00001"]}, "rounds to 0"),
        ("grid", {**ENTERING["grid"], "start_price": "99.499", "total_amount_quote": "24"}, "the grid has no level"),
    ],
)
def test_a_plan_that_cannot_be_made_says_why_with_its_numbers(new_world: NewWorld, kind: str, fields: dict[str, Any], word: str) -> None:
    verdict, row = ask(new_world(), kind, **fields)
    assert row is None and verdict.rule is Rule.SHAPE
    assert verdict.rejection is not None and word in verdict.rejection.message


def test_a_dry_run_ends_and_steps_nothing(new_world: NewWorld) -> None:
    world = new_world(dry_run=True)
    step_all(world.engine)
    end_all(world.engine, "over")
    verdict, row = ask(world, "order", amount="1", strategy="market")
    assert row is None and verdict.rule is Rule.DRY_RUN


def test_an_unknown_executor_is_not_found(new_world: NewWorld) -> None:
    with pytest.raises(NotFound, match="no executor '01XYZ'"):
        stop(new_world().engine, "01XYZ", keep_position=True, deployment=AGENT)


def test_the_terms_of_an_executor_whose_deployment_is_gone_are_not_found(new_world: NewWorld) -> None:
    world = new_world()
    row = row_of(world, start(world, "order", amount="1", strategy="limit", price="90"))
    with pytest.raises(NotFound, match="no deployment nobody_9"):
        terms_for(world.engine, replace(row, deployment="nobody_9"))


def test_executors_of_an_earlier_run_go_on_and_those_of_others_end(new_world: NewWorld) -> None:
    world = new_world(limits={"price_band_pct": 5})
    with world.ledger.transaction() as tx:
        for name in ("momentum_2", "momentum_3"):
            runs.add_deployment(tx, replace(deployment_row(world.now), id=name, number=int(name[-1]), limits=limits_out(world.limits)))
    made = start(world, "position", amount="1", barriers=BARRIERS)
    waits = start(world, "dca", prices=["97", "90"], amounts_quote=["97", "90"], stop_loss="0.2")
    world.play()
    assert sorted(adopt(world.engine, ["momentum_1"], "momentum_2")) == sorted([made, waits])
    assert adopt(world.engine, ["momentum_1"], "momentum_2") == [], "they are its own now"
    assert world.held("BTC", f"momentum_2/{made}") == 1 and reserved(world) == 1
    assert {order.controller_id for order in world.orders()} == {f"momentum_2/{made}", f"momentum_2/{waits}"}
    assert adopt(world.engine, [], "momentum_3") == []
    assert not row_of(world, made).is_live and not row_of(world, waits).is_live
    assert (world.held("BTC", "momentum_2"), reserved(world)) == (1, 0), "what they held stays with who made them"
    assert {order.leg for order in world.orders()} == {"stop", "target"}


def test_a_closing_order_of_an_earlier_run_goes_on_for_the_new_one(new_world: NewWorld) -> None:
    world = new_world()
    with world.ledger.transaction() as tx:
        runs.add_deployment(tx, replace(deployment_row(world.now), id="momentum_2", number=2))
    world.submit(size=2)
    made = start(world, "order", side="sell", amount="1", strategy="limit", price="105", reduce_only=True)
    assert adopt(world.engine, ["momentum_1"], "momentum_2") == [made]
    row = row_of(world, made)
    assert (row.deployment, row.controller_id, row.state["controllers"]) == ("momentum_2", "momentum_2", ["momentum_1"])


def test_an_entry_that_fills_in_part_is_guarded_while_the_rest_waits(new_world: NewWorld) -> None:
    world = new_world()
    fills_at_most(world, 1)
    made = start(world, "position", amount="4", entry_price="99", barriers=BARRIERS)
    world.play(BTC=("100", "100", "98.5", "99"))
    assert world.held() == 1 and row_of(world, made).state.get("entered") is None
    guards = [order for order in world.orders(leg="stop") if order.parent_cloid is None]
    assert [(order.size, Side(order.side)) for order in guards] == [(D(1), Side.SELL)]


def test_ended_executors_say_how_they_ended_when_they_are_stopped_again(new_world: NewWorld) -> None:
    world = new_world()
    made = start(world, "order", amount="1", strategy="market")
    world.play()
    first = row_of(world, made)
    assert stop(world.engine, made, keep_position=False, deployment=AGENT) == first
    assert world.held() == 1


def test_verdicts_of_a_created_executor_are_executed(new_world: NewWorld) -> None:
    verdict, _ = ask(new_world(), "order", amount="1", strategy="market")
    assert verdict.kind is VerdictKind.EXECUTED


# --- figures, crashes and small ways -----------------------------------------------------------------------------------------


def test_what_an_executor_made_so_far_is_what_its_fills_and_the_mark_come_to(new_world: NewWorld) -> None:
    world = new_world(fees=FeeSchedule(D("0.0005"), D("0.0002")))
    made = start(world, "grid", **{**ENTERING["grid"], "total_amount_quote": "200"})
    world.play(BTC=("100", "100", "98", "98"))
    world.play(BTC=("98", "99.6", "98", "99.5"))
    row, fills = row_of(world, made), world.fills()
    assert row.is_live and {fill["side"] for fill in fills} == {"buy", "sell"} and world.held() > 0
    paid = sum((fill["fee"] for fill in fills), D(0))
    cash = sum((fill["size"] * fill["price"] * (1 if fill["side"] == "sell" else -1) for fill in fills), D(0))
    volume = sum((fill["size"] * fill["price"] for fill in fills), D(0))
    assert figures_of(world.engine, row) == (cash - paid + world.held() * world.price(), paid, volume)
    with world.ledger.reading() as tx:
        position = next(one for one in world.engine.book.rows if one.controller_id == row.controller_id)
        assert figures(tx, row, position, None) == (None, paid, volume), "no mark, no figure"


def test_funding_that_an_executor_paid_is_part_of_what_it_made(new_world: NewWorld) -> None:
    world = new_world()
    made = start(world, "position", amount="1", barriers=BARRIERS)
    world.feed.rates["BTC"] = [(world.now + 12 * STEP, 1_000_000)]
    world.play_many(14)
    assert world.engine.book.risk.funding == D("0.01")
    assert figures_of(world.engine, row_of(world, made))[0] == D("-0.01")


def test_a_child_that_a_crash_kept_from_the_door_is_sent_and_read_in_one_step(new_world: NewWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    world = new_world()

    class Crash(Exception):
        pass

    def crash(*_: Any) -> Any:
        raise Crash

    with monkeypatch.context() as patch:
        patch.setattr(Work, "_send", crash)
        with pytest.raises(Crash):
            ask(world, "position", amount="1", barriers=BARRIERS)
    with world.ledger.reading() as tx:
        (row,) = executors.live(tx, "w")
    assert row.state["children"] and not row.state.get("entered") and world.held() == 0
    step_all(world.engine)
    assert world.held() == 1 and row_of(world, row.id).state["entered"] is True


def test_a_grid_puts_back_a_stop_that_somebody_took(new_world: NewWorld) -> None:
    world = new_world()
    start(world, "grid", **ENTERING["grid"])
    world.play(BTC=("100", "100", "98.4", "98.4"))
    for order in world.orders(leg="stop"):
        if at_venue(world, order.cloid) is not None:
            cancel_order(world.engine, order.cloid, Actor.MANUAL)
    world.play(BTC="98.4")
    awake = [order for order in world.orders(leg="stop") if order.oid is not None and order.state == OrderState.OPEN.value]
    assert sum((order.size for order in awake), D(0)) >= world.held() > 0
    assert {order.trigger for order in awake} == {D(90)}


def test_a_dca_may_go_without_a_stop(new_world: NewWorld) -> None:
    world = new_world()
    fields = {name: value for name, value in ENTERING["dca"].items() if name != "stop_loss"}
    start(world, "dca", **fields, take_profit="0.02")
    world.play(BTC=("100", "100", "97.5", "98"))
    assert {order.leg for order in world.orders()} == {"target"} and world.held() > 1


def test_levels_on_the_same_price_step_are_refused(new_world: NewWorld) -> None:
    fields = {**ENTERING["grid"], "start_price": "99.499", "end_price": "99.5005", "min_spread": "0.000001"}
    verdict, row = ask(new_world(), "grid", **fields)
    assert row is None and verdict.rejection is not None and "fall on the same price steps" in verdict.rejection.message


@pytest.mark.parametrize("kind", ["twap", "dca", "grid", "position"])
def test_no_executor_is_made_in_a_market_without_a_price(new_world: NewWorld, kind: str) -> None:
    world = new_world()
    world.engine.markets["BTC"] = MarketState(world.engine.markets["BTC"].instrument)
    verdict, row = ask(world, kind, **ENTERING[kind])
    assert (row, verdict.rule) == (None, Rule.SHAPE)


def test_a_latch_ends_executors_at_the_next_step(new_world: NewWorld) -> None:
    world = new_world()
    made = start(world, "order", amount="1", strategy="limit", price="90")
    set_latch(world.root / "kill", "w")
    step_all(world.engine)
    assert end(world, made) == ("terminated", "early_stop") and row_of(world, made).detail == "the wallet is halted"
    assert world.engine.may_have_executors
    step_all(world.engine)
    assert world.engine.may_have_executors is False, "nobody asks again while there is none"


async def test_nobody_is_asked_about_an_executor_in_a_dry_run_or_one_that_a_rule_refuses(new_world: NewWorld) -> None:
    asked: list[Any] = []

    async def approve(plan: dict[str, Any]) -> str:
        asked.append(plan)
        return "not now"

    for world, words in ((new_world(dry_run=True), Rule.DRY_RUN), (new_world(limits={"max_open_executors": 1}), Rule.APPROVAL)):
        world.engine.terms[Actor.AGENT] = replace(world.engine.terms[Actor.AGENT], approve=approve)
        fields = {"market": "BTC", "side": "buy", "strategy": "limit", "price": "90", "amount": "1"}
        wanted = Order(ExecutorType.ORDER, parse_spec(ExecutorType.ORDER, fields), "test")
        verdict, row = await create(world.engine, wanted, Actor.AGENT)
        assert (row, verdict.rule) == (None, words)
    assert len(asked) == 1 and asked[0]["market"] == "BTC"


def test_a_time_limit_is_a_leap_year_at_most() -> None:
    def fields(seconds: int) -> dict[str, Any]:
        return {"market": "BTC", "side": "buy", "amount": "1", "barriers": {"time_limit_s": seconds}}

    assert parse_spec(ExecutorType.POSITION, fields(31_622_400))
    with pytest.raises(InvalidInput, match="time_limit_s"):
        parse_spec(ExecutorType.POSITION, fields(31_622_401))


POSITION = {"market": "BTC", "side": "buy", "amount": "1", "barriers": {"stop_loss": "0.02"}}
GRID = {"market": "BTC", "side": "buy", **ENTERING["grid"]}
TWAP = {"market": "BTC", "side": "buy", "total_amount_quote": "100", "duration_s": 90_000, "interval_s": 300}
DCA = {"market": "BTC", "side": "buy"}


def rungs(count: int) -> dict[str, Any]:
    return {**DCA, "prices": [str(100 - n) for n in range(count)], "amounts_quote": ["50"] * count}


@pytest.mark.parametrize(
    ("kind", "fits", "beyond", "word"),
    [
        ("position", {**POSITION, "amount": "9" * 30}, {**POSITION, "amount": "9" * 31}, "amount"),
        ("position", {**POSITION, "amount": "1e-9"}, {**POSITION, "amount": "0"}, "amount"),
        ("position", POSITION, {**POSITION, "amount": "Infinity"}, "amount"),
        ("position", {**POSITION, "market": "M" * 40}, {**POSITION, "market": "M" * 41}, "market"),
        ("position", {**POSITION, "market": "M"}, {**POSITION, "market": ""}, "market"),
        ("position", POSITION, {**POSITION, "surprise": 1}, "surprise"),
        ("grid", {**GRID, "take_profit": "0.9999"}, {**GRID, "take_profit": "1"}, "take_profit"),
        ("grid", {**GRID, "take_profit": "0.0001"}, {**GRID, "take_profit": "0"}, "take_profit"),
        ("grid", {**GRID, "take_profit": "0." + "1" * 20}, {**GRID, "take_profit": "0." + "1" * 21}, "take_profit"),
        ("grid", {**GRID, "max_open_orders": 50}, {**GRID, "max_open_orders": 51}, "max_open_orders"),
        ("grid", {**GRID, "max_open_orders": 1}, {**GRID, "max_open_orders": 0}, "max_open_orders"),
        ("twap", {**TWAP, "interval_s": 86_400}, {**TWAP, "interval_s": 86_401}, "interval_s"),
        ("twap", {**TWAP, "interval_s": 30}, {**TWAP, "interval_s": 29}, "interval_s"),
        ("twap", {**TWAP, "duration_s": 300}, {**TWAP, "duration_s": 299}, "interval_s"),
        ("dca", rungs(20), rungs(21), "20"),
    ],
)
def test_the_smallest_step_beyond_a_bound_of_a_field_is_refused(kind: str, fits: dict[str, Any], beyond: dict[str, Any], word: str) -> None:
    made = parse_spec(ExecutorType(kind), fits)
    with pytest.raises(InvalidInput) as caught:
        parse_spec(ExecutorType(kind), beyond)
    assert word in f"{caught.value.message} {caught.value.hint} {caught.value.details}"
    with pytest.raises(ValidationError):
        made.market = "ETH"  # type: ignore[misc]  # a specification is a value


def test_what_a_grid_leaves_open_has_the_documented_values() -> None:
    made = parse_spec(ExecutorType.GRID, GRID)
    assert isinstance(made, GridSpec)
    assert (made.min_spread, made.min_order_quote, made.max_open_orders) == (D("0.0005"), 12, 5)
    assert not TwapSpec.model_validate(TWAP).reduce_only


def test_an_executor_that_only_closes_is_made_when_no_other_may_be(new_world: NewWorld) -> None:
    world = new_world(limits={"max_open_executors": 1})
    start(world, "position", amount="1", barriers=BARRIERS)
    world.submit(size=1)
    limit = {"strategy": "limit", "amount": "1"}
    assert ask(world, "order", **limit, price="90")[0].rule is Rule.OPEN_EXECUTORS
    assert ask(world, "order", **limit, side="sell", price="110", reduce_only=True)[0].kind is VerdictKind.EXECUTED
