"""The work of the kernel's benchmarks: a year of minutes, and averages that cross with a stop and a target."""

from pathlib import Path

import numpy as np

from tradeagent.algos.bars import Bars, Floats, Ints
from tradeagent.algos.parse import parse_algo
from tradeagent.algos.spec import AlgoSpec
from tradeagent.domain.clock import HOUR_MS, MINUTE_MS
from tradeagent.market.instruments import instrument
from tradeagent.market.synthetic import synthetic_market
from tradeagent.research.kernel import SweepMarket

YEAR = 525_600
LEVELS = """
exit:
  long: {stop_loss: {pct: 1}, take_profit: {rr: 2}}
  short: {stop_loss: {pct: 1}, take_profit: {rr: 2}}
"""


def cross(fast: int, slow: int, *, levels: bool = True) -> AlgoSpec:
    """Long above, short below, flipping at each cross of two simple averages."""
    text = f"""
name: cross
market: BTC
interval: 1m
direction: both
indicators:
  fast: {{kind: sma, length: {fast}}}
  slow: {{kind: sma, length: {slow}}}
entry:
  long: {{required: ["fast > slow"]}}
  short: {{required: ["fast < slow"]}}
sizing: {{pct_of_equity: 50}}
leverage: 3
"""
    return parse_algo(text + (LEVELS if levels else ""), "cross.yml")


def minutes(count: int = YEAR) -> SweepMarket:
    """Made-up one-minute bars of BTC with a funding row each hour; the same ones every time."""
    made = synthetic_market(0, count, "BTC", MINUTE_MS).bars
    return _place(made.ts, made.open, made.high, made.low, made.close, made.volume, np.full(count, np.nan))


def keep(place: SweepMarket, file: Path) -> None:
    """The bars as one array, for a process that is to have no other trace of them."""
    bars = place.bars
    np.save(file, np.stack([bars.time.astype(np.float64), bars.open, bars.high, bars.low, bars.close, bars.volume, bars.funding]))


def kept(file: Path) -> SweepMarket:
    """What `keep` wrote, with the funding of those hours."""
    time_ms, *columns = np.load(file)
    return _place(time_ms.astype(np.int64), *columns)


def _place(time_ms: Ints, *columns: Floats) -> SweepMarket:
    hours = np.arange(-(-int(time_ms[0]) // HOUR_MS), int(time_ms[-1]) // HOUR_MS + 1, dtype=np.int64) * HOUR_MS
    bars = Bars("BTC", MINUTE_MS, time_ms, *columns)
    return SweepMarket(instrument("hyperliquid", "BTC"), bars, hours, np.full(len(hours), 125_000, np.int64))
