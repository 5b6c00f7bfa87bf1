"""The indicators that most algorithms use, compiled here and equal to TA-Lib's."""

from decimal import Decimal

import numpy as np

from tradeagent.algos.bars import Bars, Floats
from tradeagent.algos.indicators.indicator import Family, Indicator, Outputs
from tradeagent.algos.indicators.params import Settings, frozen, source_of

SIMPLE = "sma"


def average(x: Floats, length: int, ma: str = "sma") -> Floats:
    """Moving average of an array: `sma`, `ema` (weight 2/(length+1)) or `rma` (weight 1/length, Wilder's)."""
    from tradeagent.algos.indicators import windows

    if ma == "sma":
        return windows.mean(frozen(x), length)
    out = np.empty(len(x))
    _smooth(x, length, ma, out)
    return out


def two_averages(bars: Bars, source: str, first: int, second: int) -> tuple[Floats, Floats]:
    """Simple moving averages of one column, computed together: they share the sums."""
    from tradeagent.algos.indicators import windows

    return windows.two_means(source_of(bars, source), first, second)


def _smooth(x: Floats, length: int, ma: str, out: Floats) -> None:
    from tradeagent.algos.indicators import recursive

    recursive.smooth(frozen(x), length, 2 / (length + 1) if ma == "ema" else 1 / length, out)


def highest(x: Floats, length: int) -> Floats:
    from tradeagent.algos.indicators import windows

    return windows.extreme(frozen(x), length, 1.0)


def lowest(x: Floats, length: int) -> Floats:
    from tradeagent.algos.indicators import windows

    return windows.extreme(frozen(x), length, -1.0)


def position(value: Floats, high: Floats, low: Floats, length: int) -> Floats:
    """Where a value lies in the range of the last `length` rows: 0 at its low, 100 at its high, 50 where there is no range."""
    from tradeagent.algos.indicators import windows

    return windows.position(frozen(value), frozen(high), frozen(low), length)


def true_range(bars: Bars) -> Floats:
    from tradeagent.algos.indicators import recursive

    return recursive.true_range(frozen(bars.high), frozen(bars.low), frozen(bars.close))


def atr(bars: Bars, length: int, ma: str = "rma") -> Floats:
    """Average true range in quote units; the first `length` rows are NaN. `ma: sma` is the simple mean of the true range."""
    ranges = true_range(bars)
    if ma == "sma":
        return average(ranges, length)
    _smooth(ranges, length, ma, ranges)
    return ranges


def rsi(x: Floats, length: int) -> Floats:
    from tradeagent.algos.indicators.recursive import relative_strength

    return relative_strength(frozen(x), length)


def deviation(x: Floats, length: int) -> tuple[Floats, Floats]:
    """Simple mean and population standard deviation over `length` rows."""
    from tradeagent.algos.indicators import windows

    middle = average(x, length)
    return middle, windows.deviation(frozen(x), frozen(middle), length)


def _average_of(ma: str) -> Indicator:
    def formula(bars: Bars, to: Settings) -> Outputs:
        return (average(source_of(bars, to.text("source")), to.whole("length"), ma),)

    titles = {"sma": "Simple moving average", "ema": "Exponential moving average", "rma": "Wilder's moving average"}
    return Indicator(
        ma,
        Family.TREND,
        titles[ma],
        {"length": 20 if ma != "rma" else 14, "source": "close"},
        formula,
        lambda to: to.whole("length") - 1,
        recursive=ma != "sma",
    )


def _rsi(bars: Bars, to: Settings) -> Outputs:
    return (rsi(source_of(bars, to.text("source")), to.whole("length")),)


def _atr(bars: Bars, to: Settings) -> Outputs:
    return (atr(bars, to.whole("length"), to.text("ma")),)


def _macd(bars: Bars, to: Settings) -> Outputs:
    """Both averages begin with the same bar, the faster one's seed being the values just before it, as TA-Lib has it."""
    fast, slow = sorted((to.whole("fast"), to.whole("slow")))
    x = source_of(bars, to.text("source"))
    line = np.full(len(x), np.nan)
    line[slow - fast :] = average(x[slow - fast :], fast, "ema")
    line -= average(x, slow, "ema")
    signal = average(line, to.whole("signal"), "ema")
    return line, signal, line - signal


def _bollinger(bars: Bars, to: Settings) -> Outputs:
    middle, upper = deviation(source_of(bars, to.text("source")), to.whole("length"))
    upper *= to.number("stdev")
    lower = middle - upper
    upper += middle
    return upper, middle, lower


def _donchian(bars: Bars, to: Settings) -> Outputs:
    return highest(bars.high, to.whole("length")), lowest(bars.low, to.whole("length"))


def _adx(bars: Bars, to: Settings) -> Outputs:
    from tradeagent.algos.indicators.recursive import directional

    adx, plus, minus = directional(frozen(bars.high), frozen(bars.low), frozen(bars.close), to.whole("length"))
    return adx, plus, minus


def _stochastic(bars: Bars, to: Settings) -> Outputs:
    raw = position(bars.close, bars.high, bars.low, to.whole("k"))
    k = average(raw, to.whole("smooth"))
    return k, average(k, to.whole("d"))


HOT = (
    _average_of(SIMPLE),
    _average_of("ema"),
    _average_of("rma"),
    Indicator(
        "rsi",
        Family.MOMENTUM,
        "Relative strength index",
        {"length": 14, "source": "close"},
        _rsi,
        lambda to: to.whole("length"),
        normalised=True,
        recursive=True,
    ),
    Indicator(
        "atr",
        Family.VOLATILITY,
        "Average true range",
        {"length": 14, "ma": "rma"},
        _atr,
        lambda to: to.whole("length"),
        recursive=True,
    ),
    Indicator(
        "macd",
        Family.MOMENTUM,
        "Moving average convergence divergence",
        {"fast": 12, "slow": 26, "signal": 9, "source": "close"},
        _macd,
        lambda to: max(to.whole("fast"), to.whole("slow")) + to.whole("signal") - 2,
        outputs=("line", "signal", "hist"),
        recursive=True,
    ),
    Indicator(
        "bollinger",
        Family.VOLATILITY,
        "Bollinger bands, population deviation",
        {"length": 20, "stdev": Decimal(2), "source": "close"},
        _bollinger,
        lambda to: to.whole("length") - 1,
        outputs=("upper", "middle", "lower"),
    ),
    Indicator(
        "donchian",
        Family.TREND,
        "Donchian channel, this bar included",
        {"length": 20},
        _donchian,
        lambda to: to.whole("length") - 1,
        outputs=("upper", "lower"),
    ),
    Indicator(
        "adx",
        Family.TREND,
        "Average directional index and its +DI and -DI",
        {"length": 14},
        _adx,
        lambda to: 2 * to.whole("length") - 1,
        outputs=("adx", "plus", "minus"),
        recursive=True,
    ),
    Indicator(
        "stochastic",
        Family.MOMENTUM,
        "Slow stochastic oscillator",
        {"k": 14, "d": 3, "smooth": 3},
        _stochastic,
        lambda to: to.whole("k") + to.whole("smooth") + to.whole("d") - 3,
        outputs=("k", "d"),
        normalised=True,
    ),
)
