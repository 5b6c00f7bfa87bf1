"""Bars without any trade, seen from the door: the newest signal counts, and a close is placed once and waits (execution.md §7)."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from decimal import Decimal

import pytest
from hands import incidents, no_trade_next
from world import AGENT, WALLET, World

from tradeagent.brokers.paper import PaperBroker
from tradeagent.domain.clock import SimulatedClock
from tradeagent.domain.names import Actor, ExitReason, IncidentCode, IntentKind, KillPolicy, OrderState, Side, VerdictKind
from tradeagent.domain.order import OrderReport, OrderRequest, Proposal
from tradeagent.execution.halts import flatten
from tradeagent.execution.kill import Closed, wipe
from tradeagent.execution.protection import take_back_entries
from tradeagent.execution.state import MANUAL_CONTROLLER
from tradeagent.ledger import trading
from tradeagent.runtime.control import execute_proposal
from tradeagent.tools.context import AgentContext, TurnNotes
from tradeagent.tools.trading import ClosePosition, close_position
from tradeagent.workspace.latch import set_latch

D = Decimal
NewWorld = Callable[..., World]
EXECUTED, NOOP = VerdictKind.EXECUTED, VerdictKind.NOOP


def state_of(world: World, cloid: str) -> tuple[str, str]:
    with world.ledger.reading() as tx:
        found = trading.order(tx, cloid)
    assert found is not None
    return found.state, found.reason


def entry_of(world: World) -> str:
    (order,) = world.orders(leg="entry")
    assert order.state == OrderState.PENDING.value
    return order.cloid


# --- signals ----------------------------------------------------------------------------------------------------------------


def test_an_opposite_signal_replaces_the_entry_that_waits_for_a_trade(new_world: NewWorld) -> None:
    world = new_world()
    no_trade_next(world)
    assert world.submit("buy", size="2", stop="90").kind is EXECUTED
    first = entry_of(world)
    world.play()
    assert (world.held(), world.fills()) == (0, [])
    assert world.submit("sell", size="1", stop="110").kind is EXECUTED
    assert state_of(world, first) == (OrderState.CANCELLED.value, "replacedCanceled")
    assert [order.side for order in world.orders(leg="stop")] == ["buy"], "the stop of the first went with it"
    world.play(BTC=("101", "102", "100", "101"))
    assert [(fill["side"], fill["size"], fill["price"]) for fill in world.fills()] == [("sell", D(1), D(101))]
    assert (world.held(), world.differences()) == (-1, [])


def test_the_last_of_many_signals_counts_through_a_long_outage(new_world: NewWorld) -> None:
    world = new_world()
    for side in ("buy", "sell", "buy", "sell"):
        no_trade_next(world)
        assert world.submit(side, size="1").kind is EXECUTED
        world.play()
    world.play()
    assert [fill["side"] for fill in world.fills()] == ["sell"]
    assert world.held() == -1


def test_signals_of_one_side_both_wait(new_world: NewWorld) -> None:
    world = new_world()
    no_trade_next(world)
    world.submit("buy", size="1")
    world.play()
    world.submit("buy", size="2")
    world.play()
    assert world.held() == 3


def test_a_market_that_trades_does_not_play_the_open_of_one_where_a_signal_may_still_be_replaced(new_world: NewWorld) -> None:
    world = new_world()
    no_trade_next(world)
    world.submit("buy", size="1")
    world.play()
    assert world.submit("buy", "ETH", size="1").fills, "ETH trades, and fills at its open at once"
    world.submit("sell", size="1")
    world.play()
    assert (world.held("BTC"), world.held("ETH")) == (-1, 1)


def test_after_an_outage_with_nothing_that_waits_an_order_fills_at_the_open_at_once(new_world: NewWorld) -> None:
    world = new_world()
    no_trade_next(world)
    world.play()
    assert world.submit("buy", size="1").fills
    assert world.held() == 1


def test_a_restart_in_an_outage_knows_that_the_entry_waits(new_world: NewWorld) -> None:
    world = new_world()
    no_trade_next(world)
    world.submit("buy", size="1")
    world.play()
    world.restart()
    world.submit("sell", size="1")
    world.play()
    assert (world.held(), len(world.fills())) == (-1, 1)


def test_going_flat_takes_back_the_own_entry_that_waits_and_its_levels(new_world: NewWorld) -> None:
    world = new_world()
    no_trade_next(world)
    world.submit("buy", size="2", stop="90", target="120")
    resting = (world.submit("buy", size="1", type="limit", price=80).order or {})["cloid"]
    person = (world.manual("buy", size="1").order or {})["cloid"]
    other = (world.submit("buy", "ETH", size="1", type="limit", price=40).order or {})["cloid"]
    world.play()
    no_trade_next(world)
    world.play()
    (verdict,) = take_back_entries(world.engine, "BTC", Actor.AGENT)
    assert verdict.kind is EXECUTED and (verdict.order or {})["state"] == OrderState.CANCELLED.value
    assert {order.cloid for order in world.orders()} == {resting, person, other}
    assert take_back_entries(world.engine, "BTC", Actor.AGENT) == []
    world.play()
    assert (world.held("BTC", AGENT), world.held("BTC", MANUAL_CONTROLLER), world.differences()) == (0, 1, [])


@pytest.mark.parametrize("held", [False, True])
async def test_an_agent_that_closes_takes_back_what_it_waits_to_enter(new_world: NewWorld, held: bool) -> None:
    world = new_world()
    if held:
        world.submit("buy", size="2", stop="90")
        world.play()
    no_trade_next(world)
    world.play()
    no_trade_next(world)
    world.submit("sell", size="3", stop="110")
    assert [order.side for order in world.orders(leg="entry")] == ["sell"]
    notes = TurnNotes()
    context = AgentContext(
        actor=Actor.AGENT,
        clock=world.clock,
        ledger=world.ledger,
        feed=world.feed,
        deployment=AGENT,
        slug="momentum",
        markets=("BTC",),
        engine=world.engine,
        notes=notes,
        read_journal=str,
    )
    answer = await close_position(ClosePosition(market="BTC", reason="flat"), context)
    assert not answer.is_error and [verdict.kind for verdict in notes.verdicts] == [EXECUTED] * (1 + held)
    assert world.orders(leg="entry") == []
    world.play()
    world.play()
    assert (world.held(), world.orders(), world.differences()) == (0, [], [])
    again = await close_position(ClosePosition(market="BTC", reason="flat"), context)
    assert again.is_error and again.content["error"]["code"] == "nothing_held"


def test_a_person_who_closes_takes_back_the_own_entry_that_waits_and_no_agents(new_world: NewWorld) -> None:
    close = Proposal("BTC", Side.SELL, MANUAL_CONTROLLER, kind=IntentKind.CLOSE, whole_position=True)
    world = new_world()
    no_trade_next(world)
    world.manual("buy", size="1")
    world.submit("buy", size="2")
    world.play()
    taken_back = execute_proposal(world.engine, close)
    assert taken_back.kind is EXECUTED and (taken_back.order or {})["state"] == OrderState.CANCELLED.value
    assert execute_proposal(world.engine, close).kind is NOOP
    world.play()
    assert (world.held("BTC", MANUAL_CONTROLLER), world.held("BTC", AGENT)) == (0, 2)


# --- closes -----------------------------------------------------------------------------------------------------------------


@pytest.fixture
def held(new_world: NewWorld) -> World:
    """Two BTC with their stop, and the next bar has no trade."""
    world = new_world()
    world.submit("buy", size="2", stop="90")
    world.play()
    no_trade_next(world)
    world.play()
    no_trade_next(world)
    return world


def test_a_flatten_in_an_outage_places_its_close_once(held: World) -> None:
    (first,) = flatten(held.engine, Actor.MANUAL, ExitReason.FLATTEN)
    assert first.kind is EXECUTED and not first.fills
    (again,) = flatten(held.engine, Actor.MANUAL, ExitReason.FLATTEN)
    assert (again.kind, again.message) == (NOOP, "a close of BTC 2 waits for the next trade")
    (close,) = held.orders(leg="close")
    assert [order.leg for order in held.orders()].count("stop") == 1, "the stop stays until it is closed"
    held.play()
    flatten(held.engine, Actor.MANUAL, ExitReason.FLATTEN)
    assert [order.cloid for order in held.orders(leg="close")] == [close.cloid]
    held.play()
    assert (held.held(), held.orders()) == (0, [])
    assert [(fill["cloid"], fill["exit_reason"]) for fill in held.fills()[1:]] == [(close.cloid, "flatten")]


def test_a_close_that_is_too_small_for_what_is_held_does_not_keep_another_from_being_placed(held: World) -> None:
    held.submit("sell", size="0.5", reduce_only=True)
    (whole,) = flatten(held.engine, Actor.MANUAL, ExitReason.FLATTEN)
    assert whole.kind is EXECUTED
    held.play()
    held.play()
    assert (held.held(), held.differences()) == (0, [])


def test_a_close_that_waits_for_its_price_does_not_keep_a_flatten_from_closing(new_world: NewWorld) -> None:
    for waiting in ({"type": "limit", "price": 150}, {"type": "stop_market", "trigger": 80}):
        world = new_world()
        world.submit("buy", size="2")
        world.play()
        assert world.submit("sell", size="2", reduce_only=True, **waiting).kind is EXECUTED
        flatten(world.engine, Actor.MANUAL, ExitReason.FLATTEN)
        world.play()
        assert (world.held(), world.orders()) == (0, [])


def test_a_flatten_closes_at_the_mark_at_once_what_an_agent_will_close_at_the_next_open(new_world: NewWorld) -> None:
    world = new_world(live=True)
    world.submit("buy", size="2")
    world.play()
    assert world.close().kind is EXECUTED and world.held() == 2
    (verdict,) = flatten(world.engine, Actor.MANUAL, ExitReason.FLATTEN)
    assert verdict.fills and world.held() == 0
    world.play()
    assert (world.held(), world.orders(), world.differences()) == (0, [], [])


def test_a_halt_in_an_outage_closes_once_and_not_at_every_bar(new_world: NewWorld) -> None:
    world = new_world(limits={"max_daily_loss_quote": 10})
    world.submit("buy", size="2")
    world.play()
    no_trade_next(world)
    bars = world.feed.bars["BTC"]
    bars[-1] = replace(bars[-1], open=90_000, high=90_000, low=90_000, close=90_000)
    world.clock.advance_to(world.now + 300_000)
    world.playback.advance(world.now)
    world._foresee()
    assert IncidentCode.HALT_DAILY_LOSS.value in incidents(world)
    for _ in range(3):
        no_trade_next(world)
        world.play()
    assert len(world.orders(leg="close")) == 1
    world.play()
    assert (world.held(), len(world.fills())) == (0, 2)


class Counting:
    """The account that a kill sees, which counts what it is asked; `after` plays the market before a reading."""

    def __init__(self, paper: PaperBroker, after: Callable[[int], None]) -> None:
        self._paper = paper
        self._after = after
        self.placed: list[OrderRequest] = []
        self.cancelled: list[str] = []
        self.asked = 0

    def __getattr__(self, name: str) -> object:
        return getattr(self._paper, name)

    def account(self) -> object:
        self.asked += 1
        self._after(self.asked)
        return self._paper.account()

    def place(self, orders: Sequence[OrderRequest]) -> list[OrderReport]:
        self.placed += orders
        return self._paper.place(orders)

    def cancel(self, cloid: str) -> OrderReport:
        self.cancelled.append(cloid)
        return self._paper.cancel(cloid)


class Impatient(SimulatedClock):
    """Simulated time in which sleeping passes."""

    async def sleep(self, seconds: float) -> None:
        self.advance_to(self.now_ms() + round(seconds * 1000))

    def monotonic(self) -> float:
        return self.now_ms() / 1000


async def test_a_kill_in_an_outage_places_its_close_once_and_waits(held: World) -> None:
    account = Counting(held.paper, lambda _: None)
    wiped = await wipe(account, KillPolicy.FLATTEN_ALL, Impatient(held.now))
    assert (len(account.placed), len(account.cancelled)) == (1, 1), "one close, and the stop cancelled"
    assert (wiped.flat, wiped.closed, wiped.cancelled) == (False, (), 1)
    assert account.asked > 100, "it looked again until the deadline"


async def test_a_kill_sees_its_waiting_close_fill(held: World) -> None:
    def trade(asked: int) -> None:
        if asked == 20:
            held.play()
            held.play(BTC="97")

    account = Counting(held.paper, trade)
    wiped = await wipe(account, KillPolicy.FLATTEN_ALL, Impatient(held.now))
    assert len(account.placed) == 1
    assert (wiped.flat, wiped.closed) == (True, (Closed("BTC", D(2), D(100)),))


async def test_a_kill_closes_again_what_a_part_of_its_close_left(held: World) -> None:
    def volume(asked: int) -> None:
        if asked == 20:
            held.play()
            held.paper._config = replace(held.paper._config, volume_cap_pct=50)
            held.feed.bars["BTC"][-1] = replace(held.feed.bars["BTC"][-1], volume=1_000)
            held.play()
            held.paper._config = replace(held.paper._config, volume_cap_pct=None)

    account = Counting(held.paper, volume)
    wiped = await wipe(account, KillPolicy.FLATTEN_ALL, Impatient(held.now))
    assert [order.size for order in account.placed] == [D(2), D("1.5")]
    assert (wiped.flat, [closed.size for closed in wiped.closed]) == (True, [D("0.5"), D("1.5")])


async def test_a_close_that_waits_does_not_keep_a_kill_from_closing_another_market_again(held: World) -> None:
    held.submit("buy", "ETH", size=1)
    held.play()
    no_trade_next(held)
    held.play()
    refused: list[str] = []

    class Refusing(Counting):
        def place(self, orders: Sequence[OrderRequest]) -> list[OrderReport]:
            if orders[0].market == "ETH" and not refused:
                refused.append(orders[0].cloid)
                return [OrderReport(orders[0].cloid, None, OrderState.REJECTED, D(0), None, "not now")]
            return super().place(orders)

    account = Refusing(held.paper, lambda _: None)
    await wipe(account, KillPolicy.FLATTEN_ALL, Impatient(held.now))
    assert refused and [order.market for order in account.placed] == ["BTC", "ETH"]
    assert list(held.paper.account().positions) == ["BTC"], "its close waits for a trade"


def test_a_runner_that_follows_a_kill_leaves_its_waiting_close_alone(held: World) -> None:
    set_latch(held.root / "kill", WALLET)
    for _ in range(3):
        held.play()
        no_trade_next(held)
    assert len(held.orders(leg="close")) == 1
    held.play()
    held.play()
    assert (held.held(), held.held("BTC", AGENT)) == (0, 0)
