"""One run of the kernel from legs and terms to `Run`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np

from tradeagent.algos.bars import Ints
from tradeagent.domain.errors import InvalidInput
from tradeagent.research.kernel import fields as f
from tradeagent.research.kernel.loop import run
from tradeagent.research.kernel.prepare import prepared
from tradeagent.research.kernel.tape import Tape
from tradeagent.research.kernel.track import track_of
from tradeagent.research.run import Leg, Run, Terms, Trades

FIRST_ROOM, BARS_A_TRADE = 1024, 32
COUNTS = {
    "ambiguous": f.AMBIGUOUS,
    "below_minimum": f.BELOW_MINIMUM,
    "no_margin": f.NO_MARGIN,
    "bad_levels": f.BAD_LEVEL,
    "venue_refused": f.REFUSED,
    "outage_waits": f.OUTAGE_WAITS,
    "over_capacity_fills": f.OVER_CAPACITY,
    "liquidations": f.LIQUIDATIONS,
    "stops_tightened": f.TIGHTENED,
}


def is_compiled() -> bool:
    """Whether the disk cache holds the kernel; without it the first run of a machine compiles it."""
    return any(Path(str(cast(Any, run).stats.cache_path)).glob("loop.*.nbi"))


def simulate(legs: Sequence[Leg], terms: Terms) -> Run:
    """Play signals on bars with the market semantics of execution.md §7, on one cross-margin account; equal to the venue to 10⁻⁶ USDC.

    Raises InvalidInput or InvalidConfig for legs and terms that cannot be simulated, and InvalidInput when a position grows so large that
    its money would leave int64 (above 10⁹ USDC).
    """
    tape, memory = prepared(legs, terms)
    trades, equity = played(tape, memory)
    return _as_run(legs, memory, trades, equity)


def played(tape: Tape, memory: Ints, equity: Ints | None = None) -> tuple[Ints, Ints]:
    """Trades (columns of `Trades`) and equity of one pass, which leaves the memory as it is at its end; `equity` is filled if given."""
    rows, first = tape.rows, int(memory[0, f.ROW])
    equity = np.empty(rows, np.int64) if equity is None else equity
    equity[:first] = memory[0, f.CASH]
    trades = np.empty((f.TRADE_COLUMNS, max(FIRST_ROOM, rows // BARS_A_TRADE, 2 * f.TRIPS_A_BAR * len(memory))), np.int64)
    count = 0
    while True:
        count = run(tape, memory, trades, equity, count)
        if memory[0, f.OVERFLOW]:
            row = int(memory[0, f.ROW]) - 1
            raise InvalidInput(
                f"bar {row}: a position would grow above {int(memory[0, f.MONEY_LIMIT]) // 10**6} USDC, more than a backtest can count",
                hint="start with less capital, or size by a fixed amount",
            )
        if memory[0, f.ROW] >= rows:
            return trades[:, :count], equity
        trades = np.concatenate((trades, np.empty_like(trades)), axis=1)


def _as_run(legs: Sequence[Leg], memory: Ints, trades: Ints, equity: Ints) -> Run:
    account = memory[0]
    return Run(
        equity=equity,
        trades=Trades(*trades),
        open_trades=Trades(*np.ascontiguousarray(memory[len(legs) + 1 :][: int(account[f.TRADES]), : f.TRADE_COLUMNS].T)),
        fees=int(account[f.FEES]),
        funding=int(account[f.FUNDING]),
        slippage=int(account[f.SLIPPAGE]),
        turnover=int(account[f.TURNOVER]),
        exposed=int(account[f.EXPOSED]),
        max_leverage=int(account[f.MAX_LEVERAGE]),
        counts={name: int(account[column]) for name, column in COUNTS.items()}
        | {"funding_missing": sum(track_of(leg).missing_hours for leg in legs)},
    )
