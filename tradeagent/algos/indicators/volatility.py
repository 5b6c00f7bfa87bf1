"""Volatility: how far a market moves in a bar, and the bands around it."""

from decimal import Decimal

import numpy as np

from tradeagent.algos.bars import Bars
from tradeagent.algos.indicators.hot import atr, average, deviation, true_range
from tradeagent.algos.indicators.indicator import Family, Indicator, Outputs
from tradeagent.algos.indicators.library import Function, from_library
from tradeagent.algos.indicators.params import Settings, source_of

_VOLATILITY = Family.VOLATILITY
_BANDS = ("upper", "middle", "lower")


def _natr(bars: Bars, to: Settings) -> Outputs:
    return (100.0 * atr(bars, to.whole("length")) / bars.close,)


def _true_range(bars: Bars, _: Settings) -> Outputs:
    return (true_range(bars),)


def _envelope(bars: Bars, to: Settings) -> Outputs:
    middle = average(source_of(bars, to.text("source")), to.whole("length"))
    width = to.number("pct") / 100.0
    return middle * (1.0 + width), middle, middle * (1.0 - width)


def _stdev(bars: Bars, to: Settings) -> Outputs:
    return (deviation(source_of(bars, to.text("source")), to.whole("length"))[1],)


def _zscore(bars: Bars, to: Settings) -> Outputs:
    x = source_of(bars, to.text("source"))
    middle, spread = deviation(x, to.whole("length"))
    return ((x - middle) / np.where(spread == 0, np.nan, spread),)


VOLATILITY = (
    Indicator(
        "natr",
        _VOLATILITY,
        "Average true range in percent of the close",
        {"length": 14},
        _natr,
        lambda to: to.whole("length"),
        recursive=True,
    ),
    Indicator("true_range", _VOLATILITY, "True range", {}, _true_range, lambda to: 1),
    Indicator(
        "envelope",
        _VOLATILITY,
        "Bands a fixed percentage around a simple average",
        {"length": 20, "pct": Decimal("2.5"), "source": "close"},
        _envelope,
        lambda to: to.whole("length") - 1,
        outputs=_BANDS,
    ),
    Indicator(
        "stdev",
        _VOLATILITY,
        "Population standard deviation",
        {"length": 20, "source": "close"},
        _stdev,
        lambda to: to.whole("length") - 1,
    ),
    Indicator(
        "zscore",
        _VOLATILITY,
        "Distance from the simple average in standard deviations; none where nothing moves",
        {"length": 20, "source": "close"},
        _zscore,
        lambda to: to.whole("length") - 1,
    ),
    from_library(
        "keltner",
        _VOLATILITY,
        "Keltner channel of exponential averages",
        Function("volatility.kc", ("KCU", "KCB", "KCL"), {"mamode": "ema"}, {"multiplier": "scalar"}),
        {"length": 20, "multiplier": Decimal(2)},
        lambda to: to.whole("length"),
        outputs=_BANDS,
        recursive=True,
    ),
    from_library(
        "acceleration_bands",
        _VOLATILITY,
        "Acceleration bands",
        Function("volatility.accbands", ("ACCBU", "ACCBM", "ACCBL"), names={"width": "c"}),
        {"length": 20, "width": Decimal(4)},
        lambda to: to.whole("length") - 1,
        outputs=_BANDS,
    ),
    from_library(
        "hvol",
        _VOLATILITY,
        "Historical volatility of log returns in percent, 365 bars a year",
        Function("volatility.hvol", fixed={"annualization": 365}),
        {"length": 20, "source": "close"},
        lambda to: to.whole("length"),
    ),
    from_library(
        "ulcer",
        _VOLATILITY,
        "Ulcer index",
        Function("volatility.ui"),
        {"length": 14, "source": "close"},
        lambda to: 2 * to.whole("length") - 2,
    ),
    from_library(
        "mass",
        _VOLATILITY,
        "Mass index",
        Function("volatility.massi"),
        {"fast": 9, "slow": 25},
        lambda to: 2 * min(to.whole("fast"), to.whole("slow")) + max(to.whole("fast"), to.whole("slow")) - 3,
        recursive=True,
    ),
    from_library(
        "choppiness",
        _VOLATILITY,
        "Choppiness index",
        Function("trend.chop"),
        {"length": 14},
        lambda to: to.whole("length"),
    ),
    from_library(
        "relative_volatility",
        _VOLATILITY,
        "Relative volatility index",
        Function("volatility.rvi"),
        {"length": 14, "source": "close"},
        lambda to: 2 * to.whole("length") - 2,
        recursive=True,
    ),
    from_library(
        "chaikin_volatility",
        _VOLATILITY,
        "Chaikin volatility: change of the averaged range in percent",
        Function("volatility.cvi"),
        {"length": 10},
        lambda to: 2 * to.whole("length") - 1,
        recursive=True,
    ),
    from_library(
        "chandelier",
        _VOLATILITY,
        "Chandelier exits",
        Function("volatility.ce", ("CE_L", "CE_S")),
        {"length": 22, "multiplier": Decimal(3)},
        lambda to: to.whole("length"),
        outputs=("long", "short"),
        recursive=True,
    ),
)
