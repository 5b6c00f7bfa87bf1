"""`data import`: what is detected, what is written, what is counted, and what is refused with which words."""

import time
from datetime import UTC, datetime

import numpy as np
import pytest
from market_samples import FIVE, HEADER, HOUR, KEY, T0, csv_lines, csv_of, make_bars

from tradeagent.domain.bars import parse_duration
from tradeagent.domain.errors import DataError, InvalidInput, NotFound
from tradeagent.market.importer import import_bars, import_funding
from tradeagent.market.instruments import instrument
from tradeagent.market.quality import verify
from tradeagent.market.series import SeriesKey
from tradeagent.market.tabular import TIME_UNITS, Said
from tradeagent.market.warehouse import database

BTC = instrument("hyperliquid", "BTC")
SPEC_FIELDS = {
    "venue",
    "market",
    "interval",
    "rows_read",
    "rows_written",
    "duplicates",
    "gaps",
    "missing_bars",
    "bad_rows",
    "first",
    "last",
}


def test_a_clean_file_is_written_whole_and_read_back_equal(warehouse, write_csv):
    bars = make_bars(300)
    report = import_bars(warehouse, write_csv(csv_of(csv_lines(bars))), KEY, BTC)
    assert (report.rows_read, report.rows_written, report.duplicates, report.bad_rows, report.off_grid) == (300, 300, 0, 0, 0)
    stored = warehouse.bars(KEY)
    for name, column in bars.columns().items():
        assert np.array_equal(stored.columns()[name], column), name


def test_the_report_has_the_fields_scripts_depend_on(warehouse, write_csv):
    report = import_bars(warehouse, write_csv(csv_of(csv_lines(make_bars(3)))), KEY, BTC).as_dict()
    assert set(report) >= SPEC_FIELDS
    assert (report["first"], report["last"], report["interval"]) == ("2025-01-01T00:00:00Z", "2025-01-01T00:10:00Z", "5m")
    assert report["columns"] == {"time": "time", "open": "open", "high": "high", "low": "low", "close": "close", "volume": "volume"}


def test_the_same_file_twice_is_all_duplicates(warehouse, write_csv):
    path = write_csv(csv_of(csv_lines(make_bars(50))))
    import_bars(warehouse, path, KEY, BTC)
    again = import_bars(warehouse, path, KEY, BTC)
    assert (again.rows_read, again.rows_written, again.duplicates, again.conflicts) == (50, 0, 50, 0)
    assert len(warehouse.bars(KEY)) == 50


def test_a_stored_bar_is_kept_when_another_file_differs(warehouse, write_csv):
    import_bars(warehouse, write_csv(csv_of(csv_lines(make_bars(10)))), KEY, BTC)
    report = import_bars(warehouse, write_csv(csv_of(csv_lines(make_bars(12, price=61_000.0)))), KEY, BTC)
    assert (report.rows_written, report.duplicates, report.conflicts) == (2, 10, 10)
    assert warehouse.bars(KEY).open[0] == 60_000.0


def test_every_row_is_accounted_for(warehouse, write_csv):
    lines = csv_lines(make_bars(20))
    lines[3] = lines[3].replace("60003.0,60005.0", "60003.0,59000.0")  # high under everything: written, bad
    lines[5] = f"{T0 + 5 * FIVE},-1,60007.0,60003.0,60006.0,6.0"  # negative open: written, bad
    lines[7] = f"{T0 + 7 * FIVE},abc,60009.0,60005.0,60008.0,8.0"  # unreadable: skipped
    lines[8] = f"{T0 + 8 * FIVE},nan,60010.0,60006.0,60009.0,9.0"  # no number: skipped
    lines[9] = f"{T0 + 9 * FIVE + 17},60009.0,60011.0,60007.0,60010.0,10.0"  # off the time grid: skipped
    lines[10] = lines[10].rpartition(",")[0]  # volume missing: skipped
    lines.insert(12, lines[11])  # the same bar twice: duplicate
    report = import_bars(warehouse, write_csv(csv_of(lines)), KEY, BTC)
    assert report.rows_read == 21
    assert (report.rows_written, report.duplicates, report.skipped, report.bad_rows) == (16, 1, 4, 6)
    assert report.rows_read == report.rows_written + report.duplicates + report.skipped
    assert (report.gaps, report.missing_bars) == (1, 4)
    judged = verify(warehouse, KEY, T0 + 100 * FIVE)
    assert (judged.rows, judged.bad_rows, judged.gaps, judged.ok) == (16, 2, 1, False)


def test_rows_in_any_order_end_up_in_time_order(warehouse, write_csv):
    import_bars(warehouse, write_csv(csv_of(csv_lines(make_bars(30))[::-1])), KEY, BTC)
    assert np.array_equal(warehouse.bars(KEY).ts, make_bars(30).ts)


def test_prices_off_the_grid_are_rounded_half_even_and_counted(warehouse, write_csv):
    lines = [f"{T0},60000.04,60001.06,59999.94,60000.25,1", f"{T0 + FIVE},60000.1,60000.1,60000.1,60000.1,1"]
    report = import_bars(warehouse, write_csv(csv_of(lines)), KEY, BTC)
    stored = warehouse.bars(KEY)
    assert report.off_grid == 1
    assert [stored.open[0], stored.high[0], stored.low[0], stored.close[0]] == [60000.0, 60001.1, 59999.9, 60000.2]


def test_an_unknown_market_keeps_its_prices(warehouse, write_csv):
    key = SeriesKey("forex", "EURUSD", FIVE)
    report = import_bars(warehouse, write_csv(csv_of([f"{T0},1.07160001,1.0722,1.07,1.0718,5"])), key, None)
    assert (report.off_grid, warehouse.bars(key).open[0]) == (0, 1.07160001)


@pytest.mark.parametrize(
    ("unit", "text"),
    [
        ("s", str),
        ("ms", lambda s: str(s * 1000)),
        ("us", lambda s: str(s * 1_000_000)),
        ("ns", lambda s: str(s * 1_000_000_000)),
        ("iso", lambda s: datetime.fromtimestamp(s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")),
        ("iso", lambda s: datetime.fromtimestamp(s, UTC).strftime("%Y-%m-%d %H:%M:%S")),
        ("iso", lambda s: datetime.fromtimestamp(s + 7200, UTC).strftime("%Y-%m-%dT%H:%M:%S+02:00")),
    ],
)
def test_the_unit_of_times_is_detected(warehouse, write_csv, unit, text):
    lines = [f"{text(T0 // 1000 + i * 300)},100,102,98,101,{i + 1}" for i in range(4)]
    report = import_bars(warehouse, write_csv(csv_of(lines)), KEY, BTC)
    assert report.time_unit == unit
    assert np.array_equal(warehouse.bars(KEY).ts, T0 + np.arange(4) * FIVE)


@pytest.mark.parametrize(("unit", "factor"), [("s", 1), ("ms", 1000), ("us", 10**6), ("ns", 10**9)])
def test_the_unit_of_times_can_be_confirmed_and_not_mistaken(warehouse, write_csv, unit, factor):
    path = write_csv(csv_of([f"{(T0 // 1000 + i * 300) * factor},100,102,98,101,{i + 1}" for i in range(4)]))
    assert import_bars(warehouse, path, KEY, BTC, Said(time_unit=unit)).time_unit == unit
    for other in {*TIME_UNITS} - {unit}:
        with pytest.raises(
            InvalidInput, match=rf"line 2, column 'time': '{T0 // 1000 * factor}' is no time of our days in {other}"
        ) as caught:
            import_bars(warehouse, path, SeriesKey("hyperliquid", "ETH", FIVE), BTC, Said(time_unit=other))
        assert caught.value.hint.startswith(f"--time-unit {unit}")
    assert [key.market for key in warehouse.series_keys()] == ["BTC"]


def test_a_column_of_texts_and_numbers_is_read_as_it_is_said(warehouse, write_csv):
    """Three texts and two numbers look like text; said to be seconds, the texts are what cannot be read."""
    lines = [f"2025-01-01T00:{5 * i:02}:00Z,100,102,98,101,1" for i in range(3)] + [
        f"{T0 // 1000 + i * 300},100,102,98,101,1" for i in (3, 4)
    ]
    path = write_csv(csv_of(lines))
    guessed, told = (
        import_bars(warehouse, path, SeriesKey("a", name, FIVE), BTC, said) for name, said in (("X", None), ("Y", Said({}, "s")))
    )
    assert (guessed.time_unit, guessed.rows_written, guessed.skipped) == ("iso", 3, 2)
    assert (told.time_unit, told.rows_written, told.skipped) == ("s", 2, 3)


def test_columns_are_those_that_were_named(warehouse, write_csv):
    """`mid` and `when` are known to nobody, and `close` is here the last trade of another venue."""
    lines = [f"x,{T0 + i * FIVE},{100 + i},102,98,7,{100 + i}.5,1" for i in range(3)]
    path = write_csv("a story\n" + csv_of(lines, "time,when,mid,High,Low,close,last,volume"))
    with pytest.raises(DataError, match="no column for open") as caught:
        import_bars(warehouse, path, KEY, None)
    assert "--columns open=NAME" in caught.value.hint
    report = import_bars(warehouse, path, KEY, None, Said({"time": "when", "open": "mid", "close": "last"}, "ms"))
    assert report.columns == {"time": "when", "open": "mid", "high": "High", "low": "Low", "close": "last", "volume": "volume"}
    assert warehouse.bars(KEY).close.tolist() == [100.5, 101.5, 102.5]


def test_a_header_of_unknown_words_is_found_by_the_names_that_are_said(warehouse, write_csv):
    names = dict(zip(("time", "open", "high", "low", "close", "volume"), ("zeit", "auf", "hoch", "tief", "zu", "menge"), strict=True))
    path = write_csv(csv_of(csv_lines(make_bars(4)), ",".join(names.values())))
    with pytest.raises(DataError, match="line 1 names no known column"):
        import_bars(warehouse, path, KEY, BTC)
    assert import_bars(warehouse, path, KEY, BTC, Said(names)).rows_written == 4


@pytest.mark.parametrize(
    ("said", "words", "hint"),
    [
        ({"opne": "open"}, "'opne' is no column that is read here", "did you mean 'open'?"),
        ({"funding_rate": "open"}, "'funding_rate' is no column that is read here", "known: "),
        ({"open": "opem"}, "has no column 'opem' for open", "did you mean 'open'?"),
        ({"open": "Open"}, "has no column 'Open' for open", "did you mean 'open'?"),
    ],
)
def test_a_column_that_is_not_there_is_named(warehouse, write_csv, said, words, hint):
    with pytest.raises(InvalidInput, match=words) as caught:
        import_bars(warehouse, write_csv(csv_of(csv_lines(make_bars(3)))), KEY, BTC, Said(said))
    assert hint in caught.value.hint


def test_a_unit_is_one_of_five_and_timestamps_have_none(warehouse, tmp_path):
    with pytest.raises(InvalidInput, match="'sec' is not a unit of times") as caught:
        Said(time_unit="sec")
    assert caught.value.hint == "one of s, ms, us, ns, iso"
    path = tmp_path / "bars.parquet"
    database().execute(f"COPY (SELECT make_timestamp_ms({T0}) AS ts, 1 AS o, 1 AS h, 1 AS l, 1 AS c, 1 AS v) TO '{path}' (FORMAT parquet)")
    with pytest.raises(InvalidInput, match=r"column 'ts' of .* holds timestamps"):
        import_bars(warehouse, path, KEY, BTC, Said(time_unit="s"))


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("header", [HEADER, "Timestamp,Open,High,Low,Close,Volume", "open_time,o,h,l,c,vol", ",Open,High,Low,Close,Volume"])
def test_delimiter_and_column_names_are_detected(warehouse, write_csv, delimiter, header):
    text = csv_of(csv_lines(make_bars(5)), header).replace(",", delimiter)
    assert import_bars(warehouse, write_csv(text), KEY, BTC).rows_written == 5


def test_a_title_line_quotes_extra_columns_and_windows_lines_are_no_obstacle(warehouse, write_csv):
    text = 'https://example.org\r\n"unix","symbol","open","high","low","close","volume"\r\n'
    text += f'"{T0}","BTC","100","102","98","101","1"\r\n"{T0 + FIVE}","BTC","101","103","99","102","2"\r\n'
    assert import_bars(warehouse, write_csv(text), KEY, BTC).rows_written == 2


@pytest.mark.parametrize("kind", ["TIMESTAMP", "TIMESTAMPTZ", "BIGINT"])
def test_parquet_times_of_any_type_are_read(warehouse, tmp_path, kind):
    path = tmp_path / "bars [1].parquet"
    moment = f"({T0} + i * {FIVE})" if kind == "BIGINT" else f"make_timestamp_ms({T0} + i * {FIVE})::{kind}"
    rows = f"SELECT {moment} AS date, 100 AS open, 102 AS high, 98 AS low, 101::DECIMAL(10, 2) AS close, 5.0 AS volume FROM range(3) t(i)"
    database().execute(f"COPY ({rows}) TO '{path}' (FORMAT parquet)")
    import_bars(warehouse, path, KEY, BTC)
    assert np.array_equal(warehouse.bars(KEY).ts, T0 + np.arange(3) * FIVE)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "the file is empty"),
        (HEADER + "\n", "no rows"),
        ("this is a story\nabout nothing\n", "line 1 names no known column"),
        (f"{T0},1,2,0.5,1,3\n", "line 1 names no known column"),
        ("time,open,high,low,volume\n1,2,3,4,5\n", "no column for close"),
        ("when,open,high,low,close,volume\n1,2,3,4,5,6\n", "no column for time"),
        (HEADER + f"\n{T0},x,y,z,w,v\n", r"line 2, column 'open': 'x'"),
        (HEADER + "\nyesterday,1,2,0.5,1,3\n", "column 'time'|'time' holds no times"),
        (HEADER + "\n20250101,1,2,0.5,1,3\n20250102,1,2,0.5,1,3\n", r"line 2, column 'time': '20250101'"),
    ],
)
def test_a_file_that_holds_no_bars_is_refused_with_its_name_and_place(warehouse, write_csv, text, words):
    with pytest.raises(DataError, match=words) as caught:
        import_bars(warehouse, write_csv(text), KEY, BTC)
    assert "bars.csv" in caught.value.message
    assert caught.value.hint
    assert warehouse.series_keys() == []


def test_unreadable_files_are_refused(warehouse, tmp_path):
    with pytest.raises(NotFound, match="no such file"):
        import_bars(warehouse, tmp_path / "absent.csv", KEY, BTC)
    with pytest.raises(DataError, match="cannot be read"):
        import_bars(warehouse, tmp_path, KEY, BTC)
    for name, content, words in [
        ("broken.parquet", b"PAR1 cut off", "cannot be read"),
        ("old.feather", b"ARROW1\0\0", "Feather"),
        ("odd.csv", b"time,open\n\xff\xfe\n", "UTF-8"),
    ]:
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match=words):
            import_bars(warehouse, tmp_path / name, KEY, BTC)


@pytest.mark.parametrize(("asked", "found"), [("1m", "5m"), ("1h", "5m"), ("15m", "5m")])
def test_an_interval_that_is_not_the_files_is_refused_with_the_right_one(warehouse, write_csv, asked, found):
    path = write_csv(csv_of(csv_lines(make_bars(20))))
    with pytest.raises(DataError, match=f"{found} apart, not {asked}") as caught:
        import_bars(warehouse, path, SeriesKey("hyperliquid", "BTC", parse_duration(asked)), BTC)
    assert caught.value.hint == f"pass --interval {found}"


def test_close_times_are_not_taken_for_open_times(warehouse, write_csv):
    lines = csv_lines(make_bars(5, start_ms=T0 - 1))
    with pytest.raises(DataError, match=rf"line 2, column 'time': '{T0 - 1}' is not the open of a 5m bar"):
        import_bars(warehouse, write_csv(csv_of(lines)), KEY, BTC)


def test_holes_in_the_file_are_counted(warehouse, write_csv):
    lines = csv_lines(make_bars(30))
    report = import_bars(warehouse, write_csv(csv_of(lines[:5] + lines[8:20] + lines[21:])), KEY, BTC)
    assert (report.gaps, report.missing_bars) == (2, 4)


def test_bars_of_several_months_are_appended_month_by_month(warehouse, write_csv):
    key = SeriesKey("hyperliquid", "BTC", HOUR)
    bars = make_bars(24 * 70, key)
    lines = csv_lines(bars)
    import_bars(warehouse, write_csv(csv_of(lines[: 24 * 40])), key, BTC)
    import_bars(warehouse, write_csv(csv_of(lines[24 * 38 :])), key, BTC)
    assert [path.name for path in warehouse.files(key)] == ["2025-01.parquet", "2025-02.parquet", "2025-03.parquet"]
    assert np.array_equal(warehouse.bars(key).close, bars.close)


def test_funding_is_read_and_stamps_are_kept(warehouse, write_csv):
    lines = [f"{T0 + i * HOUR + 48},{1.25e-5 * i}" for i in range(5)]
    report = import_funding(warehouse, write_csv(csv_of(lines, "ts,funding_rate")), "hyperliquid", "BTC")
    assert (report.rows_written, report.funding, report.interval, report.gaps) == (5, True, "1h", 0)
    assert warehouse.funding("hyperliquid", "BTC").ts[1] == T0 + HOUR + 48


def test_a_later_stamp_of_the_same_hour_is_a_duplicate(warehouse, write_csv):
    import_funding(warehouse, write_csv(csv_of([f"{T0 + 48},0.0001"], "ts,funding_rate")), "hyperliquid", "BTC")
    again = import_funding(warehouse, write_csv(csv_of([f"{T0 + 1_433_040},0.0001"], "ts,funding_rate")), "hyperliquid", "BTC")
    assert (again.rows_written, again.duplicates, again.conflicts) == (0, 1, 0)


@pytest.mark.slow
def test_a_million_rows_are_imported_within_three_seconds(warehouse, tmp_path):
    path = tmp_path / "million.csv"
    prices = "60000.1 AS open, 60001.1 AS high, 59999.1 AS low, 60000.2 AS close"
    rows = f"SELECT {T0} + i * 60000 AS ts, {prices}, i % 7 AS volume FROM range(1000000) t(i)"
    database().execute(f"COPY ({rows}) TO '{path}' (HEADER)")
    # Processor time: what else the machine does is not this import's fault.
    started = time.process_time()
    report = import_bars(warehouse, path, SeriesKey("hyperliquid", "BTC", 60_000), BTC)
    assert report.rows_written == 1_000_000
    assert time.process_time() - started < 3


@pytest.mark.real_data
def test_real_bars_are_on_the_grid_without_fault(warehouse, shared_data):
    for market in ("BTC", "ETH", "SOL", "HYPE", "FARTCOIN"):
        for interval in ("1m", "5m", "15m", "1h", "4h", "1d"):
            key = SeriesKey("hyperliquid", market, parse_duration(interval))
            report = import_bars(
                warehouse, shared_data / f"hyperliquid_{market}_{interval}.parquet", key, instrument("hyperliquid", market)
            )
            assert report.rows_written == report.rows_read
            assert report.off_grid == report.bad_rows == report.gaps == 0, key.text
            assert verify(warehouse, key, 1_800_000_000_000).ok, key.text


@pytest.mark.real_data
def test_real_csv_with_weekends_is_imported(warehouse, shared_data):
    report = import_bars(warehouse, shared_data / "backtestingpy_EURUSD.csv", SeriesKey("forex", "EURUSD", HOUR), None)
    assert (report.rows_written, report.gaps > 0, report.time_unit) == (5000, True, "iso")
