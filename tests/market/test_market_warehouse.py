"""The Parquet store: names on disk, many writers, and readers that never see the future."""

import multiprocessing
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from market_samples import FIVE, HOUR, KEY, T0, make_bars

from tradeagent.domain.errors import BusyError, DataError, InvalidInput
from tradeagent.market import warehouse as warehouse_module
from tradeagent.market.importer import import_bars
from tradeagent.market.readers import history
from tradeagent.market.series import SeriesKey, bar_series
from tradeagent.market.warehouse import Warehouse

NAMES = ["xyz:TSLA", "PURR/USDC", "kPEPE", "..", ".hidden", "a b%c", "Ünïcode", "[x]*?", "C:\\evil", "../../up"]


@pytest.mark.parametrize("market", NAMES)
def test_any_market_name_round_trips_inside_the_folder(warehouse, market):
    key = SeriesKey("my:venue", market, FIVE)
    warehouse.append_bars(make_bars(3, key))
    assert warehouse.series_keys() == [key]
    assert len(warehouse.bars(key)) == 3
    assert all(path.resolve().is_relative_to(warehouse.root.resolve()) for path in warehouse.files(key))
    assert len(warehouse.files(key)[0].relative_to(warehouse.root).parts) == 5


def test_a_folder_name_with_wildcards_and_equals_is_read_literally(tmp_path):
    warehouse = Warehouse(tmp_path / "a[1]*?" / "year=2025's")
    warehouse.append_bars(make_bars(3))
    assert len(warehouse.bars(KEY)) == 3


def test_an_empty_name_is_refused(warehouse):
    with pytest.raises(InvalidInput, match="market"):
        warehouse.bars(SeriesKey("hyperliquid", " ", FIVE))


def test_appending_nothing_changes_nothing(warehouse):
    assert warehouse.append_bars(make_bars(0)).written == 0
    assert warehouse.series_keys() == []


def test_importing_the_room_loads_no_database():
    code = "import sys, tradeagent.market; print([m for m in ('duckdb', 'filelock', 'pandas', 'pyarrow') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"


def test_bars_and_funding_of_a_market_are_two_series(warehouse):
    warehouse.append_bars(make_bars(3))
    assert [key.text for key in warehouse.series_keys()] == ["hyperliquid:BTC:5m"]
    assert len(warehouse.funding("hyperliquid", "BTC")) == 0


def test_a_damaged_month_file_is_named_with_the_way_out(warehouse):
    warehouse.append_bars(make_bars(10_000))
    first, second = warehouse.files(KEY)
    second.write_bytes(b"PAR1 nonsense PAR1")
    with pytest.raises(DataError, match=f"hyperliquid:BTC:5m: {second.name} cannot be read") as caught:
        warehouse.bars(KEY)
    assert caught.value.hint.endswith(str(second)), "the other months stay where they are"
    assert "import" in caught.value.hint
    assert str(first) not in caught.value.hint


def test_a_damaged_month_keeps_no_other_month_from_being_imported(warehouse):
    warehouse.append_bars(make_bars(100))
    warehouse.files(KEY)[0].write_bytes(b"garbage")
    with pytest.raises(DataError, match=r"2025-01\.parquet cannot be read"):
        warehouse.append_bars(make_bars(10_000))
    assert len(warehouse.bars(KEY, T0 + 31 * 24 * HOUR)) == 10_000 - 31 * 24 * 12
    assert warehouse.files(KEY)[0].read_bytes() == b"garbage", "nothing is thrown away"


@pytest.mark.parametrize("damage", [b"", b"PAR1", b"x" * 999])
def test_one_damaged_month_is_moved_away_and_the_others_are_there(warehouse, damage):
    warehouse.append_bars(make_bars(10_000))
    second = warehouse.files(KEY)[1]
    whole = len(warehouse.bars(KEY))
    second.write_bytes(damage)
    with pytest.raises(DataError) as caught:
        warehouse.append_bars(make_bars(10_000))
    Path(caught.value.details["file"]).rename(second.with_suffix(".bad"))
    assert 0 < len(warehouse.bars(KEY)) < whole
    warehouse.append_bars(make_bars(10_000))
    assert len(warehouse.bars(KEY)) == whole


def test_a_leftover_of_a_killed_writer_is_ignored_and_removed(warehouse):
    warehouse.append_bars(make_bars(3))
    leftover = warehouse.folder(KEY) / "2025-01.tmp"
    leftover.write_bytes(b"half a file")
    assert len(warehouse.bars(KEY)) == 3
    warehouse.append_bars(make_bars(5))
    assert len(warehouse.bars(KEY)) == 5
    assert not leftover.exists()


def test_a_writer_that_waits_too_long_says_who_is_in_the_way(warehouse, monkeypatch):
    from filelock import FileLock

    warehouse.append_bars(make_bars(3))
    monkeypatch.setattr(warehouse_module, "LOCK_TIMEOUT_S", 0.05)
    with FileLock(warehouse.folder(KEY) / ".lock"), pytest.raises(BusyError, match="writing this series"):
        warehouse.append_bars(make_bars(5))


def _append_shares(root: str, share: int) -> None:
    bars = make_bars(1200)
    for start in range(share * 100, 1200, 200):
        Warehouse(Path(root)).append_bars(bars.rows(start, start + 100))


def test_two_processes_importing_at_once_lose_nothing_and_readers_see_whole_files(warehouse):
    spawn = multiprocessing.get_context("spawn")
    writers = [spawn.Process(target=_append_shares, args=(str(warehouse.root), share)) for share in (0, 1)]
    for writer in writers:
        writer.start()
    seen = 0
    while any(writer.is_alive() for writer in writers):
        read = len(warehouse.bars(KEY))
        assert read % 100 == 0
        assert read >= seen
        seen = read
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    assert np.array_equal(warehouse.bars(KEY).ts, make_bars(1200).ts)


def test_history_is_the_newest_closed_bars(warehouse):
    warehouse.append_bars(make_bars(100))
    seen = history(warehouse, KEY, T0 + 50 * FIVE, 10)
    assert seen.ts.tolist() == (T0 + np.arange(40, 50) * FIVE).tolist()
    assert history(warehouse, KEY, T0 + 50 * FIVE - 1, 10).ts[-1] == T0 + 48 * FIVE
    assert len(history(warehouse, KEY, T0 + FIVE - 1, 10)) == 0
    assert len(history(warehouse, KEY, T0 + 10**12, 1000)) == 100
    assert len(history(warehouse, SeriesKey("hyperliquid", "ETH", FIVE), T0, 10)) == 0


def test_history_reaches_over_a_hole_of_months(warehouse):
    warehouse.append_bars(make_bars(20))
    warehouse.append_bars(make_bars(5, start_ms=T0 + 200 * 24 * HOUR))
    seen = history(warehouse, KEY, T0 + 201 * 24 * HOUR, 15)
    assert len(seen) == 15
    assert seen.ts[9] == T0 + 19 * FIVE


def test_history_leaves_bad_bars_out_and_the_store_keeps_them(warehouse):
    bars = make_bars(10)
    high = bars.high.copy()
    high[4] = 1.0
    warehouse.append_bars(bar_series(KEY, bars.ts, bars.open, high, bars.low, bars.close, bars.volume))
    assert len(warehouse.bars(KEY)) == 10
    assert T0 + 4 * FIVE not in history(warehouse, KEY, T0 + 10 * FIVE, 10).ts


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    slots=st.sets(st.integers(0, 3000), min_size=1, max_size=60),
    as_of=st.integers(-FIVE, 3001 * HOUR),
    count=st.integers(1, 70),
)
def test_no_reader_ever_shows_a_bar_that_has_not_closed(tmp_path_factory, slots, as_of, count):
    key = SeriesKey("hyperliquid", "BTC", HOUR)
    every = make_bars(3001, key)
    stored = every.where(np.isin(np.arange(3001), sorted(slots)))
    warehouse = Warehouse(tmp_path_factory.mktemp("market"))
    warehouse.append_bars(stored)
    seen = history(warehouse, key, T0 + as_of, count)
    expected = [slot for slot in sorted(slots) if (slot + 1) * HOUR <= as_of][-count:]
    assert ((seen.ts - T0) // HOUR).tolist() == expected


@pytest.mark.real_data
def test_the_newest_bars_of_a_long_series_come_within_ten_milliseconds(warehouse, shared_data):
    import_bars(warehouse, shared_data / "hyperliquid_BTC_5m.parquet", KEY, None)
    last_close = int(warehouse.bars(KEY).ts[-1]) + FIVE
    took = []
    for _ in range(10):
        started = time.perf_counter()
        assert len(history(warehouse, KEY, last_close, 500)) == 500
        took.append(time.perf_counter() - started)
    assert min(took) < 0.010


def test_a_question_that_was_left_half_read_keeps_nobody_from_writing(warehouse):
    warehouse_module.database().execute("SELECT * FROM range(3)").fetchone()
    warehouse.append_bars(make_bars(50))
    assert len(warehouse.bars(KEY)) == 50
