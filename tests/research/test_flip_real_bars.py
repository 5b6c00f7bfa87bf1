"""A flip of two averages on real five-minute bars, counted a second time in plain Decimals, and beside vectorbt where it is installed.

One fixed quantity, the taker fee, no slippage, no funding; fills at the next open, in an outage too, because no peer knows outages.
How many trades there are and the last equity stand here as well; `PUBLISHED` are figures that other engines agreed on.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest

from tradeagent.algos.bars import Bars
from tradeagent.algos.evaluate import Evaluator
from tradeagent.algos.parse import parse_algo
from tradeagent.domain.costs import FeeSchedule
from tradeagent.market.instruments import instrument
from tradeagent.research.kernel import simulate
from tradeagent.research.run import Leg, Run, Terms

pytestmark = pytest.mark.real_data
FAST, SLOW, FEE, CASH, CENT = 20, 100, Decimal("0.00045"), Decimal(10_000_000), Decimal("0.01")
MICRO = Decimal("0.000001")
ALGO = f"""
name: flip
market: BTC
interval: 5m
indicators:
  fast: {{kind: sma, length: {FAST}}}
  slow: {{kind: sma, length: {SLOW}}}
entry:
  long: {{required: ["fast > slow"]}}
  short: {{required: ["fast < slow"]}}
sizing: {{pct_of_equity: 50}}
"""


@dataclass(frozen=True)
class Market:
    """What is traded, and what has to come out when trading starts with the first cross that has a bar before it."""

    quantity: Decimal
    trades: int
    equity: Decimal
    ties: Sequence[int] = ()  # rows at which both averages are equal and vectorbt's rounding sees a cross one bar before there is one


MARKETS = {
    "BTC": Market(Decimal(1), 549, Decimal("9955739.54")),
    "ETH": Market(Decimal(10), 513, Decimal("10007669.35"), (34844,)),
    "SOL": Market(Decimal(100), 517, Decimal("10001479.53")),
    "HYPE": Market(Decimal(100), 590, Decimal("9991439.21"), (7137,)),
}
PUBLISHED = {
    "hyperliquid_BTC_5m": ("BTC", Decimal(1), 550, Decimal("9955404.76")),
    "ftx_BTC-PERP_1m_2022-01": ("BTC", Decimal(1), 639, Decimal("9977927.39")),
}


@dataclass
class Account:
    """Cash, position, and what was closed: entry row, exit row, direction, entry price, exit price, result."""

    cash: Decimal = CASH
    size: Decimal = Decimal(0)
    entered: tuple[int, Decimal, Decimal] = (0, Decimal(0), Decimal(0))
    trades: list[tuple[int, int, int, Decimal, Decimal, Decimal]] = field(default_factory=list)
    equity: list[Decimal] = field(default_factory=list)

    def turn(self, row: int, price: Decimal, size: Decimal) -> None:
        fee = (abs(size) * price * FEE).quantize(MICRO, "ROUND_FLOOR")
        if self.size:
            begun, paid, fee_in = self.entered
            gross = self.size * (price - paid)
            self.cash += gross - fee
            self.trades.append((begun, row, 1 if self.size > 0 else -1, paid, price, gross - fee - fee_in))
        self.cash -= fee
        self.size, self.entered = size, (row, price, fee)


def exact(column: np.ndarray) -> list[Decimal]:
    return [Decimal(repr(float(value))) for value in column]


def gaps(closes: Sequence[Decimal]) -> list[int | None]:
    """The sign of fast average less slow average, from sums without rounding; None before both are there."""
    sums = [Decimal(0), *itertools.accumulate(closes)]
    found: list[int | None] = [None] * (SLOW - 1)
    for row in range(SLOW, len(sums)):
        gap = (sums[row] - sums[row - FAST]) * SLOW - (sums[row] - sums[row - SLOW]) * FAST
        found.append((gap > 0) - (gap < 0))
    return found


def counted(bars: Bars, quantity: Decimal, first_row: int) -> Account:
    """A side is taken at the open after the bar in which one average came to lie above or below the other."""
    account, opens, closes = Account(), exact(bars.open), exact(bars.close)
    signs, wanted = gaps(closes), 0
    for row, (opened, closed) in enumerate(zip(opens, closes, strict=True)):
        if wanted and wanted * account.size <= 0:
            account.turn(row, opened, wanted * quantity)
        account.equity.append(account.cash + account.size * (closed - account.entered[1]))
        now, before = signs[row], signs[row - 1] if row else None
        wanted = now if row >= first_row and now and now != before else 0
    return account


def read(file: Path, market: str, interval_ms: int) -> Bars:
    columns = duckdb.sql(f"SELECT ts, open, high, low, close, volume FROM '{file}' ORDER BY ts").fetchnumpy()
    prices = [np.asarray(columns[name], np.float64) for name in ("open", "high", "low", "close", "volume")]
    return Bars(market, interval_ms, np.asarray(columns["ts"], np.int64), *prices, np.full(len(prices[0]), np.nan))


def played(bars: Bars, market: str, quantity: Decimal, first_row: int) -> Run:
    spec = replace(parse_algo(ALGO, "flip.yml"), market=market)
    none = np.zeros(0, np.int64)
    terms = Terms(CASH, FeeSchedule(FEE, Decimal(0)), Decimal(0), fill_qty=quantity, fill_no_volume=True, first_row=first_row)
    return simulate([Leg(instrument("hyperliquid", market), bars, spec, Evaluator(bars).signals(spec), none, none)], terms)


def assert_same(run: Run, account: Account, market: str) -> None:
    """Every trade and the equity of every bar, to the last 10⁻⁶ USDC."""
    units = 10 ** (6 - instrument("hyperliquid", market).size_decimals)
    all_of = run.trades
    columns = (all_of.entry_row, all_of.exit_row, all_of.direction, all_of.entry_price, all_of.exit_price, all_of.gross - all_of.fees)
    found = list(zip(*(column.tolist() for column in columns), strict=True))
    assert found == [(a, b, side, c * units, d * units, net / MICRO) for a, b, side, c, d, net in account.trades]
    assert [int(value) for value in run.equity] == [value / MICRO for value in account.equity]


@pytest.fixture(scope="module", params=MARKETS)
def world(request: pytest.FixtureRequest, shared_data: Path) -> tuple[str, Market, Bars, Run, Account]:
    market, asked = request.param, MARKETS[request.param]
    bars = read(shared_data / f"hyperliquid_{market}_5m.parquet", market, 300_000)
    return market, asked, bars, played(bars, market, asked.quantity, SLOW), counted(bars, asked.quantity, SLOW)


def test_the_trades_and_the_equity_are_those_of_plain_decimals(world: tuple[str, Market, Bars, Run, Account]) -> None:
    market, asked, _, run, account = world
    assert_same(run, account, market)
    assert (len(run.trades), account.equity[-1].quantize(CENT)) == (asked.trades, asked.equity)


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_trades_and_the_equity_are_those_another_engine_gave(name: str, shared_data: Path) -> None:
    """They take a side with the first bar that has both averages, and know no grid: some of the minutes lie between two prices
    of our market."""
    market, quantity, trades, equity = PUBLISHED[name]
    bars = read(shared_data / f"{name}.parquet", market, 60_000 if "_1m_" in name else 300_000)
    account = counted(bars, quantity, 0)
    assert (len(account.trades), account.equity[-1].quantize(CENT)) == (trades, equity)
    on_the_grid = replace(bars, open=np.round(bars.open, 1), close=np.round(bars.close, 1))
    assert_same(played(bars, market, quantity, 0), counted(on_the_grid, quantity, 0), market)


@pytest.mark.filterwarnings("ignore")
def test_vectorbt_trades_alike_but_where_the_averages_tie(world: tuple[str, Market, Bars, Run, Account]) -> None:
    """Where they tie and then cross, its rounding sees the cross one bar early; the account differs by the move of that one bar."""
    pytest.importorskip("vectorbt", reason="vectorbt is not installed: it comes with the extra `bench`")
    _, asked, bars, run, account = world
    theirs, equity = beside_vectorbt(bars, asked.quantity)
    signs, opens = gaps(exact(bars.close)), exact(bars.open)
    early = {tie + 2: tie + 1 for tie in asked.ties}
    ours = [(early.get(a, a), early.get(b, b), side) for a, b, side, *_ in account.trades]
    assert [(int(t["entry_idx"]), int(t["exit_idx"]), 1 - 2 * int(t["direction"])) for t in theirs] == ours
    shift = Decimal(0)
    for tie in asked.ties:
        before, at, after = signs[tie - 1 : tie + 2]
        assert before == -after and at == 0
        shift -= 2 * asked.quantity * (opens[tie + 2] - opens[tie + 1]) * (after + FEE)
    apart = np.diff(np.asarray(run.equity) / 1e6 - equity)
    apart[[row - 1 for rows in early.items() for row in rows]] = 0
    assert np.abs(apart).max() < 1e-5
    assert run.equity[-1] / 1e6 - equity[-1] == pytest.approx(float(shift), abs=2e-6 * len(ours))


def beside_vectorbt(bars: Bars, quantity: Decimal) -> tuple[Any, np.ndarray]:
    """Its closed trades, and its equity at every close."""
    import pandas as pd
    import vectorbt as vbt

    index = pd.to_datetime(bars.time, unit="ms")
    close, opened = pd.Series(bars.close, index=index), pd.Series(bars.open, index=index)
    fast, slow = vbt.MA.run(close, FAST), vbt.MA.run(close, SLOW)
    found = vbt.Portfolio.from_signals(
        close,
        fast.ma_crossed_above(slow).shift(1, fill_value=False),
        short_entries=fast.ma_crossed_below(slow).shift(1, fill_value=False),
        price=opened,
        size=float(quantity),
        fees=float(FEE),
        init_cash=float(CASH),
    )
    trades = found.trades.records_arr
    return trades[trades["status"] == 1], found.value().to_numpy()
