"""What the kernel refuses by name instead of simulating it, and the integer arithmetic it shares with venue and door."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hand_legs import HOUR, LONG, SPEC, T0, hand_leg
from hypothesis import given, settings
from hypothesis import strategies as st
from run_samples import BTC

from tradeagent.algos.levels import FIXED, RATE, UNIT, level_price, share, tick_of, trail_level
from tradeagent.algos.machine import (
    CLOSE,
    ENTER_LONG,
    ENTER_SHORT,
    EXIT_SHORT,
    NEVER,
    REGULAR,
    STRICT,
    TIGHTEN,
    WITHDRAW,
    Memory,
    Rules,
    Standing,
    decide,
)
from tradeagent.algos.signals import Distance, Levels
from tradeagent.algos.spec import LevelKind, Sizing, SizingKind
from tradeagent.domain.costs import FeeSchedule
from tradeagent.domain.errors import UserError
from tradeagent.domain.instrument import Instrument, MarginTier
from tradeagent.domain.money import div_half_even, limit_price, protective_price
from tradeagent.domain.names import Direction, Side
from tradeagent.research.kernel import money, simulate
from tradeagent.research.run import Leg, Terms
from tradeagent.venue.margin import slipped, trade_fee, truncated
from tradeagent.venue.state import MarketSpec

D = Decimal
LEG = hand_leg([50_000.0] * 5, {0: LONG})


def bars(**columns: Any) -> Leg:
    return replace(LEG, bars=replace(LEG.bars, **{name: np.asarray(column) for name, column in columns.items()}))


def algo(**changes: Any) -> Leg:
    return replace(LEG, spec=replace(SPEC, **changes))


def stopped(distance: Distance) -> Leg:
    return replace(LEG, signals=replace(LEG.signals, long=Levels(stop=distance)))


@pytest.mark.parametrize(
    ("leg", "words"),
    [
        (replace(LEG, bars=LEG.bars.rows(0, 0), signals=replace(LEG.signals, codes=LEG.signals.codes[:0])), "no bars"),
        (replace(LEG, signals=replace(LEG.signals, codes=LEG.signals.codes[:3])), "3 signal codes for 5 bars"),
        (bars(close=[50_000.0, np.nan, 50_000, 50_000, 50_000]), "bar 1"),
        (bars(low=[50_000.0, 50_000, 0, 50_000, 50_000]), "bar 2"),
        (bars(high=[50_000.0, 50_000, 50_000, 49_000, 50_000]), "bar 3"),
        (bars(time=T0 + HOUR * np.array([0, 1, 3, 2, 4])), "bar 3"),
        (bars(volume=[1.0, 1, 1, 1, -1]), "bar 4"),
        (bars(volume=[1.0, 1]), "2, 5 rows"),
        (algo(leverage=0), "leverage: 0"),
        (algo(leverage=99), "leverage: 99"),
        (algo(sizing=Sizing(SizingKind.ABS, D(0))), "sizing: 0"),
        (algo(sizing=Sizing(SizingKind.ABS, D(10) ** 12)), "sizing"),
        (algo(sizing=Sizing(SizingKind.DYNAMIC, D(50), by="rsi")), "rsi"),
        (stopped(Distance(LevelKind.PCT, D(-1))), "stop_loss: -1"),
        (stopped(Distance(LevelKind.ATR, D(1), np.ones(3))), "3 values for 5 bars"),
        (replace(LEG, signals=replace(LEG.signals, long=Levels(target=Distance(LevelKind.RR, D(2))))), "needs a stop_loss"),
        (replace(LEG, funding_hours=np.array([T0, T0]), funding_rates=np.array([1, 1])), "funding hours"),
        (replace(LEG, funding_hours=np.array([T0]), funding_rates=np.array([10**9])), "funding hours"),
        (replace(LEG, funding_hours=np.array([T0]), funding_rates=np.array([1, 2])), "1 funding hours and 2 rates"),
    ],
)
def test_a_leg_that_cannot_be_simulated_is_named(leg: Leg, words: str) -> None:
    with pytest.raises(UserError, match=words):
        simulate([leg], Terms())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"cash": D(0)}, "cash: 0"),
        ({"cash": D("NaN")}, "cash: NaN"),
        ({"cash": D(10) ** 10}, "cash"),
        ({"slippage_bps": D(-1)}, "slippage_bps: -1"),
        ({"fees": FeeSchedule(D(1), D(0))}, "fees: 1"),
        ({"fill_qty": D("0.000001")}, "fill_qty"),
        ({"delay_bars": -1}, "delay_bars -1"),
        ({"first_row": -1}, "first_row -1"),
        ({"leverage": 41}, "leverage: 41"),
    ],
)
def test_terms_that_make_no_sense_are_named(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        simulate([LEG], Terms(**changes))


def test_legs_share_a_clock_and_no_market() -> None:
    ether = replace(LEG, instrument=replace(BTC, symbol="ETH"))
    with pytest.raises(UserError, match="nothing to simulate"):
        simulate([], Terms())
    with pytest.raises(UserError, match="given twice"):
        simulate([LEG, LEG], Terms())
    with pytest.raises(UserError, match="same instants"):
        simulate([LEG, replace(ether, bars=replace(LEG.bars, time=LEG.bars.time + 1))], Terms())


def test_money_that_would_leave_int64_is_an_error_and_never_wraps() -> None:
    rows = 400
    prices = [50_000.0 * 1.05 ** (row // 2) for row in range(rows)]
    leg = hand_leg(prices, {row: LONG if row % 4 == 0 else 4 for row in range(0, rows, 2)}, spec=replace(SPEC, leverage=3))
    with pytest.raises(UserError, match="would grow above"):
        simulate([leg], Terms(cash=D(900_000_000), fees=FeeSchedule(D(0), D(0)), slippage_bps=D(0)))


def test_trading_rows_beyond_the_bars_leave_the_cash_alone() -> None:
    found = simulate([LEG], Terms(first_row=99))
    assert found.equity.tolist() == [1_000_000_000] * 5


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 10**15), st.integers(-(10**6), 10**6))
def test_a_fee_in_two_steps_is_the_venues(notional: int, rate: int) -> None:
    assert money.fee_of.py_func(notional, rate) == trade_fee(notional, 1, rate)


@settings(max_examples=200, deadline=None)
@given(st.integers(-(10**9), 10**9), st.integers(1, 10**6), st.integers(-9 * 10**8, 9 * 10**8))
def test_funding_in_two_steps_is_the_venues(size: int, oracle: int, rate: int) -> None:
    assert money.funding_of.py_func(size, oracle, rate) == truncated(size * oracle * rate, 10**10)


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 10**13), st.sampled_from([1, -1]), st.integers(0, 99_999))
def test_a_slipped_price_is_the_venues(price: int, side: int, tenth_bps: int) -> None:
    assert money.slipped.py_func(price, side, tenth_bps) == slipped(price, Side.BUY if side > 0 else Side.SELL, tenth_bps)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 10**15), st.integers(1, 10**13), st.integers(0, 10**13))
def test_a_share_of_the_cost_is_the_domains(value: int, whole: int, part: int) -> None:
    part = min(part, whole)
    assert money.part_of.py_func(value, part, whole) == div_half_even(value * part, whole)


@settings(max_examples=300, deadline=None)
@given(
    st.integers(0, 5),
    st.integers(2, 10**9),
    st.sampled_from([1, -1]),
    st.booleans(),
    st.sampled_from([RATE, FIXED]),
    st.integers(1, 2 * UNIT),
)
def test_a_level_is_where_the_door_puts_it(size_decimals: int, price: int, sign: int, is_stop: bool, kind: int, amount: int) -> None:
    known = Instrument("hyperliquid", "X", size_decimals, (MarginTier(D(0), 10),))
    away = -sign if is_stop else sign
    exact = D(price) + away * (D(price * amount) / UNIT if kind == RATE else D(amount))
    if exact < 1:
        return
    level = protective_price(known, Direction.LONG if sign > 0 else Direction.SHORT, exact.scaleb(-known.price_decimals), is_stop=is_stop)
    assert level_price(price, away, int(away < 0), (kind, amount), known.price_decimals) == int(level.scaleb(known.price_decimals))
    passive = limit_price(known, Side.BUY if away < 0 else Side.SELL, exact.scaleb(-known.price_decimals))
    assert level_price(price, away, int(away > 0), (kind, amount), known.price_decimals) == int(passive.scaleb(known.price_decimals))


@given(st.integers(1, 10**13), st.integers(0, 6))
def test_a_tick_is_the_venues(price: int, size_decimals: int) -> None:
    spec = MarketSpec("X", size_decimals, ((0, 10),))
    assert tick_of(price, spec.price_decimals) == spec.tick(price)


@given(st.integers(0, 10**15), st.integers(0, 5 * 10**9))
def test_a_share_of_money_is_exact_and_rounded_down(amount: int, percent: int) -> None:
    assert share(amount, percent) == amount * percent // UNIT


def test_a_percent_trail_tightens_when_it_rounds() -> None:
    assert trail_level(100_001, 1, (RATE, 3 * UNIT // 100)) == 97_001
    assert trail_level(100_001, -1, (RATE, 3 * UNIT // 100)) == 103_001
    assert trail_level(100_001, 1, (FIXED, 500)) == 99_501


PLAIN = Rules(0, 0, NEVER, NEVER)
TIGHTENING = Rules(0, 0, NEVER, NEVER, 3)
FIRE_LONG, FIRE_SHORT, EXIT_LONG, HOLDS_LONG, HOLDS_SHORT = 1, 2, 4, 16, 32
LEFT_LONG = Memory(10, 1, 2, 1)


@pytest.mark.parametrize(
    ("code", "row", "standing", "memory", "rules", "expected"),
    [
        (FIRE_LONG, 5, Standing(0), Memory(), PLAIN, (ENTER_LONG, 0, 0)),
        (FIRE_LONG | FIRE_SHORT, 5, Standing(0), Memory(), PLAIN, (0, 0, 1)),
        (FIRE_LONG, 5, Standing(1), Memory(), PLAIN, (0, 0, 0)),
        (EXIT_LONG, 5, Standing(1), Memory(), PLAIN, (CLOSE, 0, 0)),
        (EXIT_LONG, 5, Standing(1, 1), Memory(), PLAIN, (0, 0, 0)),
        (FIRE_SHORT, 5, Standing(1), Memory(), PLAIN, (CLOSE | ENTER_SHORT, 0, 0)),
        (FIRE_SHORT, 5, Standing(1, 1), Memory(), PLAIN, (ENTER_SHORT, 0, 0)),
        (FIRE_SHORT, 5, Standing(1), Memory(), Rules(0, 0, NEVER, 2), (0, 0, 0)),
        (FIRE_SHORT, 5, Standing(0, 0, 1), Memory(), PLAIN, (WITHDRAW | ENTER_SHORT, 0, 0)),
        (FIRE_LONG, 5, Standing(0, 0, 1), Memory(), PLAIN, (0, 0, 0)),
        (EXIT_LONG, 5, Standing(0, 0, 1), Memory(), PLAIN, (WITHDRAW, 0, 0)),
        (EXIT_SHORT, 5, Standing(0, 0, 1), Memory(), PLAIN, (0, 0, 0)),
        (EXIT_SHORT, 5, Standing(0, 0, -1), Memory(), PLAIN, (WITHDRAW, 0, 0)),
        (EXIT_LONG, 5, Standing(0), Memory(), PLAIN, (0, 0, 0)),
        (FIRE_LONG | EXIT_LONG, 5, Standing(0, 0, 1), Memory(), PLAIN, (0, 0, 0)),
        (FIRE_LONG | FIRE_SHORT | EXIT_LONG, 5, Standing(0, 0, 1), Memory(), PLAIN, (WITHDRAW, 0, 1)),
        (FIRE_SHORT | EXIT_LONG, 5, Standing(0, 0, 1), Memory(), Rules(0, 0, NEVER, 2), (WITHDRAW, 0, 0)),
        (EXIT_SHORT, 5, Standing(1, 1, -1), Memory(), PLAIN, (WITHDRAW, 0, 0)),
        (FIRE_LONG | FIRE_SHORT | EXIT_SHORT, 5, Standing(1, 1, -1), Memory(), PLAIN, (WITHDRAW, 0, 1)),
        (FIRE_LONG, 12, Standing(0), LEFT_LONG, Rules(0, 3, NEVER, NEVER), (0, 1, 0)),
        (FIRE_LONG, 13, Standing(0), LEFT_LONG, Rules(0, 3, NEVER, NEVER), (ENTER_LONG, 0, 0)),
        (FIRE_LONG | HOLDS_LONG, 13, Standing(0), LEFT_LONG, Rules(REGULAR, 3, NEVER, NEVER), (0, 1, 0)),
        (FIRE_SHORT | HOLDS_SHORT | HOLDS_LONG, 13, Standing(0), LEFT_LONG, Rules(REGULAR, 3, NEVER, NEVER), (ENTER_SHORT, 1, 0)),
        (HOLDS_SHORT, 13, Standing(0), LEFT_LONG, Rules(REGULAR, 3, NEVER, NEVER), (0, 0, 0)),
        (FIRE_SHORT | HOLDS_SHORT, 13, Standing(0), LEFT_LONG, Rules(STRICT, 3, NEVER, NEVER), (0, 1, 0)),
        (0, 13, Standing(0), LEFT_LONG, Rules(STRICT, 3, NEVER, NEVER), (0, 0, 0)),
        (FIRE_LONG, 13, Standing(0), LEFT_LONG, Rules(0, 0, 2, NEVER), (ENTER_LONG, 0, 0)),
        (FIRE_LONG, 13, Standing(0), LEFT_LONG, Rules(0, 0, 3, NEVER), (0, 0, 0)),
        (FIRE_LONG, 13, Standing(0), Memory(), Rules(0, 0, 2, NEVER), (0, 0, 0)),
        (FIRE_LONG, 5, Standing(1), Memory(), TIGHTENING, (TIGHTEN, 0, 0)),
        (FIRE_SHORT, 5, Standing(-1), Memory(), TIGHTENING, (TIGHTEN, 0, 0)),
        (FIRE_LONG, 5, Standing(1), Memory(), Rules(0, 0, NEVER, NEVER, FIRE_SHORT), (0, 0, 0)),
        (FIRE_LONG, 12, Standing(1), LEFT_LONG, Rules(STRICT, 9, NEVER, NEVER, 3), (TIGHTEN, 1, 0)),
        (FIRE_LONG | EXIT_SHORT, 5, Standing(1), Memory(), TIGHTENING, (TIGHTEN, 0, 0)),
        (FIRE_LONG | EXIT_LONG, 5, Standing(1), Memory(), TIGHTENING, (CLOSE, 0, 0)),
        (FIRE_LONG | FIRE_SHORT, 5, Standing(1), Memory(), TIGHTENING, (0, 0, 1)),
        (FIRE_SHORT, 5, Standing(1), Memory(), TIGHTENING, (CLOSE | ENTER_SHORT, 0, 0)),
        (FIRE_SHORT, 5, Standing(1), Memory(), Rules(0, 0, NEVER, 2, 3), (0, 0, 0)),
        (FIRE_LONG, 5, Standing(1, 1), Memory(), TIGHTENING, (0, 0, 0)),
        (FIRE_LONG, 5, Standing(1, 1, -1), Memory(), TIGHTENING, (WITHDRAW, 0, 0)),
        (FIRE_LONG, 5, Standing(0, 0, 1), Memory(), TIGHTENING, (0, 0, 0)),
        (HOLDS_LONG, 5, Standing(1), Memory(), TIGHTENING, (0, 0, 0)),
    ],
)
def test_the_machine_decides(code: int, row: int, standing: Standing, memory: Memory, rules: Rules, expected: tuple[int, int, int]) -> None:
    assert decide(code, row, standing, memory, rules) == expected
