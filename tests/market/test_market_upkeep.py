"""Export, compact and remove; many processes on one warehouse; and every reader held to what had closed."""

import multiprocessing
import subprocess
import sys
from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from market_samples import FIVE, HOUR, KEY, T0, make_bars

from tradeagent.domain.clock import DAY_MS
from tradeagent.domain.errors import DataError, InvalidInput, NotFound
from tradeagent.market.export import export_series
from tradeagent.market.feed import WarehouseFeed
from tradeagent.market.importer import import_bars, import_funding
from tradeagent.market.instruments import instrument
from tradeagent.market.readers import columns, history
from tradeagent.market.replay import ReplaySource
from tradeagent.market.series import SeriesKey, bar_series, funding_series
from tradeagent.market.synthetic import synthetic_market
from tradeagent.market.upkeep import compact, remove
from tradeagent.market.warehouse import Warehouse, database

PAID = SeriesKey("hyperliquid", "BTC", funding=True)
BTC = instrument("hyperliquid", "BTC")


def _same(one, other):
    return all(np.array_equal(a, b, equal_nan=True) for a, b in zip(one.columns().values(), other.columns().values(), strict=True))


def _with_a_bad_bar(count=40):
    bars = make_bars(count)
    high = bars.high.copy()
    high[7] = 1.0
    volume = bars.volume.copy()
    volume[8] = 0.1 + 0.2
    return bar_series(KEY, bars.ts, bars.open, high, bars.low, bars.close, volume)


@pytest.mark.parametrize("name", ["out.csv", "out.parquet", "o'dd [x]*.csv"])
def test_an_exported_series_imports_back_to_the_last_digit(warehouse, tmp_path, name):
    warehouse.append_bars(_with_a_bad_bar())
    report = export_series(warehouse, KEY, tmp_path / name, (None, None))
    assert (report.rows, report.first, report.last) == (40, T0, T0 + 39 * FIVE)
    assert report.bytes == (tmp_path / name).stat().st_size
    other = Warehouse(tmp_path / "other")
    import_bars(other, tmp_path / name, KEY, None)
    assert _same(other.bars(KEY), warehouse.bars(KEY))


def test_an_exported_span_holds_the_rows_that_open_in_it(warehouse, tmp_path):
    warehouse.append_bars(make_bars(40))
    report = export_series(warehouse, KEY, tmp_path / "part.csv", (T0 + 5 * FIVE, T0 + 8 * FIVE))
    assert (report.rows, report.first, report.last) == (3, T0 + 5 * FIVE, T0 + 7 * FIVE)


def test_exported_funding_keeps_its_stamps_and_imports_back(warehouse, tmp_path):
    stamps = T0 + np.arange(5) * HOUR + 48
    warehouse.append_funding(funding_series("hyperliquid", "BTC", stamps, np.arange(5) * 1.25e-5))
    report = export_series(warehouse, PAID, tmp_path / "f.csv", (T0 + HOUR, None))
    assert (report.rows, report.funding, report.first) == (4, True, T0 + HOUR + 48)
    other = Warehouse(tmp_path / "other")
    import_funding(other, tmp_path / "f.csv", "hyperliquid", "BTC")
    assert other.funding("hyperliquid", "BTC").rate.tolist() == (np.arange(1, 5) * 1.25e-5).tolist()


def test_export_says_what_is_wrong_and_leaves_no_half_file(warehouse, tmp_path):
    warehouse.append_bars(make_bars(3))
    with pytest.raises(InvalidInput, match=r"\.xlsx"):
        export_series(warehouse, KEY, tmp_path / "a.xlsx", (None, None))
    with pytest.raises(DataError, match="in that span"):
        export_series(warehouse, KEY, tmp_path / "a.csv", (T0 + DAY_MS, None))
    with pytest.raises(NotFound, match="nothing of it"):
        export_series(warehouse, SeriesKey("hyperliquid", "ETH", FIVE), tmp_path / "a.csv", (None, None))
    with pytest.raises(DataError, match="cannot be written"):
        export_series(warehouse, KEY, tmp_path / "no" / "a.csv", (None, None))
    export_series(warehouse, KEY, tmp_path / "a.csv", (None, None))
    with pytest.raises(InvalidInput, match="already"):
        export_series(warehouse, KEY, tmp_path / "a.csv", (None, None))
    export_series(warehouse, KEY, tmp_path / "a.csv", (None, None), overwrite=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.csv", "market"]


def test_compacting_keeps_every_value_and_says_the_sizes(warehouse):
    bars = synthetic_market(1, 60_000, "BTC", 60_000).bars
    for start in range(0, 60_000, 20_000):
        warehouse.append_bars(bars.rows(start, start + 20_000))
    leftover = warehouse.folder(bars.key) / "2025-01.tmp"
    leftover.write_bytes(b"half")
    (done,) = compact(warehouse, [bars.key])
    assert (done.rows, done.files, done.duplicates, done.leftovers) == (60_000, 2, 0, 1)
    assert done.bytes_after < done.bytes_before
    assert done.bytes_after == sum(path.stat().st_size for path in warehouse.files(bars.key))
    assert _same(warehouse.bars(bars.key), bars)
    (again,) = compact(warehouse, [bars.key])
    assert again.bytes_after == again.bytes_before


def test_compacting_drops_rows_that_another_program_doubled(warehouse):
    warehouse.append_bars(make_bars(20))
    (path,) = warehouse.files(KEY)
    database().execute(f"COPY (SELECT * FROM '{path}' UNION ALL SELECT * FROM '{path}' ORDER BY ts DESC) TO '{path}.x' (FORMAT parquet)")
    Path(f"{path}.x").replace(path)
    assert len(warehouse.bars(KEY)) == 40
    assert np.all(np.diff(warehouse.bars(KEY).ts) >= 0), "rows come in time order however they are stored"
    (done,) = compact(warehouse, [KEY])
    assert (done.rows, done.duplicates) == (20, 20)
    assert _same(warehouse.bars(KEY), make_bars(20))


@pytest.mark.parametrize(
    ("key", "says"),
    [
        (KEY, "the newest 5,000 bars by tradeagent data fetch"),
        (SeriesKey("hyperliquid", "BTC", 7 * 60_000), "no such interval"),
        (SeriesKey("binance", "BTC", FIVE), "only from the file"),
    ],
)
def test_removing_says_what_comes_back_and_removes_only_that(warehouse, key, says):
    warehouse.append_bars(make_bars(20, key))
    warehouse.append_bars(make_bars(20, SeriesKey("hyperliquid", "ETH", FIVE)))
    removed = remove(warehouse, key)
    assert says in removed.comes_back
    assert (removed.rows, removed.bytes > 0) == (20, True)
    assert [left.market for left in warehouse.series_keys()] == ["ETH"]
    with pytest.raises(NotFound):
        remove(warehouse, key)
    assert warehouse.append_bars(make_bars(5, key)).written == 5


def test_a_damaged_series_can_be_removed(warehouse):
    warehouse.append_bars(make_bars(20))
    warehouse.files(KEY)[0].write_bytes(b"PAR1 nonsense PAR1")
    assert remove(warehouse, KEY).rows == 0
    assert not warehouse.has(KEY)


_STEP, _ALL = 1_500, 12_000


def _append_and_compact(root: str) -> None:
    warehouse, bars = Warehouse(Path(root)), make_bars(_ALL)
    for start in range(0, _ALL, _STEP):
        warehouse.append_bars(bars.rows(start, start + _STEP))
        if start % (4 * _STEP) == 0:
            list(compact(warehouse, [KEY]))


def _read_until_whole(root: str) -> None:
    warehouse, every, seen = Warehouse(Path(root)), make_bars(_ALL), 0
    while seen < _ALL:
        bars, report = columns(warehouse, KEY) if warehouse.has(KEY) else (None, None)
        if bars is None or report is None:
            continue
        # Months are written one after the other, so a reader may find a step half there, but never a hole or a changed value.
        assert len(bars) >= seen
        assert report.gaps == 0
        assert np.array_equal(bars.close, every.close[: len(bars)])
        newest = history(warehouse, KEY, T0 + 10 * _ALL * FIVE, 50)
        assert int(newest.ts[-1]) >= int(bars.time[-1])
        seen = len(bars)


def test_readers_see_only_whole_months_while_a_writer_replaces_and_compacts_them(warehouse):
    spawn = multiprocessing.get_context("spawn")
    root = str(warehouse.root)
    others = [spawn.Process(target=target, args=(root,)) for target in (_read_until_whole, _append_and_compact, _append_and_compact)]
    for other in others:
        other.start()
    for other in others:
        other.join(60)
        assert other.exitcode == 0
    assert _same(warehouse.bars(KEY), make_bars(_ALL))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    slots=st.sets(st.integers(0, 60), min_size=2, max_size=40),
    as_of=st.integers(-FIVE, 62 * FIVE),
    before=st.integers(0, 20 * FIVE),
    paid=st.sets(st.integers(0, 6)),
)
def test_a_feed_shows_nothing_that_comes_later(tmp_path_factory, slots, as_of, before, paid):
    warehouse = Warehouse(tmp_path_factory.mktemp("market"))
    stored = make_bars(61).where(np.isin(np.arange(61), sorted(slots)))
    warehouse.append_bars(stored)
    hours = np.array(sorted(paid), np.int64)
    warehouse.append_funding(funding_series("hyperliquid", "BTC", T0 + hours * HOUR + 30, hours * 1e-5))
    feed, moment = WarehouseFeed(warehouse, [ReplaySource("hyperliquid", "BTC", FIVE)], {"BTC": BTC}), T0 + as_of
    closed = [T0 + slot * FIVE for slot in sorted(slots) if T0 + (slot + 1) * FIVE <= moment]
    assert feed.history("BTC", FIVE, moment, 100).ts.tolist() == closed
    assert all(feed.history("BTC", 3 * FIVE, moment, 100).close_ms <= moment)
    assert feed.newest_close("BTC", moment) == (closed[-1] + FIVE if closed else None)
    shown = [bar["BTC"] for bar in feed.bars_closing(moment - before, moment)]
    assert [bar.open_ms for bar in shown] == [opened for opened in closed if opened + FIVE > moment - before]
    assert all(moment - before < hour <= moment for hour, _ in feed.funding("BTC", moment - before, moment))
    assert history(warehouse, KEY, moment, 100).ts.tolist() == closed


def test_feather_files_are_named_with_the_way_to_parquet(tmp_path, warehouse):
    for magic, name in ((b"ARROW1\0\0", "Feather"), (b"FEA1", "Feather")):
        (tmp_path / "bars.feather").write_bytes(magic + bytes(200))
        with pytest.raises(DataError, match=name) as caught:
            import_bars(warehouse, tmp_path / "bars.feather", KEY, None)
        assert "to_parquet" in caught.value.hint


def test_the_commands_of_data_load_nothing_heavy_for_help():
    code = (
        "import sys; from tradeagent.cli import app; "
        "print([m for m in ('asyncio', 'duckdb', 'numpy', 'httpx', 'pandas', 'numba', 'feedparser', 'icalendar') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
