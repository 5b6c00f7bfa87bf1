"""The stop and target that prompt, `position list` and account pane show are those that would close the position."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from world import AGENT, World, proposal

from tradeagent.domain.names import Actor, IntentKind, VerdictKind
from tradeagent.execution.protection import move_protection
from tradeagent.turns.snapshot import ActiveTrade, active_trade, runtime_snapshot

D = Decimal
NewWorld = Callable[..., World]


def net(world: World) -> ActiveTrade:
    return runtime_snapshot(world.state()).trades[0]


def own(world: World) -> ActiveTrade:
    """The agent's inventory, as its prompt shows it."""
    state = world.state()
    row = state.row("BTC", AGENT)
    assert row is not None
    return active_trade(state, row)


def test_the_levels_of_an_entry_that_waits_are_not_the_positions(new_world: NewWorld) -> None:
    world = new_world()
    world.submit(size=5)
    world.submit(size=1, type="limit", price=90, stop=80, target=130)
    for shown in (net(world), own(world)):
        assert (shown.stop, shown.target) == (None, None)
    world.play(BTC=89)
    for shown in (net(world), own(world)):
        assert (shown.stop, shown.target) == (D(80), D(130)), "the entry has filled, so its levels protect"


def test_an_order_placed_by_hand_that_closes_is_a_level(new_world: NewWorld) -> None:
    world = new_world()
    world.submit(size=5)
    by_hand: dict[str, Any] = {"kind": IntentKind.REDUCE, "size": 5, "reduce_only": True}
    assert world.manual("sell", type="stop_market", trigger=D(95), **by_hand).kind is VerdictKind.EXECUTED
    assert world.manual("sell", type="take_profit_market", trigger=D(120), **by_hand).kind is VerdictKind.EXECUTED
    for shown in (net(world), own(world)):
        assert (shown.stop, shown.target) == (D(95), D(120))
    world.play(BTC=94)
    assert world.held() == 0


def test_a_stop_that_a_person_has_moved_is_still_the_agents(new_world: NewWorld) -> None:
    world = new_world()
    world.submit(size=5, stop=95, target=120)
    move_protection(world.engine, proposal("sell", actor=Actor.MANUAL, kind=IntentKind.UPDATE, stop=97), Actor.MANUAL)
    assert (own(world).stop, own(world).target) == (D(97), D(120))


def test_the_stop_of_what_a_person_holds_beside_it_is_not_the_agents(new_world: NewWorld) -> None:
    world = new_world()
    world.submit(size=5, stop=90)
    world.manual(size=2, stop=97)
    persons = world.state().row("BTC", "manual")
    assert persons is not None and active_trade(world.state(), persons).stop == 97
    assert own(world).stop == 90 and net(world).stop == 97
