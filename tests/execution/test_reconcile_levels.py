"""Levels that the venue does not keep for an entry: of one that fills in part, and of a trigger entry; also when the process dies."""

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal

import pytest
from hands import at_venue, fills_at_most, incidents
from world import AGENT, OPEN_LIMITS, World, proposal

from tradeagent.domain.limits import resolve_limits
from tradeagent.domain.names import Actor, ExitReason, IntentKind, LimitKind, VerdictKind
from tradeagent.execution.exposure import open_risk
from tradeagent.execution.halts import flatten
from tradeagent.execution.protection import cancel_order, move_protection
from tradeagent.execution.reconcile import reconcile
from tradeagent.venue.state import Phase

D = Decimal
NewWorld = Callable[..., World]
EXECUTED = VerdictKind.EXECUTED
LIMIT = {"size": 10, "type": "limit", "price": 99, "stop": 95, "target": 110}
BREAKOUT = {"size": 2, "type": "stop_market", "trigger": 105, "stop": 100, "target": 120}
TOUCH = ("100", "100", "98", "99")


@pytest.fixture(params=[True, False], ids=["stops required", "stops stated"])
def world(new_world: NewWorld, request: pytest.FixtureRequest) -> World:
    return new_world(limits={"require_stops": request.param})


def awake(world: World, leg: str) -> list[tuple[Decimal, Decimal | None]]:
    """(size, trigger) of the levels that really guard something now."""
    found = [(o, at_venue(world, o.cloid)) for o in world.orders(leg=leg)]
    return [(o.size - o.filled, o.trigger) for o, there in found if there is not None and there.phase is Phase.ARMED]


def in_order(world: World) -> None:
    """Ledger and venue agree and nothing is left to repair."""
    done = reconcile(world.engine)
    assert (done.phase.value, done.repairs) == ("consistent", ())


# --- an entry that fills in part ------------------------------------------------------------------------------------------------


def test_stop_after_a_partial_entry_fill(world: World) -> None:
    fills_at_most(world, 4)
    world.submit(**LIMIT)
    world.play(BTC=TOUCH)
    assert (world.held(), awake(world, "stop"), awake(world, "target")) == (4, [(4, 95)], [])
    in_order(world)
    fills_at_most(world, 3)
    world.play(BTC=("99", "99", "98", "99"))
    assert (world.held(), awake(world, "stop")) == (7, [(4, 95), (3, 95)]), "it grows with the fills"
    in_order(world)
    fills_at_most(world, 9)
    world.play(BTC=("99", "99", "98", "99"))
    assert (world.held(), awake(world, "stop"), awake(world, "target")) == (10, [(10, 95)], [(10, 110)]), "the venue's own again"
    assert len(world.orders()) == 2
    in_order(world)
    fills_at_most(world, None)
    world.play(BTC=("99", "99", "94", "94"))
    assert (world.held(), world.orders()) == (0, []) and incidents(world) == {}
    [trip] = world.trips()
    assert (trip["exit_reason"], trip["controller_id"], trip["r_multiple"]) == ("stop", AGENT, -1)


def test_a_market_entry_whose_rest_was_cancelled_gets_both_levels(world: World) -> None:
    fills_at_most(world, 4)
    verdict = world.submit(size=10, stop=95, target=110)
    assert verdict.kind is EXECUTED and world.held() == 4
    assert (awake(world, "stop"), awake(world, "target")) == ([(4, 95)], [(4, 110)])
    in_order(world)
    fills_at_most(world, None)
    world.play()
    world.play(BTC=("100", "111", "100", "111"))
    assert world.held() == 0 and world.orders() == [] and world.trips()[0]["exit_reason"] == "target"


def test_a_stop_grows_also_when_others_hold_the_market(world: World) -> None:
    world.manual(size=20)
    world.play()
    fills_at_most(world, 4)
    world.submit(**LIMIT)
    world.play(BTC=TOUCH)
    fills_at_most(world, 4)
    world.play(BTC=("99", "99", "98", "99"))
    assert (world.held(controller=AGENT), awake(world, "stop")) == (8, [(4, 95), (4, 95)])
    fills_at_most(world, 4)
    world.play(BTC=("99", "99", "98", "99"))
    assert (world.held(controller=AGENT), awake(world, "stop")) == (10, [(10, 95)])
    in_order(world)
    fills_at_most(world, None)
    world.play(BTC=("99", "99", "94", "94"))
    assert (world.held(), world.held(controller=AGENT)) == (20, 0), "nobody else's part was taken"


def test_the_stop_of_a_part_too_small_for_an_order_is_placed_all_the_same(world: World) -> None:
    fills_at_most(world, D("0.05"))
    world.submit(size="0.5", type="limit", price=99, stop=95)
    world.play(BTC=TOUCH)
    assert (world.held(), awake(world, "stop")) == (D("0.05"), [(D("0.05"), 95)])


def test_a_part_too_small_for_an_order_is_guarded_together_with_the_part_before(world: World) -> None:
    fills_at_most(world, 4)
    world.submit(**LIMIT)
    world.play(BTC=TOUCH)
    fills_at_most(world, D("0.05"))
    world.play(BTC=("99", "99", "98", "99"))
    assert (world.held(), awake(world, "stop")) == (D("4.05"), [(D("4.05"), 95)])
    in_order(world)


def test_cancelling_the_rest_of_an_entry_leaves_the_part_with_stop_and_target(world: World) -> None:
    fills_at_most(world, 4)
    cloid = (world.submit(**LIMIT).order or {})["cloid"]
    world.play(BTC=TOUCH)
    assert cancel_order(world.engine, cloid, Actor.AGENT).kind is EXECUTED
    assert (awake(world, "stop"), awake(world, "target")) == ([(4, 95)], [(4, 110)])
    assert len(world.orders()) == 2
    in_order(world)


def test_a_part_whose_stop_was_passed_before_it_could_rest_is_closed_at_once(world: World) -> None:
    fills_at_most(world, 4)
    world.submit(**LIMIT)
    world.play(BTC=("100", "100", "94", "94"))
    assert world.held() == 0
    assert incidents(world) == {"naked_position": f"BTC 4 of {AGENT} had no stop (venue: Invalid TP/SL price.): closed at the market"}
    assert world.trips()[0]["exit_price"] == 94


def test_an_entry_whose_part_can_not_be_protected_is_taken_back(new_world: NewWorld) -> None:
    world = new_world()
    fills_at_most(world, 4)
    world.submit(size=10, type="limit", price="99.5", stop=99, target=110)
    world.play(BTC=("100", "100", "98.5", "98.5"))
    assert (world.held(), world.orders()) == (0, []), "what it filled next could not be protected either"


def test_a_part_that_was_given_up_is_not_what_is_entered_beside_it_later(new_world: NewWorld) -> None:
    world = new_world()
    world.submit(size=3)
    fills_at_most(world, 4)
    world.submit(size=10, type="limit", price="99.5", stop=99)
    world.play(BTC=("100", "100", "98.5", "98.5"))
    assert world.held() == 3, "the part of 4 was closed, which had no stop"
    fills_at_most(world, None)
    assert world.submit(size=2).kind is EXECUTED
    assert world.restart().value == "consistent"
    assert (world.held(), world.orders()) == (5, []), "nothing else asked for a stop"


def test_what_is_entered_at_that_instant_is_not_taken_for_the_part_that_was_closed(new_world: NewWorld) -> None:
    world = new_world()
    fills_at_most(world, 4)
    world.submit(size=10, type="limit", price="99.5", stop=99)
    world.play(BTC=("100", "100", "98.5", "98.5"))
    assert world.held() == 0
    fills_at_most(world, None)
    assert world.submit(size=3).kind is EXECUTED
    assert world.restart().value == "consistent"
    assert (world.held(), world.orders(leg="stop")) == (3, []), "it asked for no stop"


@pytest.mark.parametrize("kind", ["limit", "market"])
def test_a_process_that_dies_before_it_sends_the_stop_of_a_part_makes_it_good_at_its_start(world: World, kind: str) -> None:
    world.engine.after_fills = lambda: None
    fills_at_most(world, 4)
    world.submit(**LIMIT) if kind == "limit" else world.submit(size=10, stop=95, target=110)
    world.play(BTC=TOUCH)
    assert (world.held(), awake(world, "stop")) == (4, [])
    assert world.restart().value == "consistent"
    assert awake(world, "stop") == [(4, 95)]
    assert awake(world, "target") == ([] if kind == "limit" else [(4, 110)])
    assert incidents(world) == {}, "nothing was missing, it had only not been placed yet"
    in_order(world)


def test_levels_that_the_owner_placed_before_a_part_was_covered_are_the_ones_that_stay(world: World) -> None:
    world.engine.after_fills = lambda: None
    fills_at_most(world, 4)
    world.submit(size=10, stop=95, target=110)
    world.play(BTC=TOUCH)
    assert move_protection(world.engine, proposal(stop=97, target=108, kind=IntentKind.UPDATE), Actor.AGENT).kind is EXECUTED
    assert world.restart().value == "consistent"
    assert (awake(world, "stop"), awake(world, "target")) == ([(4, 97)], [(4, 108)])
    in_order(world)


def test_a_process_that_dies_while_it_sends_the_stop_of_a_part_places_one_stop(world: World) -> None:
    real = world.engine.broker

    class Dies(Exception):
        pass

    class Dying:
        def __init__(self, *, is_delivered: bool) -> None:
            self.is_delivered = is_delivered

        def __getattr__(self, name: str) -> object:
            return getattr(real, name)

        def place(self, orders: list[object]) -> list[object]:
            if self.is_delivered:
                real.place(orders)  # type: ignore[arg-type]
            raise Dies

    for is_delivered in (True, False):
        fills_at_most(world, 4)
        world.submit(**LIMIT)
        world.engine.broker = Dying(is_delivered=is_delivered)  # type: ignore[assignment]
        with pytest.raises(Dies):
            world.play(BTC=TOUCH)
        assert world.restart().value == "consistent"
        real = world.paper
        assert awake(world, "stop") == [(4, 95)], is_delivered
        in_order(world)
        flatten(world.engine, Actor.MANUAL, ExitReason.FLATTEN)
        world.play(BTC=100)


# --- a trigger entry ------------------------------------------------------------------------------------------------------------


def test_a_trigger_entry_leaves_alone_and_gets_its_levels_when_it_has_filled(world: World) -> None:
    verdict = world.submit(**BREAKOUT)
    assert verdict.kind is EXECUTED
    levels = {o.leg: (o.state, o.reason) for o in world.orders() if o.leg != "entry"}
    assert levels == dict.fromkeys(("stop", "target"), ("pending", "waits here for its entry"))
    assert len(world.paper.open_orders()) == 1, "the venue takes no children with it"
    assert open_risk(world.state(), "BTC") == 10, "to its stop, 2 × 5"
    in_order(world)
    world.play(BTC=("100", "106", "100", "106"))
    assert (world.held(), awake(world, "stop"), awake(world, "target")) == (2, [(2, 100)], [(2, 120)])
    in_order(world)
    world.play(BTC=("106", "106", "99", "99"))
    assert world.held() == 0 and world.orders() == [] and world.trips()[0]["r_multiple"] == -1
    assert incidents(world) == {}


def test_a_process_that_dies_between_a_trigger_entry_and_its_levels_places_them_at_its_start(world: World) -> None:
    world.submit(**BREAKOUT)
    world.engine.after_fills = lambda: None
    world.play(BTC=("100", "106", "100", "106"))
    assert (world.held(), awake(world, "stop")) == (2, [])
    assert world.restart().value == "consistent"
    assert (awake(world, "stop"), awake(world, "target")) == ([(2, 100)], [(2, 120)])
    in_order(world)


def test_a_waiting_trigger_entry_survives_a_restart(world: World) -> None:
    world.submit(**BREAKOUT)
    assert world.restart().value == "consistent" and len(world.orders()) == 3
    world.play(BTC=("100", "106", "100", "106"))
    assert (world.held(), awake(world, "stop"), awake(world, "target")) == (2, [(2, 100)], [(2, 120)])


def test_a_trigger_entry_that_fills_in_part_is_covered_for_its_part(world: World) -> None:
    world.submit(**{**BREAKOUT, "size": 10})
    fills_at_most(world, 4)
    world.play(BTC=("100", "106", "100", "106"))
    assert (world.held(), awake(world, "stop"), awake(world, "target")) == (4, [(4, 100)], [(4, 120)])
    assert len(world.orders()) == 2
    in_order(world)


@pytest.mark.parametrize("how", ["cancelled", "flattened", "lost"])
def test_the_levels_of_a_trigger_entry_that_never_filled_end_with_it(world: World, how: str) -> None:
    entry = (world.submit(**BREAKOUT).order or {})["cloid"]
    if how == "cancelled":
        assert cancel_order(world.engine, entry, Actor.AGENT).kind is EXECUTED
    elif how == "flattened":
        flatten(world.engine, Actor.MANUAL, ExitReason.FLATTEN)
    else:
        world.paper.cancel(entry)
        reconcile(world.engine)
    assert world.orders() == [] and world.paper.open_orders() == []
    in_order(world)


def test_a_level_that_a_person_cancelled_before_its_trigger_entry_filled_is_not_placed(new_world: NewWorld) -> None:
    world = new_world()
    world.submit(**BREAKOUT)
    [target] = world.orders(leg="target")
    assert cancel_order(world.engine, target.cloid, Actor.MANUAL).kind is EXECUTED
    world.play(BTC=("100", "106", "100", "106"))
    assert (awake(world, "stop"), awake(world, "target")) == ([(2, 100)], [])
    in_order(world)


def test_a_trigger_entry_that_the_venue_refuses_leaves_nothing_behind(world: World) -> None:
    verdict = world.submit(**{**BREAKOUT, "trigger": 99, "stop": 90})
    assert verdict.kind is VerdictKind.REJECTED and verdict.message == "venue: Invalid TP/SL price."
    assert world.orders() == []
    in_order(world)


# --- a part that nobody can protect just now -------------------------------------------------------------------------------------


def test_a_part_that_stays_bare_is_tried_again_at_every_bar_until_it_is_closed(new_world: NewWorld) -> None:
    world = new_world()
    world.manual(size=1)
    world.submit(size=2)
    world.play()
    limits = resolve_limits(LimitKind.AGENT, {**OPEN_LIMITS, "require_stops": True})
    world.engine.terms[Actor.AGENT] = replace(world.engine.terms[Actor.AGENT], limits=limits)
    fills_at_most(world, 1)
    world.manual(size=1)
    reconcile(world.engine)
    assert world.held("BTC", AGENT) == 2, "the volume of this bar is used up"
    told = incidents(world)["naked_position"]
    assert "BTC 2 of momentum_1 had no stop (no level is known): and it could not be closed" in told
    world.engine.is_unresolved = False
    world.play()
    assert [order.leg for order in world.orders()] == ["close"], "tried again when the bar was over"
    assert (world.engine.is_unresolved, world.engine.is_bare) == (False, False), "and once"
    fills_at_most(world, 1)
    world.play()
    assert world.held("BTC", AGENT) == 1, "the next bar had one to give"
    fills_at_most(world, None)
    world.play()
    assert (world.held("BTC", AGENT), world.held()) == (0, 2), "what the person holds is left alone"
    assert incidents(world)["naked_position"] == told, "it stays for a person to see"
    fills = len(world.fills())
    world.play_many(2)
    assert len(world.fills()) == fills
    in_order(world)
