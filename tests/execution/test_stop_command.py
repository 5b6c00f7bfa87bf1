"""`stop` keeps positions with their stops, so one that has none makes it refuse and name it, unless --keep says to leave it."""

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal

import pytest
from world import AGENT, OPEN_LIMITS, World

from tradeagent.domain.errors import RefusedError
from tradeagent.domain.limits import resolve_limits
from tradeagent.domain.names import Actor, LimitKind
from tradeagent.runtime.control import execute_row

NewWorld = Callable[..., World]
STOP = {"kind": "stop", "payload": {}, "deployment": AGENT}
KEEP = {"kind": "stop", "payload": {"keep": True}, "deployment": AGENT}
UNWIND = {"kind": "stop", "payload": {"unwind": True}, "deployment": AGENT}


@pytest.fixture
def bare(new_world: NewWorld) -> World:
    """Two BTC that the agent bought when it needed no stop, one that a person holds without, and an entry that rests."""
    world = new_world()
    world.submit(size=2)
    world.manual(size=1)
    world.play()
    world.submit(size=1, type="limit", price=90, stop=80)
    limits = resolve_limits(LimitKind.AGENT, {**OPEN_LIMITS, "require_stops": True})
    world.engine.terms[Actor.AGENT] = replace(world.engine.terms[Actor.AGENT], limits=limits)
    return world


@pytest.mark.parametrize("required", [True, False], ids=["required", "not required"])
def test_stop_refuses_over_a_position_without_a_stop(bare: World, required: bool) -> None:
    limits = resolve_limits(LimitKind.AGENT, {**OPEN_LIMITS, "require_stops": required})
    bare.engine.terms[Actor.AGENT] = replace(bare.engine.terms[Actor.AGENT], limits=limits)
    with pytest.raises(RefusedError) as refused:
        execute_row(bare.engine, STOP)
    assert refused.value.message == f"stop {AGENT}: no stop rests for BTC 2"
    assert (refused.value.code, refused.value.details) == ("PROTECTION", {"markets": ["BTC"]})
    assert "--unwind" in refused.value.hint and "--keep" in refused.value.hint
    assert (bare.held(), len(bare.orders(leg="entry"))) == (3, 1), "nothing was done"


def test_stop_goes_ahead_once_the_stop_rests(bare: World) -> None:
    bare.submit("sell", type="stop_market", trigger=95, size=2, reduce_only=True)
    assert execute_row(bare.engine, STOP) == {"cancelled": 1}
    assert bare.held() == 3


def test_stop_that_keeps_leaves_the_position_as_it_is(bare: World) -> None:
    assert execute_row(bare.engine, KEEP) == {"cancelled": 1}
    assert (bare.held(), bare.orders(leg="stop")) == (3, [])


def test_stop_names_the_part_that_a_stop_leaves_open(bare: World) -> None:
    bare.submit("sell", type="stop_market", trigger=95, size="0.5", reduce_only=True)
    with pytest.raises(RefusedError, match=r"no stop rests for BTC 1\.5$"):
        execute_row(bare.engine, STOP)


def test_stop_that_unwinds_needs_no_stops(bare: World) -> None:
    assert execute_row(bare.engine, UNWIND)["flat"] is True
    assert (bare.held(), bare.orders()) == (Decimal(0), [])


def test_what_others_hold_without_a_stop_is_no_reason_to_refuse(new_world: NewWorld) -> None:
    world = new_world(manual={"require_stops": False}, limits={"require_stops": True})
    world.manual(size=1)
    world.submit(size=2, stop=90)
    world.play()
    assert execute_row(world.engine, STOP) == {"cancelled": 0}
