"""The venue nets one position a market: whoever holds a part of it is on its side, and nobody enters against another."""

from collections.abc import Callable
from decimal import Decimal

import pytest
from test_executors import BARRIERS, ask, start
from world import AGENT, World

from tradeagent.domain.names import Rule, VerdictKind
from tradeagent.execution.state import MANUAL_CONTROLLER
from tradeagent.ledger.trading import NET

D = Decimal
EXECUTED = VerdictKind.EXECUTED
NewWorld = Callable[..., World]


def holders(world: World) -> dict[str, Decimal]:
    return {row.controller_id: row.size for row in world.engine.book.rows if row.size}


def test_an_agent_does_not_enter_against_what_a_person_holds(new_world: NewWorld) -> None:
    world = new_world()
    world.manual(size=1)
    verdict = world.submit("sell", size="0.5", stop=105)
    assert verdict.rule is Rule.PROTECTION and verdict.rejection is not None
    assert verdict.rejection.message.startswith("manual is on the other side of BTC")
    assert world.submit("buy", size="0.5", stop=95).kind is EXECUTED
    assert world.submit("sell", "ETH", size="0.5").kind is EXECUTED


def test_an_agent_does_not_enter_against_its_own_executor(new_world: NewWorld) -> None:
    world = new_world()
    made = start(world, "position", amount="0.5", barriers=BARRIERS)
    verdict = world.submit("sell", size="0.5", stop=105)
    assert verdict.rule is Rule.PROTECTION and verdict.rejection is not None
    assert verdict.rejection.message.startswith(f"{AGENT}/{made} is on the other side of BTC")
    assert holders(world) == {NET: D("0.5"), f"{AGENT}/{made}": D("0.5")}


def test_nor_does_either_against_what_the_other_waits_for(new_world: NewWorld) -> None:
    world = new_world()
    waiting = start(world, "position", amount="1", entry_price="90", barriers=BARRIERS)
    assert world.submit("sell", size="0.5", stop=105).rule is Rule.PROTECTION
    assert world.submit("buy", size="0.5", stop=95).kind is EXECUTED, "the same side may be joined"

    other = new_world()
    other.submit("sell", size="0.5", type="limit", price=105, stop=110)
    verdict, row = ask(other, "position", amount="1", barriers=BARRIERS)
    assert (row, verdict.rule) == (None, Rule.SHAPE)
    assert verdict.rejection is not None and verdict.rejection.message.startswith(f"{AGENT} is on the other side of BTC")
    assert waiting


def test_a_person_enters_against_an_agent_whose_position_that_closes(new_world: NewWorld) -> None:
    world = new_world()
    world.manual("sell", size=3, type="limit", price=104)
    assert world.submit(size=1, stop=95).kind is EXECUTED, "what a person has resting bars nobody"
    world.play(BTC=("100", "105", "100", "104"))
    assert holders(world) == {NET: D(-2), MANUAL_CONTROLLER: D(-2)}
    trip = world.trips()[0]
    assert (trip["controller_id"], trip["realised_pnl"]) == (AGENT, 4)
    assert world.differences() == []


@pytest.mark.parametrize(("size", "left"), [("1", {NET: D("-0.5"), MANUAL_CONTROLLER: D("-0.5")}), ("2", {NET: D("0.5"), AGENT: D("0.5")})])
def test_an_entry_that_waited_closes_what_a_person_has_taken_against_it_since(
    new_world: NewWorld, size: str, left: dict[str, Decimal]
) -> None:
    world = new_world()
    world.submit(size=size, type="limit", price=96, stop=90)
    world.manual("sell", size="1.5")
    world.play(BTC=("100", "100", "95", "96"))
    assert holders(world) == left
    assert [trip["controller_id"] for trip in world.trips()] == ([MANUAL_CONTROLLER] if AGENT in left else [])
    assert world.differences() == []
