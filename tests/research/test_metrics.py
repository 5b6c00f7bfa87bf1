"""Metrics against figures worked out by hand, against a plain-Python twin, and against empyrical where conventions agree."""

import json
import math
import time
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import empyrical
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from run_samples import CASH, DAY, HOUR, MIN, T0, bars_at, clock, leg_of, run_of, trades_of

from tradeagent.research.metrics import METRIC_KEYS, daily_returns, deepest, metrics_of, quick, r_multiples
from tradeagent.research.run import Terms

SECTION_8 = """
    total_return_pct annual_return_pct volatility_pct sharpe sortino calmar max_drawdown_pct max_drawdown_quote max_drawdown_duration_s
    trades winning_trades losing_trades win_rate profit_factor payoff_ratio expectancy_quote expectancy_r sqn avg_win_quote avg_loss_quote
    largest_win_quote largest_loss_quote avg_bars_held exposure_pct turnover trades_per_day long_trades short_trades long_win_rate
    short_win_rate long_pnl_quote short_pnl_quote gross_pnl_quote net_pnl_quote fees_quote funding_quote slippage_quote liquidations
    buy_hold_return_pct var_95_pct cvar_95_pct best_day_pct worst_day_pct max_leverage_used
"""


def metrics(equity, trades=(), *, interval=HOUR, start=T0, terms=None, **others):
    bars = bars_at(clock(len(equity), interval, start), interval)
    return metrics_of(run_of(equity, trades, **others), [leg_of(bars)], terms or Terms())


def test_the_keys_are_those_of_the_specification_in_its_order():
    assert list(metrics([1000.0] * 30)) == SECTION_8.split() == list(METRIC_KEYS)


def test_the_first_day_counts_from_cash_and_a_partial_last_day_counts():
    equity = np.concatenate([np.full(24, 1010.0), np.full(24, 999.9), np.full(3, 1049.895)])
    returns = daily_returns(run_of(equity), bars_at(clock(51)), Terms())
    assert returns == pytest.approx([0.01, -0.01, 0.05])


def test_a_day_without_bars_returns_nothing_and_a_run_may_begin_at_noon():
    times = [T0 + 12 * HOUR, T0 + 13 * HOUR, T0 + 3 * DAY]
    assert daily_returns(run_of([1001.0, 1002.0, 1012.02]), bars_at(times), Terms()) == pytest.approx([0.002, 0, 0, 0.01])


def test_from_daily_bars_on_the_bar_is_the_period():
    run, bars = run_of([1010.0, 1020.1]), bars_at(clock(2, 7 * DAY), 7 * DAY)
    assert daily_returns(run, bars, Terms()) == pytest.approx([0.01, 0.01])
    equity = [1000.0, 1010.0, 1000.0, 1030.0]
    weekly, daily = metrics(equity, interval=7 * DAY), metrics(equity, interval=DAY)
    assert weekly["sharpe"] == pytest.approx(daily["sharpe"] * math.sqrt(1 / 7))


def test_rows_that_only_feed_indicators_are_left_out():
    equity = np.concatenate([np.full(240, 1000.0), np.linspace(1000, 1100, 240)])
    cut, whole = metrics(equity, terms=Terms(first_row=240)), metrics(equity[240:], start=T0 + 240 * HOUR)
    assert cut == whole


def test_drawdown_counts_from_starting_cash_to_its_recovery():
    found = metrics([990.0, 950.0, 1000.0, 1100.0, 1045.0, 1100.0, 1200.0])
    assert found["max_drawdown_pct"] == pytest.approx(5.0)
    assert found["max_drawdown_quote"] == pytest.approx(55.0)
    assert found["max_drawdown_duration_s"] == 3 * 3600
    assert metrics([1000.0, 1001.0, 990.0, 991.0])["max_drawdown_duration_s"] == 2 * 3600
    assert metrics([1000.0, 1001.0, 1001.0])["max_drawdown_duration_s"] == 0


def test_annual_return_needs_a_week():
    assert metrics(np.full(24 * 7 - 1, 1010.0))["annual_return_pct"] is None
    year = metrics(np.full(365 * 24, 1100.0))
    assert year["annual_return_pct"] == pytest.approx(10.0)
    assert metrics(np.full(24 * 7, 1e9))["annual_return_pct"] is None
    assert metrics(np.full(24 * 7, 0.0))["annual_return_pct"] == -100.0


def test_nothing_happening_gives_nulls_and_no_warning():
    found = metrics(np.full(24 * 30, 1000.0))
    assert [
        key for key in ("sharpe", "sortino", "calmar", "sqn", "profit_factor", "win_rate", "expectancy_r") if found[key] is not None
    ] == []
    assert (found["total_return_pct"], found["volatility_pct"], found["max_drawdown_pct"], found["trades"]) == (0, 0, 0, 0)


def test_a_wiped_out_account_still_has_finite_metrics():
    found = metrics(np.concatenate([np.linspace(1000, 0, 24 * 10), np.zeros(48)]))
    assert found["max_drawdown_pct"] == 100.0
    json.dumps(found, allow_nan=False)


BASE = {"entry_price": 500_000, "size": 100, "fees": 1_000_000}
TRADES = (
    {**BASE, "gross": 30_000_000, "funding": 500_000, "entry_row": 0, "exit_row": 4, "stop": 490_000},
    {**BASE, "gross": -9_000_000, "entry_row": 5, "exit_row": 6},
    {**BASE, "gross": 5_000_000, "direction": -1, "entry_row": 8, "exit_row": 9, "stop": 500_000},
    {**BASE, "gross": 1_000_000, "direction": -1, "entry_row": 9, "exit_row": 9, "stop": 504_000, "size": 250},
)


def test_trades_are_judged_net_of_fees_and_funding():
    found = metrics(np.full(48, 1022.5), TRADES)
    pnl = [28.5, -10.0, 4.0, 0.0]
    expected = {
        "trades": 4, "winning_trades": 2, "losing_trades": 1, "win_rate": 0.5, "profit_factor": 3.25, "payoff_ratio": 1.625,
        "expectancy_quote": 5.625, "expectancy_r": 14.25, "sqn": 2 * np.mean(pnl) / np.std(pnl, ddof=1), "avg_win_quote": 16.25,
        "avg_loss_quote": -10.0, "largest_win_quote": 28.5, "largest_loss_quote": -10.0, "avg_bars_held": 1.5, "trades_per_day": 2.0,
        "long_trades": 2, "short_trades": 2, "long_win_rate": 0.5, "short_win_rate": 0.5, "long_pnl_quote": 18.5, "short_pnl_quote": 4.0,
        "gross_pnl_quote": 27.0, "net_pnl_quote": 22.5,
    }  # fmt: skip
    assert {key: found[key] for key in expected} == pytest.approx(expected)
    assert r_multiples(trades_of(TRADES)) == pytest.approx([28.5, np.nan, np.nan, 0.0], nan_ok=True)


def test_winners_only_have_no_profit_factor():
    assert metrics(np.full(48, 1022.5), TRADES[:1])["profit_factor"] is None


def test_costs_and_exposure_come_from_the_run():
    found = metrics(
        [1000.0, 1000.0, 1000.0, 2000.0], fees=7_000_000, funding=-1_000_000, slippage=250_000, turnover=5_000_000_000, exposed=3,
        max_leverage=2_500_000, counts={"liquidations": 2},
    )  # fmt: skip
    assert (found["fees_quote"], found["funding_quote"], found["slippage_quote"]) == (7.0, -1.0, 0.25)
    assert (found["turnover"], found["exposure_pct"], found["max_leverage_used"], found["liquidations"]) == (4.0, 75.0, 2.5, 2)


def test_buy_and_hold_pays_its_fee_and_its_funding():
    bars = bars_at(clock(5), price=np.array([100.0, 101, 102, 103, 110]))
    hours, rates = [T0, T0 + HOUR, T0 + 4 * HOUR, T0 + 5 * HOUR], [0.5, 0.001, 0.002, 0.5]
    found = metrics_of(run_of([1000.0] * 5), [leg_of(bars, hours, rates)], Terms())
    # Stamps after the entry and up to the last open: 101 · 0.001 and 110 · 0.002.
    assert found["buy_hold_return_pct"] == pytest.approx(100 * ((110 - 100 - 0.101 - 0.22) / 100 - 0.00045))


def test_funding_of_an_hour_inside_a_gap_is_paid_at_the_next_open():
    bars = bars_at([T0, T0 + 3 * HOUR], price=np.array([100.0, 200.0]))
    found = metrics_of(run_of([1000.0] * 2), [leg_of(bars, [T0 + HOUR], [0.01])], Terms())
    assert found["buy_hold_return_pct"] == pytest.approx(100 * ((200 - 100 - 2.0) / 100 - 0.00045))


def slow_twin(equity, times, interval):
    """Daily marks, drawdown as a share and in quote, and seconds under water, as a person would work them out, one bar at a time."""
    marks, peak, share, quote, longest, since = {}, 1000.0, 0.0, 0.0, 0, times[0]
    under = False
    for value, opened in zip(equity, times, strict=True):
        marks[datetime.fromtimestamp(opened / 1000, UTC).date()] = value
        below, closed = value < peak, opened + interval
        if below or under:
            longest = max(longest, closed - since)
        if not below:
            peak, since = value, closed
        under = below
        share, quote = max(share, 1 - value / peak), max(quote, peak - value)
    return list(marks.values()), share, quote, longest // 1000


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 1500), st.integers(0, 10_000), st.sampled_from([5 * MIN, HOUR, 4 * HOUR]), st.floats(0.0, 0.02))
def test_returns_and_drawdowns_are_those_of_the_slow_way(count, seed, interval, noise):
    rng = np.random.default_rng(seed)
    times = T0 + np.cumsum(rng.choice([1, 1, 1, 1, 40], count)).astype(np.int64) * interval
    equity = np.maximum(np.rint(1e9 * np.cumprod(1 + rng.normal(0, noise, count))), 1) / 1e6
    marks, share, quote, longest = slow_twin(equity.tolist(), times.tolist(), interval)
    run, bars = run_of(equity), bars_at(times, interval)
    found = daily_returns(run, bars, Terms())
    days = (times[-1] // DAY) - (times[0] // DAY) + 1
    assert len(found) == days and np.count_nonzero(found) <= len(marks)
    assert np.prod(1 + found) == pytest.approx(equity[-1] / 1000)
    changes = [b / a - 1 for a, b in zip([1000.0, *marks[:-1]], marks, strict=True)]
    assert sorted(found[found != 0]) == pytest.approx(sorted(x for x in changes if x != 0), rel=1e-9)
    assert deepest(np.rint(equity * 1e6).astype(np.int64), CASH) == pytest.approx((share, round(quote * 1e6)))
    assert quick(run, [leg_of(bars)], Terms(), "max_drawdown_duration_s")["max_drawdown_duration_s"] == longest


def test_ratios_agree_with_empyrical():
    rng = np.random.default_rng(5)
    equity = 1000 * np.cumprod(1 + rng.normal(1e-4, 0.004, 24 * 400))
    found = metrics(equity)
    returns = daily_returns(run_of(equity), bars_at(clock(len(equity))), Terms())
    assert found["sharpe"] == pytest.approx(empyrical.sharpe_ratio(returns, annualization=365), rel=1e-9)
    assert found["sortino"] == pytest.approx(empyrical.sortino_ratio(returns, annualization=365), rel=1e-9)
    assert found["volatility_pct"] == pytest.approx(100 * empyrical.annual_volatility(returns, annualization=365), rel=1e-9)
    assert found["annual_return_pct"] == pytest.approx(100 * empyrical.annual_return(returns, annualization=365), rel=1e-9)
    assert found["var_95_pct"] == pytest.approx(-100 * empyrical.value_at_risk(returns, 0.05), rel=1e-9)
    assert found["cvar_95_pct"] == pytest.approx(-100 * empyrical.conditional_value_at_risk(returns, 0.05), rel=1e-9)
    bars = metrics(1000 * np.cumprod(1 + returns), interval=DAY)
    assert bars["max_drawdown_pct"] == pytest.approx(-100 * empyrical.max_drawdown(returns), rel=1e-6)
    assert bars["calmar"] == pytest.approx(empyrical.calmar_ratio(returns, annualization=365), rel=1e-6)
    assert bars["total_return_pct"] == pytest.approx(100 * empyrical.cum_returns_final(returns), rel=1e-6)


def test_quick_gives_the_same_figures_as_the_whole_list():
    rng = np.random.default_rng(6)
    run = run_of(1000 * np.cumprod(1 + rng.normal(0, 0.002, 3000)), TRADES)
    leg, terms = leg_of(bars_at(clock(3000))), Terms(first_row=100)
    whole = metrics_of(run, [leg], terms)
    for key in METRIC_KEYS:
        assert quick(run, [leg], terms, key)[key] == whole[key]
    with pytest.raises(KeyError):
        quick(run, [leg], terms, "charm")


def test_an_optimiser_can_afford_its_objective():
    rng = np.random.default_rng(7)
    run = run_of(1000 * np.cumprod(1 + rng.normal(0, 1e-4, 100_000)), [TRADES[0]] * 2_000)
    legs, terms = [leg_of(bars_at(clock(100_000, 5 * MIN), 5 * MIN))], Terms()
    for key in ("sharpe", "total_return_pct", "max_drawdown_pct", "calmar", "sqn"):
        took = []
        for _ in range(40):
            began = time.process_time()
            quick(run, legs, terms, key)
            took.append(time.process_time() - began)
        assert sorted(took)[5] < 0.0003, key


def test_slippage_free_decimal_cash_is_exact():
    assert quick(run_of([0.3]), [leg_of(bars_at(clock(1)))], replace(Terms(), cash=Decimal("0.1")), "total_return_pct") == pytest.approx(
        {"total_return_pct": 200.0, "annual_return_pct": None}
    )
