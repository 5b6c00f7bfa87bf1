"""Trend: averages, channels and what says where a market is going."""

from decimal import Decimal

import numpy as np

from tradeagent.algos.bars import Bars, Floats
from tradeagent.algos.indicators.hot import atr, average, highest, lowest, true_range
from tradeagent.algos.indicators.indicator import Family, Indicator, Outputs
from tradeagent.algos.indicators.library import Function, from_library, stretches
from tradeagent.algos.indicators.params import Settings, frozen, source_of

_TREND = Family.TREND
_DAY_MS = 86_400_000


def weighted(x: Floats, weights: Floats) -> Floats:
    """Weighted mean of the last rows, the last weight for the newest; the first `len(weights) - 1` rows are NaN."""
    from tradeagent.algos.indicators import windows

    return windows.weighted(frozen(x), frozen(weights / weights.sum()))


def linear(x: Floats, length: int) -> Floats:
    """Weights 1 to `length`."""
    return weighted(x, np.arange(1.0, length + 1))


def total(x: Floats, length: int) -> Floats:
    """Sum of the last rows, added up anew for each: nothing is left of what has gone, where a running sum keeps its rounding."""
    from tradeagent.algos.indicators import windows

    return windows.weighted(frozen(x), frozen(np.ones(length)))


def share(part: Floats, whole: Floats, nothing: float = 0.0) -> Floats:
    """`nothing` where the whole is 0."""
    return np.where(whole == 0, nothing, part / whole)


def efficiency(x: Floats, length: int) -> Floats:
    """Kaufman (1995): the distance of two values `length` rows apart over the way between them; 1 where nothing moved, as TA-Lib has it."""
    apart = np.full(len(x), np.nan)
    apart[length:] = np.abs(x[length:] - x[:-length])
    return np.minimum(share(apart, total(np.abs(np.diff(x, prepend=np.nan)), length), 1.0), 1.0)


def _wma(bars: Bars, to: Settings) -> Outputs:
    return (linear(source_of(bars, to.text("source")), to.whole("length")),)


def _hma(bars: Bars, to: Settings) -> Outputs:
    x, length = source_of(bars, to.text("source")), to.whole("length")
    return (linear(2 * linear(x, max(1, length // 2)) - linear(x, length), int(length**0.5)),)


def _alma(bars: Bars, to: Settings) -> Outputs:
    length = to.whole("length")
    spread = (np.arange(length) - to.number("offset") * (length - 1)) * to.number("sigma") / length
    return (weighted(source_of(bars, to.text("source")), np.exp(-(spread**2) / 2)),)


def _trima(bars: Bars, to: Settings) -> Outputs:
    """Halves as TA-Lib takes them; the library's are one too long together when the length is even."""
    length = to.whole("length")
    return (average(average(source_of(bars, to.text("source")), (length + 1) // 2), length // 2 + 1),)


def _vwap(bars: Bars, _: Settings) -> Outputs:
    """Volume-weighted typical price since the UTC day began; the typical price while the day has no volume."""
    typical = (bars.high + bars.low + bars.close) / 3
    out = np.full(len(bars), np.nan)
    for part in stretches([typical, bars.volume]):
        days = bars.time[part] // _DAY_MS
        first = np.searchsorted(days, days)
        paid, volume = np.cumsum(typical[part] * bars.volume[part]), np.cumsum(bars.volume[part])
        before = np.maximum(first - 1, 0)
        paid = paid - np.where(first > 0, paid[before], 0.0)
        volume = volume - np.where(first > 0, volume[before], 0.0)
        traded = volume > 0
        out[part] = np.where(traded, paid / np.where(traded, volume, 1.0), typical[part])
    return (out,)


def _psar(bars: Bars, to: Settings) -> Outputs:
    from tradeagent.algos.indicators.recursive import parabolic

    line, direction = parabolic(frozen(bars.high), frozen(bars.low), to.number("step"), to.number("most"))
    return line, direction


def _supertrend(bars: Bars, to: Settings) -> Outputs:
    from tradeagent.algos.indicators.recursive import banded

    middle, width = source_of(bars, "hl2"), to.number("multiplier") * atr(bars, to.whole("length"))
    line, direction = banded(frozen(bars.close), frozen(middle + width), frozen(middle - width))
    return line, direction


def _kama(bars: Bars, to: Settings) -> Outputs:
    from tradeagent.algos.indicators.recursive import adaptive

    x = source_of(bars, to.text("source"))
    return (adaptive(x, frozen(efficiency(x, to.whole("length"))), to.whole("fast"), to.whole("slow")),)


def _vhf(bars: Bars, to: Settings) -> Outputs:
    x, length = source_of(bars, to.text("source")), to.whole("length")
    return (share(highest(x, length) - lowest(x, length), total(np.abs(np.diff(x, prepend=np.nan)), length)),)


def _vortex(bars: Bars, to: Settings) -> Outputs:
    """Botes and Siepman (2010); 0 where there is no true range, as TA-Lib has it."""
    length = to.whole("length")
    ranges, plus, minus = total(true_range(bars), length), np.full(len(bars), np.nan), np.full(len(bars), np.nan)
    plus[1:], minus[1:] = np.abs(bars.high[1:] - bars.low[:-1]), np.abs(bars.low[1:] - bars.high[:-1])
    return share(total(plus, length), ranges), share(total(minus, length), ranges)


TREND = (
    Indicator("wma", _TREND, "Weighted moving average", {"length": 20, "source": "close"}, _wma, lambda to: to.whole("length") - 1),
    Indicator(
        "hma",
        _TREND,
        "Hull moving average",
        {"length": 20, "source": "close"},
        _hma,
        lambda to: to.whole("length") + int(to.whole("length") ** 0.5) - 2,
    ),
    Indicator(
        "alma",
        _TREND,
        "Arnaud Legoux moving average",
        {"length": 20, "offset": Decimal("0.85"), "sigma": Decimal(6), "source": "close"},
        _alma,
        lambda to: to.whole("length") - 1,
    ),
    Indicator("vwap", _TREND, "Volume-weighted average price of the UTC day", {}, _vwap, lambda to: 0, recursive=True),
    Indicator(
        "psar",
        _TREND,
        "Parabolic stop and reverse; direction 1 below the price, -1 above",
        {"step": Decimal("0.02"), "most": Decimal("0.2")},
        _psar,
        lambda to: 1,
        outputs=("line", "direction"),
        recursive=True,
    ),
    from_library(
        "dema",
        _TREND,
        "Double exponential moving average",
        Function("overlap.dema"),
        {"length": 20, "source": "close"},
        lambda to: 2 * to.whole("length") - 2,
        recursive=True,
    ),
    from_library(
        "tema",
        _TREND,
        "Triple exponential moving average",
        Function("overlap.tema"),
        {"length": 20, "source": "close"},
        lambda to: 3 * to.whole("length") - 3,
        recursive=True,
    ),
    from_library(
        "t3",
        _TREND,
        "Tillson's T3 moving average",
        Function("overlap.t3", names={"volume_factor": "a"}),
        {"length": 10, "volume_factor": Decimal("0.7"), "source": "close"},
        lambda to: 6 * to.whole("length") - 6,
        recursive=True,
    ),
    Indicator(
        "trima",
        _TREND,
        "Triangular moving average: the simple average of a simple average",
        {"length": 20, "source": "close"},
        _trima,
        lambda to: to.whole("length") - 1,
    ),
    from_library(
        "zlema",
        _TREND,
        "Zero-lag exponential moving average",
        Function("overlap.zlma"),
        {"length": 20, "source": "close"},
        lambda to: to.whole("length") - 1 + (to.whole("length") - 1) // 2,
        recursive=True,
    ),
    Indicator(
        "kama",
        _TREND,
        "Kaufman's adaptive moving average",
        {"length": 10, "fast": 2, "slow": 30, "source": "close"},
        _kama,
        lambda to: to.whole("length"),
        recursive=True,
    ),
    from_library(
        "mcginley",
        _TREND,
        "McGinley dynamic",
        Function("overlap.mcgd"),
        {"length": 10, "source": "close"},
        lambda to: to.whole("length") - 1,
        recursive=True,
    ),
    from_library(
        "lsma",
        _TREND,
        "Least squares moving average: the end of the regression line",
        Function("overlap.linreg"),
        {"length": 20, "source": "close"},
        lambda to: to.whole("length") - 1,
    ),
    from_library(
        "vwma",
        _TREND,
        "Volume-weighted moving average",
        Function("overlap.vwma"),
        {"length": 20, "source": "close"},
        lambda to: to.whole("length") - 1,
    ),
    Indicator(
        "supertrend",
        _TREND,
        "Supertrend; direction 1 while the line is below the price, -1 above",
        {"length": 10, "multiplier": Decimal(3)},
        _supertrend,
        lambda to: to.whole("length"),
        outputs=("line", "direction"),
        recursive=True,
    ),
    from_library(
        "ichimoku",
        _TREND,
        "Ichimoku; the spans as they lie under this bar, drawn from the past, and no lagging line",
        Function(
            "overlap.ichimoku",
            ("ITS", "IKS", "ISA", "ISB"),
            {"as_dataframe": True, "include_chikou": False},
            {"conversion": "tenkan", "base": "kijun", "span": "senkou"},
        ),
        {"conversion": 9, "base": 26, "span": 52},
        lambda to: max(to.whole("conversion"), to.whole("base"), to.whole("span")) - 1 + to.whole("base"),
        outputs=("conversion", "base", "span_a", "span_b"),
    ),
    from_library(
        "aroon",
        _TREND,
        "Aroon: bars since the highest high and the lowest low, as percent",
        Function("trend.aroon", ("AROONU", "AROOND", "AROONOSC")),
        {"length": 14},
        lambda to: to.whole("length"),
        outputs=("up", "down", "osc"),
    ),
    Indicator(
        "vortex",
        _TREND,
        "Vortex indicator; 0 where nothing moves",
        {"length": 14},
        _vortex,
        lambda to: to.whole("length"),
        outputs=("plus", "minus"),
    ),
    Indicator(
        "vhf",
        _TREND,
        "Vertical horizontal filter; 0 where nothing moves",
        {"length": 28, "source": "close"},
        _vhf,
        lambda to: to.whole("length"),
    ),
    from_library(
        "qstick",
        _TREND,
        "Qstick: mean of close less open",
        Function("trend.qstick"),
        {"length": 10},
        lambda to: to.whole("length") - 1,
    ),
    from_library(
        "dpo",
        _TREND,
        "Detrended price: the close less an earlier average, not centred",
        Function("trend.dpo", fixed={"centered": False}),
        {"length": 20, "source": "close"},
        lambda to: to.whole("length") + to.whole("length") // 2,
    ),
    from_library(
        "chande_kroll",
        _TREND,
        "Chande Kroll stops",
        Function("trend.cksp", ("CKSPl", "CKSPs"), {"tvmode": False}, {"length": "p", "multiplier": "x", "stop": "q"}),
        {"length": 10, "multiplier": Decimal(3), "stop": 20},
        lambda to: to.whole("length") + to.whole("stop") - 1,
        outputs=("long", "short"),
    ),
)
