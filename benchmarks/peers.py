"""The same work side by side with vectorbt and backtesting.py, where they are installed (`pip install vectorbt backtesting`).

Flips of two averages, a fixed quantity, a fee and no slippage give the same trades in all three, compared before they are timed; ours
start one row after the averages, where it would else take a side at once, because warm-up counts as false.
With stop and target the engines differ and are only timed: vectorbt looks at neither in the entry bar and measures both from the fill,
ours from the decision price and in the entry bar too. Neither peer charges funding or asks for margin.
Our algo is read from its text beforehand, as a peer's strategy is Python that was compiled beforehand; a sweep sets its parameters.
"""

import importlib.util
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal

import numpy as np

from benchmarks.crosses import YEAR, cross, minutes
from benchmarks.report import Floor, Row, main
from tradeagent.algos.evaluate import Evaluator
from tradeagent.domain.costs import FeeSchedule
from tradeagent.research.evaluation import spec_at
from tradeagent.research.kernel import SweepMarket, simulate, sweep
from tradeagent.research.run import Leg, Run, Terms

FEE = 0.00045
QUANTITY = 0.01
CASH = 1_000_000
PAIRS = [(fast, slow) for fast in range(5, 25) for slow in range(30, 130, 10)]
PLAIN = Terms(
    cash=Decimal(CASH),
    fees=FeeSchedule(Decimal(str(FEE)), Decimal(0)),
    slippage_bps=Decimal(0),
    fill_qty=Decimal(str(QUANTITY)),
    first_row=100,
)
FULL = Terms(cash=Decimal(CASH))
BACKTESTING_BARS = 50_000
LEVELS, FLIPS = cross(20, 100), replace(cross(20, 100, levels=False), leverage=40)
TRUNCATED = 2e-6  # ours truncates the fee of each of a trade's two fills to 10⁻⁶


def rows() -> list[Row]:
    """Our CPU or wall time beside each peer's in the same process; `× floor` is the part of the peer's time that ours takes."""
    found: list[Row] = []
    if importlib.util.find_spec("vectorbt"):
        found += _beside_vectorbt()
    if importlib.util.find_spec("backtesting"):
        found += _beside_backtesting()
    return found or [Row("peers: neither vectorbt nor backtesting.py is installed", 0, "peers")]


def _beside_vectorbt() -> list[Row]:
    place = minutes()
    run = _ours(place, PLAIN, levels=False)
    theirs = _vectorbt(place, levels=False)
    pnl = theirs.trades.records_arr[theirs.trades.records_arr["status"] == 1]["pnl"]
    _same("vectorbt", run, len(pnl), float(pnl.sum()))
    small = minutes(100_000)
    return [
        _row(
            f"one run, SMA 20/100 flip with stop and target, {YEAR:,} bars",
            _least(lambda: _ours(place, FULL, levels=True)) / YEAR * 1e9,
            Floor("vectorbt", _least(lambda: _vectorbt(place, levels=True).total_return()) / YEAR * 1e9),
            faster=6,
        ),
        _row(
            f"one run, SMA 20/100 flip, the same {len(run.trades):,} trades, {YEAR:,} bars",
            _least(lambda: _ours(place, PLAIN, levels=False)) / YEAR * 1e9,
            Floor("vectorbt", _least(lambda: _vectorbt(place, levels=False).total_return()) / YEAR * 1e9),
            faster=6,
        ),
        _row(
            f"{len(PAIRS)} pairs over 100,000 bars with stop and target, result table included",
            _least(lambda: _our_sweep(small), time.perf_counter),
            Floor("vectorbt", _least(lambda: _vectorbt_sweep(small), time.perf_counter)),
            faster=15,
            unit="s wall",
        ),
    ]


def _row(what: str, ours: float, peer: Floor, *, faster: int, unit: str = "CPU ns a bar") -> Row:
    """Ours is to take no more than the peer's time divided by `faster`."""
    return Row(what, ours, unit, bound=peer.value / faster, floor=peer)


def _beside_backtesting() -> list[Row]:
    place = minutes(BACKTESTING_BARS)
    run = _ours(place, PLAIN, levels=False)
    stats = _backtesting(place)
    gross = run.trades.gross.sum() / 1e6
    theirs = stats["_trades"]
    signed = float((theirs["Size"] * (theirs["ExitPrice"] - theirs["EntryPrice"])).sum()) * QUANTITY
    if len(theirs) != len(run.trades) or abs(signed - gross) > TRUNCATED:
        raise RuntimeError(f"backtesting.py: {len(theirs)} trades, gross {signed}; ours: {len(run.trades)}, {gross}")
    return [
        _row(
            f"one run, SMA 20/100 flip, the same {len(run.trades):,} trades, {BACKTESTING_BARS:,} bars",
            _least(lambda: _ours(place, PLAIN, levels=False)) / BACKTESTING_BARS * 1e9,
            Floor("backtesting.py", _least(lambda: _backtesting(place), runs=1) / BACKTESTING_BARS * 1e9),
            faster=300,
        )
    ]


def _ours(place: SweepMarket, terms: Terms, *, levels: bool) -> Run:
    """Averages, signals and the run, from nothing."""
    spec = LEVELS if levels else FLIPS
    funding = (place.funding_hours, place.funding_rates) if levels else (place.funding_hours[:0], place.funding_rates[:0])
    return simulate([Leg(place.instrument, place.bars, spec, Evaluator(place.bars).signals(spec), *funding)], terms)


def _our_sweep(place: SweepMarket) -> None:
    specs = [spec_at(LEVELS, {"fast.length": fast, "slow.length": slow}) for fast, slow in PAIRS]
    sweep(place, specs, FULL, lambda: Evaluator(place.bars).signals)


def _same(peer: str, run: Run, trades: int, pnl: float) -> None:
    """Raise unless the peer closed the same trades with the same net result."""
    ours = int((run.trades.gross - run.trades.fees).sum()) / 1e6
    if trades != len(run.trades) or abs(pnl - ours) > TRUNCATED * trades:
        raise RuntimeError(f"{peer}: {trades} trades, net {pnl}; ours: {len(run.trades)}, {ours}")


def _vectorbt(place: SweepMarket, *, levels: bool, fast: object = 20, slow: object = 100):  # type: ignore[no-untyped-def]  # peer's type
    import pandas as pd
    import vectorbt as vbt

    bars = place.bars
    index = pd.to_datetime(bars.time, unit="ms")
    close, opened, high, low = (pd.Series(column, index=index) for column in (bars.close, bars.open, bars.high, bars.low))
    quick, calm = vbt.MA.run(close, fast), vbt.MA.run(close, slow)
    long, short = quick.ma_crossed_above(calm), quick.ma_crossed_below(calm)
    exits = {"sl_stop": 0.01, "tp_stop": 0.02} if levels else {}
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


def _vectorbt_sweep(place: SweepMarket) -> None:
    """The same figures as `sweep` puts in its table."""
    found = _vectorbt(place, levels=True, fast=[fast for fast, _ in PAIRS], slow=[slow for _, slow in PAIRS])
    found.total_return(), found.sharpe_ratio(), found.max_drawdown()
    found.trades.count(), found.trades.win_rate(), found.total_profit(), found.orders.fees.sum()


def _backtesting(place: SweepMarket):  # type: ignore[no-untyped-def]  # peer's type
    """One unit is QUANTITY BTC: backtesting.py trades whole units, so prices and result are scaled."""
    import pandas as pd
    from backtesting import Backtest, Strategy

    bars = place.bars
    columns = {"Open": bars.open, "High": bars.high, "Low": bars.low, "Close": bars.close}
    frame = pd.DataFrame(columns, index=pd.to_datetime(bars.time, unit="ms"))

    def average(values: np.ndarray, length: int) -> np.ndarray:
        return pd.Series(values).rolling(length).mean().to_numpy()

    class Cross(Strategy):
        def init(self) -> None:
            self.fast = self.I(average, self.data.Close, 20)
            self.slow = self.I(average, self.data.Close, 100)

        def next(self) -> None:
            fast, slow = self.fast, self.slow
            if fast[-1] > slow[-1] and fast[-2] <= slow[-2]:
                self.position.close()
                self.buy(size=1)
            elif fast[-1] < slow[-1] and fast[-2] >= slow[-2]:
                self.position.close()
                self.sell(size=1)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return Backtest(frame, Cross, cash=100 * CASH, commission=FEE, finalize_trades=False).run()


def _least(work: Callable[[], object], clock: Callable[[], float] = time.process_time, runs: int = 3) -> float:
    """Least seconds of several runs after a first one that compiles."""
    work()
    best = float("inf")
    for _ in range(runs):
        began = clock()
        work()
        best = min(best, clock() - began)
    return best


if __name__ == "__main__":
    main(rows)
