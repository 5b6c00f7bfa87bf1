"""`data verify` and `data gaps`: each fault is counted, and nothing is changed."""

import numpy as np
import pytest
from market_samples import FIVE, HOUR, KEY, T0, make_bars

from tradeagent.market.quality import holes, verify
from tradeagent.market.series import SeriesKey, bar_series, funding_series

LATER = T0 + 10_000 * FIVE


def _changed(bars, **columns):
    return bar_series(KEY, *(columns.get(name, column) for name, column in bars.columns().items()))


def _with(column, row, value):
    copy = column.copy()
    copy[row] = value
    return copy


def test_a_clean_series_is_ok(warehouse):
    warehouse.append_bars(make_bars(500))
    judged = verify(warehouse, KEY, LATER).as_dict()
    assert judged["ok"]
    assert {name: judged[name] for name in ("rows", "gaps", "missing_bars", "duplicates", "bad_rows", "zero_volume", "outliers")} == {
        "rows": 500,
        "gaps": 0,
        "missing_bars": 0,
        "duplicates": 0,
        "bad_rows": 0,
        "zero_volume": 0,
        "outliers": 0,
    }
    assert (judged["first"], judged["interval"]) == ("2025-01-01T00:00:00Z", "5m")


def test_holes_are_named_from_the_first_missing_bar_to_the_next_stored_one(warehouse):
    bars = make_bars(30)
    warehouse.append_bars(bars.where(~np.isin(np.arange(30), [5, 6, 7, 20])))
    assert [hole.as_dict() for hole in holes(warehouse, KEY)] == [
        {"from": "2025-01-01T00:25:00Z", "to": "2025-01-01T00:40:00Z", "missing_bars": 3},
        {"from": "2025-01-01T01:40:00Z", "to": "2025-01-01T01:45:00Z", "missing_bars": 1},
    ]
    judged = verify(warehouse, KEY, LATER)
    assert (judged.gaps, judged.missing_bars, judged.ok) == (2, 4, False)


def test_an_outage_is_counted_and_is_no_fault(warehouse):
    bars = make_bars(100)
    warehouse.append_bars(_changed(bars, volume=_with(bars.volume, slice(10, 14), 0.0)))
    judged = verify(warehouse, KEY, LATER)
    assert (judged.zero_volume, judged.ok) == (4, True)


@pytest.mark.parametrize("factor", [0.001, 0.5, 1.5, 1000.0])
def test_a_price_that_jumps_and_comes_back_is_an_outlier(warehouse, factor):
    bars = make_bars(200)
    spiked = {name: _with(bars.columns()[name], 90, bars.columns()[name][90] * factor) for name in ("open", "high", "low", "close")}
    warehouse.append_bars(_changed(bars, **spiked))
    judged = verify(warehouse, KEY, LATER)
    assert (judged.outliers, judged.bad_rows, judged.ok) == (1, 0, False)


def test_a_real_move_that_stays_is_no_outlier(warehouse):
    bars = make_bars(200)
    factor = np.where(np.arange(200) >= 100, 0.6, 1.0)
    warehouse.append_bars(_changed(bars, **{name: bars.columns()[name] * factor for name in ("open", "high", "low", "close")}))
    assert verify(warehouse, KEY, LATER).outliers == 0


def test_bars_from_the_future_are_a_fault(warehouse):
    warehouse.append_bars(make_bars(10))
    judged = verify(warehouse, KEY, T0 + 7 * FIVE)
    assert (judged.clock_skew, judged.ok) == (3, False)


def test_duplicates_put_there_by_hand_are_found(warehouse):
    warehouse.append_bars(make_bars(10))
    month = warehouse.files(KEY)[0]
    month.with_name("2025-02.parquet").write_bytes(month.read_bytes())
    judged = verify(warehouse, KEY, LATER)
    assert (judged.rows, judged.duplicates, judged.ok) == (20, 10, False)


def test_funding_is_judged_by_the_payments_that_were_due(warehouse):
    key = SeriesKey("hyperliquid", "BTC", funding=True)
    stamps = T0 + np.array([0, 1, 2, 5, 6], np.int64) * HOUR + 48
    warehouse.append_funding(funding_series("hyperliquid", "BTC", stamps, np.array([1e-5, 2e-5, 3e-5, np.nan, 5e-5])))
    judged = verify(warehouse, key, LATER)
    assert (judged.funding, judged.interval, judged.rows, judged.gaps, judged.missing_bars, judged.bad_rows) == (True, "1h", 5, 1, 2, 1)
    assert [hole.as_dict() for hole in holes(warehouse, key)] == [
        {"from": "2025-01-01T03:00:00Z", "to": "2025-01-01T05:00:00Z", "missing_bars": 2}
    ]


@pytest.mark.parametrize("funding", [False, True])
def test_an_unreadable_file_is_a_fault_that_names_it(warehouse, funding):
    warehouse.append_bars(make_bars(3))
    warehouse.append_funding(funding_series("hyperliquid", "BTC", np.arange(3) * HOUR + T0, np.zeros(3)))
    key = SeriesKey("hyperliquid", "BTC", funding=True) if funding else KEY
    (file,) = warehouse.files(key)
    file.write_bytes(b"no parquet")
    judged = verify(warehouse, key, LATER).as_dict()
    assert (judged["ok"], judged["rows"], judged["first"], judged["unreadable"]["file"]) == (False, 0, None, str(file))
    assert file.name in judged["unreadable"]["reason"]
    assert str(file) in judged["unreadable"]["fix"]
