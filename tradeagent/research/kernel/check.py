"""Single compiled looks at arrays: at bars and funding before they are simulated, at an equity curve after."""

import numpy as np

from tradeagent.algos.bars import Floats, Ints
from tradeagent.domain.clock import HOUR_MS
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
def find_due(
    time: Ints, interval: int, is_gapless: bool, hours: Ints, rates: Ints, largest: int, due: Ints, paid: Ints
) -> tuple[int, int, bool]:
    """(payments, inside, is_whole): how many rows that pay (the first bar that opens at or after the hour, itself not the first) are now in
    `due` with their rates in `paid`, -1 when hours are out of order or a rate is above `largest`; how many hours lie after the first open
    and up to the last; whether all of them are whole."""
    rows, row, payments, inside, is_good, is_whole = len(time), 0, 0, 0, True, True
    for at in range(len(hours)):
        hour = hours[at]
        is_good &= (at == 0 or hour > hours[at - 1]) & (-largest <= rates[at] <= largest)
        is_whole &= hour % HOUR_MS == 0
        if is_gapless:
            row = max(0, -(-(hour - time[0]) // interval))
        while not is_gapless and row < rows and time[row] < hour:
            row += 1
        if 0 < row < rows:
            due[payments], paid[payments] = row, rates[at]
            payments += 1
        inside += int(time[0] < hour <= time[-1])
    return payments if is_good else -1, inside, is_whole


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
