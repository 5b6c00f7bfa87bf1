"""Single cases in which kernel and event path differ, or differed: each with what the specification says."""

from dataclasses import replace

import numpy as np
import pytest
from hand_legs import LEAVE_LONG, LONG, SHORT, SPEC, D, hand_leg
from parity_worlds import difference
from run_samples import BTC

from tradeagent.algos.levels import FIXED, reaches_of
from tradeagent.algos.signals import Distance, Levels
from tradeagent.algos.spec import BuyBack, EntryRule, Level, LevelKind, SideRules, Sizing, SizingKind
from tradeagent.domain.errors import InvalidConfig
from tradeagent.research.eventpath import replay
from tradeagent.research.kernel import simulate
from tradeagent.research.run import EXIT_REASONS, Leg, Terms


def unequal(leg: Leg, terms: Terms | None = None) -> str | None:
    used = terms or Terms()
    return difference(simulate([leg], used), replay([leg], used))


def test_an_atr_distance_is_so_many_times_its_series() -> None:
    series = np.full(3, 100.0)
    stop = Distance(LevelKind.ATR, D(2), series)
    found = reaches_of(Levels(stop, Distance(LevelKind.RR, D(3))), BTC, "exit.long")
    units = 10**BTC.price_decimals
    assert found.stop.at(1) == (FIXED, 200 * units)
    assert found.target.at(1) == (FIXED, 600 * units)


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


@pytest.mark.parametrize("kind", [LevelKind.ABS, LevelKind.ATR])
@pytest.mark.parametrize(("code", "stop"), [(LONG, 499_000), (SHORT, 501_000)])
def test_stop_and_target_lie_toward_the_entry(kind: LevelKind, code: int, stop: int) -> None:
    """100.96 from 50,000 is 49,899.04 or 50,100.96, and prices step by 1: a stop 100 away, and a target that 100 reaches."""
    distance = Distance(kind, D("100.96"), np.ones(5) if kind is LevelKind.ATR else None)
    ends = (50_000.0, 50_100.2, 50_000.0, 50_050.0) if code == LONG else (50_000.0, 50_000.0, 49_899.8, 49_950.0)
    leg = hand_leg([50_000.0, 50_000.0, 50_000.0, ends, 50_000.0], {0: code}, Levels(distance, distance))
    run = simulate([leg], Terms(slippage_bps=D(0)))
    assert run.trades.stop.tolist() == [stop] and [EXIT_REASONS[reason].value for reason in run.trades.exit_reason] == ["target"]
    assert unequal(leg, Terms(slippage_bps=D(0))) is None


@pytest.mark.parametrize("kind", [LevelKind.ABS, LevelKind.ATR])
def test_a_buy_back_limit_lies_on_the_passive_side(kind: LevelKind) -> None:
    """100.04 below an exit at 50,000 is 49,899.96: a buy at 49,899, which a low of 49,897 trades through and one of 49,898.5 does not."""
    rules = SideRules(EntryRule(("x",), buy_back=BuyBack(Level(kind, D("100.04")))))
    levels = Levels(buy_back=Distance(kind, D("100.04"), np.ones(7) if kind is LevelKind.ATR else None))
    for low, entries in ((49_898.5, 1), (49_897.0, 2)):
        shapes = [50_000.0, 50_000.0, 50_000.0, 50_000.0, (50_000.0, 50_000.0, low, 49_950.0), 49_950.0, 49_950.0]
        leg = hand_leg(shapes, {0: LONG, 1: LEAVE_LONG}, levels, replace(SPEC, long=rules))
        run = simulate([leg], Terms(slippage_bps=D(0)))
        assert len(run.trades) + len(run.open_trades) == entries
        assert unequal(leg, Terms(slippage_bps=D(0))) is None


def test_a_distance_of_less_than_a_unit_is_none() -> None:
    """0.05 is half of the smallest price difference that is stored: nothing is left of the distance, in either path."""
    shapes = [50_000.0, 50_000.0, (50_000.0, 50_100.0, 49_990.0, 50_050.0), 50_050.0, 50_050.0]
    percent = Distance(LevelKind.PCT, D(2))
    leg = hand_leg(shapes, {0: LONG}, Levels(percent, trailing=Distance(LevelKind.ATR, D(1), np.full(5, 0.05))))
    assert simulate([leg], Terms()).counts["bad_levels"] == 1
    assert unequal(leg) is None
    for path in (simulate, replay):
        with pytest.raises(InvalidConfig, match=r"trailing: 0\.05 is below 0\.1, the least BTC knows"):
            path([hand_leg(shapes, {0: LONG}, Levels(percent, trailing=Distance(LevelKind.ABS, D("0.05"))))], Terms())
