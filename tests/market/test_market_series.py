"""Coarser bars, integer grids, funding hours and what is missing from them."""

from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from market_samples import FIVE, HOUR, KEY, T0, make_bars

from tradeagent.domain.bars import parse_duration
from tradeagent.domain.errors import DataError
from tradeagent.market.importer import import_bars, import_funding
from tradeagent.market.instruments import instrument
from tradeagent.market.readers import funding_between, funding_of
from tradeagent.market.series import BAR_COLUMNS, SeriesKey, bar_series, funding_series, resample

BTC = instrument("hyperliquid", "BTC")


def test_a_coarser_bar_is_first_open_extremes_last_close_and_summed_volume():
    hour = resample(make_bars(24), HOUR)
    assert len(hour) == 2
    assert [float(hour.columns()[name][1]) for name in BAR_COLUMNS] == [T0 + HOUR, 60012.0, 60025.0, 60010.0, 60024.0, sum(range(13, 25))]


@given(present=st.sets(st.integers(0, 47), max_size=48), shift=st.integers(0, 11))
def test_only_complete_buckets_become_bars(present, shift):
    bars = make_bars(48, start_ms=T0 + shift * FIVE).where(np.isin(np.arange(48), sorted(present)))
    buckets = {start for start in range(0, 60, 12) if all(slot - shift in present for slot in range(start, start + 12))}
    assert ((resample(bars, HOUR).ts - T0) // FIVE).tolist() == sorted(buckets)


@pytest.mark.parametrize("interval", ["1m", "7m", "12m"])
def test_finer_and_uneven_intervals_are_refused(interval):
    with pytest.raises(DataError, match=f"{interval} bars cannot be made from 5m"):
        resample(make_bars(10), parse_duration(interval))


@pytest.mark.real_data
def test_real_minutes_add_up_to_the_real_five_minute_bars(warehouse, shared_data):
    keys = {name: SeriesKey("hyperliquid", "BTC", parse_duration(name)) for name in ("1m", "5m")}
    for name, key in keys.items():
        import_bars(warehouse, shared_data / f"hyperliquid_BTC_{name}.parquet", key, BTC)
    made = resample(warehouse.bars(keys["1m"]), FIVE)
    stored = warehouse.bars(keys["5m"])
    stored = stored.where(np.isin(stored.ts, made.ts))
    assert len(made) == 1361
    for name in BAR_COLUMNS:
        assert np.array_equal(made.columns()[name], stored.columns()[name]), name


@given(
    ticks=st.lists(st.integers(1, 2_000_000), min_size=1, max_size=20),
    lots=st.integers(0, 10**12),
    symbol=st.sampled_from(["BTC", "ETH", "DOGE", "FARTCOIN"]),
)
def test_a_domain_bar_has_exactly_the_integers_of_the_decimals(ticks, lots, symbol):
    perp = instrument("hyperliquid", symbol)
    prices = np.array([float(Decimal(tick).scaleb(-perp.price_decimals)) for tick in ticks])
    volume = np.full(len(ticks), float(Decimal(lots).scaleb(-perp.size_decimals)))
    ts = T0 + np.arange(len(ticks), dtype=np.int64) * FIVE
    series = bar_series(SeriesKey("hyperliquid", symbol, FIVE), ts, prices, prices, prices, prices, volume)
    bars = [series.bar(row, perp) for row in range(len(series))]
    assert [(bar.open, bar.high, bar.low, bar.close, bar.volume) for bar in bars] == [(t, t, t, t, lots) for t in ticks]
    assert [column.tolist() for column in series.grid(perp)] == [ticks] * 4 + [[lots] * len(ticks)]


def test_a_trace_of_volume_is_a_lot_and_not_an_outage():
    flat = np.array([100.0])
    series = bar_series(KEY, np.array([T0]), flat, flat, flat, flat, np.array([1e-9]))
    assert series.bar(0, BTC).volume == 1
    assert not series.bar(0, BTC).is_outage
    assert series.grid(BTC)[4].tolist() == [1]


def test_arrays_of_a_series_cannot_be_changed():
    with pytest.raises(ValueError, match="read-only"):
        make_bars(3).close[0] = 1.0


def _funding(hours, late_ms=48):
    stamps = T0 + np.array(hours, np.int64) * HOUR + late_ms
    return funding_series("hyperliquid", "BTC", stamps, np.full(len(hours), 1.25e-5))


def test_a_late_stamp_pays_at_the_hour_it_floors_to():
    series = funding_series("hyperliquid", "BTC", np.array([T0 + 1_433_040]), np.array([-0.0008179771]))
    assert series.between(T0 - 1, T0) == [(T0, -8179771)]
    assert series.between(T0, T0 + HOUR) == []


def test_rows_eight_hours_apart_pay_at_their_own_stamp_and_nothing_is_missing():
    series = _funding([0, 8, 16, 24])
    assert [hour for hour, _ in series.between(T0, T0 + 24 * HOUR)] == [T0 + h * HOUR for h in (8, 16, 24)]
    assert series.missing_hours(T0, T0 + 24 * HOUR) == 0


@pytest.mark.parametrize(
    ("hours", "missing"),
    [
        ([0, 1, 2, 5, 6], 2),  # a hole of two hours
        ([0, 1, 9, 10], 7),  # one step of eight hours among hourly ones is a hole
        ([0, 8, 16, 17, 18], 0),  # the venue turned from eight hours to one
        ([0, 8, 24, 32], 1),  # an eight-hour payment is missing
    ],
)
def test_missing_payments_are_counted_by_the_cadence_around_them(hours, missing):
    assert _funding(hours).missing_hours(T0, T0 + hours[-1] * HOUR) == missing


def test_hours_outside_the_stored_span_are_missing_too():
    series = _funding([2, 3, 4])
    assert series.missing_hours(T0, T0 + 6 * HOUR) == 3
    assert series.missing_hours(T0 + 10 * HOUR, T0 + 12 * HOUR) == 2
    assert series.missing_hours(T0 + 3 * HOUR, T0 + 3 * HOUR) == 0
    assert _funding([]).missing_hours(T0, T0 + 5 * HOUR) == 5


@pytest.mark.real_data
def test_real_funding_has_jitter_two_cadences_and_three_missing_hours(warehouse, shared_data):
    report = import_funding(warehouse, shared_data / "hyperliquid_BTC_funding_1h.parquet", "hyperliquid", "BTC")
    assert (report.rows_written, report.duplicates, report.gaps, report.missing_bars) == (18_778, 0, 3, 3)
    series = funding_of(warehouse, "hyperliquid", "BTC")
    assert series.missing_hours(int(series.hours[0]), int(series.hours[-1])) == 3
    paid = funding_between(warehouse, "hyperliquid", "BTC", 1_753_400_000_000, 1_753_400_000_000 + 24 * HOUR)
    assert len(paid) == 24
    assert all(hour % HOUR == 0 for hour, _ in paid)
