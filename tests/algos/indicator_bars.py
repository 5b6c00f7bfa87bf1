"""Bars for the tests of indicators: random walks, burst of gaps, and real ones."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tradeagent.algos.bars import Bars, Floats

MINUTE = 60_000
MARKETS = ("BTC", "ETH", "SOL", "HYPE", "FARTCOIN")
REAL = (
    *(f"hyperliquid_{market}_{interval}" for market in MARKETS for interval in ("5m", "1h")),
    "hyperliquid_FARTCOIN_1m",
    "hyperliquid_SOL_1d",
)


def walk(rows: int, seed: int = 0, decimals: int | None = 1, price: float = 60_000.0) -> Bars:
    """A random walk of bars whose highs and lows hold its opens and closes; `decimals` None leaves the prices on no grid."""
    rng = np.random.default_rng(seed)
    close = price * np.exp(np.cumsum(rng.normal(0, 0.001, rows)))
    opens = np.concatenate([close[:1], close[:-1]])
    high = np.maximum(opens, close) * (1 + np.abs(rng.normal(0, 0.0005, rows)))
    low = np.minimum(opens, close) * (1 - np.abs(rng.normal(0, 0.0005, rows)))
    volume = np.round(rng.uniform(0, 10, rows), 5)
    prices = [opens, high, low, close] if decimals is None else [np.round(column, decimals) for column in (opens, high, low, close)]
    return bars_of(*prices, volume)


def bars_of(opens: Floats, high: Floats, low: Floats, close: Floats, volume: Floats, interval_ms: int = MINUTE) -> Bars:
    time = 1_735_689_600_000 + np.arange(len(close), dtype=np.int64) * interval_ms
    return Bars("BTC", interval_ms, time, opens, high, low, close, volume, np.full(len(close), np.nan))


def flat(rows: int, price: float = 100.0) -> Bars:
    """Nothing moves and nothing trades."""
    column = np.full(rows, price)
    return bars_of(column, column, column, column, np.zeros(rows))


def uneven(rows: int, seed: int = 9) -> Bars:
    """Prices that move by whole ticks or not at all, so that typical prices tie and stops are touched.

    Some bars have no range, some no volume, and every 500 rows the market stands still for 45.
    """
    rng = np.random.default_rng(seed)
    standing = np.arange(rows) % 500 >= 455
    close = 1000 + np.cumsum(np.where(standing, 0, rng.integers(-1, 2, rows)))
    opens = np.concatenate([close[:1], close[:-1]])
    single = standing | (rng.random(rows) < 0.1)
    opens = np.where(single, close, opens)
    high = np.maximum(opens, close) + np.where(single, 0, rng.integers(0, 3, rows))
    low = np.minimum(opens, close) - np.where(single, 0, rng.integers(0, 3, rows))
    volume = np.where(standing | (rng.random(rows) < 0.15), 0.0, np.round(rng.uniform(0, 10, rows), 5))
    return bars_of(opens / 10, high / 10, low / 10, close / 10, volume)


def broken(bars: Bars, rows: npt.NDArray[np.int64]) -> Bars:
    """The same bars with NaN in those rows."""
    columns = {}
    for name in ("open", "high", "low", "close", "volume"):
        columns[name] = getattr(bars, name).copy()
        columns[name][rows] = np.nan
    return replace(bars, **columns)


def real(folder: Path, name: str) -> Bars:
    import duckdb

    table = duckdb.connect().execute(f"SELECT open, high, low, close, volume FROM '{folder / name}.parquet' ORDER BY ts").fetchnumpy()
    return bars_of(*(np.asarray(table[column], np.float64) for column in ("open", "high", "low", "close", "volume")))
