"""Every indicator an algorithm may name, and the two questions asked of them: their values on bars, and the rows they need first."""

from collections.abc import Mapping
from importlib.metadata import version
from types import MappingProxyType

import numpy as np

from tradeagent.algos.bars import Bars, Floats
from tradeagent.algos.indicators.hot import HOT
from tradeagent.algos.indicators.indicator import Family, Indicator
from tradeagent.algos.indicators.momentum import MOMENTUM
from tradeagent.algos.indicators.params import settled
from tradeagent.algos.indicators.trend import TREND
from tradeagent.algos.indicators.volatility import VOLATILITY
from tradeagent.algos.indicators.volume import VOLUME
from tradeagent.algos.spec import Param
from tradeagent.domain.errors import UnknownKey, near

INDICATORS: Mapping[str, Indicator] = MappingProxyType({one.kind: one for one in (*HOT, *TREND, *MOMENTUM, *VOLATILITY, *VOLUME)})


def find_indicator(kind: str) -> Indicator:
    """The indicator of that kind. UnknownKey with the nearest name when there is none."""
    if kind not in INDICATORS:
        raise UnknownKey(f"there is no indicator {kind!r}", hint=near(kind, INDICATORS))
    return INDICATORS[kind]


def compute(kind: str, bars: Bars, params: Mapping[str, Param]) -> dict[str, Floats]:
    """Values per output (`value` when there is one only), as long as the bars, NaN in the first `warmup` rows.

    Row i uses rows up to i and no later one. Where there are fewer bars than the warm-up, all is NaN: compare `warmup` with the number
    of bars to say so. UnknownKey, InvalidInput for a kind or parameter that cannot be.
    """
    indicator = find_indicator(kind)
    settings = settled(kind, indicator.defaults, params)
    rows = indicator.warmup(settings)
    if len(bars) <= rows:
        return {name: np.full(len(bars), np.nan) for name in indicator.outputs}
    with np.errstate(divide="ignore", invalid="ignore"):
        outputs = indicator.formula(bars, settings)
    for values in outputs:
        values[:rows] = np.nan
    return dict(zip(indicator.outputs, outputs, strict=True))


def warmup(kind: str, params: Mapping[str, Param]) -> int:
    """Rows at the beginning in which the indicator has no value. UnknownKey, InvalidInput as `compute`."""
    indicator = find_indicator(kind)
    return indicator.warmup(settled(kind, indicator.defaults, params))


def table() -> list[dict[str, str | int | bool]]:
    """One row an indicator, for the reference pages, by family and name."""
    families = list(Family)
    ordered = sorted(INDICATORS.values(), key=lambda one: (families.index(one.family), one.kind))
    return [
        {
            "kind": one.kind,
            "family": one.family.value,
            "title": one.title,
            "params": ", ".join(f"{name} {value}" for name, value in one.defaults.items()),
            "outputs": ", ".join(one.outputs),
            "warmup": one.warmup(settled(one.kind, one.defaults, {})),
            "normalised": one.normalised,
            "recursive": one.recursive,
            "library": one.library,
        }
        for one in ordered
    ]


def versions() -> dict[str, str]:
    """Versions of the libraries that the values come from, to be recorded with each backtest."""
    return {name: version(name) for name in ("numba", "numpy", "pandas", "pandas-ta-classic", "tradeagent")}
