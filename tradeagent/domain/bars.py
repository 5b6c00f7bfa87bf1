"""Bars and intervals. A bar is named by its open time and visible only from its close."""

import re
from dataclasses import dataclass

from tradeagent.domain.clock import DAY_MS, HOUR_MS, MINUTE_MS
from tradeagent.domain.errors import InvalidInput

_UNITS = {"s": 1000, "m": MINUTE_MS, "h": HOUR_MS, "d": DAY_MS, "w": 7 * DAY_MS}
_DURATION = re.compile(r"(\d+)([smhdw])")


@dataclass(frozen=True, slots=True)
class Bar:
    """One closed bar: prices in the instrument's storage grid (integers, 10^-price_decimals), volume in lots."""

    market: str
    open_ms: int
    interval_ms: int
    open: int
    high: int
    low: int
    close: int
    volume: int

    @property
    def close_ms(self) -> int:
        return self.open_ms + self.interval_ms

    @property
    def is_outage(self) -> bool:
        """Volume 0 and one price: nothing traded, nothing can fill."""
        return self.volume == 0 and self.open == self.high == self.low == self.close


def parse_duration(text: str, field: str = "interval") -> int:
    """`5m`, `90s`, `4h`, `1d` → milliseconds (> 0)."""
    match = _DURATION.fullmatch(text.strip())
    if match is None or int(match[1]) == 0:
        raise InvalidInput(f"{field}: {text!r} is not a duration", hint="write a number and s, m, h, d or w, like 5m")
    return int(match[1]) * _UNITS[match[2]]


def interval_text(interval_ms: int) -> str:
    """Milliseconds → the shortest exact text, `300000` → `5m`."""
    for unit in ("w", "d", "h", "m", "s"):
        if interval_ms % _UNITS[unit] == 0:
            return f"{interval_ms // _UNITS[unit]}{unit}"
    raise InvalidInput(f"interval: {interval_ms} ms is not a whole number of seconds")
