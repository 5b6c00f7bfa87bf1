"""Compiled sums and extremes over a sliding window, whose rounding does not depend on where the data begins.

Prices lie on a decimal grid, so sums are taken in whole numbers of grid steps and rounded once, at the division. Values off any grid are
added in pairs of floats (TwoSum, Knuth 1969), exact to about 2^-106. A NaN makes the windows that hold it NaN, and no other.
Import this module inside functions: it loads numba.
"""

import numpy as np

from tradeagent.algos.bars import Floats, Ints
from tradeagent.algos.indicators.compiled import compiled, fused

_CHUNK = 2048
_DECIMALS = 15
_EXACT = 2**53
WIDE = 2**50
_SHORT = 16
_NEAR = 2.0**-52


@compiled
def grid_steps(x: Floats) -> int:
    """Grid steps in one unit (1, 10, 100 …) judged by up to 257 rows, or 0 when those lie on no grid of `_DECIMALS` decimals."""
    stride = max(1, len(x) // 256)
    steps = 1
    i = 0
    while i < len(x):
        if not np.isfinite(x[i]):
            return 0
        while np.rint(x[i] * steps) / steps != x[i]:
            steps *= 10
            if steps > 10**_DECIMALS:
                return 0
        i += stride
    return steps


@compiled
def _on_grid(x: Floats, steps: int, bound: int, whole: Ints) -> bool:
    """Write `x` as whole grid steps; False when a value is off the grid (NaN is) or larger than `bound` steps."""
    fits = True
    for i in range(len(x)):
        scaled = x[i] * steps
        value = np.rint(scaled)
        fits &= (abs(scaled - value) <= abs(value) * _NEAR) & (abs(value) <= bound)
        whole[i] = np.int64(value)
    return fits


@compiled
def finest_steps(x: Floats, bound: int) -> int:
    """Grid steps in one unit on which every value lies, none more than `bound` steps; 0 when there is no such grid."""
    whole = np.empty(_CHUNK, np.int64)
    steps = grid_steps(x)
    start = 0
    while start < len(x) and 0 < steps <= 10**_DECIMALS:
        part = x[start : start + _CHUNK]
        if _on_grid(part, steps, bound, whole[: len(part)]):
            start += _CHUNK
        else:
            start = 0
            steps *= 10
    return steps if steps <= 10**_DECIMALS else 0


@compiled
def _divided(newest: Ints, oldest: Ints, divisor: float, out: Floats) -> None:
    """Differences below 2^53 over a whole divisor, correctly rounded: its inverse and two corrections (Markstein 1990) give the bits of
    a division, in less time for several rows at once."""
    inverse = 1.0 / divisor
    for j in range(len(out)):
        total = float(newest[j] - oldest[j])
        value = total * inverse
        value = fused(fused(-value, divisor, total), inverse, value)
        out[j] = fused(fused(-value, divisor, total), inverse, value)


@compiled
def _means_on_grid(x: Floats, lengths: Ints, steps: int, out: tuple[Floats, ...]) -> bool:
    """Means of each length, a column of `out` each, from wrapping prefix sums, a chunk at a time so that they stay in the cache; False when
    a value is off the grid."""
    longest = lengths.max()
    size = max(_CHUNK, longest)
    sums = np.zeros(longest + size, np.int64)
    bound = _EXACT // longest
    total = np.int64(0)
    for start in range(0, len(x), size):
        rows = min(size, len(x) - start)
        newest = sums[longest : longest + rows]
        if not _on_grid(x[start : start + rows], steps, bound, newest):
            return False
        for j in range(rows):
            total += newest[j]
            newest[j] = total
        for k in range(len(lengths)):
            oldest = sums[longest - lengths[k] :][:rows]
            _divided(newest, oldest, float(lengths[k]) * float(steps), out[k][start:][:rows])
        sums[:longest] = sums[rows : rows + longest].copy()
    for k in range(len(lengths)):
        out[k][: lengths[k] - 1] = np.nan
    return True


@compiled
def _add(high: float, low: float, value: float) -> tuple[float, float]:
    """The pair plus a value, as a pair."""
    total = high + value
    part = total - high
    low += (high - (total - part)) + (value - part)
    high = total + low
    return high, low - (high - total)


@compiled
def _mean_in_pairs(x: Floats, length: int, out: Floats) -> None:
    high, low = 0.0, 0.0
    broken = 0
    for i in range(len(x)):
        if np.isfinite(x[i]):
            high, low = _add(high, low, x[i])
        else:
            broken += 1
        if i >= length:
            if np.isfinite(x[i - length]):
                high, low = _add(high, low, -x[i - length])
            else:
                broken -= 1
        out[i] = np.nan if broken or i < length - 1 else (high + low) / length


@compiled
def _mean_directly(x: Floats, length: int, out: Floats) -> None:
    out[: length - 1] = np.nan
    for i in range(length - 1, len(x)):
        total = 0.0
        for j in range(i - length + 1, i + 1):
            total += x[j]
        out[i] = total / length


@compiled
def _means_on_any_grid(x: Floats, lengths: Ints, out: tuple[Floats, ...]) -> bool:
    """Write the means of each length; False where `x` lies on no grid."""
    steps = grid_steps(x) if lengths.max() <= len(x) else 0
    while 0 < steps <= 10**_DECIMALS:
        if _means_on_grid(x, lengths, steps, out):
            return True
        steps *= 10
    return False


@compiled
def _first_known(x: Floats) -> int:
    """The number of leading NaNs."""
    begin = 0
    while begin < len(x) and np.isnan(x[begin]):
        begin += 1
    return begin


@compiled
def mean(x: Floats, length: int) -> Floats:
    """Simple moving average of `length` rows; NaN in the first `length - 1` after the leading NaNs."""
    out = np.empty(len(x), np.float64)
    begin = _first_known(x)
    known, rows = x[begin:], out[begin:]
    out[:begin] = np.nan
    if length > len(known):
        rows[:] = np.nan
    elif not _means_on_any_grid(known, np.array([length]), (rows,)):
        if length <= _SHORT:
            _mean_directly(known, length, rows)
        else:
            _mean_in_pairs(known, length, rows)
    return out


@compiled
def two_means(x: Floats, first: int, second: int) -> tuple[Floats, Floats]:
    """Simple moving averages of two lengths, each as `mean` has it, from the same sums."""
    out = np.empty(len(x), np.float64), np.empty(len(x), np.float64)
    begin = _first_known(x)
    for column in out:
        column[:begin] = np.nan
    if _means_on_any_grid(x[begin:], np.array([first, second]), (out[0][begin:], out[1][begin:])):
        return out
    return mean(x, first), mean(x, second)


@compiled
def _deviation_on_grid(whole: Ints, length: int, steps: int, deviation: Floats) -> bool:
    """n·Σd² − (Σd)² in whole numbers, d counted from the first of `whole`; False when those do not fit 62 bits."""
    anchor = whole[0]
    widest = 0
    for j in range(len(whole)):
        whole[j] -= anchor
        widest = max(widest, abs(whole[j]))
    if widest > 2**31 // length:
        return False
    total, squares = 0, 0
    for j in range(length - 1):
        total += whole[j]
        squares += whole[j] * whole[j]
    newest, oldest = whole[length - 1 :], whole[: len(deviation)]
    divisor = float(length) * float(steps)
    for k in range(len(deviation)):
        total += newest[k]
        squares += newest[k] * newest[k]
        deviation[k] = float(length * squares - total * total)
        total -= oldest[k]
        squares -= oldest[k] * oldest[k]
    for k in range(len(deviation)):
        deviation[k] = np.sqrt(deviation[k]) / divisor
    return True


@compiled
def _deviation_directly(x: Floats, means: Floats, length: int, deviation: Floats) -> None:
    for k in range(len(deviation)):
        squares = 0.0
        for j in range(k, k + length):
            squares += (x[j] - means[k]) ** 2
        deviation[k] = np.sqrt(squares / length)


@compiled
def deviation(x: Floats, means: Floats, length: int) -> Floats:
    """Population standard deviation (ddof 0) over `length` rows, whose means are given."""
    out = np.empty(len(x), np.float64)
    out[: length - 1] = np.nan
    steps = finest_steps(x, WIDE)
    size = max(_CHUNK, length)
    whole = np.empty(size + length - 1, np.int64)
    for first in range(length - 1, len(x), size):
        part = out[first : first + size]
        rows = x[first - length + 1 : first + len(part)]
        fits = steps > 0 and _on_grid(rows, steps, WIDE, whole[: len(rows)])
        if not fits or not _deviation_on_grid(whole[: len(rows)], length, steps, part):
            _deviation_directly(rows, means[first : first + len(part)], length, part)
    return out


@compiled
def mean_distance(x: Floats, means: Floats, length: int) -> Floats:
    """Mean distance of the last `length` rows from their mean, which is given; NaN in the first `length - 1`."""
    out = np.empty(len(x), np.float64)
    out[: length - 1] = np.nan
    for i in range(length - 1, len(x)):
        total = 0.0
        for j in range(i - length + 1, i + 1):
            total += abs(x[j] - means[i])
        out[i] = total / length
    return out


@compiled
def _running_maximum(x: Floats, length: int, sign: float, out: Floats) -> None:
    """Of `sign` times x, by running maxima from both ends of each block of `length` rows (van Herk 1992; Gil, Werman 1993). No NaN."""
    ahead = np.full(length + 1, -np.inf)
    for start in range(0, len(x), length):
        block, maxima = x[start : start + length], out[start : start + length]
        top = -np.inf
        for j in range(len(block)):
            top = max(top, sign * block[j])
            maxima[j] = sign * max(top, ahead[j + 1])
        top = -np.inf
        ahead[length] = top
        for j in range(len(block) - 1, -1, -1):
            top = max(top, sign * block[j])
            ahead[j] = top


@compiled
def extreme(x: Floats, length: int, sign: float) -> Floats:
    """Greatest (`sign` 1.0) or least (−1.0) of the last `length` rows; NaN in the first `length - 1` and where a window holds one."""
    out = np.empty(len(x), np.float64)
    broken = False
    for i in range(len(x)):
        broken |= x[i] != x[i]
    if broken:
        _running_maximum(np.where(np.isnan(x), -sign * np.inf, x), length, sign, out)
        last = -length
        for i in range(len(x)):
            last = i if np.isnan(x[i]) else last
            if i - last < length:
                out[i] = np.nan
    else:
        _running_maximum(x, length, sign, out)
    out[: length - 1] = np.nan
    return out


@compiled
def position(value: Floats, high: Floats, low: Floats, length: int) -> Floats:
    """Where a value lies in the range of the last `length` rows: 0 at its low, 100 at its high, 50 where there is no range."""
    tops, bottoms = extreme(high, length, 1.0), extreme(low, length, -1.0)
    for i in range(len(value)):
        span = tops[i] - bottoms[i]
        tops[i] = 50.0 if span == 0.0 else 100.0 * (value[i] - bottoms[i]) / (span if span != 0.0 else 1.0)
    return tops


@compiled
def weighted(x: Floats, weights: Floats) -> Floats:
    """Sum of the last rows times `weights`, the last of them for the newest row."""
    length = len(weights)
    out = np.empty(len(x), np.float64)
    out[: length - 1] = np.nan
    for i in range(length - 1, len(x)):
        total = 0.0
        for j in range(length):
            total += x[i - length + 1 + j] * weights[j]
        out[i] = total
    return out
