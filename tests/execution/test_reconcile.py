"""Ledger and venue made one: each test breaks the world first, then looks at what the comparison puts right and what it says."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from decimal import Decimal

import pytest
from hands import at_venue, by_another_hand, incidents, other_hand, phases, tamper, tampered_order, told
from world import AGENT, WALLET, World, proposal

from tradeagent.domain.errors import NotFound, VenueError
from tradeagent.domain.names import Actor, IntentKind, OrderState, OrderType, Rule, Side, Tif, VerdictKind
from tradeagent.domain.order import OrderReport, OrderRequest
from tradeagent.execution.book import UNMANAGED
from tradeagent.execution.protection import cancel_order, move_protection
from tradeagent.execution.reconcile import Reconciliation, reconcile
from tradeagent.ledger import notes, trading
from tradeagent.runtime import checks
from tradeagent.venue.state import Holding, Order, Phase

D = Decimal
NewWorld = Callable[..., World]
EXECUTED = VerdictKind.EXECUTED
FULL = ["checking", "reconciling", "verifying", "consistent"]


@pytest.fixture
def strict(new_world: NewWorld) -> World:
    """An agent that must have stops, long 5 BTC with a stop at 95 and a target at 110."""
    world = new_world(limits={"require_stops": True})
    assert world.submit(size=5, stop=95, target=110).kind is EXECUTED
    world.play()
    return world


def reconciled(world: World) -> Reconciliation:
    """Compare; it must end well, and a second look must find nothing."""
    done = reconcile(world.engine)
    assert (done.phase.value, done.differences) == ("consistent", ())
    again = reconcile(world.engine)
    assert (again.repairs, again.cycles) == ((), 1), "once is enough"
    assert world.differences() == []
    return done


def stops(world: World) -> list[tuple[Decimal, Decimal | None]]:
    """(size, trigger) of the stops, which the venue must know too."""
    found = world.orders(leg="stop")
    assert all(at_venue(world, order.cloid) is not None for order in found)
    return [(order.size, order.trigger) for order in found]


# --- phases -------------------------------------------------------------------------------------------------------------------


def test_every_phase_is_told_at_start_and_on_command(new_world: NewWorld) -> None:
    world = new_world()
    assert phases(world) == FULL
    done = reconcile(world.engine)
    assert phases(world) == FULL * 2
    assert (done.phase.value, done.cycles, done.repairs, done.differences) == ("consistent", 1, (), ())
    data = done.as_dict()
    assert {key: data[key] for key in ("phase", "cycles", "repaired")} == {"phase": "consistent", "cycles": 1, "repaired": 0}
    assert 0 <= data["elapsed_s"] < 5
    assert told(world, "reconcile.phase")[-1]["repaired"] == 0


def test_a_routine_check_that_finds_nothing_says_only_that(strict: World) -> None:
    before = len(phases(strict))
    done = reconcile(strict.engine, routine=True)
    assert (done.phase.value, done.cycles) == ("consistent", 0)
    assert phases(strict)[before:] == ["consistent"]
    with other_hand(strict) as broker:
        broker.cancel(strict.orders(leg="stop")[0].cloid)
    assert len(reconcile(strict.engine, routine=True).repairs) == 1
    assert phases(strict)[before + 1 :] == FULL


def test_entries_wait_while_the_venue_cannot_be_read(strict: World) -> None:
    real = strict.engine.broker

    class Deaf:
        delivers_late = False

        def open_orders(self) -> None:
            raise VenueError("no answer")

    strict.engine.broker = Deaf()  # type: ignore[assignment]
    with pytest.raises(VenueError):
        reconcile(strict.engine)
    strict.engine.broker = real
    assert strict.submit(size=1, stop=95).rule is Rule.RECONCILING
    assert reconcile(strict.engine).phase.value == "consistent"
    assert strict.submit(size=1, stop=95).kind is EXECUTED


def test_what_cannot_be_repaired_fails_after_two_cycles_and_blocks_entries(new_world: NewWorld) -> None:
    world = new_world()
    world.submit(size=1)
    tamper(world, lambda state: replace(state, cash=state.cash - 1))
    done = reconcile(world.engine)
    assert (done.phase.value, done.cycles, len(done.differences)) == ("failed", 2, 1)
    assert phases(world)[4:] == ["checking", "reconciling", "verifying", "reconciling", "verifying", "failed"]
    assert "9999.999999 at the venue" in incidents(world)["reconcile_mismatch"]
    assert world.submit(size=1).rule is Rule.RECONCILING
    assert world.close().kind is EXECUTED, "exits go on"
    tamper(world, lambda state: replace(state, cash=state.cash + 1))
    assert reconcile(world.engine).phase.value == "consistent"
    assert incidents(world) == {} and world.submit(size=1).kind is EXECUTED


# --- orders and fills that the ledger does not know -----------------------------------------------------------------------------


def test_a_fill_that_was_missed_is_booked_once(new_world: NewWorld) -> None:
    world = new_world(live=True)
    world.submit(size=2)
    world._foresee()
    bar = {"BTC": world.feed.bars["BTC"][-1]}
    world.paper.play_close(bar["BTC"].close_ms, bar, ())
    world.clock.advance_to(bar["BTC"].close_ms)
    assert world.held() == 0 and len(world.differences()) == 1
    assert reconciled(world).repairs == ("1 missed fill(s) booked",)
    assert world.held() == world.held(controller=AGENT) == 2 and len(world.fills()) == 1


def test_an_order_that_differs_at_the_venue_is_adopted(new_world: NewWorld) -> None:
    world = new_world()
    verdict = world.submit(size=2, type="limit", price=90)
    cloid = (verdict.order or {})["cloid"]
    tampered_order(world, cloid, price=91_000, size=1_500)
    [words] = reconciled(world).repairs
    assert words.endswith("price, size as at the venue")
    [order] = world.orders()
    assert (order.price, order.size, order.controller_id) == (91, D("1.5"), AGENT)
    assert told(world, "order.state")[-1]["state"] == "open"


def test_an_order_the_venue_does_not_know_ends(new_world: NewWorld) -> None:
    world = new_world()
    cloid = (world.submit(size=2, type="limit", price=90).order or {})["cloid"]
    tamper(world, lambda state: replace(state, orders={}))
    assert len(reconciled(world).repairs) == 1 and world.orders() == []
    with world.ledger.reading() as tx:
        order = trading.order(tx, cloid)
    assert order is not None and (order.state, order.reason) == ("cancelled", "the venue does not know it")


def test_an_entry_of_another_hand_is_adopted_as_unmanaged(new_world: NewWorld) -> None:
    world = new_world(limits={"max_position_pct": 10})
    by_another_hand(world, type="limit", price="90", size="8")
    [words] = reconciled(world).repairs
    assert words == "buy 8 BTC at 90 (order 1) was placed by another hand; it is unmanaged now"
    assert incidents(world) == {"reconcile_mismatch": words}
    [order] = world.orders()
    assert (order.controller_id, order.leg, order.state, order.price) == ("unmanaged", "entry", "open", 90)
    refused = world.submit(size=5)
    assert refused.rule is Rule.POSITION_CAP, "what it may become counts"
    assert world.restart().value == "consistent"
    assert cancel_order(world.engine, "1", Actor.MANUAL).kind is EXECUTED and world.orders() == []


@pytest.mark.parametrize(
    ("kind", "price", "leg"),
    [
        ("stop_market", {"trigger": "90"}, "stop"),
        ("take_profit_market", {"trigger": "110"}, "target"),
        ("limit", {"price": "120"}, "close"),
    ],
)
def test_an_exit_of_another_hand_is_adopted_as_what_it_is(new_world: NewWorld, kind: str, price: dict[str, str], leg: str) -> None:
    world = new_world()
    world.submit(size=1)
    by_another_hand(world, "sell", type=kind, reduce_only=True, **price)
    reconciled(world)
    [order] = world.orders()
    assert (order.controller_id, order.leg, order.reduce_only) == ("unmanaged", leg, True)


def test_a_position_of_another_hand_is_unmanaged_with_an_incident(new_world: NewWorld) -> None:
    world = new_world()
    world.submit(size=1)
    by_another_hand(world, size="2")
    assert "1 missed fill(s) booked" in reconciled(world).repairs
    assert (world.held(), world.held(controller=AGENT), world.held(controller="unmanaged")) == (3, 1, 2)
    assert incidents(world)["unmanaged_position"] == "BTC 2 was opened by another hand and nobody manages it"
    assert world.close().kind is EXECUTED and world.held() == 2, "an agent closes its own"
    assert world.manual("sell", size=2, reduce_only=True).kind is EXECUTED and world.held() == 0


def test_a_position_that_no_fill_explains_is_adopted_as_unmanaged(new_world: NewWorld) -> None:
    world = new_world()
    tamper(world, lambda state: replace(state, holdings={"ETH": Holding(3_000, 150_000_000)}))
    assert reconciled(world).repairs == ("ETH 3 adopted: no fill explains it",)
    assert world.held("ETH", "unmanaged") == 3 and "unmanaged_position" in incidents(world)
    assert told(world, "position.opened")[-1]["controller"] == "unmanaged"
    world.play(ETH=55)
    assert world.equity == 10_015
    assert world.manual("sell", "ETH", size=3, reduce_only=True).kind is EXECUTED
    [trip] = world.trips()
    assert (trip["controller_id"], trip["entry_price"], trip["pnl"]) == ("unmanaged", 50, 15)
    assert world.restart().value == "consistent"


@pytest.mark.parametrize(("size", "direction", "pnl"), [("0.5", "long", D(-5)), ("-0.5", "short", D(5))])
def test_half_a_coin_that_no_fill_explains_is_adopted_on_its_own_side(new_world: NewWorld, size: str, direction: str, pnl: Decimal) -> None:
    world = new_world()
    tamper(world, lambda state: replace(state, holdings={"BTC": Holding(int(D(size) * 1000), int(D(size) * 100 * 10**6))}))
    reconciled(world)
    world.play(BTC=90)
    assert (world.held(), world.equity) == (D(size), 10_000 + pnl)
    assert world.manual("sell" if D(size) > 0 else "buy", size="0.5", reduce_only=True).kind is EXECUTED
    [trip] = world.trips()
    assert (trip["direction"], trip["entry_price"], trip["pnl"]) == (direction, 100, pnl)


def test_a_deposit_and_a_withdrawal_past_the_door_are_flows(new_world: NewWorld) -> None:
    world = new_world()
    for amount in (500, -200):
        with other_hand(world) as broker:
            broker.transfer(D(amount))
    assert reconciled(world).repairs == ("flow of 500 booked", "flow of -200 booked")
    risk = world.engine.book.risk
    assert (risk.cash, risk.flows, risk.day.pnl(world.equity)) == (10_300, 10_300, 0), "a flow is no profit"
    assert [data["amount"] for data in told(world, "flow")[-2:]] == ["500", "-200"]


def test_leverage_set_by_another_hand_is_reported_and_counts(new_world: NewWorld) -> None:
    world = new_world()
    world.submit(size=1, leverage=5)
    with other_hand(world) as broker:
        broker.set_leverage("BTC", 2)
    [words] = reconciled(world).repairs
    assert words == "leverage of BTC is 2 at the venue, 5 in the ledger; the venue's counts"
    assert incidents(world) == {"reconcile_mismatch": words}
    assert world.engine.book.leverage("BTC") == 2
    assert world.restart().value == "consistent" and world.engine.book.leverage("BTC") == 2


def test_leverage_that_is_as_it_was_in_one_market_does_not_hide_that_of_another(new_world: NewWorld) -> None:
    world = new_world()
    world.submit(size=1, leverage=5)
    world.submit(market="ETH", size=1, leverage=4)
    with other_hand(world) as broker:
        broker.set_leverage("ETH", 2)
    assert reconciled(world).repairs == ("leverage of ETH is 2 at the venue, 4 in the ledger; the venue's counts",)
    assert (world.engine.book.leverage("BTC"), world.engine.book.leverage("ETH")) == (5, 2)


# --- stops ----------------------------------------------------------------------------------------------------------------------


def test_a_stop_that_another_hand_cancelled_is_placed_again_at_its_last_level(strict: World) -> None:
    with other_hand(strict) as broker:
        broker.cancel(strict.orders(leg="stop")[0].cloid)
    done = reconciled(strict)
    assert done.repairs[-1] == f"BTC 5 of {AGENT} had no stop at the venue: placed again at 95"
    assert stops(strict) == [(5, 95)] and strict.orders(leg="stop")[0].controller_id == AGENT
    assert set(incidents(strict)) == {"missing_stop"}
    strict.play(BTC=("100", "100", "94", "94"))
    assert strict.held() == 0 and strict.orders() == [], "it stops the position, and nothing is left over"
    assert strict.trips()[0]["exit_reason"] == "stop"


def test_a_stop_that_is_not_there_at_a_start_is_placed_again(strict: World) -> None:
    tamper(strict, lambda state: replace(state, orders={k: o for k, o in state.orders.items() if not o.type.is_stop}))
    assert strict.restart().value == "consistent"
    assert stops(strict) == [(5, 95)] and set(incidents(strict)) == {"missing_stop"}


def test_the_level_of_a_moved_stop_is_the_last_known_one(strict: World) -> None:
    strict.play()
    assert move_protection(strict.engine, proposal(stop=97, kind=IntentKind.UPDATE), Actor.AGENT).kind is EXECUTED
    with other_hand(strict) as broker:
        broker.cancel(strict.orders(leg="stop")[0].cloid)
    reconciled(strict)
    assert stops(strict) == [(5, 97)]


def test_a_stop_placed_again_is_an_intent_that_ends_as_the_venue_answers(strict: World) -> None:
    def states() -> list[str]:
        with strict.ledger.reading() as tx:
            return sorted(state for (state,) in tx.exec_driver_sql("SELECT state FROM intents WHERE kind = 'update'"))

    with other_hand(strict) as broker:
        broker.cancel(strict.orders(leg="stop")[0].cloid)
    reconcile(strict.engine)
    assert states() == ["executed"]
    real = strict.engine.broker

    class Refuses:
        def __getattr__(self, name: str) -> object:
            return getattr(real, name)

        def place(self, orders: Sequence[OrderRequest]) -> list[OrderReport]:
            if not orders[0].type.is_stop:
                return real.place(orders)
            return [OrderReport(order.cloid, None, OrderState.REJECTED, D(0), None, "not today") for order in orders]

    with other_hand(strict) as broker:
        broker.cancel(strict.orders(leg="stop")[0].cloid)
    strict.engine.broker = Refuses()  # type: ignore[assignment]
    reconcile(strict.engine)
    assert states() == ["executed", "venue_rejected"]


@pytest.mark.parametrize("broken", [{"size": 3_000}, {"reduce_only": False}, {"side": Side.BUY}])
def test_a_stop_of_the_wrong_size_side_or_kind_does_not_count(strict: World, broken: dict[str, object]) -> None:
    tampered_order(strict, strict.orders(leg="stop")[0].cloid, **broken)
    reconcile(strict.engine)
    assert sum(size for size, _ in stops(strict)) == 5 and {level for _, level in stops(strict)} == {95}
    assert all(order.reduce_only and order.side == "sell" for order in strict.orders(leg="stop"))
    assert "missing_stop" in incidents(strict) and reconcile(strict.engine).repairs == ()


def test_a_missing_stop_that_was_passed_meanwhile_closes_the_position(strict: World) -> None:
    with other_hand(strict) as broker:
        broker.cancel(strict.orders(leg="stop")[0].cloid)
    strict.engine.sync = lambda tx, activity=None, known=(): known  # type: ignore[method-assign]  # the runner is deaf to this bar
    strict.play(BTC=("95", "95", "93", "94"))
    del strict.engine.sync  # type: ignore[attr-defined]
    done = reconcile(strict.engine)
    assert done.phase.value == "consistent" and strict.held() == 0 and strict.orders() == []
    assert incidents(strict)["naked_position"] == f"BTC 5 of {AGENT} had no stop (venue: Invalid TP/SL price.): closed at the market"
    assert strict.trips()[0]["exit_reason"] == "stop"


def test_a_position_without_any_known_level_is_closed_at_a_start(strict: World) -> None:
    with other_hand(strict) as broker:
        broker.cancel(strict.orders(leg="stop")[0].cloid)
    with strict.ledger.transaction() as tx:
        tx.exec_driver_sql("UPDATE orders SET leg = 'close' WHERE leg = 'stop'")
    assert strict.restart().value == "consistent"
    assert strict.held() == 0 and incidents(strict)["naked_position"].endswith("had no stop (no level is known): closed at the market")


def test_a_position_that_cannot_be_closed_either_fails_the_comparison(strict: World) -> None:
    with other_hand(strict) as broker:
        broker.cancel(strict.orders(leg="stop")[0].cloid)
    real = strict.engine.broker

    class Refuses:
        def __getattr__(self, name: str) -> object:
            return getattr(real, name)

        def place(self, orders: list[object]) -> list[object]:
            raise VenueError("no route")

    strict.engine.broker = Refuses()  # type: ignore[assignment]
    done = reconcile(strict.engine)
    assert done.phase.value == "failed" and any("has no stop" in words for words in done.differences)
    assert strict.engine.is_unresolved, "so that it is tried again in seconds"
    strict.engine.broker = real
    assert reconcile(strict.engine).phase.value == "consistent" and stops(strict) == [(5, 95)]


def test_who_need_not_have_a_stop_is_left_alone(new_world: NewWorld) -> None:
    world = new_world()
    world.submit(size=5, stop=95)
    with other_hand(world) as broker:
        broker.cancel(world.orders(leg="stop")[0].cloid)
    assert len(reconcile(world.engine).repairs) == 0 and world.orders() == [] and world.held() == 5
    assert incidents(world) == {}


def test_a_persons_stop_for_the_whole_counts_for_the_agents_part(strict: World) -> None:
    strict.play()
    assert move_protection(strict.engine, proposal(stop=96, kind=IntentKind.UPDATE, actor=Actor.MANUAL), Actor.MANUAL).kind is EXECUTED
    assert reconcile(strict.engine).repairs == () and stops(strict) == [(5, 96)]


def test_what_two_owners_lack_is_placed_once_beside_a_stop_that_covers_a_part_of_both(new_world: NewWorld) -> None:
    world = new_world(limits={"require_stops": True}, manual={"require_stops": True})
    assert world.submit(size=5, stop=95).kind is EXECUTED
    assert world.manual(size=3, stop=94).kind is EXECUTED
    with other_hand(world) as broker:
        for order in world.orders(leg="stop"):
            broker.cancel(order.cloid)
    by_another_hand(world, "sell", "4", "0xcover", type="stop_market", trigger="96", reduce_only=True)
    reconciled(world)
    assert sum(size for size, _ in stops(world)) == world.held() == 8, "no more than is held, whoever it is of"
    assert (D(4), 96) in stops(world)


def test_a_stop_on_a_flat_market_is_cancelled(strict: World) -> None:
    strict.close()
    of = Side.SELL, OrderType.STOP_MARKET, 5_000, None, 95_000, Tif.GTC, True, None
    orphan = Order(99, "0xorphan", "BTC", *of, phase=Phase.ARMED, placed_ms=strict.now)
    tamper(strict, lambda state: replace(state, orders={**state.orders, 99: orphan}))
    done = reconciled(strict)
    assert done.repairs[-1] == "the stop of 5 BTC at 95 protected nothing: cancelled"
    assert strict.orders() == [] and at_venue(strict, "0xorphan") is None
    assert "orphan_stop" in incidents(strict)


def test_a_level_whose_owner_is_flat_does_not_close_somebody_elses_position(new_world: NewWorld) -> None:
    world = new_world()
    world.submit(size=1)
    world.manual(size=3)
    assert move_protection(world.engine, proposal(stop=95, target=110, kind=IntentKind.UPDATE), Actor.AGENT).kind is EXECUTED
    world.close()
    assert (world.held(), len(world.orders())) == (3, 2)
    assert len(reconciled(world).repairs) == 2 and world.orders() == [] and world.held() == 3


def test_incidents_are_closed_by_a_person(strict: World) -> None:
    with other_hand(strict) as broker:
        broker.cancel(strict.orders(leg="stop")[0].cloid)
    reconcile(strict.engine)
    with strict.ledger.transaction() as tx:
        [row] = notes.list_incidents(tx, only_open=True)
        assert notes.close_incident(tx, row["id"], strict.now)["state"] == "closed"
        assert notes.list_incidents(tx, only_open=True) == []
        assert notes.close_incident(tx, row["id"], strict.now)["state"] == "closed", "twice is once"
        with pytest.raises(NotFound, match="nosuch"):
            notes.close_incident(tx, "nosuch", strict.now)
    assert [data["code"] for data in told(strict, "incident.closed")] == ["missing_stop"]


def test_a_venue_that_did_not_answer_the_close_of_an_order_is_asked_again(new_world: NewWorld) -> None:
    world = new_world()
    cloid = (world.submit(size=2, type="limit", price=90).order or {})["cloid"]
    with other_hand(world) as broker:
        broker.cancel(cloid)
    assert world.orders()[0].state == OrderState.OPEN.value
    assert reconcile(world.engine).phase.value == "consistent" and world.orders() == []
    with world.ledger.reading() as tx:
        assert trading.live_orders(tx, WALLET) == []


# --- by the clock ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("every", "is_unresolved"), [(0.05, False), (1000.0, True)])
async def test_a_run_compares_by_the_clock_and_soon_after_a_lost_answer(
    strict: World, monkeypatch: pytest.MonkeyPatch, every: float, is_unresolved: bool
) -> None:
    monkeypatch.setattr(checks, "LOOK_S", 0.01)
    monkeypatch.setattr(checks, "EVERY_S", every)
    monkeypatch.setattr(checks, "AGAIN_S", 0.05)
    strict.engine.is_unresolved = is_unresolved
    task = asyncio.create_task(checks.keep_consistent(strict.engine))
    with other_hand(strict) as broker:
        broker.cancel(strict.orders(leg="stop")[0].cloid)
    for _ in range(200):
        await asyncio.sleep(0.02)
        if strict.orders(leg="stop") and at_venue(strict, strict.orders(leg="stop")[0].cloid):
            break
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert stops(strict) == [(5, 95)] and not strict.engine.is_unresolved


async def test_a_comparison_that_fails_is_tried_again(strict: World, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LOOK_S", "EVERY_S", "AGAIN_S"):
        monkeypatch.setattr(checks, name, 0.01)
    calls: list[bool] = []

    def sometimes(_engine: object, *, routine: bool) -> None:
        calls.append(routine)
        if len(calls) < 3:
            raise VenueError("no answer")

    monkeypatch.setattr(checks, "reconcile", sometimes)
    task = asyncio.create_task(checks.keep_consistent(strict.engine))
    while len(calls) < 4:
        await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert strict.engine.is_unresolved and all(calls)


async def test_a_stop_that_the_venue_drops_for_a_newer_one_is_placed_again_at_once(strict: World) -> None:
    strict.submit("sell", size=4, type="limit", price=100, reduce_only=True)
    strict.play(BTC=("100", "101", "100", "100"))
    assert strict.held() == 1 and stops(strict) == [(5, 95)]
    assert strict.submit(size=2, stop=96).kind is EXECUTED
    assert strict.held() == 3 and sum(size for size, _ in stops(strict)) >= 3, "the venue cancelled the older, which was for more"
    assert incidents(strict) == {}, "nobody meddled"


def test_a_stop_that_the_venue_drops_is_put_back_at_once_when_nothing_has_filled(strict: World) -> None:
    strict.play()
    fills = len(strict.fills())
    assert strict.manual("sell", size=2, type="stop_market", trigger=90, reduce_only=True).kind is EXECUTED
    there = [order for order in strict.paper.open_orders() if order.reduce_only and order.type.is_stop]
    assert sum(order.size for order in there) == 5, "the venue cancelled the agent's, which was the older"
    assert (len(strict.fills()), incidents(strict)) == (fills, {})


def test_what_another_hand_trades_against_the_agent_closes_its_trade_as_it_does_at_the_venue(strict: World) -> None:
    by_another_hand(strict, "sell", "3", "0xa", type="limit", price="101")
    reconcile(strict.engine)
    strict.play(BTC=("100", "102", "100", "100"))
    assert (strict.held(), strict.held(controller=AGENT)) == (2, 2), "stops stay with what is left"
    assert sum(size for size, _ in stops(strict)) >= 2
    by_another_hand(strict, "sell", "5", "0xb", type="limit", price="101")
    reconcile(strict.engine)
    strict.play(BTC=("100", "102", "100", "100"))
    assert (strict.held(), strict.held(controller=AGENT), strict.held(controller=UNMANAGED)) == (-3, 0, -3) and stops(strict) == []
    assert [(trip["controller_id"], trip["size"]) for trip in strict.trips()] == [(AGENT, 5)]
    assert reconcile(strict.engine).repairs == ()


def test_many_orders_of_another_hand_are_one_incident(new_world: NewWorld) -> None:
    world = new_world()
    for number in range(25):
        by_another_hand(world, cloid=f"0x{number}", type="limit", price=f"{60 + number}", size="1")
    assert len(reconciled(world).repairs) == 25 and len(world.orders()) == 25
    assert incidents(world) == {"reconcile_mismatch": "25 orders were placed by another hand; they are unmanaged now"}


def test_a_person_s_stop_that_the_venue_drops_for_the_agent_s_new_one_is_placed_again_at_once(new_world: NewWorld) -> None:
    world = new_world(limits={"require_stops": True}, manual={"require_stops": True})
    assert world.manual(size=2, stop=97).kind is EXECUTED
    assert world.submit(size=5, stop=95).kind is EXECUTED
    moved = move_protection(world.engine, proposal("sell", kind=IntentKind.UPDATE, stop=96), Actor.AGENT)
    assert moved.kind is EXECUTED
    there = [order for order in world.paper.open_orders() if order.reduce_only and order.type.is_stop]
    assert sum(order.size for order in there) >= 7, there
    assert sorted({order.controller_id for order in world.orders(leg="stop")}) == ["manual", AGENT]
