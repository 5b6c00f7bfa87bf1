"""An entry whose stop trails: the distance goes with the stop to the venue, and with nothing else."""

from collections.abc import Callable
from decimal import Decimal

import pytest
from hands import at_venue, fills_at_most, other_hand
from world import World

from tradeagent.domain.names import Actor, IntentKind, OrderType, ReconcilePhase, Side, VerdictKind
from tradeagent.domain.order import Proposal
from tradeagent.execution.orders import order_request, order_rows
from tradeagent.execution.planning import Plan
from tradeagent.execution.reconcile import reconcile
from tradeagent.execution.state import Scope
from tradeagent.market.instruments import instrument

D = Decimal
NewWorld = Callable[..., World]


def requests(proposal: Proposal) -> dict[str, tuple[Decimal | None, Decimal | None]]:
    """(trail, trail_rate) of each order of a plan, by leg."""
    known = instrument("hyperliquid", "BTC")
    made = Plan(proposal, IntentKind.OPEN, known, D("0.01"), D(100), None, None, D(95), D(110), 1)
    rows = order_rows("i", made, "w", Scope(Actor.ALGO, "d_a1", None, "d_a1"), 0)
    found = {row.leg: order_request(row, proposal) for row in rows}
    assert found["stop"].type is OrderType.STOP_MARKET and found["stop"].trigger == 95
    return {leg: (request.trail, request.trail_rate) for leg, request in found.items()}


def test_a_distance_and_a_rate_go_with_the_stop_alone() -> None:
    entry = Proposal("BTC", Side.BUY, "d_a1", size=D("0.01"), stop=D(95), target=D(110))
    nothing = (None, None)
    assert requests(entry) == {"entry": nothing, "stop": nothing, "target": nothing}
    fixed = Proposal("BTC", Side.BUY, "d_a1", size=D("0.01"), stop=D(95), target=D(110), trail=D(5))
    assert requests(fixed) == {"entry": nothing, "stop": (D(5), None), "target": nothing}
    rate = Proposal("BTC", Side.BUY, "d_a1", size=D("0.01"), stop=D(95), target=D(110), trail_rate=D("0.05"))
    assert requests(rate) == {"entry": nothing, "stop": (None, D("0.05")), "target": nothing}


@pytest.mark.parametrize("trailing", [{"trail": D(5)}, {"trail_rate": D("0.05")}], ids=["distance", "rate"])
def test_a_stop_that_was_cancelled_behind_our_back_is_placed_again_and_trails_on(new_world: NewWorld, trailing: dict[str, D]) -> None:
    world = new_world(limits={"require_stops": True})
    assert world.submit(size=5, stop=95, **trailing).kind is VerdictKind.EXECUTED
    for again in range(2):
        with other_hand(world) as broker:
            broker.cancel(world.orders(leg="stop")[0].cloid)
        assert reconcile(world.engine).phase is ReconcilePhase.CONSISTENT
        placed = at_venue(world, world.orders(leg="stop")[0].cloid)
        assert placed is not None and (placed.trail, placed.trail_rate) != (None, None), f"repair {again + 1}"
    world.play(BTC=("100", "110", "100", "110"))
    world.play(BTC=("110", "110", "104", "104"))
    assert world.held() == 0 and world.trips()[0]["exit_price"] > 100


def test_the_stop_of_a_part_that_has_filled_trails_too(new_world: NewWorld) -> None:
    world = new_world()
    fills_at_most(world, 4)
    world.submit(size=10, stop=95, trail=D(5))
    assert world.held() == 4
    (stop,) = world.orders(leg="stop")
    placed = at_venue(world, stop.cloid)
    assert placed is not None and (placed.size, placed.trail) == (4_000, 5_000)
