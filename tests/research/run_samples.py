"""Runs made by hand: an equity curve, trades and bars that are easy to check on paper."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from tradeagent.algos.bars import Bars
from tradeagent.algos.signals import Signals
from tradeagent.algos.spec import AlgoSpec, Directions
from tradeagent.market.instruments import instrument
from tradeagent.research.run import EXIT_REASONS, Leg, Run, Terms, Trades

MIN, HOUR, DAY = 60_000, 3_600_000, 86_400_000
T0 = 1_735_689_600_000  # 2025-01-01
BTC = instrument("hyperliquid", "BTC")
CASH = 1_000_000_000
"""Starting cash of the default terms in 10⁻⁶."""

SPEC = AlgoSpec("sample", "BTC", HOUR, Directions.BOTH, {}, None, None)


def bars_at(times: Sequence[int] | np.ndarray, interval_ms: int = HOUR, price: float | np.ndarray = 50_000.0) -> Bars:
    """Bars that open at `times` with open = close = `price` (one or one a bar)."""
    time = np.asarray(times, np.int64)
    flat = np.broadcast_to(np.asarray(price, float), time.shape).copy()
    return Bars("BTC", interval_ms, time, flat, flat, flat, flat, np.ones(len(time)), np.full(len(time), np.nan))


def clock(count: int, interval_ms: int = HOUR, start_ms: int = T0) -> np.ndarray:
    return start_ms + np.arange(count, dtype=np.int64) * interval_ms


def trades_of(rows: Sequence[dict[str, int]]) -> Trades:
    """Trades from dicts; what a dict leaves out is 0, and `direction` is 1."""
    columns = list(Trades.__slots__)
    filled = [{"direction": 1, "exit_reason": EXIT_REASONS.index("signal"), **row} for row in rows]
    return Trades(*(np.array([row.get(name, 0) for row in filled], np.int64) for name in columns))


def run_of(equity: Sequence[float] | np.ndarray, trades: Sequence[dict[str, int]] = (), **others: object) -> Run:
    """A run with this equity in quote units at each close."""
    micro = np.rint(np.asarray(equity, float) * 1e6).astype(np.int64)
    run = Run(micro, trades_of(trades), trades_of([]), 0, 0, 0, 0, 0, 0, {})
    return replace(run, **others)  # type: ignore[arg-type]


def leg_of(bars: Bars, hours: Sequence[int] = (), rates: Sequence[float] = ()) -> Leg:
    """A leg whose signals never fire; funding rates as fractions."""
    signals = Signals(np.zeros(len(bars), np.uint8), 0)
    scaled = np.rint(np.asarray(rates, float) * 1e10).astype(np.int64)
    return Leg(BTC, bars, SPEC, signals, np.asarray(hours, np.int64), scaled)


__all__ = ["BTC", "CASH", "DAY", "HOUR", "MIN", "T0", "Terms", "bars_at", "clock", "leg_of", "run_of", "trades_of"]
