"""Time, identifiers and chance: the one place that reads the wall clock, and a clock that only moves when told.

Instants are UTC; on the wire and in storage they are integer milliseconds, in Python aware datetimes.
"""

import asyncio
import random
import secrets
import time
from datetime import UTC, datetime
from typing import Protocol

from tradeagent.domain.errors import InvalidInput

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS
_MS_DIGITS = 12
_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


class Clock(Protocol):
    """What every room gets instead of `time`, `uuid` and `random`."""

    def now_ms(self) -> int:
        """Current instant, UTC milliseconds."""

    def monotonic(self) -> float:
        """Seconds that never step backwards; for timeouts and durations."""

    async def sleep(self, seconds: float) -> None:
        """Wait in this clock's own time."""

    def new_id(self) -> str:
        """A sortable unique identifier of 26 characters."""

    def chance(self) -> random.Random:
        """The seeded source of randomness."""


class SystemClock:
    """The wall clock."""

    def __init__(self, seed: int | None = None) -> None:
        self._random = random.Random(seed) if seed is not None else random.Random(secrets.randbits(64))

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(max(0.0, seconds))

    def new_id(self) -> str:
        return ulid(self.now_ms(), secrets.randbits(80))

    def chance(self) -> random.Random:
        return self._random


class SimulatedClock:
    """Market time of a replay: `advance_to` moves it; chance follows from the seed, while ids are new in each replay.

    `sleep` returns at once after moving the clock, so that a replay at full speed never waits.
    """

    def __init__(self, now_ms: int, seed: int = 0) -> None:
        self._now_ms = now_ms
        self._random = random.Random(seed)

    def now_ms(self) -> int:
        return self._now_ms

    def advance_to(self, now_ms: int) -> None:
        """Move forward; a step backwards is ignored, as market time never runs back."""
        self._now_ms = max(self._now_ms, now_ms)

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        self.advance_to(self._now_ms + round(max(0.0, seconds) * 1000))
        await asyncio.sleep(0)

    def new_id(self) -> str:
        return ulid(self._now_ms, secrets.randbits(80))

    def chance(self) -> random.Random:
        return self._random


def ulid(now_ms: int, entropy: int) -> str:
    """Crockford base-32 of 48 bits of time and 80 bits of `entropy` (github.com/ulid/spec)."""
    value = (now_ms << 80) | entropy
    return "".join(_CROCKFORD[(value >> shift) & 31] for shift in range(125, -1, -5))


def ulid_ms(identifier: str) -> int:
    """UTC milliseconds at which a `ulid` was made. Raises ValueError for anything else."""
    return sum(_CROCKFORD.index(letter) << 5 * place for place, letter in enumerate(reversed(identifier[:10])))


def to_datetime(ms: int) -> datetime:
    """UTC milliseconds → aware datetime."""
    return datetime.fromtimestamp(ms / 1000, tz=UTC)


def to_ms(moment: datetime) -> int:
    """Aware datetime → UTC milliseconds."""
    return round(moment.timestamp() * 1000)


def parse_instant(text: str, field: str) -> int:
    """An ISO-8601 date or time, UTC unless it says otherwise, or integer milliseconds → UTC ms. InvalidInput names the field."""
    try:
        if text.isascii() and text.isdigit() and len(text) >= _MS_DIGITS:
            return to_ms(to_datetime(int(text)))
        moment = datetime.fromisoformat(text)
        return to_ms(moment if moment.tzinfo else moment.replace(tzinfo=UTC))
    except (ValueError, OverflowError, OSError):
        raise InvalidInput(f"{field}: {text[:40]!r} is not a time", hint="write 2025-03-15 or 2025-03-15T12:00Z") from None


def iso(ms: int | None) -> str | None:
    """ISO-8601 in UTC with a `Z`, milliseconds only when there are some; None stays None."""
    if ms is None:
        return None
    text = to_datetime(ms).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{text}.{ms % 1000:03d}Z" if ms % 1000 else f"{text}Z"


def minute_text(ms: int) -> str:
    """`YYYY-MM-DD HH:MM` in UTC, as journals write it."""
    return to_datetime(ms).strftime("%Y-%m-%d %H:%M")


def age_text(ms: int) -> str:
    """An age in its largest whole unit: `45 s`, `12 min`, `5 h`, `619 days`."""
    for unit, name in ((2 * DAY_MS, "days"), (2 * HOUR_MS, "h"), (2 * MINUTE_MS, "min")):
        if ms >= unit:
            return f"{ms // (unit // 2)} {name}"
    return f"{ms // 1000} s"


def day_start_ms(ms: int) -> int:
    """00:00 UTC of the day that contains `ms`."""
    return ms - ms % DAY_MS
