"""Distances of an algo in whole storage units: a stop, a target and a trailing stop lie toward the entry, a limit on the passive side."""

import math
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from indicator_bars import walk

from tradeagent.algos.evaluate import Evaluator
from tradeagent.algos.levels import FIXED, UNIT, Reach, level_price, reaches_of, units_of
from tradeagent.algos.parse import parse_algo
from tradeagent.algos.signals import Distance, Levels
from tradeagent.algos.spec import LevelKind
from tradeagent.domain.instrument import Instrument, MarginTier
from tradeagent.domain.money import limit_price, protective_price
from tradeagent.domain.names import Direction, Side

D = Decimal
VALUES = st.decimals(D("0.1"), D(90), places=9)
TIMES = st.decimals(D(1), D(9), places=3)
KINDS = st.sampled_from([LevelKind.PCT, LevelKind.ABS, LevelKind.ATR])


def market(size_decimals: int) -> Instrument:
    return Instrument("hyperliquid", "X", size_decimals, (MarginTier(D(0), 10),))


def distance_of(kind: LevelKind, value: Decimal) -> Distance:
    """An ATR of 1, or of `value` where a float holds it."""
    return Distance(kind, value, np.ones(1) if kind is LevelKind.ATR else None)


def exact(reach: tuple[int, int], kind: LevelKind, value: Decimal, known: Instrument, price: int) -> Decimal:
    """The level's distance as it is written, in storage units."""
    return D(price) * value / 100 if kind is LevelKind.PCT else value.scaleb(known.price_decimals)


@settings(max_examples=300, deadline=None)
@given(KINDS, VALUES, TIMES, st.integers(0, 5), st.integers(10**4, 10**9), st.sampled_from([1, -1]))
@example(LevelKind.ABS, D("100.96"), D(1), 5, 500_000, 1)
@example(LevelKind.ATR, D("1.00096"), D("1.001"), 0, 500_000, -1)
def test_no_level_is_farther_from_the_entry_than_it_is_written(
    kind: LevelKind, value: Decimal, times: Decimal, size_decimals: int, price: int, side: int
) -> None:
    known = market(size_decimals)
    stop = distance_of(kind, value)
    found = reaches_of(Levels(stop, Distance(LevelKind.RR, times), Distance(LevelKind.RR, D(1))), known, "x")
    places, long = -known.price_decimals, Direction.LONG if side > 0 else Direction.SHORT
    for reach, factor, away in ((found.stop, D(1), -side), (found.target, times, side), (found.trailing, D(1), -side)):
        wanted = exact(reach.at(0), kind, value * factor, known, price)
        if away < 0 and wanted >= price - 1:
            continue
        level = level_price(price, away, int(away < 0), reach.at(0), known.price_decimals)
        written = protective_price(known, long, (price + away * wanted).scaleb(places), is_stop=away == -side).scaleb(-places)
        noise = D("1e-5") if kind is LevelKind.ATR else D(0)
        assert (level - (price + away * wanted)) * away <= noise, "never beyond it"
        step = max(D(1), abs(written) / 10_000)
        assert abs(level - written) <= step + D(price) / UNIT, "and within a step of it"


@settings(max_examples=300, deadline=None)
@given(KINDS, VALUES, st.integers(0, 5), st.integers(10**4, 10**9), st.sampled_from([1, -1]))
@example(LevelKind.ABS, D("100.94"), 5, 500_000, 1)
def test_a_buy_back_limit_is_no_nearer_than_it_is_written(
    kind: LevelKind, value: Decimal, size_decimals: int, price: int, side: int
) -> None:
    known = market(size_decimals)
    reach = reaches_of(Levels(buy_back=distance_of(kind, value)), known, "x").buy_back.at(0)
    wanted = exact(reach, kind, value, known, price)
    if wanted >= price - 1:
        return
    limit = level_price(price, -side, int(side < 0), reach, known.price_decimals)
    passive = limit_price(known, Side.BUY if side > 0 else Side.SELL, (price - side * wanted).scaleb(-known.price_decimals))
    noise = D("1e-5") if kind is LevelKind.ATR else D(0)
    assert (price - limit) * side >= wanted - noise
    assert abs(limit - passive.scaleb(known.price_decimals)) <= max(D(1), D(abs(limit)) / 10_000) + D(price) / UNIT


@pytest.mark.parametrize("times", ["1", "2", "3.5"])
def test_an_atr_stop_is_so_many_mean_true_ranges_away(times: str) -> None:
    entry = "name: a\ndirection: long\nentry: {long: {required: [close > open]}}\n"
    text = f"{entry}exit: {{long: {{stop_loss: {{atr: {times}, ma: sma}}}}}}\n"
    bars, row = walk(60), 40
    found = reaches_of(Evaluator(bars).signals(parse_algo(text, "a.yml")).long, market(5), "x").stop.at(row)
    before = bars.close[row - 14 : row]
    high, low = bars.high[row - 13 : row + 1], bars.low[row - 13 : row + 1]
    ranges = np.maximum.reduce([high - low, np.abs(high - before), np.abs(low - before)])
    assert found == (FIXED, math.floor(float(times) * ranges.mean() * 10 + 1e-6))


@pytest.mark.parametrize(
    ("distance", "down", "up"),
    [
        (12.0, 12, 12),
        (12.4, 12, 13),
        (12.6, 12, 13),
        (11.9999999999, 12, 12),
        (12.0000000001, 12, 12),
        (0.4, -1, 1),
        (0.0, -1, -1),
        (-3.0, -1, -1),
        (1e-9, -1, -1),
        (1e15, -1, -1),
        (1e9 + 0.5, 10**9, 10**9 + 1),
    ],
)
def test_a_distance_is_rounded_beyond_the_noise_of_floats(distance: float, down: int, up: int) -> None:
    assert (units_of(distance, False), units_of(distance, True)) == (down, up)
    series = np.array([distance, np.nan])
    assert Reach(2, factor=1.0, series=series).at(0) == (2, down) and Reach(2, factor=1.0, series=series, is_outward=True).at(0) == (2, up)
    assert Reach(2, factor=1.0, series=series).at(1) == (2, -1)
