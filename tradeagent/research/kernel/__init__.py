"""The backtest kernel: signals on bars through the venue's semantics in compiled int64, equal to the venue to the last 10⁻⁶ USDC.

Importing this room compiles nothing and loads numba, so callers import it where they simulate.
"""

from tradeagent.research.kernel.simulate import is_compiled, simulate
from tradeagent.research.kernel.sweep import SweepMarket, SweepTable, sweep

__all__ = ["SweepMarket", "SweepTable", "is_compiled", "simulate", "sweep"]
