"""A looser stop, or one that goes, is new risk: the caps on risk judge the wallet as it would stand after it, for agents and people."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from world import World, proposal

from tradeagent.domain.names import Actor, IntentKind, Rule, VerdictKind
from tradeagent.domain.order import Verdict
from tradeagent.execution.exposure import total_open_risk
from tradeagent.execution.protection import cancel_order, move_protection
from tradeagent.ledger import trading

D = Decimal
NewWorld = Callable[..., World]
EXECUTED = VerdictKind.EXECUTED
PORTFOLIO = {"max_portfolio_risk_quote": 30}
ACTORS = [Actor.AGENT, Actor.MANUAL]


def protect(world: World, actor: Actor, side: str = "sell", **levels: Any) -> Verdict:
    return move_protection(world.engine, proposal(side, actor=actor, kind=IntentKind.UPDATE, **levels), actor)


def cancel(world: World, actor: Actor, leg: str = "stop") -> Verdict:
    return cancel_order(world.engine, world.orders(leg=leg)[0].cloid, actor)


def told(verdict: Verdict) -> tuple[Rule | None, str | None, str | None, str | None]:
    """Rule, key, value and limit of a refusal."""
    why = verdict.rejection
    return (None, None, None, None) if why is None else (why.rule, why.limit_key, why.value, why.limit)


def risk(world: World) -> Decimal:
    return total_open_risk(world.state())


@pytest.fixture(params=ACTORS)
def actor(request: pytest.FixtureRequest) -> Actor:
    kind: Actor = request.param
    return kind


def long_with_stop(new_world: NewWorld, actor: Actor, **limits: Any) -> World:
    """Long 5 BTC at 100 with a stop at 95, so 25 at risk."""
    world = new_world(limits=limits, manual=limits)
    assert world.submit(actor=actor, size=5, stop=95).kind is EXECUTED
    assert risk(world) == 25
    return world


def test_a_looser_stop_is_refused_where_open_risk_would_pass_the_portfolio_cap(actor: Actor, new_world: NewWorld) -> None:
    world = long_with_stop(new_world, actor, **PORTFOLIO)
    assert told(protect(world, actor, stop=93)) == (Rule.PORTFOLIO_RISK, "max_portfolio_risk_quote", "35", "30")
    assert risk(world) == 25 and world.orders(leg="stop")[0].trigger == 95
    assert protect(world, actor, stop=94).kind is EXECUTED, "equal to the cap passes"
    assert protect(world, actor, stop=97).kind is EXECUTED
    assert risk(world) == 15


def test_a_stop_does_not_go_when_the_bare_position_is_above_the_cap(actor: Actor, new_world: NewWorld) -> None:
    world = long_with_stop(new_world, actor, **PORTFOLIO)
    assert told(cancel(world, actor)) == (Rule.PORTFOLIO_RISK, "max_portfolio_risk_quote", "500", "30")
    assert risk(world) == 25 and len(world.orders(leg="stop")) == 1


def test_a_market_has_its_share_of_the_cap(actor: Actor, new_world: NewWorld) -> None:
    world = long_with_stop(new_world, actor, max_portfolio_risk_quote=100, max_market_risk_pct=30)
    assert told(protect(world, actor, stop=93)) == (Rule.MARKET_RISK, "max_market_risk_pct", "35", "30")
    assert told(cancel(world, actor))[0] is Rule.PORTFOLIO_RISK


def test_a_trade_keeps_to_its_own_cap(actor: Actor, new_world: NewWorld) -> None:
    world = long_with_stop(new_world, actor, max_risk_per_trade_pct="0.3")
    assert told(protect(world, actor, stop=93)) == (Rule.TRADE_RISK, "max_risk_per_trade_pct", "0.35", "0.3")
    assert told(cancel(world, actor)) == (Rule.TRADE_RISK, "max_risk_per_trade_pct", "5", "0.3")


def test_a_shorts_stop_loosens_upwards(actor: Actor, new_world: NewWorld) -> None:
    world = new_world(limits=PORTFOLIO, manual=PORTFOLIO)
    world.submit("sell", actor=actor, size=5, stop=105)
    assert told(protect(world, actor, "buy", stop=107))[0] is Rule.PORTFOLIO_RISK
    assert protect(world, actor, "buy", stop=103).kind is EXECUTED


def test_without_a_limit_a_stop_may_loosen_and_go(actor: Actor, new_world: NewWorld) -> None:
    world = long_with_stop(new_world, actor)
    assert protect(world, actor, stop=80).kind is EXECUTED
    assert cancel(world, actor).kind is EXECUTED


def test_a_stop_in_profit_may_go_back_as_far_as_the_entry(actor: Actor, new_world: NewWorld) -> None:
    world = long_with_stop(new_world, actor, max_portfolio_risk_quote=25)
    world.play(BTC=120)
    assert protect(world, actor, stop=115).kind is EXECUTED
    assert protect(world, actor, stop=101).kind is EXECUTED and risk(world) == 0
    assert told(cancel(world, actor)) == (Rule.PORTFOLIO_RISK, "max_portfolio_risk_quote", "600", "25")


def test_a_stop_still_tightens_where_the_cap_is_passed_already(actor: Actor, new_world: NewWorld) -> None:
    world = long_with_stop(new_world, actor, **PORTFOLIO)
    world.submit("sell", "BTC", actor, type="limit", price=110, size=1, reduce_only=True)
    for terms in world.engine.terms.values():
        terms.limits.values["max_portfolio_risk_quote"] = D(5)  # type: ignore[index]  # a person has lowered it since
    assert protect(world, actor, stop=96).kind is EXECUTED
    assert cancel(world, actor, "close").kind is EXECUTED, "what is no stop protects nothing"


def test_the_stop_of_a_waiting_entry_is_part_of_its_risk(actor: Actor, new_world: NewWorld) -> None:
    world = new_world(limits=PORTFOLIO, manual=PORTFOLIO)
    world.submit(actor=actor, size=5, type="limit", price=90, stop=85)
    assert told(cancel(world, actor))[0] is Rule.PORTFOLIO_RISK
    assert cancel(world, actor, "entry").kind is EXECUTED and risk(world) == 0


def stop_order(world: World, trigger: int, size: int = 5, actor: Actor = Actor.MANUAL) -> Verdict:
    return world.submit("sell", actor=actor, kind=IntentKind.REDUCE, size=size, type="stop_market", trigger=D(trigger), reduce_only=True)


def test_a_further_stop_order_that_takes_the_place_of_a_tighter_one_is_judged_too(new_world: NewWorld) -> None:
    world = long_with_stop(new_world, Actor.MANUAL, **PORTFOLIO)
    assert told(stop_order(world, 60)) == (Rule.PORTFOLIO_RISK, "max_portfolio_risk_quote", "200", "30")
    assert [order.trigger for order in world.orders()] == [95]
    assert stop_order(world, 98).kind is EXECUTED
    assert [order.trigger for order in world.orders()] == [98], "the venue lets the older one go"


def test_where_stops_are_required_no_stop_order_takes_the_place_of_a_tighter_one(new_world: NewWorld) -> None:
    world = long_with_stop(new_world, Actor.MANUAL, require_stops=True)
    assert told(stop_order(world, 60)) == (Rule.PROTECTION, "require_stops", "60", "95")
    assert stop_order(world, 96).kind is EXECUTED
    assert told(stop_order(world, 60, size=1))[0] is Rule.PROTECTION, "one for a part of it would take all of the other"


def test_an_agent_does_not_loosen_what_a_person_has_tightened(new_world: NewWorld) -> None:
    world = long_with_stop(new_world, Actor.AGENT, require_stops=True)
    assert protect(world, Actor.MANUAL, stop=97).kind is EXECUTED
    assert told(protect(world, Actor.AGENT, stop=96)) == (Rule.PROTECTION, "require_stops", "96", "97")
    assert protect(world, Actor.AGENT, stop=98).kind is EXECUTED


def test_the_stop_of_an_entry_that_waits_does_not_bind_that_of_the_position(new_world: NewWorld) -> None:
    world = long_with_stop(new_world, Actor.AGENT, require_stops=True)
    world.submit(size=1, type="limit", price=99, stop=98)
    assert protect(world, Actor.AGENT, stop=96).kind is EXECUTED


def test_a_refusal_is_kept_with_the_list_of_its_checks(new_world: NewWorld) -> None:
    world = long_with_stop(new_world, Actor.AGENT, **PORTFOLIO)
    for verdict in (protect(world, Actor.AGENT, stop=93), cancel(world, Actor.AGENT)):
        assert [check.rule for check in verdict.checks if not check.ok] == [Rule.PORTFOLIO_RISK]
        assert {Rule.LEASE, Rule.SCOPE, Rule.SHAPE, Rule.PROTECTION} <= {check.rule for check in verdict.checks if check.ok}
        with world.ledger.reading() as tx:
            kept = trading.intent(tx, str(verdict.intent_id))
        assert kept is not None and kept["checks"] == [check.as_dict() for check in verdict.checks]


@examples(max_examples=25, deadline=None)
@given(moves=st.lists(st.tuples(st.sampled_from(["move", "cancel", "order"]), st.integers(50, 99)), min_size=1, max_size=6))
def test_whatever_is_done_to_its_stops_a_position_stays_under_the_cap(tmp_path_factory: pytest.TempPathFactory, moves: Any) -> None:
    world = World(tmp_path_factory.mktemp("stops"), manual=PORTFOLIO)
    try:
        world.manual(size=5, stop=95)
        for what, level in moves:
            if what == "move":
                protect(world, Actor.MANUAL, stop=level)
            elif what == "order":
                stop_order(world, level)
            elif stops := world.orders():
                cancel_order(world.engine, stops[0].cloid, Actor.MANUAL)
            assert risk(world) <= 30
    finally:
        world.done()
