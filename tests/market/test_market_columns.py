"""Whole spans as columns: what is seen, what is counted, and what makes two spans the same."""

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from market_samples import FIVE, HOUR, KEY, T0, make_bars

from tradeagent.domain.errors import DataError
from tradeagent.market.importer import import_bars, import_funding
from tradeagent.market.instruments import instrument
from tradeagent.market.readers import columns
from tradeagent.market.series import SeriesKey, bar_series, funding_series, resample
from tradeagent.market.warehouse import Warehouse

BTC = instrument("hyperliquid", "BTC")
HOURLY = SeriesKey("hyperliquid", "BTC", HOUR)


def _changed(bars, row, **new):
    arrays = {name: np.array(values) for name, values in bars.columns().items()}
    for name, value in new.items():
        arrays[name][row] = value
    return bar_series(bars.key, *arrays.values())


def _store_funding(warehouse, hours, rates, late_ms=48):
    stamps = np.array(hours, np.int64) + late_ms
    warehouse.append_funding(funding_series("hyperliquid", "BTC", stamps, np.array(rates, np.float64)))


def test_prices_are_on_the_grid_and_counted_where_they_were_not(warehouse):
    warehouse.append_bars(_changed(make_bars(5), 2, open=60_002.04, high=60_010.06))
    bars, report = columns(warehouse, KEY, instrument=BTC)
    assert (bars.open[2], bars.high[2], report.off_grid) == (60_002.0, 60_010.1, 1)
    as_stored, unrounded = columns(warehouse, KEY)
    assert (as_stored.open[2], unrounded.off_grid) == (60_002.04, 0)


def test_columns_equal_the_integer_grid_that_fills_are_made_on(warehouse):
    warehouse.append_bars(_changed(make_bars(6), 3, volume=0.000001, high=60_005.55))
    bars, _ = columns(warehouse, KEY, instrument=BTC)
    stored = warehouse.bars(KEY)
    for values, whole in zip((bars.open, bars.high, bars.low, bars.close), stored.grid(BTC), strict=False):
        assert np.rint(values * 10).astype(np.int64).tolist() == whole.tolist()
    assert np.rint(bars.volume * 1e5).astype(np.int64).tolist() == stored.grid(BTC)[4].tolist()


def test_bad_bars_are_left_out_and_holes_and_silence_are_counted(warehouse):
    bars = make_bars(12)
    bars = _changed(_changed(_changed(_changed(bars, 4, high=1.0), 0, volume=0.0), 1, volume=0.0), 9, volume=0.0)
    warehouse.append_bars(bars.where(~np.isin(np.arange(12), [6, 7])))
    seen, report = columns(warehouse, KEY)
    assert len(seen) == 9
    assert (report.bad_bars, report.gaps, report.missing_bars) == (1, 2, 3)
    assert (report.zero_volume, report.backfilled) == (3, 2)
    assert (report.first, report.last) == (T0, T0 + 11 * FIVE)


def test_the_span_holds_bars_that_open_in_it_and_have_closed(warehouse):
    warehouse.append_bars(make_bars(10))
    seen, _ = columns(warehouse, KEY, T0 + 2 * FIVE, T0 + 6 * FIVE)
    assert seen.time.tolist() == [T0 + i * FIVE for i in (2, 3, 4, 5)]
    assert columns(warehouse, KEY, T0 + 2 * FIVE + 1, T0 + 6 * FIVE - 1)[0].time.tolist() == [T0 + 3 * FIVE, T0 + 4 * FIVE]


def test_funding_is_the_newest_payment_at_the_close_and_unknown_before_the_first(warehouse):
    warehouse.append_bars(make_bars(5, HOURLY))
    _store_funding(warehouse, [T0 + 2 * HOUR, T0 + 3 * HOUR], [1.25e-5, -2e-5])
    bars, report = columns(warehouse, HOURLY)
    assert np.isnan(bars.funding[0])
    assert bars.funding[1:].tolist() == [1.25e-5, -2e-5, -2e-5, -2e-5]
    assert report.funding_hours.tolist() == [T0 + 2 * HOUR, T0 + 3 * HOUR]
    assert report.funding_rates.tolist() == [125_000, -200_000]
    assert (report.funding_payments, report.funding_missing) == (2, 3)


def test_a_payment_before_the_span_is_known_in_it_and_not_paid_in_it(warehouse):
    warehouse.append_bars(make_bars(5, HOURLY))
    _store_funding(warehouse, [T0 + HOUR, T0 + 3 * HOUR], [1e-5, 2e-5])
    bars, report = columns(warehouse, HOURLY, T0 + HOUR)
    assert bars.funding.tolist() == [1e-5, 2e-5, 2e-5, 2e-5]
    assert report.funding_hours.tolist() == [T0 + 3 * HOUR]


def test_a_market_without_funding_says_how_many_payments_are_missing(warehouse):
    warehouse.append_bars(make_bars(24, HOURLY))
    bars, report = columns(warehouse, HOURLY)
    assert np.isnan(bars.funding).all()
    assert (report.funding_payments, report.funding_missing) == (0, 24)


def test_an_interval_that_is_not_stored_is_made_from_complete_finer_bars(warehouse):
    warehouse.append_bars(make_bars(40).where(np.arange(40) != 13))
    bars, report = columns(warehouse, HOURLY, T0 + 1)
    assert report.made_from == "5m"
    assert bars.time.tolist() == [T0 + 2 * HOUR]
    expected = resample(make_bars(40), HOUR)
    assert (bars.open[0], bars.high[0], bars.volume[0]) == (expected.open[2], expected.high[2], expected.volume[2])
    warehouse.append_bars(make_bars(3, HOURLY))
    assert columns(warehouse, HOURLY)[1].made_from is None


def test_a_series_that_is_not_there_names_the_import_and_what_there_is(warehouse):
    warehouse.append_bars(make_bars(5, HOURLY))
    with pytest.raises(DataError, match="BTC:1h") as caught:
        columns(warehouse, KEY)
    assert "data import" in caught.value.hint


def test_an_empty_span_is_empty_and_not_an_error(warehouse):
    warehouse.append_bars(make_bars(5))
    bars, report = columns(warehouse, KEY, T0 + 100 * FIVE)
    assert (len(bars), report.bars, report.first, report.funding_missing, report.backfilled) == (0, 0, None, 0, 0)


def test_the_fingerprint_follows_the_values_and_nothing_else(warehouse, tmp_path):
    bars = make_bars(50)
    warehouse.append_bars(bars)
    other = Warehouse(tmp_path / "other")
    other.append_bars(bars.rows(20, 50))
    other.append_bars(bars.rows(0, 30))
    mark = columns(warehouse, KEY, instrument=BTC)[1].fingerprint
    assert columns(other, KEY, instrument=BTC)[1].fingerprint == mark
    different = Warehouse(tmp_path / "different")
    different.append_bars(_changed(bars, 49, close=60_049.9))
    assert columns(different, KEY, instrument=BTC)[1].fingerprint != mark
    assert columns(warehouse, KEY, until_ms=T0 + 49 * FIVE, instrument=BTC)[1].fingerprint != mark
    _store_funding(warehouse, [T0 + HOUR], [1e-5])
    assert columns(warehouse, KEY, instrument=BTC)[1].fingerprint != mark


def test_bars_that_have_not_closed_are_counted_and_not_shown(warehouse):
    warehouse.append_bars(_changed(make_bars(24), 23, high=1.0))
    now = T0 + 13 * FIVE + 1
    seen, report = columns(warehouse, KEY, as_of_ms=now)
    assert (len(seen), report.unclosed, report.bad_bars) == (13, 11, 0)
    assert columns(warehouse, KEY, until_ms=T0 + 20 * FIVE, as_of_ms=now)[1].unclosed == 7
    assert columns(warehouse, KEY, until_ms=now, as_of_ms=now)[1].unclosed == 0
    made, of_fives = columns(warehouse, HOURLY, as_of_ms=now)
    assert (made.time.tolist(), of_fives.unclosed) == ([T0], 11)
    assert columns(warehouse, KEY, as_of_ms=T0 + 24 * FIVE)[1].unclosed == 0 == columns(warehouse, KEY)[1].unclosed


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(as_of=st.integers(-FIVE, 130 * FIVE), interval=st.sampled_from([FIVE, 3 * FIVE, HOUR]))
def test_what_comes_later_changes_nothing_that_was_seen(tmp_path_factory, as_of, interval):
    whole, cut = (Warehouse(tmp_path_factory.mktemp(name)) for name in ("whole", "cut"))
    bars, as_of = make_bars(120), T0 + as_of
    hours, rates = [T0 + i * HOUR for i in range(11)], [i * 1e-6 for i in range(11)]
    whole.append_bars(bars)
    _store_funding(whole, hours, rates)
    cut.append_bars(bars.where(bars.close_ms <= as_of + FIVE))
    _store_funding(cut, [h for h in hours if h <= as_of], [r for h, r in zip(hours, rates, strict=True) if h <= as_of])
    if not len(cut.series_keys()) or not cut.has(KEY):
        return
    key = SeriesKey("hyperliquid", "BTC", interval)
    (seen, one), (short, two) = columns(whole, key, as_of_ms=as_of), columns(cut, key, until_ms=as_of)
    assert one.fingerprint == two.fingerprint
    assert all(seen.time + interval <= as_of)
    assert np.array_equal(seen.funding, short.funding, equal_nan=True)


@pytest.mark.real_data
def test_real_minutes_made_into_real_five_minute_bars(warehouse, shared_data):
    minutes = SeriesKey("hyperliquid", "BTC", 60_000)
    import_bars(warehouse, shared_data / "hyperliquid_BTC_1m.parquet", minutes, BTC)
    import_funding(warehouse, shared_data / "hyperliquid_BTC_funding_1h.parquet", "hyperliquid", "BTC")
    made, report = columns(warehouse, KEY, instrument=BTC)
    import_bars(warehouse, shared_data / "hyperliquid_BTC_5m.parquet", KEY, BTC)
    real, stored = columns(warehouse, KEY, int(made.time[0]), int(made.time[-1]) + FIVE, BTC)
    assert (report.made_from, stored.made_from) == ("1m", None)
    assert np.array_equal(made.high, real.high)
    assert np.array_equal(made.funding, real.funding)
    assert report.fingerprint == stored.fingerprint
    # The payments end an hour before the bars do.
    assert report.funding_missing == 1
