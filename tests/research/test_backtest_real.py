"""A built-in on real bars: what the document says is worked out again from its trades, its curve and the bars, by other means."""

from decimal import Decimal
from pathlib import Path

import empyrical
import numpy as np
import pandas as pd
import pytest

from tradeagent.algos.store import built_in
from tradeagent.domain.clock import SystemClock, to_ms
from tradeagent.market.importer import import_bars, import_funding
from tradeagent.market.instruments import instrument
from tradeagent.market.series import SeriesKey
from tradeagent.market.warehouse import Warehouse
from tradeagent.research.backtest import Setup, load, run_setup, terms_of
from tradeagent.research.metrics import metrics_of
from tradeagent.research.result import told, trades_json

HOUR = 3_600_000
pytestmark = pytest.mark.real_data


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory, shared_data: Path):
    """rsi_reversal on seven months of real ETH hours."""
    warehouse, known = Warehouse(tmp_path_factory.mktemp("real")), instrument("hyperliquid", "ETH")
    import_bars(warehouse, shared_data / "hyperliquid_ETH_1h.parquet", SeriesKey("hyperliquid", "ETH", HOUR), known)
    import_funding(warehouse, shared_data / "hyperliquid_ETH_funding_1h.parquet", "hyperliquid", "ETH")
    algo = built_in("rsi_reversal")
    start = to_ms(pd.Timestamp("2025-01-01", tz="UTC").to_pydatetime())
    setup = Setup("hyperliquid", "ETH", HOUR, from_ms=start, terms=terms_of(algo.spec))
    loaded = load(warehouse, algo, setup, known, SystemClock().now_ms())
    run, _ = run_setup([loaded], setup)
    leg = loaded.leg
    return loaded, run, told([loaded], setup, run), trades_json(run.trades, leg.bars.time, [known]), metrics_of(run, [leg], setup.terms)


def test_ratios_are_those_of_pandas_and_empyrical(outcome) -> None:
    loaded, run, _, _, metrics = outcome
    curve = pd.Series(run.equity / 1e6, index=pd.to_datetime(loaded.leg.bars.time, unit="ms", utc=True))
    daily = curve.resample("1D").last().ffill()
    returns = pd.concat([pd.Series([1000.0]), daily]).pct_change().dropna().to_numpy()
    assert metrics["sharpe"] == pytest.approx(empyrical.sharpe_ratio(returns, annualization=365), rel=1e-9)
    assert metrics["sortino"] == pytest.approx(empyrical.sortino_ratio(returns, annualization=365), rel=1e-9)
    assert metrics["cvar_95_pct"] == pytest.approx(-100 * empyrical.conditional_value_at_risk(returns, 0.05), rel=1e-9)
    bars = pd.concat([pd.Series([1000.0]), curve])
    assert metrics["max_drawdown_pct"] == pytest.approx(100 * float((1 - bars / bars.cummax()).max()), rel=1e-9)
    years = len(curve) / (24 * 365)
    assert metrics["annual_return_pct"] == pytest.approx(100 * ((curve.iloc[-1] / 1000) ** (1 / years) - 1), rel=1e-9)


def test_trades_add_up_to_the_account(outcome) -> None:
    _, _, document, trades, metrics = outcome
    pnl = [Decimal(trade["pnl"]) for trade in trades]
    still = Decimal(document["open_trade"]["pnl"]) if document["open_trade"] else Decimal(0)
    assert len(trades) > 30 and Decimal(document["equity_end"]) == 1000 + sum(pnl) + still
    for trade in trades:
        side = 1 if trade["direction"] == "long" else -1
        gross = side * Decimal(trade["size"]) * (Decimal(trade["exit_price"]) - Decimal(trade["entry_price"]))
        assert gross - Decimal(trade["fees"]) - Decimal(trade["funding"]) == Decimal(trade["pnl"])
        assert Decimal(trade["mae"]) >= 0 and Decimal(trade["mfe"]) >= max(Decimal(0), gross)
    wins, losses = sum(p for p in pnl if p > 0), -sum(p for p in pnl if p < 0)
    assert metrics["profit_factor"] == pytest.approx(float(wins / losses))
    assert metrics["win_rate"] == pytest.approx(sum(p > 0 for p in pnl) / len(pnl))
    assert metrics["sqn"] == pytest.approx(len(pnl) ** 0.5 * np.mean([float(p) for p in pnl]) / np.std([float(p) for p in pnl], ddof=1))


def test_buy_and_hold_and_exposure_are_those_of_a_loop_over_bars(outcome) -> None:
    loaded, _, document, trades, metrics = outcome
    bars, funding = loaded.leg.bars, dict(zip(loaded.leg.funding_hours.tolist(), loaded.leg.funding_rates.tolist(), strict=True))
    value = 1000.0 - 1000 * 0.00045
    size = 1000 / bars.open[0]
    for row in range(len(bars)):
        if row and int(bars.time[row]) in funding:
            value -= size * bars.open[row] * funding[int(bars.time[row])] / 1e10
    value += size * (bars.close[-1] - bars.open[0])
    assert metrics["buy_hold_return_pct"] == pytest.approx((value - 1000) / 10, rel=1e-9)
    held = sum(trade["bars"] for trade in trades) + (document["open_trade"]["bars"] + 1 if document["open_trade"] else 0)
    assert metrics["exposure_pct"] == pytest.approx(100 * held / len(bars))
