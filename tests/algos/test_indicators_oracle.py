"""TA-Lib as the second opinion: on random walks, on bars with ties, without range and without volume, and on real bars.

Four kinds bear a name that TA-Lib has too, and another definition: cmo (its CMO is Wilder's smoothing, its CMOU is ours), dpo (it moves
the price, ours the average), keltner (typical price, ours the close) and relative_volatility (Wilder's smoothing, ours exponential).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import talib

from tests.algos.indicator_bars import REAL, bars_of, flat, real, uneven, walk
from tradeagent.algos.bars import Bars, Floats
from tradeagent.algos.indicators import compute, warmup
from tradeagent.algos.spec import Param

Oracle = Callable[[Bars], Floats | Sequence[Floats]]
Rows = npt.NDArray[np.bool_]


def everywhere(bars: Bars) -> Rows:
    return np.ones(len(bars), np.bool_)


def lately(rows: Rows, length: int) -> Rows:
    """Whether any of the last `length` rows is one of `rows`."""
    return np.convolve(rows, np.ones(length))[: len(rows)] > 0


def ranged(length: int, smooth: int = 1) -> Callable[[Bars], Rows]:
    """The windows of a stochastic have a range. Without one TA-Lib's %K is at the bottom of it and its Williams %R at the top."""
    return lambda bars: ~lately(talib.MAX(bars.high, length) == talib.MIN(bars.low, length), smooth)


def moved(bars: Bars) -> Rows:
    """The RSI has moved within 14 rows, and the two before: otherwise its stochastic is that of a window without a range."""
    return ~lately(talib.MAX(bars.close, 14) == talib.MIN(bars.close, 14), 3)


def traded(length: int) -> Callable[[Bars], Rows]:
    """There was volume: without any TA-Lib divides by what its running sums have left of nothing."""
    return lambda bars: lately(bars.volume > 0, length)


def days(bars: Bars) -> list[npt.NDArray[np.int64]]:
    return np.split(np.arange(len(bars)), np.flatnonzero(np.diff(bars.time // 86_400_000)) + 1)


def traded_today(bars: Bars) -> Rows:
    return np.concatenate([np.cumsum(bars.volume[day]) > 0 for day in days(bars)])


def daily_vwap(bars: Bars) -> Floats:
    return np.concatenate([talib.VWAP(bars.high[day], bars.low[day], bars.close[day], bars.volume[day]) for day in days(bars)])


@dataclass(frozen=True, slots=True)
class Case:
    """`defined` are the rows to compare: elsewhere the definition says 0/0, and the tests at the end say what ours is. `noise` is what
    TA-Lib's running sums leave of a value that is nothing, in units of its largest.
    """

    kind: str
    params: dict[str, Param]
    oracle: Oracle
    outputs: tuple[str, ...] = ("value",)
    defined: Callable[[Bars], Rows] = everywhere
    noise: float = 1e-13


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
    Case("stochastic", {}, lambda b: talib.STOCH(b.high, b.low, b.close, 14, 3, 0, 3, 0), ("k", "d"), ranged(14, 5)),
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
    Case("psar", {}, lambda b: talib.SAR(b.high, b.low, 0.02, 0.2), ("line",)),
    Case("psar", {"step": Decimal("0.3"), "most": Decimal("0.1")}, lambda b: talib.SAR(b.high, b.low, 0.3, 0.1), ("line",)),
    Case("aroon", {}, lambda b: (*talib.AROON(b.high, b.low, 14), talib.AROONOSC(b.high, b.low, 14)), ("down", "up", "osc")),
    Case("roc", {}, lambda b: talib.ROC(b.close, 10)),
    Case("mom", {}, lambda b: talib.MOM(b.close, 10)),
    Case("cci", {}, lambda b: talib.CCI(b.high, b.low, b.close, 20)),
    Case("mfi", {}, lambda b: talib.MFI(b.high, b.low, b.close, b.volume, 14)),
    Case("mfi", {"length": 40}, lambda b: talib.MFI(b.high, b.low, b.close, b.volume, 40)),
    Case("uo", {}, lambda b: talib.ULTOSC(b.high, b.low, b.close, 7, 14, 28)),
    Case("uo", {"fast": 30, "medium": 5, "slow": 11}, lambda b: talib.ULTOSC(b.high, b.low, b.close, 30, 5, 11)),
    Case("williams_r", {}, lambda b: talib.WILLR(b.high, b.low, b.close, 14) + 100, defined=ranged(14)),
    Case("bop", {}, lambda b: talib.BOP(b.open, b.high, b.low, b.close)),
    Case("trix", {}, lambda b: talib.TRIX(b.close, 18), ("line",), noise=1e-12),
    Case("natr", {}, lambda b: talib.NATR(b.high, b.low, b.close, 14)),
    Case("true_range", {}, lambda b: talib.TRANGE(b.high, b.low, b.close)),
    Case("stdev", {}, lambda b: talib.STDDEV(b.close, 20)),
    Case("ad", {}, lambda b: talib.AD(b.high, b.low, b.close, b.volume)),
    Case("adosc", {}, lambda b: talib.ADOSC(b.high, b.low, b.close, b.volume, 3, 10)),
    Case("obv", {}, lambda b: talib.OBV(b.close, b.volume)),
)


LATE = (  # TA-Lib has these since 0.8.
    Case("acceleration_bands", {}, lambda b: talib.ACCBANDS(b.high, b.low, b.close, 20), ("upper", "middle", "lower")),
    Case("ao", {}, lambda b: talib.AO(b.high, b.low, 5, 34), noise=1e-12),
    Case("apo", {}, lambda b: talib.APO(b.close, 12, 26, 1)),
    Case("ppo", {}, lambda b: talib.PPO(b.close, 12, 26, 1), ("line",)),
    Case("cmo", {}, lambda b: talib.CMOU(b.close, 14)),
    Case("coppock", {}, lambda b: talib.COPPOCK(b.close, 10, 11, 14)),
    Case("efficiency", {}, lambda b: talib.ER(b.close, 10)),
    Case("elder_ray", {}, lambda b: talib.ERI(b.high, b.low, b.close, 13), ("bull", "bear"), noise=1e-12),
    Case("qstick", {}, lambda b: talib.QSTICK(b.open, b.close, 10)),
    Case("smi", {}, lambda b: tuple(50 + x / 2 for x in talib.SMI(b.high, b.low, b.close, 10, 3, 3, 3)), ("line", "signal")),
    Case("stoch_rsi", {"k": 1}, lambda b: talib.STOCHRSI(b.close, 14, 14, 3, 0), ("k", "d"), moved),
    Case("tsi", {}, lambda b: talib.TSI(b.close, 25, 13), ("line",)),
    Case("vhf", {}, lambda b: talib.VHF(b.close, 28)),
    Case("vortex", {}, lambda b: talib.VORTEX(b.high, b.low, b.close, 14), ("plus", "minus")),
    Case("hma", {}, lambda b: talib.HMA(b.close, 20)),
    Case("rma", {}, lambda b: talib.RMA(b.close, 14)),
    Case("supertrend", {}, lambda b: talib.SUPERTREND(b.high, b.low, b.close, 10, 3.0), ("line", "direction")),
    Case("vwap", {}, daily_vwap, defined=traded_today),
    Case("vwma", {}, lambda b: talib.VWMA(b.close, b.volume, 20), defined=traded(20)),
    Case("zlema", {}, lambda b: talib.ZLEMA(b.close, 20)),
    Case("chaikin_volatility", {}, lambda b: talib.CVI(b.high, b.low, 10, 10)),
    Case("mass", {}, lambda b: talib.MASSI(b.high, b.low, 9, 25)),
    Case("cmf", {}, lambda b: talib.CMF(b.high, b.low, b.close, b.volume, 20), defined=traded(20), noise=1e-12),
    Case("force", {}, lambda b: talib.EFI(b.close, b.volume, 13)),
    Case("nvi", {}, lambda b: talib.NVI(b.close, b.volume)),
    Case("pvi", {}, lambda b: talib.PVI(b.close, b.volume)),
    Case("pvo", {}, lambda b: talib.PVO(b.volume, 12, 26, 1), ("line",), lambda b: np.cumsum(b.volume) > 0),
    Case("pvt", {}, lambda b: 100 * talib.PVT(b.close, b.volume)),
)
KNOWN = (*HOT, *BREADTH, *(LATE if hasattr(talib, "VORTEX") else ()))


def agree(case: Case, bars: Bars) -> None:
    """From the warm-up on, to 1e-8 of the value."""
    expected = case.oracle(bars)
    rows = case.defined(bars)
    rows[: warmup(case.kind, case.params)] = False
    values = compute(case.kind, bars, case.params)
    for name, whole in zip(case.outputs, expected if isinstance(expected, list | tuple) else [expected], strict=True):
        got, want = values[name][rows], whole[rows]
        assert np.isfinite(got).all(), f"{case.kind}.{name}"
        np.testing.assert_allclose(got, want, rtol=1e-8, atol=case.noise * np.abs(want).max(), err_msg=f"{case.kind}.{name}")


def name_of(case: Case) -> str:
    return "-".join([case.kind, *map(str, case.params.values())])


@pytest.mark.parametrize("case", HOT, ids=name_of)
def test_hot_kinds_equal_ta_lib_on_random_walks(case: Case) -> None:
    for seed, decimals in ((1, 1), (2, 5), (3, None)):
        agree(case, walk(20_000, seed, decimals))


@pytest.mark.parametrize("case", KNOWN, ids=name_of)
def test_kinds_equal_ta_lib_where_prices_tie_stand_still_and_nothing_trades(case: Case) -> None:
    for bars in (uneven(6_000), walk(4_000, 5), walk(4_000, 6, None)):
        agree(case, bars)


@pytest.mark.real_data
@pytest.mark.parametrize("name", REAL)
def test_kinds_equal_ta_lib_on_real_bars(shared_data: Path, name: str) -> None:
    if not (shared_data / f"{name}.parquet").exists():
        pytest.skip(f"no {name} in {shared_data}")
    bars = real(shared_data, name)
    for case in KNOWN:
        agree(case, bars)


def test_the_money_flow_is_the_exact_one_where_typical_prices_tie() -> None:
    bars = uneven(400)
    high, low, close, volume = (
        [Fraction(Decimal(repr(x))) for x in column.tolist()] for column in (bars.high, bars.low, bars.close, bars.volume)
    )
    typical = [sum(prices) for prices in zip(high, low, close, strict=True)]
    values = compute("mfi", bars, {})["value"]
    assert sum(now == before for now, before in zip(typical[1:], typical, strict=False)) > 40
    for last in range(14, 400):
        window = range(last - 13, last + 1)
        rising = sum(typical[i] * volume[i] for i in window if typical[i] > typical[i - 1])
        falling = sum(typical[i] * volume[i] for i in window if typical[i] < typical[i - 1])
        assert values[last] == pytest.approx(float(100 * rising / (rising + falling)), rel=1e-12)


def test_a_bar_that_only_touches_the_parabolic_stop_reverses_it() -> None:
    for low, line, direction in ((9.0, 11.0, -1.0), (9.1, 9.0, 1.0)):
        columns = (np.array([9.5, 10.0]), np.array([10.0, 11.0]), np.array([9.0, low]), np.array([9.6, 10.5]), np.ones(2))
        values = compute("psar", bars_of(*columns), {})
        assert values["line"][1] == line and values["direction"][1] == direction


def test_a_window_without_a_range_is_in_its_own_middle_where_ta_lib_puts_it_at_both_ends() -> None:
    """By definition %R is %K less 100."""
    bars = flat(100)
    assert talib.STOCHF(bars.high, bars.low, bars.close, 14, 3, 0)[0][50] == talib.WILLR(bars.high, bars.low, bars.close, 14)[50] == 0
    assert compute("stochastic", bars, {})["k"][50] == compute("williams_r", bars, {})["value"][50] == 50
    bars = uneven(6_000)
    k = compute("stoch_rsi", bars, {"k": 1})["k"]
    still = (talib.MAX(bars.close, 14) == talib.MIN(bars.close, 14)) & np.isfinite(k)
    assert still.sum() > 300 and (k[still] == 50).all()


def test_windows_without_volume_have_no_average_price_and_no_flow() -> None:
    bars = uneven(6_000)
    nothing = ~lately(bars.volume > 0, 20)
    nothing[:20] = False
    assert nothing.sum() > 300
    assert np.isnan(compute("vwma", bars, {})["value"][nothing]).all()
    for kind in ("cmf", "mfi"):
        assert (compute(kind, bars, {})["value"][nothing] == 0).all()
