"""The conventions of the numbers, computed a second time from their definitions and nothing of the research room, against the product.

One flip of two averages without levels is counted here in whole numbers, bar by bar, and must give the same trades, equity and figures.
"""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import combinations
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest

from tradeagent.cli.entry import run
from tradeagent.market.synthetic import store_synthetic, synthetic_market
from tradeagent.market.warehouse import Warehouse
from tradeagent.research import statistics
from tradeagent.runtime.workspace import init_workspace
from tradeagent.workspace.paths import Workspace

HOUR, DAY, MILLION = 3_600_000, 86_400_000, 10**6
ALGO = """
name: flip
indicators:
  fast: {kind: sma, length: 20}
  slow: {kind: sma, length: 50}
entry:
  long: {required: ["fast > slow"]}
  short: {required: ["fast < slow"]}
sizing: {pct_of_equity: 50}
starting_capital: 10000
"""
WHOLE = ("pnl", "fees", "funding", "mae", "mfe")


@dataclass
class World:
    """Bars as whole numbers of the market's grid, rates in 10^-10 by hour, and what the run is asked to do."""

    open_ms: list[int]
    prices: dict[str, list[int]]
    volume: list[float]
    rates: dict[int, int]
    bar_ms: int
    size_decimals: int
    fee: Fraction = Fraction(45, 100_000)
    slippage: Fraction = Fraction(2, 10_000)
    quantity: Fraction | None = None
    close_at_end: bool = False
    cash: int = 10_000 * MILLION


@dataclass
class Account:
    """Cash, position and everything that was counted; money in 10^-6 USDC."""

    cash: int
    size: int = 0
    trade: dict[str, Any] = field(default_factory=dict)
    trades: list[dict[str, Any]] = field(default_factory=list)
    equity: list[int] = field(default_factory=list)
    fees: int = 0
    funding: int = 0
    slippage: int = 0
    notional: int = 0
    held: int = 0


def toward_zero(numerator: int, denominator: int) -> int:
    return numerator // denominator if numerator >= 0 else -(-numerator // denominator)


def slipped(price: int, side: int, slippage: Fraction) -> int:
    exact = price * (1 + side * slippage)
    return math.ceil(exact) if side > 0 else math.floor(exact)


def charge(account: Account, world: World, price: int, size: int, reference: int) -> int:
    fee = math.floor(price * size * world.fee)
    account.cash -= fee
    account.fees += fee
    account.slippage += abs(price - reference) * size
    account.notional += price * size
    return fee


def enter(account: Account, world: World, bar: int, side: int, size: int) -> None:
    reference = world.prices["open"][bar]
    price = slipped(reference, side, world.slippage)
    if price * size < 10 * MILLION:
        return
    fee = charge(account, world, price, size, reference)
    account.size = side * size
    account.trade = {"bar": bar, "entry_time": world.open_ms[bar], "entry_price": price, "size": size, "fees": fee}
    account.trade |= {"direction": "long" if side > 0 else "short", "funding": 0, "mae": 0, "mfe": 0}


def leave(account: Account, world: World, bar: int, reference: int, reason: str) -> None:
    side = 1 if account.size > 0 else -1
    price, size, trade = slipped(reference, -side, world.slippage), abs(account.size), account.trade
    trade["fees"] += charge(account, world, price, size, reference)
    gross = account.size * (price - trade["entry_price"])
    account.cash += gross
    reach(trade, gross)
    trade |= {"exit_time": world.open_ms[bar], "exit_price": price, "bars": bar - trade["bar"], "exit_reason": reason}
    trade["pnl"] = gross - trade["fees"] - trade["funding"]
    account.trades.append(trade)
    account.size = 0


def reach(trade: dict[str, Any], profit: int) -> None:
    trade["mfe"], trade["mae"] = max(trade["mfe"], profit), max(trade["mae"], -profit)


def pay(account: Account, world: World, bar: int) -> None:
    """Every hour in (previous open, this open], at this bar's open; a missing rate pays nothing."""
    for hour in range(world.open_ms[bar - 1] // HOUR + 1, world.open_ms[bar] // HOUR + 1):
        payment = toward_zero(account.size * world.prices["open"][bar] * world.rates.get(hour, 0), 10**10)
        account.cash -= payment
        account.funding += payment
        account.trade["funding"] += payment


def crossings(closes: list[int]) -> list[int]:
    """+1 or -1 where the average of 20 has come to lie above or below that of 50, by whole sums; the first valid bar counts."""
    sums = np.concatenate([[0], np.cumsum(np.array(closes, dtype=np.int64))])
    bars = np.arange(49, len(closes))
    gap = np.sign((sums[bars + 1] - sums[bars - 19]) * 50 - (sums[bars + 1] - sums[bars - 49]) * 20)
    found = [0] * 49
    return found + [int(now) if now != before else 0 for now, before in zip(gap, np.concatenate([[0], gap[:-1]]), strict=True)]


def replayed(world: World) -> Account:
    account, side, size = Account(world.cash), 0, 0
    opens, highs, lows, closes = (world.prices[name] for name in ("open", "high", "low", "close"))
    signals, last = crossings(closes), len(closes) - 1
    for bar, close in enumerate(closes):
        if bar and account.size:
            pay(account, world, bar)
        outage = world.volume[bar] == 0 and opens[bar] == highs[bar] == lows[bar] == close
        if side and not outage:
            if account.size:
                leave(account, world, bar, opens[bar], "flip")
            enter(account, world, bar, side, size)
            side = 0
        if account.size:
            for price in (highs[bar], lows[bar]):
                reach(account.trade, account.size * (price - account.trade["entry_price"]))
            account.held += 1
            if bar == last and world.close_at_end:
                leave(account, world, bar, close, "end")
        profit = account.size * (close - account.trade["entry_price"]) if account.size else 0
        account.equity.append(account.cash + profit)
        if signals[bar]:
            side = signals[bar]
            planned = account.equity[-1] * 50 // 100 // close
            size = planned if world.quantity is None else math.floor(world.quantity * 10**world.size_decimals)
    return account


def daily(world: World, account: Account) -> np.ndarray:
    equity = np.array([world.cash, *account.equity]) / MILLION
    days = np.array([(time + world.bar_ms - 1) // DAY for time in world.open_ms])
    picked = np.searchsorted(days, np.arange(days[0], days[-1] + 1), side="right") - 1
    nav = np.concatenate([equity[:1], equity[1:][picked]])
    return np.asarray(nav[1:] / nav[:-1] - 1)


def figures(world: World, account: Account) -> dict[str, float]:
    returns, equity = daily(world, account), np.array([world.cash, *account.equity]) / MILLION
    span = world.open_ms[-1] + world.bar_ms - world.open_ms[0]
    drawdown = 1 - equity / np.maximum.accumulate(equity)
    pnl = np.array([trade["pnl"] for trade in account.trades]) / MILLION
    quantile = np.quantile(returns, 0.05)
    annual = (equity[-1] / equity[0]) ** (365 * DAY / span) - 1
    return {
        "total_return_pct": (equity[-1] / equity[0] - 1) * 100,
        "annual_return_pct": annual * 100,
        "volatility_pct": returns.std(ddof=1) * math.sqrt(365) * 100,
        "sharpe": returns.mean() / returns.std(ddof=1) * math.sqrt(365),
        "sortino": returns.mean() / math.sqrt((np.minimum(returns, 0) ** 2).mean()) * math.sqrt(365),
        "max_drawdown_pct": drawdown.max() * 100,
        "calmar": annual / drawdown.max(),
        "trades": len(pnl),
        "win_rate": (pnl > 0).mean(),
        "profit_factor": pnl[pnl > 0].sum() / -pnl[pnl < 0].sum(),
        "expectancy_quote": pnl.mean(),
        "sqn": math.sqrt(len(pnl)) * pnl.mean() / pnl.std(ddof=1),
        "exposure_pct": account.held / len(account.equity) * 100,
        "turnover": account.notional / MILLION / equity[1:].mean(),
        "net_pnl_quote": pnl.sum(),
        "fees_quote": account.fees / MILLION,
        "funding_quote": account.funding / MILLION,
        "slippage_quote": account.slippage / MILLION,
        "var_95_pct": -quantile * 100,
        "cvar_95_pct": -returns[returns <= quantile].mean() * 100,
        "best_day_pct": returns.max() * 100,
        "worst_day_pct": returns.min() * 100,
    }


def psr_of(returns: np.ndarray, threshold: float = 0.0) -> float:
    centred = returns - returns.mean()
    sharpe, spread = returns.mean() / returns.std(ddof=1), (centred**2).mean()
    skew, kurtosis = (centred**3).mean() / spread**1.5, (centred**4).mean() / spread**2
    width = math.sqrt(1 - skew * sharpe + (kurtosis - 1) / 4 * sharpe**2)
    return NormalDist().cdf((sharpe - threshold) * math.sqrt(len(returns) - 1) / width)


def intervals(returns: np.ndarray, span_ms: int) -> dict[str, np.ndarray]:
    rows = len(returns)
    block = max(1, round(rows ** (1 / 3)))
    starts = np.random.default_rng(0).integers(0, rows, size=(2_000, math.ceil(rows / block)))
    drawn = returns[((starts[:, :, None] + np.arange(block)) % rows).reshape(2_000, -1)[:, :rows]]
    nav = np.cumprod(np.concatenate([np.ones((2_000, 1)), 1 + drawn], axis=1), axis=1)
    falls = (1 - nav / np.maximum.accumulate(nav, axis=1)).max(axis=1) * 100
    sharpes = drawn.mean(axis=1) / drawn.std(axis=1, ddof=1) * math.sqrt(365)
    annual = (nav[:, -1] ** (365 * DAY / span_ms) - 1) * 100
    named = (("sharpe", sharpes), ("annual_return_pct", annual), ("max_drawdown_pct", falls))
    return {key: np.quantile(values, [0.025, 0.975]) for key, values in named}


def moment(text: str) -> int:
    return int(np.datetime64(text.removesuffix("Z"), "ms").astype(np.int64))


def assert_same(found: dict[str, Any], world: World) -> None:
    account, price_unit = replayed(world), 10 ** (6 - world.size_decimals)
    scales = {"entry_price": price_unit, "exit_price": price_unit, "size": 10**world.size_decimals} | dict.fromkeys(WHOLE, MILLION)
    assert len(account.trades) > 20
    assert found["trades_count"] == len(found["trades"]) == len(account.trades)
    for told, counted in zip(found["trades"], account.trades, strict=True):
        assert {key: Fraction(told[key]) * scale for key, scale in scales.items()} == {key: counted[key] for key in scales}
        assert [moment(told[key]) for key in ("entry_time", "exit_time")] == [counted["entry_time"], counted["exit_time"]]
        assert [told[key] for key in ("direction", "bars", "exit_reason")] == [counted[key] for key in ("direction", "bars", "exit_reason")]
    assert Fraction(found["equity_end"]) * MILLION == account.equity[-1]
    assert (found["open_trade"] is None) == (account.size == 0)
    for key, value in figures(world, account).items():
        exact = {"rel": 1e-9, "abs": 1e-6 if key.endswith("_quote") else 1e-10}
        assert float(found["metrics"][key]) == pytest.approx(value, **exact), key
    returns, honesty = daily(world, account), found["honesty"]
    assert honesty["psr"] == pytest.approx(psr_of(returns), abs=1e-10)
    span_ms = world.open_ms[-1] + world.bar_ms - world.open_ms[0]
    for key, interval in intervals(returns, span_ms).items():
        assert honesty["ci"][key] == pytest.approx(interval, abs=1e-8), key


def backtested(capsys: pytest.CaptureFixture[str], folder: Path, *flags: str) -> dict[str, Any]:
    (folder / "flip.yml").write_text(ALGO)
    capsys.readouterr()
    assert run(["backtest", "run", str(folder / "flip.yml"), "--trades", "--json", "-w", str(folder), *flags]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


REQUESTS: dict[str, tuple[list[str], Callable[[World], None]]] = {
    "as it is": ([], lambda world: None),
    "no funding": (["--no-funding"], lambda world: world.rates.clear()),
    "fees": (["--fee-bps", "3"], lambda world: setattr(world, "fee", Fraction(3, 10_000))),
    "no slippage": (["--slippage-bps", "0"], lambda world: setattr(world, "slippage", Fraction(0))),
    "fixed quantity": (["--fill-qty", "0.0125"], lambda world: setattr(world, "quantity", Fraction("0.0125"))),
    "closed at the end": (["--close-at-end"], lambda world: setattr(world, "close_at_end", True)),
}


@pytest.fixture(scope="module")
def synthetic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ws")
    init_workspace(folder)
    begin = 1_750_000_000_000 // DAY * DAY
    store_synthetic(Warehouse(Workspace(folder).warehouse_dir), synthetic_market(11, 2_400, "BTC", HOUR, begin))
    return folder


def stored_world(folder: Path, venue: str, market: str, interval: str, size_decimals: int) -> World:
    """The bars as the warehouse's files hold them, read past the product."""
    import duckdb

    home, unit = folder / "data", 10 ** (6 - size_decimals)
    bars = duckdb.sql(f"SELECT * FROM '{home}/bars/{venue}/{market}/{interval}/*.parquet' ORDER BY 1").fetchnumpy()
    funding = duckdb.sql(f"SELECT * FROM '{home}/funding/{venue}/{market}/**/*.parquet' ORDER BY 1").fetchnumpy()
    times, rates = (np.asarray(funding[key]) for key in list(funding)[:2])
    return World(
        open_ms=[int(time) for time in bars[next(iter(bars))]],
        prices={name: [round(float(price) * unit) for price in bars[name]] for name in ("open", "high", "low", "close")},
        volume=[float(volume) for volume in bars["volume"]],
        rates={int(time) // HOUR: round(float(rate) * 10**10) for time, rate in zip(times, rates, strict=True)},
        bar_ms=HOUR if interval == "1h" else 300_000,
        size_decimals=size_decimals,
    )


@pytest.mark.parametrize("request_name", REQUESTS)
def test_a_flip_counted_by_hand_gives_the_same_trades_equity_and_figures(
    synthetic: Path, capsys: pytest.CaptureFixture[str], request_name: str
) -> None:
    flags, change = REQUESTS[request_name]
    world = stored_world(synthetic, "synthetic", "BTC", "1h", 5)
    change(world)
    assert_same(backtested(capsys, synthetic, "--venue", "synthetic", "--market", "BTC", "--interval", "1h", *flags), world)


@pytest.mark.real_data
@pytest.mark.parametrize(("market", "interval", "decimals"), [("BTC", "1h", 5), ("FARTCOIN", "5m", 1)])
def test_real_bars_with_outages_and_late_funding_are_counted_alike(
    shared_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], market: str, interval: str, decimals: int
) -> None:
    init_workspace(tmp_path)
    for name, flags in ((f"{market}_{interval}", ["--interval", interval]), (f"{market}_funding_1h", ["--funding"])):
        file = str(shared_data / f"hyperliquid_{name}.parquet")
        assert run(["data", "import", file, "--market", market, "-w", str(tmp_path), *flags]) == 0
    world = stored_world(tmp_path, "hyperliquid", market, interval, decimals)
    assert_same(backtested(capsys, tmp_path, "--market", market, "--interval", interval), world)


def brute_pbo(matrix: np.ndarray, blocks: int) -> float:
    """CSCV by its text: every choice of half of the blocks, one at a time."""
    rows, columns = matrix.shape
    parts = np.split(matrix[rows % blocks :], blocks)
    under, splits = 0, 0
    for chosen in combinations(range(blocks), blocks // 2):
        inside = np.concatenate([parts[at] for at in chosen])
        outside = np.concatenate([parts[at] for at in range(blocks) if at not in chosen])
        won = int(np.argmax([score(inside[:, column]) for column in range(columns)]))
        scores = np.array([score(outside[:, column]) for column in range(columns)])
        rank = (scores < scores[won]).sum() + ((scores == scores[won]).sum() + 1) / 2
        share = rank / (columns + 1)
        under += math.log(share / (1 - share)) <= 0
        splits += 1
    return under / splits


def score(column: np.ndarray) -> float:
    deviation = column.std(ddof=1)
    return float(column.mean() / deviation) if deviation > 0 else 0.0


@pytest.mark.parametrize(("rows", "columns", "seed"), [(87, 5, 1), (120, 3, 2), (159, 2, 3)])
def test_the_probability_of_overfitting_equals_brute_force(rows: int, columns: int, seed: int) -> None:
    matrix = np.random.default_rng(seed).normal(0.0005, 0.01, (rows, columns))
    matrix[:, 0] = 0.0
    found = statistics.pbo(matrix)
    assert found is not None
    assert found.value == pytest.approx(brute_pbo(matrix, 8), abs=1e-12)
