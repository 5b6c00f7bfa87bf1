"""The hours of a week, UTC, in which entries may be placed: read from a person's words, and asked at an instant."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from tradeagent.domain.clock import DAY_MS, MINUTE_MS
from tradeagent.domain.errors import InvalidConfig

EXAMPLE = "mon-fri 06:00-21:00"
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_DAY = DAY_MS // MINUTE_MS
_WEEK = 7 * _DAY
_EPOCH_DAY = DAYS.index("thu")
_PART = re.compile(r"(?:([a-z]+)(?: ?- ?([a-z]+))? +)?([0-9]{2}):([0-9]{2}) ?- ?([0-9]{2}):([0-9]{2})")


@dataclass(frozen=True, slots=True)
class SessionHours:
    """Open spans of a week in minutes since Monday 00:00 UTC, disjoint and in order, each end excluded; `text` is what was written."""

    text: str
    spans: tuple[tuple[int, int], ...]

    def is_open(self, now_ms: int) -> bool:
        minute = _minute_of_week(now_ms)
        return any(start <= minute < end for start, end in self.spans)

    def opens_ms(self, now_ms: int) -> int:
        """The next opening after an instant at which they are closed, UTC ms."""
        minute = _minute_of_week(now_ms)
        start = next((start for start, _ in self.spans if start > minute), self.spans[0][0] + _WEEK)
        return now_ms - now_ms % MINUTE_MS + (start - minute) * MINUTE_MS


def parse_session_hours(raw: object, key: str) -> SessionHours:
    """`06:00-21:00`, `mon-fri 06:00-21:00`, several joined with `,`; the end may be `24:00`.

    An end before the start is on the next day; the day written is that of the opening. InvalidConfig names key, value and an example.
    """
    if not isinstance(raw, str):
        raise InvalidConfig(f"{key}: {raw!r} is not a text", hint=f'write it in quotes, like "{EXAMPLE}"')
    text = " ".join(raw.lower().split())
    spans: list[tuple[int, int]] = []
    for part in text.split(","):
        spans += _spans(part.strip(), raw, key)
    return SessionHours(text, _merged(spans))


def _spans(part: str, raw: str, key: str) -> Iterable[tuple[int, int]]:
    found = _PART.fullmatch(part)
    if found is None:
        raise _wrong(raw, key, f"{part!r} is not hours" if part else "a part is empty")
    first, last, *digits = found.groups()
    unknown = next((day for day in (first, last) if day is not None and day not in DAYS), None)
    if unknown is not None:
        raise _wrong(raw, key, f"{unknown!r} is not one of {', '.join(DAYS)}")
    hour, minute, end_hour, end_minute = map(int, digits)
    start, end = hour * 60 + minute, end_hour * 60 + end_minute
    if max(minute, end_minute) > 59 or start >= _DAY or end > _DAY:
        raise _wrong(raw, key, f"{part!r} is not a time of day")
    if start == end:
        raise _wrong(raw, key, f"{part!r} ends where it starts; a whole day is 00:00-24:00")
    end += _DAY if end < start else 0
    return _placed(_days(first, last), start, end)


def _days(first: str | None, last: str | None) -> Iterable[int]:
    if first is None:
        return range(7)
    begin = DAYS.index(first)
    count = (DAYS.index(last) - begin) % 7 + 1 if last else 1
    return (day % 7 for day in range(begin, begin + count))


def _placed(days: Iterable[int], start: int, end: int) -> Iterable[tuple[int, int]]:
    """The span on each of the days; what runs past Sunday midnight goes on where the week begins."""
    for day in days:
        begin, stop = day * _DAY + start, day * _DAY + end
        yield begin, min(stop, _WEEK)
        if stop > _WEEK:
            yield 0, stop - _WEEK


def _merged(spans: Iterable[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    merged: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return tuple(merged)


def _minute_of_week(ms: int) -> int:
    return (ms // MINUTE_MS + _EPOCH_DAY * _DAY) % _WEEK


def _wrong(raw: str, key: str, why: str) -> InvalidConfig:
    return InvalidConfig(f"{key}: {raw[:100]!r}: {why}", hint=f'write hours in UTC, like "{EXAMPLE}" or "22:00-04:00, sat 08:00-12:00"')
