"""Single cases in which kernel and event path differ, or differed: each with what the specification says."""

from dataclasses import replace

import numpy as np
from hand_legs import LEAVE_LONG, LONG, SHORT, SPEC, D, hand_leg
from parity_worlds import difference
from run_samples import BTC

from tradeagent.algos.levels import FIXED, reaches_of
from tradeagent.algos.signals import Distance, Levels
from tradeagent.algos.spec import BuyBack, EntryRule, Level, LevelKind, SideRules, Sizing, SizingKind
from tradeagent.research.eventpath import replay
from tradeagent.research.kernel import simulate
from tradeagent.research.run import EXIT_REASONS, Leg, Terms


def unequal(leg: Leg, terms: Terms | None = None) -> str | None:
    used = terms or Terms()
    return difference(simulate([leg], used), replay([leg], used))


def test_an_atr_distance_is_what_its_series_says() -> None:
    series = np.full(3, 100.0)
    stop = Distance(LevelKind.ATR, D(2), series)
    found = reaches_of(Levels(stop, Distance(LevelKind.RR, D(3))), BTC, "exit.long")
    units = 10**BTC.price_decimals
    assert found.stop.at(1) == (FIXED, 100 * units)
    assert found.target.at(1) == (FIXED, 300 * units)


def test_an_entry_with_an_atr_stop() -> None:
    levels = Levels(Distance(LevelKind.ATR, D(1), np.full(6, 500.0)))
    leg = hand_leg([50_000.0, 50_000.0, (50_000.0, 50_100.0, 48_000.0, 49_000.0), 49_000.0, 49_000.0, 49_000.0], {0: LONG}, levels)
    assert unequal(leg) is None
    assert len(replay([leg], Terms()).run.trades) == 1


def test_a_close_above_the_largest_market_order_is_refused() -> None:
    spec = replace(SPEC, sizing=Sizing(SizingKind.PCT_OF_EQUITY, D(100)), leverage=10)
    leg = hand_leg([50_000.0, 50_000.0, 60_000.0, 60_000.0, 60_000.0, 60_000.0], {0: LONG, 2: SHORT, 4: LEAVE_LONG}, spec=spec)
    terms = Terms(cash=D(29_000_000))
    run = replay([leg], terms).run
    assert (len(run.trades), run.counts["venue_refused"]) == (0, 2)
    assert unequal(leg, terms) is None


def test_a_buy_back_limit_far_below_the_market_is_refused() -> None:
    buy_back = BuyBack(Level(LevelKind.PCT, D(85)))
    spec = replace(SPEC, long=SideRules(EntryRule(("x",), buy_back=buy_back)))
    levels = Levels(buy_back=Distance(LevelKind.PCT, D(85)))
    leg = hand_leg([50_000.0, 50_000.0, 50_000.0, 50_000.0, 50_000.0, 50_000.0], {0: LONG, 2: LEAVE_LONG}, levels, spec)
    assert replay([leg], Terms()).run.counts["venue_refused"] == 1
    assert unequal(leg) is None


def test_an_entry_too_large_to_count_is_refused_and_the_run_goes_on() -> None:
    """So large that its liquidation price comes before the stop."""
    spec = replace(SPEC, sizing=Sizing(SizingKind.RISK_PCT, D(100)))
    levels = Levels(Distance(LevelKind.ABS, D("0.1")))
    leg = hand_leg([50_000.0, 50_000.0, 50_000.0, 50_000.0], {0: LONG}, levels, spec)
    terms = Terms(cash=D(2_000_000))
    assert replay([leg], terms).run.counts["bad_levels"] == 1
    assert unequal(leg, terms) is None


def test_a_target_that_is_no_price_is_a_bad_level_whatever_the_size() -> None:
    spec = replace(SPEC, sizing=Sizing(SizingKind.RISK_PCT, D("0.001")))
    levels = Levels(Distance(LevelKind.PCT, D(1)), Distance(LevelKind.ABS, D(60_000)))
    leg = hand_leg([50_000.0, 50_000.0, 50_000.0, 50_000.0], {0: SHORT}, levels, spec)
    assert replay([leg], Terms()).run.counts["bad_levels"] == 1
    assert unequal(leg) is None


def test_a_stop_that_trails_in_percent_follows_the_best_price_of_the_path() -> None:
    """Entry at 50,000 (row 1): 5 % under its best price; the high of row 2 moves it to 52,250, which the close of row 2 stays above."""
    percent = Distance(LevelKind.PCT, D(5))
    shapes = [50_000.0, 50_000.0, (50_000.0, 55_000.0, 49_900.0, 54_000.0), (54_000.0, 54_000.0, 50_000.0, 51_000.0), 51_000.0]
    leg = hand_leg(shapes, {0: LONG}, Levels(stop=percent, trailing=percent))
    trades = replay([leg], Terms(slippage_bps=D(0))).run.trades
    assert [(int(price), EXIT_REASONS[int(reason)].value) for price, reason in zip(trades.exit_price, trades.exit_reason, strict=True)] == [
        (522_500, "trailing_stop")
    ]
    assert unequal(leg) is None
