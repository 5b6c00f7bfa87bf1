"""The flips of two averages in vectorbt and backtesting.py, on bars from a file; nothing of the product is imported, so that a peer's
first run costs what it costs its own users."""

import gc
import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

FEE = 0.00045
QUANTITY = 0.01
CASH = 1_000_000
STOP, TARGET = 0.01, 0.02
PAIRS = [(fast, slow) for fast in range(5, 25) for slow in range(30, 130, 10)]
SAMPLE = PAIRS[::21]  # one for each slow average; for a peer that would take minutes for all pairs


@dataclass(frozen=True, slots=True)
class Prices:
    """Columns of bars, as the product's own have them."""

    time: np.ndarray
    open: np.ndarray
    high: np.ndarray
    low: np.ndarray
    close: np.ndarray


def read(file: Path) -> Prices:
    """What `crosses.keep` wrote."""
    columns = np.load(file)
    return Prices(columns[0].astype(np.int64), *columns[1:5])


def run(peer: str, bars: Any, *, levels: bool) -> np.ndarray:
    """One run from nothing: a row for each closed trade with its entry row, exit row and net result, in order of entry."""
    if peer == "vectorbt":
        trades = vectorbt(bars, levels=levels).trades.records_arr
        closed = trades[trades["status"] == 1]
        return np.stack([closed["entry_idx"], closed["exit_idx"], closed["pnl"]], axis=1)
    found = backtesting(bars, levels=levels)["_trades"]
    return np.stack([found["EntryBar"], found["ExitBar"], found["PnL"] * QUANTITY], axis=1)


def first(peer: str, file: str) -> None:
    """What the first run of a process does."""
    run(peer, read(Path(file)), levels=True)


def swept(peer: str, bars: Any) -> float:
    """Seconds of all pairs with stop and target; backtesting.py runs one at a time, so a few of them are run and scaled."""
    gc.collect()
    began = time.perf_counter()
    if peer == "vectorbt":
        found = vectorbt(bars, levels=True, fast=[fast for fast, _ in PAIRS], slow=[slow for _, slow in PAIRS])
        found.total_return(), found.sharpe_ratio(), found.max_drawdown()
        found.trades.count(), found.trades.win_rate(), found.total_profit(), found.orders.fees.sum()
        return time.perf_counter() - began
    for fast, slow in SAMPLE:
        backtesting(bars, levels=True, fast=fast, slow=slow)
    return (time.perf_counter() - began) * len(PAIRS) / len(SAMPLE)


def vectorbt(bars: Any, *, levels: bool, fast: object = 20, slow: object = 100) -> Any:
    import pandas as pd
    import vectorbt as vbt

    index = pd.to_datetime(bars.time, unit="ms")
    close, opened, high, low = (pd.Series(column, index=index) for column in (bars.close, bars.open, bars.high, bars.low))
    quick, calm = vbt.MA.run(close, fast), vbt.MA.run(close, slow)
    long, short = quick.ma_crossed_above(calm), quick.ma_crossed_below(calm)
    exits = {"sl_stop": STOP, "tp_stop": TARGET} if levels else {}
    return vbt.Portfolio.from_signals(
        close,
        long.shift(1, fill_value=False),
        short_entries=short.shift(1, fill_value=False),
        price=opened,
        open=opened,
        high=high,
        low=low,
        size=QUANTITY,
        fees=FEE,
        init_cash=CASH,
        freq="1min",
        **exits,
    )


def backtesting(bars: Any, *, levels: bool, fast: int = 20, slow: int = 100) -> Any:
    """One unit is QUANTITY BTC: backtesting.py trades whole units, so prices and result are scaled."""
    import pandas as pd
    from backtesting import Backtest, Strategy

    columns = {"Open": bars.open, "High": bars.high, "Low": bars.low, "Close": bars.close}
    frame = pd.DataFrame(columns, index=pd.to_datetime(bars.time, unit="ms"))

    def average(values: np.ndarray, length: int) -> np.ndarray:
        return np.asarray(pd.Series(values).rolling(length).mean())

    class Cross(Strategy):  # type: ignore[misc]  # the peer has no types
        def init(self) -> None:
            self.fast = self.I(average, self.data.Close, fast)
            self.slow = self.I(average, self.data.Close, slow)

        def next(self) -> None:
            quick, calm = self.fast, self.slow
            if quick[-1] > calm[-1] and quick[-2] <= calm[-2]:
                self.position.close()
                self.buy(size=1, **self.exits(1))
            elif quick[-1] < calm[-1] and quick[-2] >= calm[-2]:
                self.position.close()
                self.sell(size=1, **self.exits(-1))

        def exits(self, side: int) -> dict[str, float]:
            price = self.data.Close[-1]
            return {"sl": price * (1 - side * STOP), "tp": price * (1 + side * TARGET)} if levels else {}

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return Backtest(frame, Cross, cash=100 * CASH, commission=FEE, finalize_trades=False).run()
