"""Indicators behind one registry: name, parameters, outputs, warm-up, and values that never look ahead."""

from tradeagent.algos.indicators.indicator import Family, Indicator
from tradeagent.algos.indicators.registry import INDICATORS, compute, find_indicator, table, versions, warmup

__all__ = ["INDICATORS", "Family", "Indicator", "compute", "find_indicator", "table", "versions", "warmup"]
