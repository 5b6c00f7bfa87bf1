"""Charts of characters, the offline report and its PNG."""

import re
from html.parser import HTMLParser

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tradeagent.algos.bars import Bars
from tradeagent.research.charts import Mark, area, candles, line, spark
from tradeagent.research.picture import Picture, Tone
from tradeagent.research.report_html import Drawn, marks_of, report
from tradeagent.research.report_png import png

HOUR = 3_600_000


def made_bars(closes: list[float]) -> Bars:
    close = np.array(closes, np.float64)
    opened = np.append(close[:1], close[:-1])
    high, low = np.maximum(opened, close) + 1, np.minimum(opened, close) - 1
    times = np.arange(len(close), dtype=np.int64) * HOUR
    return Bars("BTC", HOUR, times, opened, high, low, close, np.ones(len(close)), np.full(len(close), np.nan))


def test_a_rising_and_a_falling_candle_stand_where_their_prices_are() -> None:
    rows = candles(made_bars([100.0, 110.0, 100.0]), 40, 14).plain().splitlines()
    columns = ["".join(row[column] if column < len(row) else " " for row in rows[:11]) for column in range(3)]
    assert columns[1].strip()[:1] in "╷│▄█"
    assert columns[1].count("█") >= 7, "a body over nearly the whole range"
    assert columns[0].count("█") <= 1, "an unchanged bar has hardly a body"
    assert max(i for i, char in enumerate(columns[0]) if char != " ") >= 9, "the first bar is at the bottom"


def test_the_colour_of_a_candle_is_not_the_only_sign_of_an_entry() -> None:
    bars = made_bars([100.0 + i for i in range(30)])
    text = candles(bars, 60, 16, [Mark(int(bars.time[10]), 110.0, "▲", Tone.UP), Mark(int(bars.time[20]), 120.0, "●", Tone.MARK)]).plain()
    assert text.count("▲") == text.count("●") == 1
    assert candles(bars, 60, 16, [Mark(-1, 110.0, "▲", Tone.UP)]).plain().count("▲") == 0


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.floats(0.0001, 1e6) | st.just(float("nan")), max_size=300),
    st.integers(1, 150),
    st.integers(1, 40),
)
def test_any_series_is_drawn_in_the_room_it_was_given(values: list[float], width: int, height: int) -> None:
    array = np.array(values, np.float64)
    times = np.arange(len(values), dtype=np.int64) * HOUR
    finite = [value for value in values if not np.isnan(value)]
    for drawn in (
        line(times, array, width, height, base=100.0),
        area(times, -array, width, height),
        candles(made_bars(finite), width, height),
    ):
        rows = drawn.plain().splitlines()
        assert len(rows) <= max(height, 6)
        assert all(len(row) <= max(width, 24) for row in rows)
    assert len(spark(array, 20)) <= 20


def test_a_line_rises_from_the_lower_left_to_the_upper_right() -> None:
    rows = line(np.arange(50, dtype=np.int64) * HOUR, np.arange(50.0), 51, 9).plain().splitlines()
    assert rows[7].lstrip()[0] != " " and rows[0][38:40].strip(), rows
    assert not rows[0][:10].strip() and not rows[7][20:40].strip()


def test_a_picture_ignores_what_sticks_out_and_paints_runs() -> None:
    picture = Picture(4, 2)
    picture.put(0, 2, "abcd", Tone.UP)
    picture.put(7, 0, "x")
    assert picture.plain() == "  ab\n"
    assert picture.ansi().splitlines()[0] == "  \x1b[32mab\x1b[0m"


def document(name: str = "sma_cross") -> dict[str, object]:
    trade = {
        "direction": "long",
        "entry_time": "1970-01-01T02:00:00+00:00",
        "entry_price": "101",
        "exit_time": "1970-01-01T05:00:00+00:00",
        "exit_price": "104",
        "pnl": 2.5,
        "exit_reason": "target",
    }
    return {
        "id": "bt_1",
        "algo": name,
        "data": {"market": "BTC", "interval": "1h", "bars": 40, "fingerprint": "f00"},
        "metrics": {"total_return_pct": -1.5, "sharpe": None, "trades": 1},
        "warnings": ["funding missing in <3> hours"],
        "costs": {"taker_bps": 4.5},
        "honesty": {"trials": 7, "ci": {"sharpe": [-1.0, 2.0]}},
        "limits_impact": {"PROTECTION": {"refused": 2, "cut": 0}},
        "trades": [trade],
        "open_trade": None,
    }


class _Outside(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.addresses += [value or "" for key, value in attrs if key in ("src", "href", "xlink:href")]
        assert tag not in ("script", "link", "iframe", "img")


def test_a_report_is_one_page_without_an_address_outside_of_it() -> None:
    bars = made_bars([100.0 + i for i in range(40)])
    trades = document()["trades"]
    marks = marks_of(trades, lambda text: int(np.datetime64(text[:19], "ms").astype(np.int64)))  # type: ignore[arg-type]
    page = report(document("<script>alert(1)</script>"), Drawn(bars, np.linspace(1000, 985, 40)), marks)
    parser = _Outside()
    parser.feed(page)
    assert not parser.addresses
    assert not re.search(r"https?://|@import|url\(", page)
    for said in ("&lt;script&gt;", "funding missing in &lt;3&gt; hours", "PROTECTION", "▲", "●", "-1 … 2", "-1.5%"):
        assert said in page, said


@pytest.mark.slow
def test_a_png_is_a_picture_of_the_promised_size() -> None:
    pytest.importorskip("matplotlib")
    bars = made_bars([100.0 + i % 7 for i in range(200)])
    data = png(Drawn(bars, np.linspace(1000, 1100, 200)), [Mark(HOUR, 101.0, "▲", Tone.UP)], "BTC")
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    assert (int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")) == (1600, 1000)
