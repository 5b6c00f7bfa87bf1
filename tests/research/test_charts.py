"""Charts of characters, the offline report and its PNG."""

import re
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tradeagent.algos.bars import Bars
from tradeagent.domain.errors import DataError
from tradeagent.research.reports.charts import Mark, area, candles, line, spark
from tradeagent.research.reports.drawn import Drawn, marks_of
from tradeagent.research.reports.html import report
from tradeagent.research.reports.picture import Picture, Tone
from tradeagent.research.reports.png import png

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


def document(name: str = "sma_cross") -> dict[str, Any]:
    trade = {
        "direction": "long",
        "entry_time": "1970-01-01T02:00:00+00:00",
        "entry_price": "101",
        "exit_time": "1970-01-01T05:00:00+00:00",
        "exit_price": "104",
        "pnl": 2.5,
        "exit_reason": "target",
    }
    worse = {"total_return_pct": -9.5, "sharpe": None, "max_drawdown_pct": 12.0}
    return {
        "id": "bt_1",
        "algo": name,
        "kernel": "beef",
        "data": {"market": "BTC", "interval": "1h", "bars": 40, "fingerprint": "f00"},
        "metrics": {
            "total_return_pct": -1.5,
            "sharpe": None,
            "trades": 1,
            "winning_trades": 1,
            "win_rate": 0.625,
            "profit_factor": None,
            "max_drawdown_duration_s": 21_978_000,
            "gross_pnl_quote": "-1961.857092",
            "fees_quote": "12345.678901",
        },
        "warnings": [{"code": "funding_missing", "count": 3, "message": "hours <without> funding"}],
        "costs": {"taker_bps": "4.5", "cash": "1000"},
        "fill_model": {"path": "adverse"},
        "honesty": {
            "trials": 7,
            "sharpe_threshold": 1.25,
            "psr": 0.4,
            "deflated_sharpe": 0.123,
            "pbo": None,
            "ci": {"sharpe": [-1.0, 2.0], "annual_return_pct": None, "max_drawdown_pct": [1.0, 5.0]},
            "costs_x2": worse,
            "delay_1": worse,
            "lookahead": {"ok": False, "cuts": 20, "first_difference": {"name": "peek", "time": "1970-01-01"}},
            "notes": {"pbo": "needs at least 2 trials"},
        },
        "limits_impact": {"PROTECTION": {"refused": 2, "cut": 0}},
        "refusals": None,
        "diagnostics": {"exit_reasons": {"target": {"trades": 1, "pnl_quote": "2.5"}}},
        "trades": [trade],
        "trades_count": 1,
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
    found = document("<script>alert(1)</script>")
    page = report(found, Drawn(bars, np.linspace(1000, 985, 40), 1000.0, (), tuple(marks_of(found["trades"]))))
    parser = _Outside()
    parser.feed(page)
    assert not parser.addresses
    assert not re.search(r"https?://|@import|url\(", page)
    wanted = [
        "&lt;script&gt;",
        "3 hours &lt;without&gt; funding",
        "PROTECTION",
        "would have refused 2",
        "▲",
        "●",
        "-1.00 to 2.00",
        "-1.50 %",
        "limit PROTECTION",
    ]
    wanted += ["12.3 % chance that the true Sharpe is above 1.25, the best of 7 lucky tries", "FOUND: peek", "needs at least 2 trials"]
    for said in wanted:
        assert said in page, said


def test_the_drawdown_of_a_part_counts_from_the_peak_before_it() -> None:
    bars = made_bars([100.0] * 4)
    part = Drawn(bars, np.array([1000.0, 2000.0, 1500.0, 1000.0]), 1000.0).between(2 * HOUR, None)
    assert part.drawdown_pct.tolist() == [-25.0, -50.0]
    with pytest.raises(DataError, match="no bars of this backtest"):
        part.between(9 * HOUR, None)


@pytest.mark.slow
def test_a_png_is_a_picture_of_the_promised_size() -> None:
    pytest.importorskip("matplotlib")
    bars = made_bars([100.0 + i % 7 for i in range(200)])
    data = png(Drawn(bars, np.linspace(1000, 1100, 200), 1000.0, (), (Mark(HOUR, 101.0, "▲", Tone.UP),)), "BTC")
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    assert (int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")) == (1600, 1000)


def test_the_metrics_of_a_report_are_readable() -> None:
    page = report(document(), Drawn(made_bars([100.0] * 40), np.full(40, 1000.0), 1000.0))
    for label, text in (
        ("longest drawdown", "254.4 days"),
        ("gross PnL, closed trades only", "-1,961.86"),
        ("fees, whole run", "12,345.68"),
        ("win rate", "62.5 %"),
        ("profit factor", "∞"),
        ("cash", "1,000.00"),
    ):
        assert f"<td>{label}<td>{text}" in page, label
    assert "1961.857092" not in page and "21,978,000" not in page
