"""What events and incidents tell: a halted run, a lost lease, a refused close, equity points, the end of an intent, its bars."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

from world import AGENT, STEP, WALLET, World, proposal

from tradeagent.domain.errors import RefusedError
from tradeagent.domain.names import Actor, EventKind, ExitReason, IncidentCode, IntentKind, Level, Rule, VerdictKind
from tradeagent.domain.order import OrderReport, OrderRequest
from tradeagent.execution.halts import clear_halt, close_market
from tradeagent.execution.protection import cancel_order, move_protection
from tradeagent.ledger import events, notes, runs
from tradeagent.runtime.feed_watch import FeedWatch

D = Decimal
NewWorld = Callable[..., World]


def told(world: World, *kinds: EventKind) -> list[dict[str, Any]]:
    with world.ledger.reading() as tx:
        return events.read(tx, kinds=[kind.value for kind in kinds], limit=1000)


def incidents(world: World, code: IncidentCode) -> list[str]:
    """The states of its incidents of a code, oldest first."""
    with world.ledger.reading() as tx:
        return [row["state"] for row in reversed(notes.list_incidents(tx)) if row["code"] == code.value]


def states(world: World) -> list[str]:
    return [row["data"]["state"] for row in told(world, EventKind.DEPLOYMENT_STATE)]


def test_a_halt_and_its_end_move_the_run_and_say_so(new_world: NewWorld) -> None:
    world = new_world(limits={"max_daily_loss_quote": 10})
    world.submit(size=5)
    world.play(BTC=97)
    with world.ledger.reading() as tx:
        assert runs.get_deployment(tx, AGENT).state == "halted"
    assert states(world) == ["halted"]
    clear_halt(world.engine)
    row = told(world, EventKind.DEPLOYMENT_STATE)[-1]
    assert (row["data"]["state"], row["deployment"], row["actor"]) == ("running", AGENT, "manual")
    assert states(world) == ["halted", "running"]


def taken_over(world: World) -> None:
    with world.ledger.transaction() as tx:
        runs.take_lease(tx, WALLET, "another", None, world.now)


def test_a_lost_lease_is_told_once(new_world: NewWorld) -> None:
    world = new_world()
    world.submit(size=5, stop=95)
    taken_over(world)
    for _ in range(2):
        assert world.submit(size=1, stop=95).rule is Rule.LEASE
        moved = move_protection(world.engine, proposal("sell", kind=IntentKind.UPDATE, stop=97), Actor.AGENT)
        assert moved.rule is Rule.LEASE
    assert incidents(world, IncidentCode.LEASE_LOST) == ["open"]
    (row,) = told(world, EventKind.LEASE_LOST)
    assert (row["wallet"], row["deployment"], row["data"]) == (WALLET, AGENT, {"token": world.engine.token})


def test_a_heartbeat_finds_a_lost_lease_without_any_order(new_world: NewWorld) -> None:
    world = new_world()
    with world.engine.transaction() as tx:
        world.engine.intents.beat(tx)
    assert told(world, EventKind.LEASE_LOST) == []
    taken_over(world)
    with world.engine.transaction() as tx:
        world.engine.intents.beat(tx)
    assert len(told(world, EventKind.LEASE_LOST)) == 1


class Unwilling:
    """A venue that refuses every order for a while."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def place(self, orders: Sequence[OrderRequest]) -> list[OrderReport]:
        raise RefusedError("Trading is halted.")


def test_a_close_that_the_venue_refuses_is_an_incident_until_one_is_taken(new_world: NewWorld) -> None:
    world = new_world()
    world.submit(size=5)
    world.engine.broker = Unwilling(world.paper)
    for _ in range(2):
        assert close_market(world.engine, "BTC", Actor.MANUAL, ExitReason.MANUAL).kind is VerdictKind.REJECTED
    assert world.submit(size=1).kind is VerdictKind.REJECTED, "an entry that is refused leaves nothing open"
    assert incidents(world, IncidentCode.VENUE_REJECTED_CLOSE) == ["open"]
    world.engine.broker = world.paper
    assert close_market(world.engine, "BTC", Actor.MANUAL, ExitReason.MANUAL).kind is VerdictKind.EXECUTED
    assert incidents(world, IncidentCode.VENUE_REJECTED_CLOSE) == ["closed"]


def test_an_equity_point_is_an_event(new_world: NewWorld) -> None:
    world = new_world()
    world.submit(size=5)
    world.play(BTC=101)
    with world.engine.transaction() as tx:
        world.engine.book.point(tx, world.now)
    assert told(world, EventKind.EQUITY)[-1]["data"] == {"equity": "10005", "cash": "10000"}


def test_a_moved_stop_and_a_cancelled_order_say_how_they_ended(new_world: NewWorld) -> None:
    world = new_world()
    world.submit(size=5, stop=95)
    moved = move_protection(world.engine, proposal("sell", kind=IntentKind.UPDATE, stop=97), Actor.AGENT)
    cancelled = cancel_order(world.engine, world.orders(leg="stop")[0].cloid, Actor.AGENT)
    rows = told(world, EventKind.INTENT_STATE)
    for verdict, kind in ((moved, "update"), (cancelled, "cancel")):
        said = [(row["data"]["kind"], row["data"]["state"]) for row in rows if row["subject"] == verdict.intent_id]
        assert said == [(kind, "pending"), (kind, "executed")]


def test_bars_that_stay_away_are_one_incident_a_market_until_they_come_again(new_world: NewWorld) -> None:
    world = new_world(live=True)
    watch = FeedWatch(world.engine, world.playback, AGENT)
    watch.look(world.now)
    assert incidents(world, IncidentCode.STALE_FEED) == []
    for _ in range(3):
        world.clock.advance_to(world.now + 4 * STEP)
        watch.look(world.now)
    assert incidents(world, IncidentCode.STALE_FEED) == ["open", "open"], "BTC and ETH"
    world.feed.bars["BTC"].append(replace(world.feed.bars["BTC"][-1], open_ms=world.now - STEP))
    world.playback.advance(world.now)
    watch.look(world.now)
    assert sorted(incidents(world, IncidentCode.STALE_FEED)) == ["closed", "closed", "open"]
    world.feed.bars["ETH"].append(replace(world.feed.bars["ETH"][-1], open_ms=world.now - STEP))
    watch.look(world.now)
    assert set(incidents(world, IncidentCode.STALE_FEED)) == {"closed"}


def test_a_run_that_begins_on_fresh_bars_closes_what_an_earlier_one_has_told(new_world: NewWorld) -> None:
    world = new_world(live=True)
    earlier = notes.Incident(IncidentCode.STALE_FEED, Level.WARNING, "no bars", WALLET, "earlier_1")
    with world.ledger.transaction() as tx:
        notes.open_incident(tx, "1", earlier, world.now)
    FeedWatch(world.engine, world.playback, AGENT).look(world.now)
    assert incidents(world, IncidentCode.STALE_FEED) == ["closed"]


def test_missing_bars_between_others_are_named_once(new_world: NewWorld) -> None:
    world = new_world(live=True)
    watch = FeedWatch(world.engine, world.playback, AGENT)
    for _ in range(2):
        last = world.feed.bars["BTC"][-1]
        world.feed.bars["BTC"].append(replace(last, open_ms=last.open_ms + 2 * STEP))
        world.clock.advance_to(last.open_ms + 3 * STEP)
        world.playback.advance(world.now)
        watch.look(world.now)
    with world.ledger.reading() as tx:
        messages = [row["message"] for row in notes.list_incidents(tx) if row["code"] == IncidentCode.DATA_GAP.value]
    assert messages == ["no bars of BTC from 2026-01-07T12:00:00Z to 2026-01-07T12:05:00Z"]


def test_money_that_comes_and_goes_is_told_as_what_it_is(new_world: NewWorld) -> None:
    world = new_world()
    world.transfer(500)
    world.transfer(-200)
    flows = [(row["subject"], row["data"]["amount"]) for row in told(world, EventKind.FLOW)]
    assert flows[-2:] == [("deposit", "500"), ("withdraw", "-200")]
    assert world.engine.book.risk.flows == 10_300


def test_what_the_models_of_an_agent_cost_today_is_held_against_its_budget(new_world: NewWorld) -> None:
    world = new_world(budget_cap=D(1))
    call = {"time_ms": world.now, "deployment": AGENT, "turn_kind": "tick", "model": "m", "calls": 1, "tokens_in": 2, "tokens_out": 3}
    with world.ledger.transaction() as tx:
        notes.add_usage(tx, {**call, "slug": "another", "cost_usd": D(5)})
        notes.add_usage(tx, {**call, "slug": "momentum", "cost_usd": D("0.99")})
    assert world.submit(size=1).kind is VerdictKind.EXECUTED
    with world.ledger.transaction() as tx:
        notes.add_usage(tx, {**call, "slug": "momentum", "cost_usd": D("0.02")})
    assert world.submit(size=1).rule is Rule.BUDGET
    assert world.manual(size=1).kind is VerdictKind.EXECUTED, "no model decides for a person"
    assert new_world().submit(size=1).kind is VerdictKind.EXECUTED
