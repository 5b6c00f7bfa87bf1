"""Legs written by hand: a few hourly BTC bars, the signal of each, and the levels that leave with every entry."""

from collections.abc import Mapping, Sequence
from decimal import Decimal

import numpy as np
from run_samples import BTC

from tradeagent.algos.bars import Bars
from tradeagent.algos.signals import Levels, Signals
from tradeagent.algos.spec import AlgoSpec, Directions, EntryRule, SideRules, Sizing, SizingKind
from tradeagent.research.run import Leg

HOUR = 3_600_000
T0 = 1_735_689_600_000  # 2025-01-01
D = Decimal
LONG, SHORT, LEAVE_LONG, LEAVE_SHORT = 1, 2, 4, 8
SPEC = AlgoSpec(
    "case",
    "BTC",
    HOUR,
    Directions.BOTH,
    {},
    SideRules(EntryRule(("x",))),
    SideRules(EntryRule(("x",))),
    Sizing(SizingKind.PCT_OF_EQUITY, D(50)),
)
Shape = tuple[float, float, float, float]


def hand_leg(shapes: Sequence[Shape | float], codes: Mapping[int, int], levels: Levels | None = None, spec: AlgoSpec = SPEC) -> Leg:
    """Bars as (open, high, low, close) or one price for all four, and a code a row where there is one."""
    rows = [shape if isinstance(shape, tuple) else (shape,) * 4 for shape in shapes]
    count = len(rows)
    said = np.zeros(count, np.uint8)
    for row, code in codes.items():
        said[row] = code
    columns = [np.array(column, np.float64) for column in zip(*rows, strict=True)]
    bars = Bars("BTC", HOUR, T0 + np.arange(count, dtype=np.int64) * HOUR, *columns, np.full(count, 100.0), np.full(count, np.nan))
    nothing = np.zeros(0, np.int64)
    return Leg(BTC, bars, spec, Signals(said, 0, levels or Levels(), levels or Levels()), nothing, nothing)
