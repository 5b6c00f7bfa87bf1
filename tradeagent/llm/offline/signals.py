"""Indicators and entry signals of the rule-based models: floats in, a direction and a strength out; nothing is looked up."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

from tradeagent.llm.offline.context import Bars, Context


@dataclass(frozen=True, slots=True)
class Signal:
    """`direction` 1 long, −1 short, 0 none; `strength` 0…1; `target` a price when the rule names one, else None."""

    direction: int
    strength: float
    reason: str
    target: float | None = None


def ema(values: Sequence[float], period: int) -> float:
    """Exponential average with α = 2/(period+1), seeded with the first value."""
    alpha = 2 / (period + 1)
    average = values[0]
    for value in values[1:]:
        average += alpha * (value - average)
    return average


def atr(bars: Bars, period: int = 14) -> float:
    """Mean true range of the last `period` bars (fewer when there are fewer); quote units."""
    count = min(period, len(bars.closes) - 1)
    if count < 1:
        return bars.highs[-1] - bars.lows[-1]
    ranges = (
        max(bars.highs[i], bars.closes[i - 1]) - min(bars.lows[i], bars.closes[i - 1])
        for i in range(len(bars.closes) - count, len(bars.closes))
    )
    return sum(ranges) / count


def momentum(bars: Bars, context: Context) -> Signal:
    """Trend by two EMAs; entry with the trend while price is beyond the fast one and still moving. Config: fast 8, slow 21."""
    spread = _ema_spread(bars, context)
    close, earlier = bars.closes[-1], bars.closes[-4]
    direction = 1 if spread > 0.1 else -1 if spread < -0.1 else 0
    moving = (close - earlier) * direction > 0 and (close - ema(bars.closes, _period(context, "fast", 8))) * direction > 0
    if not direction or not moving:
        return Signal(0, 0.0, f"EMA spread {spread:+.2f} ATR, price is not moving with it")
    return Signal(direction, min(1.0, abs(spread)), f"EMA spread {spread:+.2f} ATR and price moving with it")


def momentum_exit(bars: Bars, context: Context, sign: int) -> str | None:
    """Leave when the averages have crossed against the position."""
    spread = _ema_spread(bars, context)
    return f"signal flipped: EMA spread {spread:+.2f} ATR" if spread * sign < -0.05 else None


def mean_reversion(bars: Bars, context: Context) -> Signal:
    """Fade a stretch from the mean once price turns back; the mean is the target. Config: period 20, entry_z 1.6."""
    z, mean = _z_score(bars, _period(context, "period", 20))
    direction = -1 if z > 0 else 1
    turning = (bars.closes[-1] - bars.closes[-2]) * direction > 0
    if abs(z) < context.number("entry_z", 1.6) or not turning:
        return Signal(0, 0.0, f"z {z:+.2f}, no stretch that turns back")
    return Signal(direction, min(1.0, abs(z) / 4), f"z {z:+.2f} and price turning back to the mean", mean)


def mean_reversion_exit(bars: Bars, context: Context, sign: int) -> str | None:
    """Leave once price is back at the mean."""
    z, _ = _z_score(bars, _period(context, "period", 20))
    return f"back at the mean: z {z:+.2f}" if z * sign >= 0 else None


def breakout(bars: Bars, context: Context) -> Signal:
    """Close beyond the range of the bars before it on more than usual volume. Config: channel 20, volume_factor 1.2."""
    channel = _period(context, "channel", 20)
    high, low = max(bars.highs[-channel - 1 : -1]), min(bars.lows[-channel - 1 : -1])
    usual = sum(bars.volumes[-channel - 1 : -1]) / channel
    ratio = bars.volumes[-1] / usual if usual > 0 else 0.0
    close = bars.closes[-1]
    direction = 1 if close > high else -1 if close < low else 0
    if not direction or ratio < context.number("volume_factor", 1.2):
        return Signal(0, 0.0, f"close {close:g} within {low:g} to {high:g}, or volume {ratio:.1f}× usual too thin")
    return Signal(direction, min(1.0, ratio / 4), f"close {close:g} broke {high if direction > 0 else low:g} on {ratio:.1f}× usual volume")


def breakout_exit(bars: Bars, context: Context, sign: int) -> str | None:
    """Leave when price closes beyond the opposite end of half the channel."""
    half = max(2, _period(context, "channel", 20) // 2)
    close = bars.closes[-1]
    edge = min(bars.lows[-half - 1 : -1]) if sign > 0 else max(bars.highs[-half - 1 : -1])
    return f"close {close:g} beyond {edge:g}, the far end of {half} bars" if (close - edge) * sign < 0 else None


def _ema_spread(bars: Bars, context: Context) -> float:
    """(fast − slow) in ATR."""
    gap = ema(bars.closes, _period(context, "fast", 8)) - ema(bars.closes, _period(context, "slow", 21))
    return gap / (atr(bars) or 1.0)


def _z_score(bars: Bars, period: int) -> tuple[float, float]:
    window = bars.closes[-period:]
    mean = sum(window) / len(window)
    deviation = sqrt(sum((value - mean) ** 2 for value in window) / len(window))
    return ((window[-1] - mean) / deviation if deviation else 0.0), mean


def _period(context: Context, key: str, default: int) -> int:
    return max(2, round(context.number(key, default)))
