"""A position above the venue's largest market order (30,000,000 USDC in the BTC of these tests) is closed in parts."""

from collections.abc import Callable
from decimal import Decimal

import pytest
from hands import no_trade_next
from world import World

from tradeagent.domain.clock import SimulatedClock
from tradeagent.domain.names import Actor, ExitReason, KillPolicy, VerdictKind
from tradeagent.execution.halts import flatten, judge_marks
from tradeagent.execution.kill import wipe

D = Decimal
NewWorld = Callable[..., World]
EXECUTED = VerdictKind.EXECUTED


@pytest.fixture
def large(new_world: NewWorld) -> World:
    """Long 700,000 BTC at 100: three orders' worth."""
    world = new_world(cash=100_000_000, limits={"max_daily_loss_quote": 2_000_000})
    for size in (250_000, 250_000, 200_000):
        assert world.submit(size=size).kind is EXECUTED
    return world


def test_a_flatten_takes_as_many_orders_as_it_needs(large: World) -> None:
    verdicts = flatten(large.engine, Actor.MANUAL, ExitReason.FLATTEN)
    assert [verdict.kind for verdict in verdicts] == [EXECUTED]
    assert large.held() == 0 and large.paper.account().positions == {}
    assert [fill["size"] for fill in large.fills()][-3:] == [D(300_000), D(300_000), D(100_000)]


def test_a_halt_leaves_nothing_open(large: World) -> None:
    large.play(BTC="97")
    judge_marks(large.engine)
    assert large.engine.book.risk.halt == "daily_loss"
    assert large.held() == 0 and large.paper.account().positions == {}


async def test_a_kill_halves_what_the_venue_finds_too_large(large: World) -> None:
    wiped = await wipe(large.paper, KillPolicy.FLATTEN_ALL, SimulatedClock(large.now))
    assert wiped.flat and large.paper.account().positions == {}
    assert [closed.size for closed in wiped.closed] == [D(175_000)] * 4


def test_in_an_outage_every_part_waits_once(large: World) -> None:
    large.play()
    no_trade_next(large)
    large.play()
    no_trade_next(large)
    first, again = (flatten(large.engine, Actor.MANUAL, ExitReason.FLATTEN)[0].kind for _ in range(2))
    assert (first, again) == (EXECUTED, VerdictKind.NOOP)
    assert sorted(order.size for order in large.orders(leg="close")) == [D(100_000), D(300_000), D(300_000)]
    large.play()
    large.play()
    assert large.held() == 0 and large.orders() == []
