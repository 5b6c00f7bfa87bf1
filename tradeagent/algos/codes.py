"""Columns compared, and conditions written as flags of the codes, each in one pass. Import this module in functions: it loads numba."""

import numpy as np

from tradeagent.algos.bars import Floats, Truths
from tradeagent.algos.indicators.compiled import compiled
from tradeagent.algos.signals import Codes


@compiled
def flag(codes: Codes, true: Truths, start: int, always: np.uint8, begins: np.uint8) -> None:
    """From row `start` on, add `always` to the codes of rows on which a condition is true, and `begins` where the row before is not, or is
    before `start`."""
    if start < len(codes) and true[start]:
        codes[start] |= always | begins
    flags, now, before = codes[start + 1 :], true[start + 1 :].view(np.uint8), true[start:-1].view(np.uint8)
    for row in range(len(flags)):
        flags[row] |= now[row] * always | (now[row] > before[row]) * begins


@compiled
def greater_and_less(left: Floats, right: Floats, greater: Truths, less: Truths) -> None:
    """Where `left` is above `right`, and where below; neither where one of them is NaN."""
    for row in range(len(left)):
        greater[row] = left[row] > right[row]
        less[row] = left[row] < right[row]
