"""The work of the kernel's benchmarks: a year of minutes, and averages that cross with a stop and a target."""

import numpy as np

from tradeagent.algos.bars import Bars
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
    none = np.full(count, np.nan)
    bars = Bars("BTC", MINUTE_MS, made.ts, made.open, made.high, made.low, made.close, made.volume, none)
    hours = np.arange(-(-int(made.ts[0]) // HOUR_MS), int(made.ts[-1]) // HOUR_MS + 1, dtype=np.int64) * HOUR_MS
    return SweepMarket(instrument("hyperliquid", "BTC"), bars, hours, np.full(len(hours), 125_000, np.int64))
