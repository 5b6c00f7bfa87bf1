"""Momentum: how fast a market moves, and whether it moved too far."""

from collections.abc import Mapping

import numpy as np

from tradeagent.algos.bars import Bars
from tradeagent.algos.indicators.hot import average, highest, lowest, position, rsi, true_range
from tradeagent.algos.indicators.indicator import Family, Indicator, Outputs
from tradeagent.algos.indicators.library import Function, from_library
from tradeagent.algos.indicators.params import Settings, frozen, source_of
from tradeagent.algos.indicators.trend import efficiency, linear, share, total, weighted
from tradeagent.algos.spec import Param

_MOMENTUM = Family.MOMENTUM
_NOISE = 1e-14
_MACD: Mapping[str, Param] = {"fast": 12, "slow": 26, "signal": 9, "source": "close"}


def _slower(to: Settings) -> int:
    return max(to.whole("fast"), to.whole("slow"))


def _stoch_rsi(bars: Bars, to: Settings) -> Outputs:
    strength = rsi(source_of(bars, to.text("source")), to.whole("length"))
    k = average(position(strength, strength, strength, to.whole("window")), to.whole("k"))
    return k, average(k, to.whole("d"))


def _williams(bars: Bars, to: Settings) -> Outputs:
    return (position(bars.close, bars.high, bars.low, to.whole("length")),)


def _smi(bars: Bars, to: Settings) -> Outputs:
    """Blau (1993): distance of the close from the middle of the range over half the range, both smoothed twice; 50 without a range."""
    top, bottom, smooth = highest(bars.high, to.whole("length")), lowest(bars.low, to.whole("length")), to.whole("smooth")
    distance = average(average(bars.close - (top + bottom) / 2, smooth, "ema"), smooth, "ema")
    half = average(average((top - bottom) / 2, smooth, "ema"), smooth, "ema")
    line = 50.0 + 50.0 * distance / np.where(half == 0, 1.0, half)
    return line, average(line, to.whole("signal"), "ema")


def _coppock(bars: Bars, to: Settings) -> Outputs:
    x = source_of(bars, to.text("source"))
    total = np.full(len(x), np.nan)
    fast, slow = to.whole("fast"), to.whole("slow")
    total[max(fast, slow) :] = 0.0
    for length in (fast, slow):
        total[length:] += 100.0 * (x[length:] / x[:-length] - 1.0)
    return (linear(total, to.whole("length")),)


def _vigor(bars: Bars, to: Settings) -> Outputs:
    """Ehlers (2002): symmetric mean of close less open over that of high less low, each summed over `length` rows."""
    symmetric = np.array([1.0, 2.0, 2.0, 1.0])
    length = to.whole("length")
    moved = average(weighted(bars.close - bars.open, symmetric), length)
    ranged = average(weighted(bars.high - bars.low, symmetric), length)
    line = moved / ranged
    return line, weighted(line, symmetric)


def _mfi(bars: Bars, to: Settings) -> Outputs:
    """Price times volume of the bars whose typical price rose, as percent of all that moved; 0 where none did, as TA-Lib has it.

    Typical prices that differ by no more than the rounding of their floats are equal: such a bar is no flow.
    """
    typical = bars.high + bars.low + bars.close
    change = np.diff(typical, prepend=np.nan)
    flow = typical * bars.volume * np.where(np.abs(change) <= _NOISE * typical, 0.0, np.sign(change))
    rising, falling = (total(np.maximum(way, 0.0), to.whole("length")) for way in (flow, -flow))
    return (100.0 * share(rising, rising + falling),)


def _cmo(bars: Bars, to: Settings) -> Outputs:
    change = np.diff(source_of(bars, to.text("source")), prepend=np.nan)
    rising, falling = (total(np.maximum(way, 0.0), to.whole("length")) for way in (change, -change))
    return (100.0 * share(rising - falling, rising + falling),)


def _uo(bars: Bars, to: Settings) -> Outputs:
    """Williams (1976): three shares of the true range that lie below the close, the shortest weighing 4 of 7; 0 for one without range."""
    ranges, pressure = true_range(bars), np.full(len(bars), np.nan)
    pressure[1:] = bars.close[1:] - np.minimum(bars.low[1:], bars.close[:-1])
    lengths = sorted(to.whole(name) for name in ("fast", "medium", "slow"))
    shares = [share(total(pressure, length), total(ranges, length)) for length in lengths]
    return (100.0 * (4 * shares[0] + 2 * shares[1] + shares[2]) / 7,)


def _cci(bars: Bars, to: Settings) -> Outputs:
    """Lambert (1980); 0 where the typical price is its average, but for the rounding of floats."""
    from tradeagent.algos.indicators import windows

    typical, length = source_of(bars, "hlc3"), to.whole("length")
    middle = average(typical, length)
    apart = typical - middle
    spread = windows.mean_distance(typical, frozen(middle), length)
    return (np.where(np.abs(apart) <= _NOISE * typical, 0.0, apart / (0.015 * spread)),)


def _efficiency(bars: Bars, to: Settings) -> Outputs:
    return (efficiency(source_of(bars, to.text("source")), to.whole("length")),)


def _bop(bars: Bars, _: Settings) -> Outputs:
    """Close less open over high less low; 0 without a range, as TA-Lib has it."""
    return (share(bars.close - bars.open, bars.high - bars.low),)


MOMENTUM = (
    Indicator(
        "stoch_rsi",
        _MOMENTUM,
        "Stochastic of the relative strength index",
        {"length": 14, "window": 14, "k": 3, "d": 3, "source": "close"},
        _stoch_rsi,
        lambda to: to.whole("length") + to.whole("window") + to.whole("k") + to.whole("d") - 3,
        outputs=("k", "d"),
        normalised=True,
        recursive=True,
    ),
    Indicator(
        "williams_r",
        _MOMENTUM,
        "Williams %R, rescaled: 0 at the lowest low, 100 at the highest high",
        {"length": 14},
        _williams,
        lambda to: to.whole("length") - 1,
        normalised=True,
    ),
    Indicator(
        "smi",
        _MOMENTUM,
        "Stochastic momentum index, rescaled to 0 to 100",
        {"length": 10, "smooth": 3, "signal": 3},
        _smi,
        lambda to: to.whole("length") + 2 * to.whole("smooth") + to.whole("signal") - 4,
        outputs=("line", "signal"),
        normalised=True,
        recursive=True,
    ),
    Indicator(
        "coppock",
        _MOMENTUM,
        "Coppock curve",
        {"length": 10, "fast": 11, "slow": 14, "source": "close"},
        _coppock,
        lambda to: _slower(to) + to.whole("length") - 1,
    ),
    Indicator(
        "rvi",
        _MOMENTUM,
        "Relative vigor index",
        {"length": 10},
        _vigor,
        lambda to: to.whole("length") + 5,
        outputs=("line", "signal"),
    ),
    Indicator(
        "mfi",
        _MOMENTUM,
        "Money flow index; 0 where no money flowed",
        {"length": 14},
        _mfi,
        lambda to: to.whole("length"),
        normalised=True,
    ),
    Indicator(
        "uo",
        _MOMENTUM,
        "Ultimate oscillator; 0 where nothing moves",
        {"fast": 7, "medium": 14, "slow": 28},
        _uo,
        lambda to: max(_slower(to), to.whole("medium")),
        normalised=True,
    ),
    from_library(
        "roc",
        _MOMENTUM,
        "Rate of change in percent",
        Function("momentum.roc"),
        {"length": 10, "source": "close"},
        lambda to: to.whole("length"),
    ),
    from_library(
        "mom",
        _MOMENTUM,
        "Momentum: change in quote units",
        Function("momentum.mom"),
        {"length": 10, "source": "close"},
        lambda to: to.whole("length"),
    ),
    from_library(
        "ao",
        _MOMENTUM,
        "Awesome oscillator",
        Function("momentum.ao"),
        {"fast": 5, "slow": 34},
        lambda to: _slower(to) - 1,
    ),
    from_library(
        "apo",
        _MOMENTUM,
        "Absolute price oscillator of exponential averages",
        Function("momentum.apo", fixed={"mamode": "ema"}),
        {"fast": 12, "slow": 26, "source": "close"},
        lambda to: _slower(to) - 1,
        recursive=True,
    ),
    from_library(
        "ppo",
        _MOMENTUM,
        "Percentage price oscillator of exponential averages",
        Function("momentum.ppo", ("PPO_", "PPOs_", "PPOh_"), {"mamode": "ema"}),
        _MACD,
        lambda to: _slower(to) + to.whole("signal") - 2,
        outputs=("line", "signal", "hist"),
        recursive=True,
    ),
    from_library(
        "kst",
        _MOMENTUM,
        "Know sure thing",
        Function("momentum.kst", ("KST_", "KSTs_")),
        {"roc1": 10, "roc2": 15, "roc3": 20, "roc4": 30, "sma1": 10, "sma2": 10, "sma3": 10, "sma4": 15, "signal": 9, "source": "close"},
        lambda to: max(to.whole(f"roc{i}") + to.whole(f"sma{i}") for i in range(1, 5)) + to.whole("signal") - 2,
        outputs=("line", "signal"),
    ),
    from_library(
        "tsi",
        _MOMENTUM,
        "True strength index",
        Function("momentum.tsi", ("TSI_", "TSIs_")),
        {"fast": 13, "slow": 25, "signal": 13, "source": "close"},
        lambda to: to.whole("fast") + to.whole("slow") + to.whole("signal") - 2,
        outputs=("line", "signal"),
        recursive=True,
    ),
    Indicator(
        "cci",
        _MOMENTUM,
        "Commodity channel index; 0 where nothing moves",
        {"length": 20},
        _cci,
        lambda to: to.whole("length") - 1,
    ),
    Indicator(
        "cmo",
        _MOMENTUM,
        "Chande momentum oscillator; 0 where nothing moves",
        {"length": 14, "source": "close"},
        _cmo,
        lambda to: to.whole("length"),
    ),
    from_library(
        "fisher",
        _MOMENTUM,
        "Fisher transform",
        Function("momentum.fisher", ("FISHERT_", "FISHERTs_")),
        {"length": 9, "signal": 1},
        lambda to: to.whole("length") + to.whole("signal") - 1,
        outputs=("line", "signal"),
        recursive=True,
    ),
    Indicator("bop", _MOMENTUM, "Balance of power; 0 where a bar has no range", {}, _bop, lambda to: 0),
    from_library(
        "trix",
        _MOMENTUM,
        "Rate of change of a triple exponential average, in percent",
        Function("momentum.trix", ("TRIX_", "TRIXs_")),
        {"length": 18, "signal": 9, "source": "close"},
        lambda to: 3 * to.whole("length") + to.whole("signal") - 3,
        outputs=("line", "signal"),
        recursive=True,
    ),
    from_library(
        "elder_ray",
        _MOMENTUM,
        "Elder ray: high and low less an exponential average",
        Function("momentum.eri", ("BULLP", "BEARP")),
        {"length": 13},
        lambda to: to.whole("length") - 1,
        outputs=("bull", "bear"),
        recursive=True,
    ),
    Indicator(
        "efficiency",
        _MOMENTUM,
        "Kaufman's efficiency ratio, 0 to 1; 1 where nothing moves",
        {"length": 10, "source": "close"},
        _efficiency,
        lambda to: to.whole("length"),
    ),
)
