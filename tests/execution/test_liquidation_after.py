"""The liquidation price that an entry is judged by is the one that the account has once the entry has filled."""

from collections.abc import Callable
from decimal import Decimal

import pytest
from world import World, proposal

from tradeagent.domain.costs import FeeSchedule
from tradeagent.domain.names import Actor, VerdictKind
from tradeagent.execution.caps import largest_size
from tradeagent.execution.exposure import liquidation_after
from tradeagent.execution.planning import plan

D = Decimal
NewWorld = Callable[..., World]


@pytest.mark.parametrize("side", ["buy", "sell"])
@pytest.mark.parametrize(
    "before",
    [(), (("buy", "ETH", "60"),), (("sell", "ETH", "60"),), (("buy", "BTC", "20"), ("sell", "ETH", "30")), (("sell", "BTC", "20"),)],
    ids=["nothing", "long beside", "short beside", "a part and beside", "the other side"],
)
def test_it_is_what_the_account_has_after_the_fill(new_world: NewWorld, side: str, before: tuple[tuple[str, str, str], ...]) -> None:
    world = new_world(cash=2_000, fees=FeeSchedule(D("0.0005"), D("0.0002")))
    for one_side, market, size in before:
        assert world.manual(one_side, market, size=size).kind is VerdictKind.EXECUTED
    world.play(ETH=world.price("ETH") + 1, BTC=world.price() - 1)
    state = world.state(Actor.MANUAL)
    made = plan(proposal(side, actor=Actor.MANUAL, size="100"), state, lambda draft: largest_size(draft, state))
    foreseen = liquidation_after(state, made)
    assert world.manual(side, size="100").kind is VerdictKind.EXECUTED
    after = world.state(Actor.MANUAL).account.liquidation_price("BTC")
    assert foreseen is not None and after is not None
    assert abs(foreseen - after) < D("0.00001"), "up to a fee in whole micros"
