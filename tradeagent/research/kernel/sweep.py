"""Many algos on the same bars at once: threads that share the bars, and one row of figures for each algo instead of a whole run."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from math import nan, sqrt
from os import cpu_count

import numpy as np

from tradeagent.algos.bars import Bars, Floats, Ints
from tradeagent.algos.signals import Signals
from tradeagent.algos.spec import AlgoSpec
from tradeagent.domain.clock import DAY_MS
from tradeagent.domain.instrument import Instrument
from tradeagent.research.kernel import fields as f
from tradeagent.research.kernel.check import deepest_drawdown
from tradeagent.research.kernel.prepare import prepared
from tradeagent.research.kernel.simulate import played
from tradeagent.research.kernel.trips import FEES, FUNDING, GROSS
from tradeagent.research.metrics import periods_per_year, sharpe_of
from tradeagent.research.run import Leg, Terms

Say = Callable[[AlgoSpec], Signals]
USDC = 10**6


@dataclass(frozen=True, slots=True, eq=False)
class SweepMarket:
    """The bars all algos of a sweep are played on, and the funding of their span as in `Leg`."""

    instrument: Instrument
    bars: Bars
    funding_hours: Ints
    funding_rates: Ints


@dataclass(frozen=True, slots=True, eq=False)
class SweepTable:
    """One row a spec, in their order; the columns are named and defined as the metrics of research.md §8, NaN where they are null."""

    total_return_pct: Floats
    sharpe: Floats
    max_drawdown_pct: Floats
    trades: Floats
    win_rate: Floats
    net_pnl_quote: Floats
    fees_quote: Floats
    funding_quote: Floats


COLUMNS = len(SweepTable.__dataclass_fields__)


def sweep(market: SweepMarket, specs: Sequence[AlgoSpec], terms: Terms, speaker: Callable[[], Say], workers: int = 0) -> SweepTable:
    """Simulate every spec on one market. `speaker` makes, once for each thread, the function that gives the signals of a spec.

    `workers` threads (0: one a core). Raises what `simulate` raises, for a spec that cannot be simulated.
    """
    table = np.empty((len(specs), COLUMNS))
    if specs:
        first = _Player(market, terms, speaker())
        table[0] = first.row(specs[0])
        count = max(1, min(workers or cpu_count() or 1, len(specs)))
        players = [first, *(_Player(market, terms, speaker(), first) for _ in range(count - 1))]
        with ThreadPoolExecutor(count) as pool:
            jobs = [pool.submit(player.fill, table, specs, range(1 + at, len(specs), count)) for at, player in enumerate(players)]
            for job in jobs:
                job.result()
    return SweepTable(*(np.ascontiguousarray(table[:, column]) for column in range(COLUMNS)))


class _Player:
    """What one thread needs: its own signals and equity buffer."""

    def __init__(self, market: SweepMarket, terms: Terms, say: Say, first: "_Player | None" = None) -> None:
        self._market = market
        self._terms = terms
        self._say = say
        self._equity = np.empty(len(market.bars), np.int64)
        self._last_of_days: Ints = first._last_of_days if first else _last_of_days(market.bars, terms.first_row)

    def fill(self, table: Floats, specs: Sequence[AlgoSpec], rows: range) -> None:
        for row in rows:
            table[row] = self.row(specs[row])

    def row(self, spec: AlgoSpec) -> tuple[float, ...]:
        """The figures of one algo."""
        market, terms = self._market, self._terms
        leg = Leg(market.instrument, market.bars, spec, self._say(spec), market.funding_hours, market.funding_rates)
        tape, memory = prepared([leg], terms)
        trades, equity = played(tape, memory, self._equity)
        cash, account = int(terms.cash.scaleb(6)), memory[0]
        pnl = trades[GROSS] - trades[FEES] - trades[FUNDING]
        nav = np.concatenate(([cash], equity[self._last_of_days])).astype(np.float64)
        before = nav[:-1]
        returns = np.divide(nav[1:] - before, before, out=np.zeros(len(before)), where=before > 0)
        sharpe = sharpe_of(returns)
        return (
            100 * (int(equity[-1]) / cash - 1),
            nan if sharpe is None else sharpe * sqrt(periods_per_year(market.bars.interval_ms)),
            100 * deepest_drawdown(equity[terms.first_row :], cash),
            len(pnl),
            float((pnl > 0).mean()) if len(pnl) else nan,
            float(pnl.sum()) / USDC,
            int(account[f.FEES]) / USDC,
            int(account[f.FUNDING]) / USDC,
        )


def _last_of_days(bars: Bars, first_row: int) -> Ints:
    """For every UTC day from the first one traded, the row of the newest bar that opened by its end; every row from 1d bars on."""
    rows = np.arange(min(first_row, len(bars)), len(bars), dtype=np.int64)
    if bars.interval_ms >= DAY_MS or not len(rows):
        return rows
    day = bars.time[rows] // DAY_MS
    ends = np.arange(day[0], day[-1] + 1, dtype=np.int64)
    found: Ints = rows[np.searchsorted(day, ends, side="right") - 1]
    return found
