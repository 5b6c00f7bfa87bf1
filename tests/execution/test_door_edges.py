"""The door's seldom ways: a kill between check and sending, a lost answer of a level, what a lost lease may still do, and small figures."""

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hands import by_another_hand, fills_at_most, incidents, told
from world import AGENT, INSTRUMENTS, STEP, WALLET, HandMadeFeed, World, proposal

from tradeagent.brokers.paper import PaperBroker
from tradeagent.domain.bars import Bar
from tradeagent.domain.clock import SimulatedClock
from tradeagent.domain.errors import RefusedError, VenueError
from tradeagent.domain.limits import SPECS, Limits
from tradeagent.domain.names import (
    Actor,
    DeploymentState,
    ExitReason,
    HaltReason,
    IntentKind,
    IntentState,
    KillPolicy,
    LimitKind,
    OrderState,
    Rule,
    VerdictKind,
)
from tradeagent.domain.order import OrderReport, OrderRequest
from tradeagent.execution.halts import flatten, judge_marks
from tradeagent.execution.kill import Wiped, wipe, wipe_paper
from tradeagent.execution.levels import withdraw
from tradeagent.execution.opening import Tenant
from tradeagent.execution.playback import Playback
from tradeagent.execution.protection import cancel_everything, cancel_order, move_protection
from tradeagent.execution.reading import limits_in, limits_out, read_state
from tradeagent.execution.reconcile import reconcile
from tradeagent.execution.recover import recover
from tradeagent.execution.rules import CHECKS
from tradeagent.execution.usage import limit_usage
from tradeagent.ledger import runs, trading, wallets
from tradeagent.workspace.config import load_config
from tradeagent.workspace.latch import Gate, Latched
from tradeagent.workspace.paths import Workspace

D = Decimal
NewWorld = Callable[..., World]
EXECUTED, REJECTED, UNKNOWN = VerdictKind.EXECUTED, VerdictKind.REJECTED, VerdictKind.UNKNOWN


class Broken:
    """The paper account, of which one call fails or answers as a test says."""

    def __init__(self, paper: PaperBroker, **instead: Callable[..., Any]) -> None:
        self._paper = paper
        self._instead = instead

    def __getattr__(self, name: str) -> Any:
        return self._instead.get(name) or getattr(self._paper, name)


def no_answer(*_: Any) -> Any:
    raise VenueError("no answer within 10 s")


def take_lease(world: World) -> None:
    """Another process owns the wallet from now on."""
    with world.ledger.transaction() as tx:
        runs.take_lease(tx, WALLET, "other", None, world.now)


# --- sending ----------------------------------------------------------------------------------------------------------------


def test_a_kill_between_the_checks_and_the_sending_ends_the_intent_without_an_order(
    new_world: NewWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = new_world()

    @contextmanager
    def latched(gate: Gate, *, reduces: bool) -> Iterator[None]:
        assert not reduces
        raise Latched("the kill latch is on: nothing was sent", code=Rule.KILL_SWITCH.value)
        yield

    monkeypatch.setattr(Gate, "sending", latched)
    verdict = world.submit(size=1, stop=90)
    assert (verdict.kind, verdict.rule) == (REJECTED, Rule.KILL_SWITCH)
    assert "nothing was sent" in (verdict.rejection.message if verdict.rejection else "")
    with world.ledger.reading() as tx:
        intent = trading.intent(tx, verdict.intent_id or "")
        orders = trading.orders_of_intent(tx, verdict.intent_id or "")
        assert trading.active_reservations(tx, WALLET) == []
    assert intent is not None and intent["state"] == IntentState.CANCELLED.value
    assert [(order.state, order.oid) for order in orders] == [(OrderState.CANCELLED.value, None)] * 2
    assert world.paper.open_orders() == [] and [data["state"] for data in told(world, "intent.state")] == ["pending", "cancelled"]


def test_a_leverage_that_the_venue_refuses_is_its_no_to_the_order(new_world: NewWorld) -> None:
    world = new_world()

    def no(*_: Any) -> None:
        raise RefusedError("Invalid leverage value", code="venue_rejected")

    world.engine.broker = Broken(world.paper, set_leverage=no)  # type: ignore[assignment]
    verdict = world.submit(size=1, leverage=7)
    assert (verdict.kind, verdict.message) == (REJECTED, "venue: Invalid leverage value")
    assert world.held() == 0 and world.orders() == []


def test_an_order_whose_outcome_cannot_be_read_after_it_was_sent_is_unknown(new_world: NewWorld) -> None:
    world = new_world()
    world.engine.broker = Broken(world.paper, activity_since=no_answer)  # type: ignore[assignment]
    verdict = world.submit(size=1)
    assert (verdict.kind, world.engine.is_unresolved) == (UNKNOWN, True)
    world.engine.broker = world.paper
    assert reconcile(world.engine).phase.value == "consistent"
    assert (world.held(), world.differences()) == (1, [])


async def test_work_that_is_given_up_is_finished_before_the_next_begins(new_world: NewWorld) -> None:
    world = new_world()
    world.engine._in_thread = True
    begun, may_end, done = threading.Event(), threading.Event(), []

    def slow() -> None:
        begun.set()
        may_end.wait(5)
        done.append("slow")

    task = asyncio.create_task(world.engine.alone(slow))
    await asyncio.to_thread(begun.wait, 5)
    task.cancel()
    next_one = asyncio.create_task(world.engine.alone(lambda: done.append("next")))
    await asyncio.sleep(0.02)
    assert done == []
    may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    await next_one
    assert done == ["slow", "next"]


def test_an_opposite_proposal_that_cannot_be_sized_is_refused_for_its_shape(new_world: NewWorld) -> None:
    world = new_world()
    world.submit(size=1)
    assert world.submit("sell", risk_quote=5).rule is Rule.SHAPE, "a risk needs a stop"
    assert world.held() == 1


def test_a_flip_whose_close_is_refused_opens_nothing(new_world: NewWorld) -> None:
    world = new_world()
    world.submit(size=1)
    real = world.paper.place

    def place(orders: Sequence[OrderRequest]) -> list[OrderReport]:
        if orders[0].reduce_only:
            return [OrderReport(order.cloid, None, OrderState.REJECTED, D(0), None, "not today") for order in orders]
        return real(orders)

    world.engine.broker = Broken(world.paper, place=place)  # type: ignore[assignment]
    assert world.submit("sell", size=3).message == "venue: not today"
    assert (world.held(), world.orders()) == (1, [])


@pytest.mark.parametrize("stated", [{"confidence": "1.01"}, {"confidence": "-0.01"}, {"conviction": "100.5"}, {"conviction": "-1"}])
def test_a_confidence_outside_its_scale_is_shapeless(new_world: NewWorld, stated: dict[str, str]) -> None:
    verdict = new_world().submit(size=1, **stated)
    assert verdict.rule is Rule.SHAPE and verdict.rejection is not None
    assert next(iter(stated)) in verdict.rejection.message


def test_a_size_that_rounds_to_nothing_says_so(new_world: NewWorld) -> None:
    verdict = new_world().submit(quote="0.01")
    assert verdict.rule is Rule.SHAPE and verdict.rejection is not None and "10" in verdict.rejection.message


# --- who may still do what --------------------------------------------------------------------------------------------------


def test_a_process_that_lost_its_lease_neither_moves_nor_cancels(new_world: NewWorld) -> None:
    world = new_world()
    world.submit(size=1, stop=90)
    (stop,) = world.orders(leg="stop")
    take_lease(world)
    moved = world.submit("sell", kind=IntentKind.UPDATE, stop=95)

    moved = move_protection(world.engine, proposal("sell", kind=IntentKind.UPDATE, stop=95), Actor.AGENT)
    cancelled = cancel_order(world.engine, stop.cloid, Actor.MANUAL)
    assert (moved.rule, cancelled.rule) == (Rule.LEASE, Rule.LEASE)
    assert [order.cloid for order in world.orders(leg="stop")] == [stop.cloid]


# --- answers that are lost while levels are placed ----------------------------------------------------------------------------


def test_a_level_whose_answer_is_lost_is_looked_for_again(new_world: NewWorld) -> None:
    world = new_world()
    fills_at_most(world, 4)
    world.submit(size=10, type="limit", price=99, stop=95)
    real, sent = world.paper.place, []

    def place(orders: Sequence[OrderRequest]) -> list[OrderReport]:
        sent.append(orders)
        if len(sent) == 1:
            raise VenueError("no answer within 10 s")
        return real(orders)

    world.engine.broker = Broken(world.paper, place=place)  # type: ignore[assignment]
    world.play(BTC=("100", "100", "98", "99"))
    assert (world.held(), world.engine.is_unresolved) == (4, True)
    assert reconcile(world.engine).phase.value == "consistent"
    stops = [order for order in world.orders(leg="stop") if order.parent_cloid is None]
    assert sum(order.size for order in stops) == 4 and world.differences() == []


def test_a_target_that_the_venue_refuses_leaves_the_position_with_its_stop(new_world: NewWorld) -> None:
    world = new_world()
    fills_at_most(world, 4)
    real = world.paper.place

    def place(orders: Sequence[OrderRequest]) -> list[OrderReport]:
        if len(orders) == 1 and orders[0].type.is_target:
            raise RefusedError("Invalid TP/SL price.", code="venue_rejected")
        return real(orders)

    world.engine.broker = Broken(world.paper, place=place)  # type: ignore[assignment]
    world.submit(size=10, stop=95, target=110)
    assert (world.held(), [order.leg for order in world.orders()]) == (4, ["stop"])
    assert world.differences() == []


def test_withdrawing_what_is_gone_is_done_and_without_an_answer_it_is_asked_again(new_world: NewWorld) -> None:
    world = new_world()
    withdraw(world.engine, "0xnever")
    assert world.engine.is_unresolved is False
    world.engine.broker = Broken(world.paper, cancel=no_answer)  # type: ignore[assignment]
    withdraw(world.engine, "0xnever")
    assert world.engine.is_unresolved


def test_cancelling_everything_goes_on_when_one_answer_is_lost(new_world: NewWorld) -> None:
    world = new_world()
    for price in (90, 91, 92):
        world.submit(size=1, type="limit", price=price)
    real, asked = world.paper.cancel, []

    def cancel(cloid: str) -> OrderReport:
        asked.append(cloid)
        if len(asked) == 2:
            raise VenueError("no answer within 10 s")
        return real(cloid)

    world.engine.broker = Broken(world.paper, cancel=cancel)  # type: ignore[assignment]
    assert cancel_everything(world.engine) == 3
    assert (len(world.orders()), world.engine.is_unresolved) == (1, True)


def test_a_venue_that_refuses_every_stop_ends_in_a_comparison_and_not_in_a_loop(new_world: NewWorld) -> None:
    world = new_world(limits={"require_stops": True})
    world.submit(size=2, stop=90)
    world.manual(size=1)
    world.play()
    real, asked = world.paper.place, []

    def place(orders: Sequence[OrderRequest]) -> list[OrderReport]:
        asked.append(orders)
        if orders[0].reduce_only:
            return [OrderReport(order.cloid, None, OrderState.REJECTED, D(0), None, "not today") for order in orders]
        return real(orders)

    world.engine.broker = Broken(world.paper, place=place)  # type: ignore[assignment]
    (stop,) = world.orders(leg="stop")
    with pytest.raises(RefusedError):
        world.paper.cancel("0xnever")
    world.paper.cancel(stop.cloid)
    by_another_hand(world, size="1", cloid="0xmore")
    world.play()
    assert len(asked) < 20 and world.held() == 4
    assert "naked_position" in incidents(world)


def test_a_venue_that_falls_silent_while_levels_are_placed_leaves_what_was_settled(new_world: NewWorld) -> None:
    world = new_world(limits={"require_stops": True})
    world.engine.broker = Broken(world.paper, open_orders=no_answer)  # type: ignore[assignment]
    assert world.submit(size=1, stop=90).kind is EXECUTED
    assert (world.held(), world.engine.is_unresolved) == (1, True)


def test_an_intent_whose_fills_came_before_its_answer_is_resolved_by_them(new_world: NewWorld) -> None:
    world = new_world()
    real = world.paper.place

    def mute(orders: Sequence[OrderRequest]) -> Any:
        real(orders)
        raise VenueError("no answer within 10 s")

    world.engine.broker = Broken(world.paper, place=mute)  # type: ignore[assignment]
    verdict = world.submit(size=1)
    assert verdict.kind is UNKNOWN
    world.engine.broker = Broken(world.paper, order_status=lambda _: None)  # type: ignore[assignment]
    recover(world.engine)
    with world.ledger.reading() as tx:
        intent = trading.intent(tx, verdict.intent_id or "")
    assert intent is not None
    assert (intent["state"], intent["detail"]) == ("executed", {"message": "resolved by its fills"})
    assert world.engine.book.risk.entries_today == {"agent": 1}


# --- a dust part and its stop -----------------------------------------------------------------------------------------------


def test_a_missing_part_too_small_for_an_order_joins_the_stop_that_is_there(new_world: NewWorld) -> None:
    world = new_world(limits={"require_stops": True})
    world.submit(size="0.2", stop=45)
    world.submit(size="1", stop=45)
    world.play(BTC="48")
    smaller = next(order for order in world.orders(leg="stop") if order.size == D("0.2"))
    world.paper.cancel(smaller.cloid)
    done = reconcile(world.engine)
    assert done.phase.value == "consistent" and "BTC 0.2 of momentum_1 had no stop at the venue: placed again at 45" in done.repairs
    (stop,) = world.orders(leg="stop")
    assert (stop.size, stop.trigger, world.held()) == (D("1.2"), D(45), D("1.2"))
    assert incidents(world)["missing_stop"] in done.repairs


def test_a_part_too_small_for_an_order_without_any_stop_to_join_is_left(new_world: NewWorld) -> None:
    world = new_world(limits={"require_stops": True})
    world.submit(size="0.2", stop=45)
    world.play(BTC="48")
    (stop,) = world.orders(leg="stop")
    world.paper.cancel(stop.cloid)
    assert reconcile(world.engine).phase.value == "consistent"
    assert (world.held(), world.orders()) == (D("0.2"), [])
    world.play(BTC="52")
    assert reconcile(world.engine).phase.value == "consistent"
    assert [(order.size, order.trigger) for order in world.orders(leg="stop")] == [(D("0.2"), D(45))], "now it is worth an order"


# --- the kill's own half ----------------------------------------------------------------------------------------------------


class Fast(SimulatedClock):
    """Simulated time in which sleeping passes."""

    async def sleep(self, seconds: float) -> None:
        self.advance_to(self.now_ms() + round(seconds * 1000))

    def monotonic(self) -> float:
        return self.now_ms() / 1000


async def test_a_kill_of_an_account_that_nobody_made_has_nothing_to_do(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    config = load_config(workspace.config_file, {})
    assert await wipe_paper(workspace, config, "w", KillPolicy.FLATTEN_ALL, SimulatedClock(0)) == Wiped(0, (), flat=True)
    assert not workspace.paper_file("w").exists()


@pytest.mark.parametrize(
    ("policy", "orders", "held"), [(KillPolicy.KEEP_ALL, 2, 1), (KillPolicy.CANCEL_ONLY, 0, 1), (KillPolicy.FLATTEN_ALL, 0, 0)]
)
async def test_a_kill_does_what_its_policy_says(new_world: NewWorld, policy: KillPolicy, orders: int, held: int) -> None:
    world = new_world()
    world.submit(size=1, stop=90)
    world.submit("buy", "ETH", size=1, type="limit", price=40)
    wiped = await wipe(world.paper, policy, SimulatedClock(world.now))
    account = world.paper.account()
    assert (len(account.open_cloids), len(account.positions)) == (orders, held)
    assert (wiped.cancelled, len(wiped.closed), wiped.flat) == (2 - orders, 1 - held, held == 0)


@pytest.mark.parametrize("policy", list(KillPolicy))
async def test_a_kill_with_nothing_left_to_do_is_over_at_once(new_world: NewWorld, policy: KillPolicy) -> None:
    world = new_world()
    if policy is not KillPolicy.FLATTEN_ALL:
        world.submit(size=1)
    clock = Fast(world.now)
    await wipe(world.paper, policy, clock)
    assert clock.now_ms() == world.now


async def test_a_kill_goes_on_past_an_order_that_is_gone_and_a_venue_that_is_silent_once(new_world: NewWorld) -> None:
    world = new_world()
    world.submit(size=1, stop=90, target=120)
    real, asked = world.paper.account, []

    def account() -> Any:
        asked.append(True)
        if len(asked) == 1:
            raise VenueError("no answer within 10 s")
        return real()

    def cancel(cloid: str) -> OrderReport:
        world.paper.cancel(cloid)
        raise RefusedError("Order was never placed, already canceled, or filled.", code="venue_rejected")

    wiped = await wipe(Broken(world.paper, account=account, cancel=cancel), KillPolicy.FLATTEN_ALL, Fast(world.now))
    assert (wiped.flat, wiped.cancelled, [(one.market, one.size) for one in wiped.closed]) == (True, 0, [("BTC", D(1))])


async def test_one_order_that_the_venue_will_not_cancel_does_not_keep_a_kill_from_the_others(new_world: NewWorld) -> None:
    world = new_world()
    for price in (80, 85, 90):
        world.submit(size=1, type="limit", price=price)
    stuck = min(order.cloid for order in world.orders())

    def cancel(cloid: str) -> OrderReport:
        if cloid == stuck:
            raise RefusedError("not today", code="venue_rejected")
        return world.paper.cancel(cloid)

    wiped = await wipe(Broken(world.paper, cancel=cancel), KillPolicy.CANCEL_ONLY, Fast(world.now))
    assert (world.paper.account().open_cloids, wiped.cancelled) == ({stuck}, 2)


# --- figures ----------------------------------------------------------------------------------------------------------------


def test_every_limit_says_its_value_its_use_what_is_left_and_where_it_comes_from(new_world: NewWorld) -> None:
    world = new_world(cash=1_000, limits={"max_position_size_quote": 500, "max_open_positions": 3})
    world.submit(size=2)
    shown = {row.key: row.as_dict() for row in limit_usage(world.state(), "paper", {"max_leverage": "25"})}
    assert shown["max_position_size_quote"] == {
        "key": "max_position_size_quote",
        "value": "500",
        "used": "200",
        "left": "300",
        "origin": "limits",
        "ceiling": None,
    }
    assert (shown["max_position_pct"]["used"], shown["max_position_pct"]["left"]) == ("20", "980")
    assert (shown["max_open_positions"]["used"], shown["max_open_positions"]["left"]) == ("1", "2")
    assert (shown["max_leverage"]["ceiling"], shown["max_leverage"]["used"]) == ("25", "0.2")
    assert shown["max_single_order_quote"] | {"origin": ""} == {
        "key": "max_single_order_quote",
        "value": None,
        "used": None,
        "left": None,
        "origin": "",
        "ceiling": None,
    }
    assert (shown["require_stops"]["value"], shown["require_stops"]["left"]) == (False, None)


def test_a_flattened_wallet_is_flat_in_every_market(new_world: NewWorld) -> None:
    world = new_world()
    for market in INSTRUMENTS:
        world.submit("buy", market, size=1)
    verdicts = flatten(world.engine, Actor.MANUAL, ExitReason.FLATTEN)
    assert [verdict.kind for verdict in verdicts] == [EXECUTED, EXECUTED]
    assert [world.held(market) for market in INSTRUMENTS] == [0, 0]
    assert world.held("BTC", AGENT) == 0


def test_with_every_limit_off_only_the_venues_own_bounds_refuse(new_world: NewWorld) -> None:
    world = new_world()
    off = Limits(LimitKind.AGENT, dict.fromkeys(SPECS), dict.fromkeys(SPECS, "off"))
    world.engine.terms[Actor.AGENT] = replace(world.engine.terms[Actor.AGENT], limits=off)
    assert world.submit(size="1500", leverage=20).kind is EXECUTED
    assert world.submit(size="600", leverage=20).rule is Rule.MARGIN
    shown = {row.key: row.as_dict() for row in limit_usage(world.state(), "paper")}
    assert shown["max_position_pct"]["value"] is None and shown["max_position_pct"]["left"] is None
    assert shown["max_market_risk_pct"]["used"] is None


def test_a_held_level_waits_on_while_the_lost_answer_of_its_entry_is_found(new_world: NewWorld) -> None:
    world = new_world()
    real = world.paper.place

    def mute(orders: Sequence[OrderRequest]) -> Any:
        real(orders)
        raise VenueError("no answer within 10 s")

    world.engine.broker = Broken(world.paper, place=mute)  # type: ignore[assignment]
    assert world.submit(size=2, type="stop_market", trigger=105, stop=100).kind is UNKNOWN
    world.engine.broker = world.paper
    assert reconcile(world.engine).phase.value == "consistent"
    assert {(order.leg, order.state) for order in world.orders()} == {("entry", "open"), ("stop", "pending")}
    world.play(BTC=("100", "106", "100", "106"))
    assert (world.held(), [(order.leg, order.state) for order in world.orders()]) == (2, [("stop", "open")])


def test_the_market_clock_of_a_wallet_never_goes_back(new_world: NewWorld) -> None:
    book = new_world().engine.book
    before = book.risk.market_clock_ms or 0
    book.settle_clock(before - 1)
    assert book.risk.market_clock_ms == before
    book.settle_clock(before + 1)
    assert book.risk.market_clock_ms == before + 1


def test_a_wallet_without_fresh_bars_starts_no_clock_and_looks_at_none(new_world: NewWorld) -> None:
    world = new_world()
    feed = HandMadeFeed({"BTC": [], "ETH": [replace(bar) for bar in world.feed.bars["ETH"][:1]]})
    later = world.now + 10 * 24 * 3600 * 1000
    world.engine.book.set_risk(replace(world.engine.book.risk, market_clock_ms=None, clock_source="wall"))
    playback = Playback(world.engine, world.paper, feed, world.clock.advance_to)
    playback.look(later)
    playback.start(later, "replay")
    assert world.engine.book.risk.market_clock_ms is None
    playback.advance(later)
    assert world.engine.book.risk.market_clock_ms is None
    playback.start(world.now, "replay")
    assert (world.engine.book.risk.market_clock_ms, world.engine.book.risk.clock_source) == (world.now, "replay")
    playback.start(world.now, "wall")
    assert world.engine.book.risk.clock_source == "wall"
    playback.start(later, "replay")
    assert world.engine.book.risk.clock_source == "wall", "nothing fresh drives it"


def test_entries_that_rest_count_in_their_market_and_levels_do_not(new_world: NewWorld) -> None:
    world = new_world(limits={"max_positions_per_market": 2})
    for price in (90, 91):
        assert world.submit(size=1, type="limit", price=price).kind is EXECUTED
    assert world.submit(size=1, type="limit", price=92).rule is Rule.OPEN_POSITIONS
    other = new_world(limits={"max_positions_per_market": 2})
    assert other.submit(size=1, stop=90, target=120).kind is EXECUTED
    assert other.submit(size=1, stop=90, target=120).kind is EXECUTED, "its stop and target are no entries"
    assert other.submit(size=1, stop=90).rule is Rule.OPEN_POSITIONS


def test_a_wallet_of_one_dollar_is_judged_like_any_other(new_world: NewWorld) -> None:
    world = new_world(cash=1, limits={"max_drawdown_pct": 10, "halt_drawdown_pct": 20})
    assert judge_marks(world.engine) is None
    world.engine.book.set_risk(replace(world.engine.book.risk, cash=D("0.5")))
    assert judge_marks(world.engine) is HaltReason.DRAWDOWN
    empty = new_world(cash=0, limits={"max_drawdown_pct": 10, "halt_drawdown_pct": 20})
    assert judge_marks(empty.engine) is None, "nothing was ever there"


def test_only_ownership_binds_what_reduces_risk() -> None:
    assert {rule for rule, is_entry_only, _ in CHECKS if not is_entry_only} == {Rule.LEASE, Rule.SCOPE, Rule.LIVE_GATE}


def test_only_entries_count_among_the_trades_of_a_day(new_world: NewWorld) -> None:
    world = new_world(limits={"max_daily_trades": 2})
    for count in (1, 2):
        assert world.submit(size=1).kind is EXECUTED
        assert world.engine.book.risk.entries_today == {"agent": count}
        assert world.close().kind is EXECUTED
        assert world.engine.book.risk.entries_today == {"agent": count}
    assert world.submit(size=1).rule is Rule.DAILY_TRADES


def test_whoever_only_looks_sees_the_last_marks_and_the_instant_they_are_of(new_world: NewWorld) -> None:
    world = new_world()
    world.submit(size=1, stop=90)
    world.play(BTC="101")
    with world.engine.transaction() as tx:
        world.engine.book.flush(tx)
    config = load_config(world.root / "config.yml", {})
    with world.ledger.reading() as tx:
        seen = read_state(tx, config, wallets.get(tx, WALLET), SimulatedClock(0))
        tenant = Tenant(AGENT, "momentum", frozenset(INSTRUMENTS), world.limits)
        of_agent = read_state(tx, config, wallets.get(tx, WALLET), SimulatedClock(0), tenant)
    assert (seen.markets["BTC"].mark, seen.markets["BTC"].mark_ms, seen.now_ms) == (D(101), world.now, world.now)
    assert (seen.markets["ETH"].mark, seen.markets["ETH"].mark_ms) == (None, 0)
    assert (seen.scope.actor, seen.scope.markets, seen.deployment_state) == (Actor.MANUAL, None, None)
    assert (of_agent.scope.controller_id, of_agent.deployment_state, of_agent.limits) == (AGENT, DeploymentState.RUNNING, world.limits)
    assert seen.equity == of_agent.equity == world.equity and [order.leg for order in seen.orders] == ["stop"]
    assert limits_in(limits_out(world.limits)) == world.limits


def test_a_number_above_a_trillion_is_no_number_of_an_order(new_world: NewWorld) -> None:
    rejection = new_world().submit(size=10**12 + 1).rejection
    assert rejection is not None and (rejection.rule, rejection.max_ok) == (Rule.SHAPE, "1000000000000")
    largest = new_world().submit(size=10**12).rejection
    assert largest is not None and largest.rule is not Rule.SHAPE


@pytest.mark.parametrize("side", ["buy", "sell"])
def test_half_a_coin_that_cannot_have_its_stop_is_bought_or_sold_back(new_world: NewWorld, side: str) -> None:
    world = new_world()
    world.submit(side, size="0.5")
    terms = world.engine.terms[Actor.AGENT]
    limits = replace(terms.limits, values={**terms.limits.values, "require_stops": True})
    world.engine.terms[Actor.AGENT] = replace(terms, limits=limits)
    assert reconcile(world.engine).phase.value == "consistent"
    assert (world.held(), world.differences(), world.fills()[-1]["exit_reason"]) == (0, [], "stop")
    assert "had no stop (no level is known): closed at the market" in incidents(world)["naked_position"]


@pytest.mark.parametrize(
    ("source", "late_ms", "is_played"),
    [("wall", 3 * STEP + 30_000, True), ("wall", 3 * STEP + 30_001, False), ("replay", 3 * STEP + 30_001, True)],
)
def test_bars_too_old_to_decide_on_are_left_by_the_wall_clock_and_played_by_a_replay(
    new_world: NewWorld, source: str, late_ms: int, is_played: bool
) -> None:
    world = new_world(live=True)
    before = world.now
    world.playback.start(before, source)
    world.feed.bars["BTC"].append(Bar("BTC", before, STEP, 100_000, 101_000, 99_000, 101_000, 1_000_000))
    world.playback.advance(before + STEP + late_ms)
    assert world.engine.book.risk.market_clock_ms == (before + STEP if is_played else before)
    assert world.price() == (101 if is_played else 100)
