"""Single compiled looks at arrays: at bars before they are simulated, at an equity curve after."""

import numpy as np

from tradeagent.algos.bars import Floats, Ints
from tradeagent.research.kernel.native import entrance


@entrance
def look_at(time: Ints, opened: Floats, high: Floats, low: Floats, close: Floats, volume: Floats, interval: int) -> tuple[int, int, bool]:
    """(bad, highest, is_gapless): the first row that is out of order, has a price or volume missing, not positive or outside high and low,
    -1 when all are good; the bits of the highest price; whether each bar opens `interval` after the one before."""
    is_good, is_gapless, highest = True, True, 0
    bits = high.view(np.int64)  # positive floats are ordered as their bits, whose maximum is found several rows at a time
    for row in range(len(time)):
        around = (low[row] <= opened[row]) & (low[row] <= close[row]) & (opened[row] <= high[row]) & (close[row] <= high[row])
        is_good &= around & (low[row] > 0.0) & (high[row] < 1e15) & (volume[row] >= 0.0) & (volume[row] < 1e18)
        highest = max(highest, bits[row])
    for row in range(1, len(time)):
        is_good &= time[row] > time[row - 1]
        is_gapless &= time[row] == time[row - 1] + interval
    if is_good:
        return -1, highest, is_gapless
    for row in range(len(time)):
        around = low[row] <= opened[row] <= high[row] and low[row] <= close[row] <= high[row]
        if not (around and low[row] > 0.0 and high[row] < 1e15 and 0.0 <= volume[row] < 1e18):
            return row, 0, False
        if row and time[row] <= time[row - 1]:
            return row, 0, False
    return -1, 0, False


@entrance
def deepest_drawdown(equity: Ints, start: int) -> float:
    """max(1 − E / peak) over the closes, with the starting cash as first peak; 0 when equity never falls."""
    peak, deepest, bound = float(start), 0.0, float(start)
    for at in range(len(equity)):
        worth = float(equity[at])
        if worth > peak:
            peak = worth
            bound = peak * (1.0 - deepest)
        elif worth < bound:
            deepest = 1.0 - worth / peak
            bound = worth
    return deepest
