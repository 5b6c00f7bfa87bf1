"""Compiled indicators that carry a state from bar to bar: exponential averages, what is made of them, and stops.

Seeds and formulas are TA-Lib's. A NaN is a gap: the rows after it are a new beginning, with a seed of their own, so that it does not
poison the rest. Import this module inside functions: it loads numba.
"""

import numpy as np

from tradeagent.algos.bars import Floats
from tradeagent.algos.indicators.compiled import compiled
from tradeagent.algos.indicators.windows import WIDE, finest_steps


@compiled
def smooth(x: Floats, length: int, weight: float, out: Floats) -> None:
    """Exponential average that gives the newest value `weight`, seeded with the mean of the first `length` values. `out` may be `x`."""
    average, total, seen = 0.0, 0.0, 0
    for i in range(len(x)):
        value = x[i]
        out[i] = np.nan
        if np.isnan(value):
            total, seen = 0.0, 0
            continue
        seen += 1
        if seen <= length:
            total += value
            average = total / length
        else:
            average += (value - average) * weight
        if seen >= length:
            out[i] = average


@compiled
def adaptive(x: Floats, ratio: Floats, fast: int, slow: int) -> Floats:
    """Adaptive average of Kaufman (1995), the faster the nearer `ratio` is to 1, seeded with the value before its first."""
    out = np.empty(len(x), np.float64)
    quick, calm = 2.0 / (fast + 1), 2.0 / (slow + 1)
    average = np.nan
    for i in range(len(x)):
        if np.isnan(ratio[i]):
            average, out[i] = x[i], np.nan
        else:
            average += (x[i] - average) * (ratio[i] * (quick - calm) + calm) ** 2
            out[i] = average
    return out


@compiled
def relative_strength(x: Floats, length: int) -> Floats:
    """RSI of Wilder (1978), 0 to 100; 50 where nothing has moved. The first `length` rows are NaN."""
    out = np.empty(len(x), np.float64)
    weight = 1.0 / length
    kept = 1.0 - weight
    up, down, seen = 0.0, 0.0, 0
    previous = np.nan
    for i in range(len(x)):
        change = x[i] - previous
        previous = x[i]
        out[i] = np.nan
        if np.isnan(change):
            up, down, seen = 0.0, 0.0, 0
            continue
        seen += 1
        rise, fall = max(change, 0.0), max(-change, 0.0)
        if seen <= length:
            up += rise * weight
            down += fall * weight
        else:
            up = up * kept + rise * weight
            down = down * kept + fall * weight
        if seen > length and change == 0.0:
            out[i] = out[i - 1]  # Both shrank alike; anew, their quotient would differ in its last bit.
        elif seen >= length:
            moved = up + down
            out[i] = 100.0 * up / moved if moved > 0 else 50.0
    return out


@compiled
def true_range(high: Floats, low: Floats, close: Floats) -> Floats:
    """Wilder's true range, NaN in the first row; on the grid of the prices when they have one, so that equal ranges are equal."""
    steps = 0
    for column in (high, low, close):
        finest = finest_steps(column, WIDE)
        if finest == 0:
            steps = 0
            break
        steps = max(steps, finest)
    out = np.empty(len(close), np.float64)
    out[:1] = np.nan
    ranges, tops, bottoms = out[1:], high[1:], low[1:]
    for i in range(len(ranges)):
        value = max(tops[i], close[i]) - min(bottoms[i], close[i])
        ranges[i] = np.nan if np.isnan(tops[i] + bottoms[i] + close[i]) else value
    if steps:
        for i in range(len(ranges)):
            ranges[i] = np.rint(ranges[i] * steps) / steps
    return out


@compiled
def directional(high: Floats, low: Floats, close: Floats, length: int) -> tuple[Floats, Floats, Floats]:
    """ADX and the directional indicators +DI, −DI of Wilder (1978), 0 to 100. The first 2·`length` − 1 rows are NaN."""
    adx, plus, minus = np.full(len(close), np.nan), np.full(len(close), np.nan), np.full(len(close), np.nan)
    ranges = true_range(high, low, close)
    kept = 1.0 - 1.0 / length
    up, down, spread, strength, seen = 0.0, 0.0, 0.0, 0.0, 0
    for i in range(len(close)):
        if np.isnan(ranges[i]) or np.isnan(high[i - 1] + low[i - 1]):
            up, down, spread, strength, seen = 0.0, 0.0, 0.0, 0.0, 0
            continue
        seen += 1
        rise, fall = high[i] - high[i - 1], low[i - 1] - low[i]
        fading = kept if seen >= length else 1.0
        up = up * fading + (rise if rise > fall and rise > 0 else 0.0)
        down = down * fading + (fall if fall > rise and fall > 0 else 0.0)
        spread = spread * fading + ranges[i]
        if seen < length:
            continue
        rising = 100.0 * up / spread if spread > 0 else 0.0
        falling = 100.0 * down / spread if spread > 0 else 0.0
        index = 100.0 * abs(rising - falling) / (rising + falling) if rising + falling > 0 else np.nan
        if seen < 2 * length:
            strength += 0.0 if np.isnan(index) else index / length
        elif not np.isnan(index):
            strength += (index - strength) / length
        if seen >= 2 * length - 1:
            adx[i], plus[i], minus[i] = strength, rising, falling
    return adx, plus, minus


@compiled
def parabolic(high: Floats, low: Floats, step: float, most: float) -> tuple[Floats, Floats]:
    """Parabolic stop and reverse of Wilder (1978): the stop, and 1 where it is long, −1 where short. The first row is NaN.

    It begins as TA-Lib's: the way of the larger move from the first bar to the second, long when they are equal, with the first bar's
    other end as its stop. A bar that only touches the stop reverses it.
    """
    line, direction = np.full(len(high), np.nan), np.full(len(high), np.nan)
    step = min(step, most)
    stop, best, speed, side = 0.0, 0.0, 0.0, 0.0
    for i in range(1, len(high)):
        if np.isnan(high[i] + low[i] + high[i - 1] + low[i - 1]):
            side = 0.0
            continue
        top, bottom = max(high[i - 1], high[i]), min(low[i - 1], low[i])
        if side == 0.0:
            rise, fall = high[i] - high[i - 1], low[i - 1] - low[i]
            side = -1.0 if fall > rise and fall > 0 else 1.0
            stop, best = (low[i - 1], high[i]) if side > 0 else (high[i - 1], low[i])
            speed, top, bottom = step, high[i], low[i]
        near, far = (low[i], high[i]) if side > 0 else (high[i], low[i])
        if side * (near - stop) <= 0:
            side = -side
            stop = min(best, bottom) if side > 0 else max(best, top)
            best, speed = near, step
            line[i] = stop
        else:
            line[i] = stop
            if side * (far - best) > 0:
                best, speed = far, min(speed + step, most)
        direction[i] = side
        stop += speed * (best - stop)
        stop = min(stop, bottom) if side > 0 else max(stop, top)
    return line, direction


@compiled
def banded(close: Floats, upper: Floats, lower: Floats) -> tuple[Floats, Floats]:
    """Supertrend: a band comes nearer, and is let go by a close beyond it, which turns the trend too. 1 is up, −1 down; it begins up.

    `upper` and `lower` are the bands of each bar alone. A row without them is a gap.
    """
    line, direction = np.full(len(close), np.nan), np.full(len(close), np.nan)
    top, bottom, side = 0.0, 0.0, 0.0
    for i in range(len(close)):
        if np.isnan(close[i] + upper[i] + lower[i]):
            side = 0.0
            continue
        if side == 0.0 or upper[i] < top or close[i - 1] > top:
            top = upper[i]
        if side == 0.0 or lower[i] > bottom or close[i - 1] < bottom:
            bottom = lower[i]
        if side == 0.0:
            side = 1.0
        elif side > 0:
            side = -1.0 if close[i] < bottom else 1.0
        else:
            side = 1.0 if close[i] > top else -1.0
        line[i] = bottom if side > 0 else top
        direction[i] = side
    return line, direction
