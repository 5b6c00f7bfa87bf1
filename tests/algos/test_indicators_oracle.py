"""TA-Lib as the second opinion, on random walks and on real bars."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import talib

from tests.algos.indicator_bars import REAL, real, walk
from tradeagent.algos.bars import Bars, Floats
from tradeagent.algos.indicators import compute, warmup
from tradeagent.algos.spec import Param

Oracle = Callable[[Bars], Floats | Sequence[Floats]]


@dataclass(frozen=True, slots=True)
class Case:
    kind: str
    params: dict[str, Param]
    oracle: Oracle
    outputs: tuple[str, ...] = ("value",)
    settling: int = 0


HOT = (
    Case("sma", {"length": 20}, lambda b: talib.SMA(b.close, 20)),
    Case("sma", {"length": 50, "source": "volume"}, lambda b: talib.SMA(b.volume, 50)),
    Case("ema", {"length": 20}, lambda b: talib.EMA(b.close, 20)),
    Case("rsi", {"length": 14}, lambda b: talib.RSI(b.close, 14)),
    Case("rsi", {"length": 2}, lambda b: talib.RSI(b.close, 2)),
    Case("atr", {"length": 14}, lambda b: talib.ATR(b.high, b.low, b.close, 14)),
    Case("atr", {"length": 9, "ma": "sma"}, lambda b: talib.SMA(talib.TRANGE(b.high, b.low, b.close), 9)),
    Case("macd", {}, lambda b: talib.MACD(b.close, 12, 26, 9), ("line", "signal", "hist")),
    Case("macd", {"fast": 5, "slow": 34, "signal": 4}, lambda b: talib.MACD(b.close, 5, 34, 4), ("line", "signal", "hist")),
    Case("bollinger", {}, lambda b: talib.BBANDS(b.close, 20, 2, 2, 0), ("upper", "middle", "lower")),
    Case("donchian", {}, lambda b: (talib.MAX(b.high, 20), talib.MIN(b.low, 20)), ("upper", "lower")),
    Case(
        "adx",
        {"length": 14},
        lambda b: tuple(f(b.high, b.low, b.close, 14) for f in (talib.ADX, talib.PLUS_DI, talib.MINUS_DI)),
        ("adx", "plus", "minus"),
    ),
    Case("stochastic", {}, lambda b: talib.STOCH(b.high, b.low, b.close, 14, 3, 0, 3, 0), ("k", "d")),
)
BREADTH = (
    Case("wma", {}, lambda b: talib.WMA(b.close, 20)),
    Case("dema", {}, lambda b: talib.DEMA(b.close, 20)),
    Case("tema", {}, lambda b: talib.TEMA(b.close, 20)),
    Case("trima", {}, lambda b: talib.TRIMA(b.close, 20)),
    Case("trima", {"length": 21}, lambda b: talib.TRIMA(b.close, 21)),
    Case("t3", {}, lambda b: talib.T3(b.close, 10, 0.7)),
    Case("kama", {}, lambda b: talib.KAMA(b.close, 10)),
    Case("lsma", {}, lambda b: talib.LINEARREG(b.close, 20)),
    Case("psar", {}, lambda b: talib.SAR(b.high, b.low, 0.02, 0.2), ("line",), settling=20),
    Case("aroon", {}, lambda b: (*talib.AROON(b.high, b.low, 14), talib.AROONOSC(b.high, b.low, 14)), ("down", "up", "osc")),
    Case("roc", {}, lambda b: talib.ROC(b.close, 10)),
    Case("mom", {}, lambda b: talib.MOM(b.close, 10)),
    Case("cci", {}, lambda b: talib.CCI(b.high, b.low, b.close, 20)),
    Case("mfi", {}, lambda b: talib.MFI(b.high, b.low, b.close, b.volume, 14)),
    Case("uo", {}, lambda b: talib.ULTOSC(b.high, b.low, b.close, 7, 14, 28)),
    Case("williams_r", {}, lambda b: talib.WILLR(b.high, b.low, b.close, 14) + 100),
    Case("bop", {}, lambda b: talib.BOP(b.open, b.high, b.low, b.close)),
    Case("trix", {}, lambda b: talib.TRIX(b.close, 18), ("line",)),
    Case("natr", {}, lambda b: talib.NATR(b.high, b.low, b.close, 14)),
    Case("true_range", {}, lambda b: talib.TRANGE(b.high, b.low, b.close)),
    Case("stdev", {}, lambda b: talib.STDDEV(b.close, 20)),
    Case("ad", {}, lambda b: talib.AD(b.high, b.low, b.close, b.volume)),
    Case("adosc", {}, lambda b: talib.ADOSC(b.high, b.low, b.close, b.volume, 3, 10)),
    Case("obv", {}, lambda b: talib.OBV(b.close, b.volume)),
)


def agree(case: Case, bars: Bars, within: float, noise: float) -> None:
    """From the row on which both have forgotten how they began, relative to the value.

    `noise` is what TA-Lib's running sums leave of a value that is nothing, in units of its largest.
    """
    expected = case.oracle(bars)
    rows = warmup(case.kind, case.params) + case.settling
    values = compute(case.kind, bars, case.params)
    for name, whole in zip(case.outputs, expected if isinstance(expected, list | tuple) else [expected], strict=True):
        got, want = values[name][rows:], whole[rows:]
        assert np.isfinite(got).all()
        np.testing.assert_allclose(got, want, rtol=within, atol=noise * np.abs(want).max(), err_msg=f"{case.kind}.{name}")


def name_of(case: Case) -> str:
    return "-".join([case.kind, *map(str, case.params.values())])


@pytest.mark.parametrize("case", HOT, ids=name_of)
def test_hot_kinds_equal_ta_lib_on_random_walks(case: Case) -> None:
    for seed, decimals in ((1, 1), (2, 5), (3, None)):
        agree(case, walk(20_000, seed, decimals), 1e-8, 1e-13)


@pytest.mark.real_data
@pytest.mark.parametrize("name", REAL)
def test_hot_kinds_equal_ta_lib_on_real_bars(shared_data: Path, name: str) -> None:
    bars = real(shared_data, name)
    for case in HOT:
        agree(case, bars, 1e-8, 1e-13)


@pytest.mark.parametrize("case", BREADTH, ids=name_of)
def test_other_kinds_that_ta_lib_has_equal_it(case: Case) -> None:
    agree(case, walk(4_000, 5), 1e-7, 1e-9)
