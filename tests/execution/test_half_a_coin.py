"""Everything that asks which side a position is on, with less than one coin of it: 0.4 is above 0 and below 1."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from test_protection import levels
from world import AGENT, World, proposal

from tradeagent.domain.names import Actor, ExitReason, IntentKind, Rule, VerdictKind
from tradeagent.domain.order import Verdict
from tradeagent.execution.exposure import open_risk
from tradeagent.execution.halts import flatten
from tradeagent.execution.protection import move_protection
from tradeagent.execution.reconcile import reconcile
from tradeagent.ledger import events

D = Decimal
NewWorld = Callable[..., World]
EXECUTED = VerdictKind.EXECUTED
SIDES = pytest.mark.parametrize(("side", "other", "sign"), [("buy", "sell", 1), ("sell", "buy", -1)])


def at(sign: int, away: int) -> int:
    """A price `away` on the better side of 100 for a position of this sign."""
    return 100 + sign * away


def protect(world: World, **wanted: Any) -> Verdict:
    return move_protection(world.engine, proposal("sell", "BTC", Actor.AGENT, kind=IntentKind.UPDATE, **wanted), Actor.AGENT)


@SIDES
def test_its_risk_is_the_way_to_its_stop(new_world: NewWorld, side: str, other: str, sign: int) -> None:
    world = new_world()
    world.submit(side, size="0.4")
    assert open_risk(world.state(), "BTC") == 40
    world.submit(other, size="0.4", type="stop_market", trigger=at(sign, -5), reduce_only=True)
    assert open_risk(world.state(), "BTC") == 2
    assert world.submit(other, size="0.4", type="stop_market", trigger=at(sign, -10), reduce_only=True).kind is EXECUTED
    assert open_risk(world.state(), "BTC") == 4, "the venue dropped the older"


@SIDES
def test_its_levels_have_their_side_and_its_stop_only_tightens(new_world: NewWorld, side: str, other: str, sign: int) -> None:
    world = new_world(limits={"require_stops": True})
    assert world.submit(side, size="0.4", stop=at(sign, -5), target=at(sign, 10)).kind is EXECUTED
    for wrong in ({"stop": at(sign, 3)}, {"target": at(sign, -3)}, {"stop": at(sign, -6)}, {"stop": at(sign, -97)}):
        assert protect(world, **wrong).rule is Rule.PROTECTION, wrong
    assert protect(world, stop=at(sign, -4), target=at(sign, 9)).kind is EXECUTED
    assert levels(world) == {"stop": D(at(sign, -4)), "target": D(at(sign, 9))}
    assert {order.side for order in world.orders()} == {other}


@SIDES
def test_it_grows_shrinks_flips_and_closes(new_world: NewWorld, side: str, other: str, sign: int) -> None:
    world = new_world()

    def kinds() -> list[str]:
        with world.ledger.reading() as tx:
            rows = events.read(tx, kinds=["intent.state"], limit=100)
        return [row["data"]["kind"] for row in rows if row["data"]["state"] == "pending"]

    world.submit(side, size="0.4")
    world.submit(side, size="0.2")
    world.submit(other, size="0.3")
    assert (world.held(), kinds()) == (sign * D("0.3"), ["open", "increase", "reduce"])
    verdict = world.submit(other, size="0.7")
    assert verdict.kind is EXECUTED and world.held() == -sign * D("0.4")
    assert kinds()[3:] == ["close", "open"]
    assert [trip["direction"] for trip in world.trips()] == ["long" if sign > 0 else "short"]
    assert world.close().kind is EXECUTED
    assert (world.held(), [trip["controller_id"] for trip in world.trips()]) == (0, [AGENT, AGENT])


@SIDES
def test_its_missing_stop_is_placed_again_on_its_side(new_world: NewWorld, side: str, other: str, sign: int) -> None:
    world = new_world(limits={"require_stops": True})
    world.submit(side, size="0.4", stop=at(sign, -5))
    [stop] = world.orders(leg="stop")
    world.paper.cancel(stop.cloid)
    assert reconcile(world.engine).phase.value == "consistent"
    [again] = world.orders(leg="stop")
    assert (again.side, again.size, again.trigger) == (other, D("0.4"), at(sign, -5))


@SIDES
def test_it_is_flattened_and_its_stop_goes(new_world: NewWorld, side: str, other: str, sign: int) -> None:
    world = new_world()
    world.submit(side, size="0.4", stop=at(sign, -5))
    assert [verdict.kind for verdict in flatten(world.engine, Actor.MANUAL, ExitReason.FLATTEN)] == [EXECUTED]
    assert (world.held(), world.orders()) == (0, [])
    assert world.fills()[-1]["side"] == other


@SIDES
def test_its_stop_fills_on_the_way_against_it(new_world: NewWorld, side: str, other: str, sign: int) -> None:
    world = new_world()
    world.submit(side, size="0.4", stop=at(sign, -5))
    world.play(BTC=("100", str(max(100, at(sign, -6))), str(min(100, at(sign, -6))), str(at(sign, -6))))
    [trip] = world.trips()
    assert (world.held(), trip["exit_reason"], trip["realised_pnl"]) == (0, "stop", -2)
    assert world.differences() == []
