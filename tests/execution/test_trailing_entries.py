"""An entry whose stop trails: the distance goes with the stop to the venue, and with nothing else."""

from decimal import Decimal

from tradeagent.domain.names import Actor, IntentKind, OrderType, Side
from tradeagent.domain.order import Proposal
from tradeagent.execution.orders import order_request, order_rows
from tradeagent.execution.planning import Plan
from tradeagent.execution.state import Scope
from tradeagent.market.instruments import instrument

D = Decimal


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
