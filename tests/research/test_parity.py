"""The kernel's twin is the door: the same algo on the same bars gives the same trades, equity and costs to the last 10⁻⁶ USDC."""

from pathlib import Path

import pytest
from parity_worlds import World, algo_world, difference, random_world

from tradeagent.research.eventpath import replay
from tradeagent.research.kernel import simulate

BARS = 150


def unequal(world: World) -> str | None:
    return difference(simulate(world.legs, world.terms), replay(world.legs, world.terms))


@pytest.mark.parametrize("seed", range(14))
def test_random_signals_on_random_bars(seed: int) -> None:
    assert unequal(random_world(seed, bars=BARS)) is None


@pytest.mark.real_data
@pytest.mark.parametrize("seed", range(100, 108))
def test_random_signals_on_real_bars(seed: int, shared_data: Path) -> None:
    assert unequal(random_world(seed, data=shared_data, bars=BARS)) is None


@pytest.mark.parametrize("seed", range(200, 210))
def test_two_markets_on_one_account(seed: int) -> None:
    assert unequal(random_world(seed, bars=BARS, markets=2)) is None


@pytest.mark.real_data
@pytest.mark.parametrize("seed", range(300, 310))
def test_random_algos(seed: int, shared_data: Path) -> None:
    assert unequal(algo_world(seed, data=shared_data, bars=BARS)) is None


@pytest.mark.real_data
@pytest.mark.parametrize(("seed", "markets"), [(2026006155, 2), (2026006390, 1), (2026006500, 1)])
def test_what_once_differed(seed: int, markets: int, shared_data: Path) -> None:
    """The end of the data over a position that is larger than the venue's largest order, and a trailing stop's slippage."""
    assert unequal(algo_world(seed, data=shared_data, bars=300, markets=markets)) is None


@pytest.mark.parametrize("seed", range(400, 406))
def test_what_the_trades_made_is_what_the_account_gained(seed: int) -> None:
    world = random_world(seed, bars=BARS, markets=1 + seed % 2)
    run = replay(world.legs, world.terms).run
    made = sum(int((side.gross - side.fees - side.funding).sum()) for side in (run.trades, run.open_trades))
    assert made == int(run.equity[-1]) - int(world.terms.cash.scaleb(6))
    assert run.fees == sum(int(side.fees.sum()) for side in (run.trades, run.open_trades))


def test_every_kind_of_exit_takes_part() -> None:
    """Seeds above are worth nothing if nothing happens in them."""
    runs = [simulate(world.legs, world.terms) for world in (random_world(seed, bars=BARS) for seed in range(14))]
    assert sum(len(run.trades) for run in runs) > 150
    assert len({int(reason) for run in runs for reason in run.trades.exit_reason}) >= 5
