"""Stretches that the kernel passes over at once give the money that playing every bar gives, which an idle second market makes it do."""

from dataclasses import fields, replace
from decimal import Decimal

import numpy as np
import pytest
from hand_legs import HOUR, LEAVE_LONG, LEAVE_SHORT, LONG, SHORT, T0
from parity_worlds import random_world

from tradeagent.algos.bars import Bars
from tradeagent.algos.signals import Distance, Levels, Signals
from tradeagent.algos.spec import AlgoSpec, Directions, EntryRule, LevelKind, SideRules, Sizing, SizingKind
from tradeagent.market.instruments import instrument
from tradeagent.research.kernel import simulate
from tradeagent.research.run import Leg, Run, Terms, Trades

MINUTE = 60_000
ROWS = 6_000


def beside_an_idle_market(leg: Leg, terms: Terms) -> Run:
    """The run of a leg that shares its account with a market whose algo never says anything."""
    idle = "BTC" if leg.instrument.symbol != "BTC" else "ETH"
    bars, rows = replace(leg.bars, market=idle), len(leg.bars)
    silent = Signals(np.zeros(rows, np.uint8), 0, Levels(), Levels())
    spec = replace(leg.spec, sizing=Sizing(SizingKind.ABS, Decimal(50)), leverage=1)
    other = Leg(instrument("hyperliquid", idle), bars, spec, silent, leg.funding_hours[:0], leg.funding_rates[:0])
    return simulate([leg, other], terms)


def walk(seed: int, calls: int, sizing: Sizing, leverage: int, levels: Levels) -> Leg:
    """Minutes of BTC with funding each hour and `calls` signals at random rows."""
    rng = np.random.default_rng(seed)
    close = np.round(50_000 * np.exp(np.cumsum(rng.normal(0, 0.0015, ROWS))), 1)
    opened = np.r_[close[0], close[:-1]]
    high = np.round(np.maximum(opened, close) + rng.exponential(15.0, ROWS), 1)
    low = np.round(np.minimum(opened, close) - rng.exponential(15.0, ROWS), 1)
    time = T0 + np.arange(ROWS, dtype=np.int64) * MINUTE
    bars = Bars("BTC", MINUTE, time, opened, high, low, close, np.full(ROWS, 10.0), np.full(ROWS, np.nan))
    codes = np.zeros(ROWS, np.uint8)
    codes[rng.integers(0, ROWS, calls)] = rng.choice([LONG, SHORT, LEAVE_LONG, LEAVE_SHORT], calls)
    codes[100] = LONG
    side = SideRules(EntryRule(("x",)))
    spec = AlgoSpec("walk", "BTC", MINUTE, Directions.BOTH, {}, side, side, sizing, leverage=leverage)
    hours = np.arange(T0, T0 + ROWS * MINUTE, HOUR, dtype=np.int64)
    rates = rng.integers(-2_000_000, 2_000_000, len(hours))
    return Leg(instrument("hyperliquid", "BTC"), bars, spec, Signals(codes, 0, levels, levels), hours, rates)


def same(alone: Run, beside: Run) -> None:
    assert np.array_equal(alone.equity, beside.equity)
    for table in ("trades", "open_trades"):
        for column in fields(Trades):
            ours, theirs = (getattr(getattr(run, table), column.name) for run in (alone, beside))
            assert np.array_equal(ours, theirs), f"{table}.{column.name}"
    for name in ("fees", "funding", "slippage", "turnover", "exposed", "max_leverage"):
        assert getattr(alone, name) == getattr(beside, name), name
    counted = {name: count for name, count in alone.counts.items() if name != "funding_missing"}
    assert counted == {name: beside.counts[name] for name in counted}


STOP, TARGET = Distance(LevelKind.PCT, Decimal("0.8")), Distance(LevelKind.RR, Decimal(2))
FAR = Distance(LevelKind.PCT, Decimal(60))


@pytest.mark.parametrize("calls", [3, 40, 900])
@pytest.mark.parametrize(
    ("share", "leverage", "levels"),
    [
        (50, 3, Levels()),
        (50, 3, Levels(STOP, TARGET)),
        (90, 3, Levels(FAR)),
        (3500, 40, Levels()),
        (600, 20, Levels(STOP, None, STOP)),
        (60, 5, Levels(STOP, TARGET, None, Distance(LevelKind.PCT, Decimal("0.5")))),
    ],
    ids=["bare", "stop and target", "far stop", "liquidated", "trailing", "buy-back"],
)
def test_a_market_alone_earns_what_it_earns_beside_an_idle_one(calls: int, share: int, leverage: int, levels: Levels) -> None:
    pct = Sizing(SizingKind.PCT_OF_EQUITY, Decimal(share))
    leg = walk(share + leverage + calls, calls, pct, leverage, levels)
    for terms in (Terms(cash=Decimal(10_000)), Terms(cash=Decimal(10_000), delay_bars=2, first_row=37, close_at_end=True, path="nearest")):
        alone = simulate([leg], terms)
        assert len(alone.trades) + len(alone.open_trades) > 0
        assert leverage < 40 or alone.counts["liquidations"] > 0
        assert calls < 900 or levels.stop is not STOP or levels.trailing or alone.counts["stops_tightened"] > 0
        same(alone, beside_an_idle_market(leg, terms))


@pytest.mark.parametrize("seed", range(40))
def test_random_legs_and_terms_alone_and_beside_an_idle_market(seed: int) -> None:
    world = random_world(seed, bars=400)
    if world.terms.fill_qty is not None:
        world = replace(world, terms=replace(world.terms, fill_qty=None))
    same(simulate(world.legs, world.terms), beside_an_idle_market(world.legs[0], world.terms))
