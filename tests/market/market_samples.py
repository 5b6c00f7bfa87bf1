"""Bars that are easy to reason about, and their CSV text."""

import numpy as np

from tradeagent.market.series import BarSeries, SeriesKey, bar_series

FIVE = 300_000
HOUR = 3_600_000
T0 = 1_735_689_600_000
KEY = SeriesKey("hyperliquid", "BTC", FIVE)
HEADER = "time,open,high,low,close,volume"


def make_bars(count: int, key: SeriesKey = KEY, start_ms: int = T0, price: float = 60_000.0) -> BarSeries:
    """Rising bars: bar i opens at price + i, closes 1 higher, its high and low are 2 away from the open, its volume is i + 1."""
    steps = np.arange(count)
    opens = price + steps
    ts = start_ms + steps.astype(np.int64) * key.interval_ms
    return bar_series(key, ts, opens, opens + 2.0, opens - 2.0, opens + 1.0, steps + 1.0)


def csv_lines(series: BarSeries) -> list[str]:
    columns = [column.tolist() for column in series.columns().values()]
    return [",".join(map(str, row)) for row in zip(*columns, strict=True)]


def csv_of(lines: list[str], header: str = HEADER) -> str:
    return "\n".join([header, *lines]) + "\n"
