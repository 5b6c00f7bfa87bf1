"""The bar semantics of execution.md §7 in the kernel, case by case with figures made by hand: one BTC, and no costs unless said."""

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hand_legs import HOUR, LEAVE_LONG, LONG, SHORT, SPEC, T0, Shape, hand_leg

from tradeagent.algos.machine import EXIT_SHORT
from tradeagent.algos.signals import Distance, Levels
from tradeagent.algos.spec import BuyBack, EntryRule, Level, LevelKind, SideRules, Sizing, SizingKind
from tradeagent.domain.costs import FeeSchedule
from tradeagent.domain.instrument import Instrument, MarginTier
from tradeagent.research.kernel import simulate
from tradeagent.research.run import EXIT_REASONS, Leg, Run, Terms
from tradeagent.venue.margin import truncated

D = Decimal
USDC = 10**6
FREE = FeeSchedule(D(0), D(0))


def pct(value: str) -> Distance:
    return Distance(LevelKind.PCT, D(value))


def play(*legs: Leg, **changes: Any) -> Run:
    terms = {"cash": D(100_000), "fees": FREE, "slippage_bps": D(0), "fill_qty": D(1), "leverage": 20} | changes
    return simulate(legs, Terms(**terms))


def run(shapes: Sequence[Shape | float], codes: dict[int, int], levels: Levels | None = None, **changes: Any) -> Run:
    return play(hand_leg(shapes, codes, levels), **changes)


def exits(found: Run) -> list[tuple[int, float, str]]:
    """Row, price in USDC and reason of every exit."""
    trades = found.trades
    return [
        (int(row), price / 10, EXIT_REASONS[reason].value)
        for row, price, reason in zip(trades.exit_row, trades.exit_price, trades.exit_reason, strict=True)
    ]


def test_a_signal_acts_at_the_next_open_and_an_exit_too() -> None:
    found = run([50_000.0, (50_100.0, 50_300.0, 50_000.0, 50_200.0), (50_400.0,) * 4, 50_400.0], {0: LONG, 1: LEAVE_LONG})
    assert (found.trades.entry_row[0], found.trades.entry_price[0]) == (1, 501_000)
    assert exits(found) == [(2, 50_400.0, "signal")]
    assert found.trades.gross[0] == 300 * USDC
    assert found.equity.tolist() == [100_000 * USDC, 100_100 * USDC, 100_300 * USDC, 100_300 * USDC]


def test_a_touched_stop_fills_at_its_level_and_a_gapped_one_at_the_open() -> None:
    levels = Levels(stop=pct("2"))
    touched = run([50_000.0, 50_000.0, (50_000.0, 50_000.0, 49_000.0, 49_500.0), 49_500.0], {0: LONG}, levels)
    gapped = run([50_000.0, 50_000.0, (48_500.0, 49_500.0, 48_000.0, 49_500.0), 49_500.0], {0: LONG}, levels)
    assert exits(touched) == [(2, 49_000.0, "stop")]
    assert exits(gapped) == [(2, 48_500.0, "stop")]


def test_a_gap_in_favour_fills_the_target_at_the_open() -> None:
    found = run([50_000.0, 50_000.0, (52_000.0, 52_500.0, 51_500.0, 52_000.0), 52_000.0], {0: LONG}, Levels(target=pct("2")))
    assert exits(found) == [(2, 52_000.0, "target")]


def test_a_bar_that_holds_stop_and_target_is_a_stop_unless_the_nearer_extreme_comes_first() -> None:
    levels = Levels(stop=pct("2"), target=pct("1"))
    shapes = [50_000.0, 50_000.0, (50_000.0, 50_600.0, 48_900.0, 50_000.0), 50_000.0]
    assert exits(run(shapes, {0: LONG}, levels)) == [(2, 49_000.0, "stop")]
    assert exits(run(shapes, {0: LONG}, levels, path="nearest")) == [(2, 50_500.0, "target")]


def test_a_market_entry_lives_through_its_whole_bar() -> None:
    levels = Levels(stop=pct("1"), target=pct("1"))
    stopped = run([50_000.0, (50_000.0, 50_100.0, 49_400.0, 50_000.0), 50_000.0], {0: LONG}, levels)
    taken = run([50_000.0, (50_000.0, 50_600.0, 49_900.0, 50_000.0), 50_000.0], {0: LONG}, levels)
    assert exits(stopped) == [(1, 49_500.0, "stop")]
    assert exits(taken) == [(1, 50_500.0, "target")]


def test_a_stop_already_passed_when_the_entry_fills_executes_at_that_open() -> None:
    found = run([50_000.0, (48_000.0, 49_000.0, 47_000.0, 48_500.0), 48_500.0], {0: LONG}, Levels(stop=pct("2")))
    assert (found.trades.entry_price[0], exits(found)) == (480_000, [(1, 48_000.0, "stop")])


def test_levels_are_measured_from_the_decision_price_and_rounded_toward_the_entry() -> None:
    found = run([50_001.0, 50_001.0, (50_001.0, 50_001.0, 45_000.0, 45_000.0), 45_000.0], {0: LONG}, Levels(stop=pct("1.2345")))
    assert exits(found) == [(2, 49_384.0, "stop")]  # 50,001 × (1 − 0.012345) = 49,383.74, five figures, up
    short = run([50_001.0, 50_001.0, (50_001.0, 55_000.0, 50_001.0, 55_000.0), 55_000.0], {0: SHORT}, Levels(stop=pct("1.2345")))
    assert exits(short) == [(2, 50_618.0, "stop")]


def test_a_target_in_r_is_a_multiple_of_the_stops_distance() -> None:
    levels = Levels(stop=pct("1"), target=Distance(LevelKind.RR, D(3)))
    found = run([50_000.0, 50_000.0, (50_000.0, 51_600.0, 49_900.0, 51_000.0), 51_000.0], {0: LONG}, levels)
    assert exits(found) == [(2, 51_500.0, "target")]
    assert found.trades.stop[0] == 495_000


def test_a_trailing_stop_follows_only_points_already_passed() -> None:
    """Adverse path: the new high of row 2 lifts the level to 51,500 − 500; the same bar's low came before it, its close comes after."""
    levels = Levels(stop=pct("1"), trailing=Distance(LevelKind.ABS, D(500)))
    rose = [50_000.0, 50_000.0, (50_000.0, 51_500.0, 49_800.0, 51_200.0), (51_200.0, 51_200.0, 50_900.0, 51_100.0), 51_100.0]
    assert exits(run(rose, {0: LONG}, levels)) == [(3, 51_000.0, "trailing_stop")]
    fell_back = [50_000.0, 50_000.0, (50_000.0, 51_500.0, 49_800.0, 50_900.0), 50_900.0]
    assert exits(run(fell_back, {0: LONG}, levels)) == [(2, 51_000.0, "trailing_stop")]


def test_a_percent_trail_keeps_its_share_of_the_best_price() -> None:
    levels = Levels(stop=pct("2"), trailing=pct("2"))
    found = run([50_000.0, 50_000.0, (50_000.0, 60_000.0, 50_000.0, 60_000.0), (60_000.0, 60_000.0, 58_000.0, 58_500.0)], {0: LONG}, levels)
    assert exits(found) == [(3, 58_800.0, "trailing_stop")]


def test_a_flip_closes_and_opens_at_one_open() -> None:
    found = run([50_000.0, 50_000.0, 51_000.0, 51_500.0, 51_500.0], {0: LONG, 2: SHORT})
    assert exits(found) == [(3, 51_500.0, "flip")]
    assert (found.open_trades.direction[0], found.open_trades.entry_row[0]) == (-1, 3)


def test_both_sides_firing_is_counted_and_does_nothing() -> None:
    found = run([50_000.0] * 4, {1: LONG | SHORT})
    assert (len(found.trades), len(found.open_trades), found.counts["ambiguous"]) == (0, 0, 1)


def test_orders_wait_through_an_outage_and_the_opposite_signal_replaces_them() -> None:
    leg = hand_leg([50_000.0] * 6, {0: LONG, 1: SHORT})
    volume = np.array([1.0, 0, 0, 1, 1, 1])
    found = play(replace(leg, bars=replace(leg.bars, volume=volume)))
    assert (found.open_trades.direction[0], found.open_trades.entry_row[0], found.counts["outage_waits"]) == (-1, 3, 2)
    filled = play(replace(leg, bars=replace(leg.bars, volume=volume)), fill_no_volume=True)
    assert filled.trades.entry_row[0] == 1


def test_an_exit_signal_takes_back_the_entry_that_waits_through_an_outage() -> None:
    volume = np.array([1.0, 0, 0, 1, 1, 1])
    for exits, opened in ((LEAVE_LONG, 0), (EXIT_SHORT, 1)):
        leg = hand_leg([50_000.0] * 6, {0: LONG, 1: exits})
        found = play(replace(leg, bars=replace(leg.bars, volume=volume)))
        assert (len(found.trades), len(found.open_trades)) == (0, opened)


def test_funding_is_paid_on_what_is_carried_into_the_hour_and_truncated() -> None:
    leg = hand_leg([50_000.0, 50_000.0, 50_007.7, 50_007.7], {0: LONG})
    hours = T0 + np.arange(4, dtype=np.int64) * HOUR
    found = play(replace(leg, funding_hours=hours, funding_rates=np.full(4, 125_123, np.int64)), fill_qty=D("0.00123"))
    each = 123 * 500_077 * 125_123 // 10**10  # row 1 is the entry itself: nothing was carried in
    assert (found.funding, found.open_trades.funding[0]) == (2 * each, 2 * each)
    received = play(
        replace(hand_leg([50_000.0] * 4, {0: SHORT}), funding_hours=hours, funding_rates=np.full(4, 125_123, np.int64)),
        fill_qty=D("0.00123"),
    )
    assert received.funding == -2 * (123 * 500_000 * 125_123 // 10**10)


@pytest.mark.parametrize("seed", range(20))
def test_funding_of_bars_with_gaps_is_paid_by_the_first_bar_that_opens_after_the_hour(seed: int) -> None:
    rng = np.random.default_rng(seed)
    kept = np.sort(rng.choice(90, 60, replace=False)) if seed % 2 else np.arange(60)
    leg = hand_leg([50_000.0] * 60, {0: LONG})
    time = T0 + kept * (HOUR // 4)
    hours = T0 + np.sort(rng.choice(np.arange(-3, 27), 20, replace=False)) * HOUR
    rates = rng.integers(-(10**5), 10**5, 20)
    found = play(replace(leg, bars=replace(leg.bars, time=time, interval_ms=HOUR // 4), funding_hours=hours, funding_rates=rates))
    lots = int(found.open_trades.size[0])
    rows = np.searchsorted(time, hours)
    paid = [truncated(lots * 500_000 * int(rate), 10**10) for row, rate in zip(rows, rates, strict=True) if 1 < row < 60]
    assert found.funding == sum(paid)
    due = set(range(int(time[0]) // HOUR + 1, int(time[-1]) // HOUR + 1))
    assert found.counts["funding_missing"] == len(due - {int(hour) // HOUR for hour in hours})


@pytest.mark.parametrize("touched", [2, 3, 17, 31, 32, 33, 34, 46, 47, 48, 49, 64, 65, 66, 78, 79])
def test_a_stop_is_met_on_whichever_of_many_still_bars_it_lies(touched: int) -> None:
    shapes: list[Shape | float] = [50_000.0] * 80
    shapes[touched] = (50_000.0, 50_000.0, 48_000.0, 50_000.0)
    found = run(shapes, {0: LONG}, Levels(stop=pct("2")))
    assert exits(found) == [(touched, 49_000.0, "stop")]


@pytest.mark.parametrize("left", [2, 3, 17, 31, 32, 33, 34, 46, 47, 48, 49, 64, 65, 66, 78, 79])
def test_what_a_trade_saw_is_that_of_its_own_bars_and_no_other(left: int) -> None:
    rng = np.random.default_rng(left)
    opens, spread = 50_000.0 + rng.integers(-300, 300, 80), rng.integers(0, 200, (2, 80))
    shapes: list[Shape | float] = [(each, each + up, each - down, each) for each, up, down in zip(opens, *spread, strict=True)]
    found = run(shapes, {0: LONG, left - 1: LEAVE_LONG}, Levels(stop=pct("3"), target=pct("3")))
    trades, inside = found.trades, slice(1, left)
    worst = min(float((opens - spread[1])[inside].min()), opens[left])
    best = max(float((opens + spread[0])[inside].max()), opens[left])
    lots = int(trades.size[0])
    assert exits(found) == [(left, opens[left], "signal")]
    assert (trades.mae[0], trades.mfe[0]) == (lots * round((opens[1] - worst) * 10), lots * round((best - opens[1]) * 10))
    cash, held = 100_000 * USDC, lots * np.rint((opens - opens[1]) * 10).astype(np.int64)
    assert np.array_equal(found.equity, [cash] + [cash + int(held[min(row, left)]) for row in range(1, 80)])
    assert found.exposed == left - 1


def test_slippage_and_fees_round_against_the_trader_and_toward_zero() -> None:
    found = run(
        [50_001.3, 50_001.3, 50_001.3, 50_001.3],
        {0: LONG, 1: LEAVE_LONG},
        fees=FeeSchedule(),
        slippage_bps=D("2"),
        fill_qty=D("0.00033"),
    )
    bought, sold = -(-500_013 * 100_020 // 100_000), 500_013 * 99_980 // 100_000
    fees = 33 * bought * 45_000 // 10**8 + 33 * sold * 45_000 // 10**8
    assert (found.trades.entry_price[0], found.trades.exit_price[0], found.fees) == (bought, sold, fees)
    assert found.equity[-1] == 100_000 * USDC + 33 * (sold - bought) - fees
    assert found.slippage == 33 * (bought - 500_013 + 500_013 - sold)
    assert found.turnover == 33 * (bought + sold)


def test_what_cannot_be_sent_is_counted() -> None:
    shapes = [50_000.0] * 4
    assert run(shapes, {0: LONG}, fill_qty=D("0.00019")).counts["below_minimum"] == 1
    assert run(shapes, {0: LONG}, fill_qty=D(41)).counts["no_margin"] == 1
    assert run(shapes, {0: LONG}, Levels(stop=pct("100"))).counts["bad_levels"] == 1
    past_liquidation = run(shapes, {0: LONG}, Levels(stop=pct("10")), fill_qty=D(20))
    assert past_liquidation.counts["bad_levels"] == 1


def test_the_whole_equity_without_leverage_is_cut_to_what_it_carries_when_the_fill_is_worse() -> None:
    everything = hand_leg([50_000.0, 50_400.0, 50_400.0], {0: LONG}, spec=replace(SPEC, sizing=Sizing(SizingKind.PCT_OF_EQUITY, D(100))))
    found = play(everything, fees=FeeSchedule(), slippage_bps=D(2), fill_qty=None, leverage=1)
    assert found.counts["no_margin"] == 0
    notional = 100_000 * USDC * 100 // 101 * 10**8 // (10**8 + 45_000)
    assert found.open_trades.size[0] == notional // 500_000


@pytest.mark.parametrize(
    ("cash", "percent", "sizes", "refused"),
    [(100_000, 40, [0.8, 0.8], 0), (100_000, 70, [1.4, 0.6 * 100 / 101], 0), (500, 99, [0.0099], 1)],
)
def test_a_share_of_the_equity_is_cut_to_what_the_other_market_leaves(cash: int, percent: int, sizes: list[float], refused: int) -> None:
    """Both enter at the same close: the second counts what the first has sent. 5 USDC are less than the venue takes."""
    spec = replace(SPEC, sizing=Sizing(SizingKind.PCT_OF_EQUITY, D(percent)))
    first = hand_leg([50_000.0] * 3, {0: LONG}, spec=spec)
    other = replace(first, instrument=replace(first.instrument, symbol="ETH"), bars=replace(first.bars, market="ETH"))
    found = play(first, other, fill_qty=None, leverage=1, cash=D(cash))
    assert found.open_trades.size.tolist() == [int(size * 100_000) for size in sizes]
    assert found.counts["no_margin"] == refused


def test_margin_is_asked_for_again_at_the_open() -> None:
    found = run([50_000.0, 52_000.0, 52_000.0], {0: LONG}, fill_qty=D(2), leverage=1)
    assert (len(found.open_trades), found.counts["no_margin"]) == (0, 1)


def test_liquidation_starts_at_the_exact_price_and_is_charged_the_taker_fee() -> None:
    """2 BTC at 50,000 on 5,000 USDC: 5,000 + 2 (p − 50,000) = 2 p / 80 at p = 48,101.27, so the first price below it on the grid."""
    fees = FeeSchedule(D("0.00045"), D(0))
    leg = hand_leg([50_000.0, 50_000.0, (50_000.0, 50_000.0, 47_200.0, 48_000.0), 48_000.0], {0: LONG})
    found = play(leg, fill_qty=D(2), fees=fees, cash=D(5_045), leverage=40)
    assert exits(found) == [(2, 48_101.2, "liquidation")]
    assert found.counts["liquidations"] == 1
    assert found.fees == 45_000_000 + 43_291_080
    assert found.equity[-1] == 5_000_000_000 - 2 * 1_898_800_000 - 43_291_080


def test_a_large_position_is_liquidated_in_fifths_until_margin_is_met() -> None:
    """38 BTC at 50,000 on 100,000 USDC fall short at 47,968.02; selling a fifth is enough down to 47,900."""
    leg = hand_leg([50_000.0, 50_000.0, (50_000.0, 50_000.0, 47_900.0, 48_200.0), 48_200.0], {0: LONG})
    found = play(leg, fill_qty=D(38), leverage=40)
    assert (len(found.trades), found.open_trades.size[0], found.counts["liquidations"]) == (0, 3_800_000, 1)
    sold, kept = 760_000, 3_040_000
    assert found.equity[-1] == 100_000 * USDC + sold * (479_680 - 500_000) + kept * (482_000 - 500_000)


def test_a_gap_below_two_thirds_of_maintenance_is_taken_by_the_backstop() -> None:
    found = run([50_000.0, 50_000.0, (46_000.0, 46_500.0, 45_500.0, 46_000.0), 46_000.0], {0: LONG}, fill_qty=D(38), leverage=40)
    assert exits(found) == [(2, 46_000.0, "liquidation")]
    assert found.equity[-2:].tolist() == [0, 0]


def test_two_markets_share_one_margin() -> None:
    """Each leg alone lives through its low; at both lows together equity is below the maintenance margin of both."""
    spec = replace(SPEC, sizing=Sizing(SizingKind.PCT_OF_EQUITY, D(1000)), leverage=25)
    btc = hand_leg([50_000.0, 50_000.0, (50_000.0, 50_000.0, 48_000.0, 49_000.0), 49_000.0], {0: LONG}, spec=spec)
    other = hand_leg([2_000.0, 2_000.0, (2_000.0, 2_000.0, 1_890.0, 1_950.0), 1_950.0], {0: LONG}, spec=spec)
    eth = Instrument("hyperliquid", "ETH", 4, (MarginTier(D(0), 25),))
    ether = replace(other, instrument=eth, bars=replace(other.bars, market="ETH"))
    alone = [play(leg, fill_qty=None, leverage=None) for leg in (btc, ether)]
    assert [one.counts["liquidations"] for one in alone] == [0, 0]
    for legs in ((btc, ether), (ether, btc)):
        together = play(*legs, fill_qty=None, leverage=None)
        assert together.counts["liquidations"] > 0
        assert together.equity[1] == 100_000 * USDC
        assert together.equity[2] < sum(int(one.equity[2]) for one in alone) - 100_000 * USDC


def test_excursions_count_held_bars_and_the_exit_price_only() -> None:
    found = run(
        [
            50_000.0,
            (50_000.0, 50_400.0, 49_700.0, 50_100.0),
            (50_100.0, 51_000.0, 49_900.0, 50_200.0),
            (50_300.0, 60_000.0, 40_000.0, 50_000.0),
            50_000.0,
        ],
        {0: LONG, 2: LEAVE_LONG},
    )
    assert (found.trades.mae[0], found.trades.mfe[0]) == (300 * USDC, 1_000 * USDC)


def test_an_open_position_is_reported_or_closed_with_cost_at_the_end() -> None:
    shapes = [50_000.0, 50_000.0, 50_500.0]
    still = run(shapes, {0: LONG})
    assert (len(still.trades), still.open_trades.gross[0], still.open_trades.exit_price[0]) == (0, 500 * USDC, 505_000)
    closed = run(shapes, {0: LONG}, close_at_end=True, fees=FeeSchedule(D("0.001"), D(0)))
    assert exits(closed) == [(2, 50_500.0, "end")]
    assert closed.equity[-1] == (100_000 + 500) * USDC - 50_000_000 - 50_500_000


def test_a_delay_fills_later_and_nothing_is_decided_before_the_first_row() -> None:
    shapes = [50_000.0 + 10 * row for row in range(8)]
    assert run(shapes, {2: LONG}, delay_bars=2).open_trades.entry_row[0] == 5
    assert len(run(shapes, {2: LONG}, first_row=3).open_trades) == 0
    assert run(shapes, {3: LONG}, first_row=3).open_trades.entry_row[0] == 4


def test_a_buy_back_limit_needs_a_trade_through_and_fills_as_maker() -> None:
    side = SideRules(EntryRule(("x",), buy_back=BuyBack(Level(LevelKind.PCT, D(1)))))
    levels = Levels(buy_back=pct("1"))
    touched: list[Shape | float] = [50_000.0, 50_000.0, 50_000.0, (50_000.0, 50_000.0, 49_500.0, 49_600.0), 49_600.0]
    through: list[Shape | float] = [*touched[:3], (50_000.0, 50_000.0, 49_499.0, 49_600.0), 49_600.0]
    spec = replace(SPEC, long=side)
    maker = FeeSchedule(D("0.00045"), D(0))
    for shapes, count in ((touched, 0), (through, 1)):
        found = play(hand_leg(shapes, {0: LONG, 1: LEAVE_LONG}, levels, spec), fees=maker)
        assert len(found.open_trades) == count
    assert (found.open_trades.entry_price[0], found.open_trades.fees[0]) == (495_000, 0)


def test_percent_sizes_follow_equity_and_risk_the_stop() -> None:
    shapes = [50_000.0] * 4
    half = replace(SPEC, sizing=Sizing(SizingKind.PCT_OF_EQUITY, D(50)))
    found = play(hand_leg(shapes, {0: LONG}, spec=half), fill_qty=None)
    assert found.open_trades.size[0] == 100_000  # 50,000 of 100,000 USDC
    risky = replace(SPEC, sizing=Sizing(SizingKind.RISK_PCT, D(1)))
    found = play(hand_leg(shapes, {0: LONG}, Levels(stop=pct("2")), risky), fill_qty=None)
    assert found.open_trades.size[0] == 100_000  # 1,000 USDC over 1,000 of distance
    fixed = replace(SPEC, sizing=Sizing(SizingKind.ABS, D(12_345)))
    assert play(hand_leg(shapes, {0: LONG}, spec=fixed), fill_qty=None).open_trades.size[0] == 24_690
    scaled = replace(SPEC, sizing=Sizing(SizingKind.DYNAMIC, D(80), by="rsi"))
    leg = hand_leg(shapes, {0: LONG, 1: LONG}, spec=scaled)
    leg = replace(leg, signals=replace(leg.signals, scale=np.array([np.nan, 0.25, 1, 1])))
    found = play(leg, fill_qty=None)
    assert (found.counts["bad_levels"], found.open_trades.size[0]) == (1, 40_000)


@pytest.mark.parametrize("seed", range(4))
def test_quiet_bars_are_marked_like_played_ones(seed: int) -> None:
    """The same run with a level that can never be reached is played bar by bar and must not differ."""
    rng = np.random.default_rng(seed)
    close = np.round(50_000 + np.cumsum(rng.normal(0, 20, 400)), 0)
    shapes: list[Shape | float] = [(float(c), float(c) + 15, float(c) - 15, float(c)) for c in close]
    codes = {row: int(rng.choice([LONG, SHORT, LEAVE_LONG])) for row in range(0, 399, 7)}
    quick = run(shapes, codes)
    far = Levels(stop=Distance(LevelKind.ABS, D(40_000)), trailing=Distance(LevelKind.ABS, D(40_000)))
    slow = run(shapes, codes, far)
    assert np.array_equal(quick.equity, slow.equity)
    assert quick.trades.mae.tolist() == slow.trades.mae.tolist()
    assert quick.trades.mfe.tolist() == slow.trades.mfe.tolist()
    assert (quick.exposed, quick.max_leverage) == (slow.exposed, slow.max_leverage)
