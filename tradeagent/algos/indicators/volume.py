"""Volume: whether the money goes with the price."""

import numpy as np

from tradeagent.algos.bars import Bars
from tradeagent.algos.indicators.indicator import Family, Indicator, Outputs
from tradeagent.algos.indicators.library import Function, from_library, stretches
from tradeagent.algos.indicators.params import Settings
from tradeagent.algos.indicators.trend import share, total

_VOLUME = Family.VOLUME


def _index(name: str, title: str, wanted: int) -> Indicator:
    """Fosback (1976): compounds the return of the bars whose volume fell (−1) or rose (+1), from 1,000. The library adds percent."""

    def formula(bars: Bars, _: Settings) -> Outputs:
        out = np.full(len(bars), np.nan)
        for part in stretches([bars.close, bars.volume]):
            close = bars.close[part]
            growth = np.ones(len(close))
            counts = np.sign(np.diff(bars.volume[part])) == wanted
            growth[1:] = np.where(counts, close[1:] / close[:-1], 1.0)
            out[part] = 1000.0 * np.cumprod(growth)
        return (out,)

    return Indicator(name, _VOLUME, title, {}, formula, lambda to: 0, recursive=True)


def _cmf(bars: Bars, to: Settings) -> Outputs:
    """Volume weighed by where the close lies in its bar (1 at the high, −1 at the low), over all volume; 0 without any, as TA-Lib."""
    place = share(2 * bars.close - bars.high - bars.low, bars.high - bars.low)
    return (share(total(place * bars.volume, to.whole("length")), total(bars.volume, to.whole("length"))),)


VOLUME = (
    _index("nvi", "Negative volume index", -1),
    _index("pvi", "Positive volume index", 1),
    from_library("obv", _VOLUME, "On-balance volume", Function("volume.obv"), {}, lambda to: 0, recursive=True),
    from_library("ad", _VOLUME, "Accumulation and distribution line", Function("volume.ad"), {}, lambda to: 0, recursive=True),
    from_library("pvt", _VOLUME, "Price volume trend", Function("volume.pvt"), {}, lambda to: 1, recursive=True),
    Indicator(
        "cmf",
        _VOLUME,
        "Chaikin money flow; 0 where nothing traded",
        {"length": 20},
        _cmf,
        lambda to: to.whole("length") - 1,
    ),
    from_library(
        "adosc",
        _VOLUME,
        "Chaikin oscillator of the accumulation line",
        Function("volume.adosc"),
        {"fast": 3, "slow": 10},
        lambda to: max(to.whole("fast"), to.whole("slow")) - 1,
        recursive=True,
    ),
    from_library(
        "force",
        _VOLUME,
        "Force index",
        Function("volume.efi"),
        {"length": 13},
        lambda to: to.whole("length"),
        recursive=True,
    ),
    from_library(
        "eom",
        _VOLUME,
        "Ease of movement, volume in units of 10,000",
        Function("volume.eom", fixed={"divisor": 10_000}),
        {"length": 14},
        lambda to: to.whole("length"),
    ),
    from_library(
        "kvo",
        _VOLUME,
        "Klinger volume oscillator of signed volume",
        Function("volume.kvo", ("KVO_", "KVOs_")),
        {"fast": 34, "slow": 55, "signal": 13},
        lambda to: max(to.whole("fast"), to.whole("slow")) + to.whole("signal") - 2,
        outputs=("line", "signal"),
        recursive=True,
    ),
    from_library(
        "pvo",
        _VOLUME,
        "Percentage volume oscillator",
        Function("momentum.pvo", ("PVO_", "PVOs_", "PVOh_")),
        {"fast": 12, "slow": 26, "signal": 9},
        lambda to: max(to.whole("fast"), to.whole("slow")) + to.whole("signal") - 2,
        outputs=("line", "signal", "hist"),
        recursive=True,
    ),
)
