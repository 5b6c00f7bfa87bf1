"""Calendar events from ICS, JSON and CSV, a file or an address, and from the settings. A repeating entry counts once, at its start."""

import csv
import io
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from tradeagent.domain.clock import Clock, to_ms
from tradeagent.domain.errors import DataError, InvalidInput, NotFound
from tradeagent.market.event_store import KINDS, CalendarEvent
from tradeagent.market.event_words import MAX_TITLE, importance_of, kind_of, listed, plain_text
from tradeagent.workspace.config import Config
from tradeagent.workspace.files import read_plain
from tradeagent.workspace.web import Patience, Web

_NAMES: Mapping[str, tuple[str, ...]] = {
    "time": ("time", "at", "date", "datetime", "start", "timestamp"),
    "title": ("title", "name", "event", "summary"),
    "kind": ("kind", "type"),
    "importance": ("importance", "impact"),
    "symbols": ("symbols", "symbol", "markets", "market"),
    "known": ("known", "known_at"),
}
_HINT = "give ICS, or JSON or CSV with time and title, and kind, importance, symbols, known where you have them"
_PATIENCE = Patience(silence_s=15, total_s=30, attempts=3, max_bytes=8_000_000)
_MAX_EVENTS = 20_000
_MAX_BYTES = 20_000_000


@dataclass(frozen=True, slots=True)
class CalendarRead:
    """The events of one file or address. `mistakes` says of each entry that was left out why; `repeating` ones count once."""

    source: str
    events: tuple[CalendarEvent, ...]
    mistakes: tuple[str, ...]
    repeating: int


def read_calendar(place: str, clock: Clock) -> CalendarRead:
    """Read a file or an http address. Raises NotFound or DataError naming the place, VenueError when an address does not answer."""
    if place.startswith(("http://", "https://")):
        web = Web(clock, "check the address of the calendar, or try again later", _PATIENCE)
        try:
            body = web.get(place).body
        finally:
            web.close()
        return parse_calendar(body, _shown(place))
    try:
        body = read_plain(Path(place), _MAX_BYTES + 1)
    except FileNotFoundError:
        raise NotFound(f"{place}: there is no such file", hint="give the path of an ICS, JSON or CSV file, or an https address") from None
    except OSError as error:
        raise DataError(f"{place}: cannot be read: {error.strerror}", hint="give a calendar file you may read") from None
    if len(body) > _MAX_BYTES:
        raise DataError(f"{place}: is larger than {_MAX_BYTES:,} bytes", hint="give the part of the calendar you need")
    return parse_calendar(body, Path(place).name)


def parse_calendar(body: bytes, source: str) -> CalendarRead:
    """Events of a calendar's text; its form is seen in its beginning. DataError when it is none of the three, or holds no event."""
    text = body.decode("utf-8-sig", errors="replace")
    start = text.lstrip()[:20].upper()
    if not start:
        raise DataError(f"{source}: is empty", hint=_HINT)
    if start.startswith("BEGIN:VCALENDAR"):
        rows, repeating = _from_ics(text, source)
    else:
        rows, repeating = (_from_json(text, source) if start[0] in "[{" else _from_csv(text, source)), 0
    events: list[CalendarEvent] = []
    mistakes: list[str] = []
    for number, row in enumerate(rows, 1):
        try:
            if number > _MAX_EVENTS:
                raise _EntryError(f"one calendar is read up to {_MAX_EVENTS:,} entries")
            events.append(_event(row, source))
        except _EntryError as error:
            mistakes.append(f"entry {number}: {error}")
    if not events:
        why = f": {mistakes[0]}" if mistakes else ""
        raise DataError(f"{source}: none of its {len(rows)} entries can be taken{why}", hint=_HINT)
    return CalendarRead(source, tuple(events), tuple(mistakes), repeating)


def configured_events(config: Config) -> tuple[CalendarEvent, ...]:
    """The events of `calendar.events` (TRADEAGENT_CALENDAR__EVENTS): `KIND TIME; KIND TIME`. InvalidInput names the part that is wrong."""
    written = config.text("calendar.events") or ""
    return tuple(_own(part.split(maxsplit=1), part) for part in map(str.strip, written.split(";")) if part)


def own_event(kind: str, time: int, title: str, importance: str | None, symbols: Iterable[str]) -> CalendarEvent:
    """An event a person writes. InvalidInput for a kind or importance that is none."""
    if kind not in KINDS:
        raise InvalidInput(f"kind: {kind!r} is no kind of event", hint=f"one of {', '.join(KINDS)}")
    weight = importance_of(importance, kind)
    if weight is None:
        raise InvalidInput(f"importance: {importance!r} is not a number from 0 to 1", hint="write 0.9, or high, medium, low")
    return CalendarEvent(kind, time, plain_text(title, MAX_TITLE) or kind, weight, listed(list(symbols)), "own")


def _own(words: list[str], part: str) -> CalendarEvent:
    moment = _moment(words[1]) if len(words) == 2 else None
    if moment is None:
        raise InvalidInput(f"calendar.events: {part!r} is not KIND TIME", hint="write it like fomc 2026-01-28T19:00Z")
    return own_event(words[0], moment, words[0], None, ())


class _EntryError(Exception):
    """Why one entry is no event."""


def _event(row: Mapping[str, Any], source: str) -> CalendarEvent:
    """One entry. _EntryError when its time or its importance cannot be read, or when it says nothing else."""
    by_name = {str(name).strip().lower(): value for name, value in row.items()}
    found = {role: next((by_name[n] for n in names if by_name.get(n) not in (None, "")), None) for role, names in _NAMES.items()}
    time, title = _moment(found["time"]), plain_text(found["title"], MAX_TITLE)
    written = str(found["kind"] or "").strip().lower()
    kind = written if written in KINDS else kind_of(f"{title} {written}") or "other"
    importance = importance_of(found["importance"], kind)
    if time is None:
        raise _EntryError("it has no time" if found["time"] is None else f"time: {_cell(found['time'])} is no time")
    if not (title or written):
        raise _EntryError("it has no title and no kind")
    if importance is None:
        raise _EntryError(f"importance: {_cell(found['importance'])} is not a number from 0 to 1, nor high, medium or low")
    known = _moment(found["known"]) if found["known"] is not None else 0
    return CalendarEvent(kind, time, title or kind, importance, listed(found["symbols"]), source, known or 0)


def _cell(value: object) -> str:
    return repr(plain_text(value, 40))


def _from_ics(text: str, source: str) -> tuple[list[dict[str, Any]], int]:
    import icalendar

    try:
        entries = icalendar.Calendar.from_ical(text).walk("VEVENT")
    except (ValueError, KeyError, IndexError, AttributeError, TypeError) as error:
        raise DataError(f"{source}: is no ICS calendar: {str(error)[:120]}", hint=_HINT) from None
    rows = []
    for entry in entries:
        categories = entry.get("CATEGORIES")
        names = [str(name).lower() for name in getattr(categories, "cats", [])]
        kind = next((name for name in names if name in KINDS), None)
        extra = {"importance": entry.get("X-IMPORTANCE"), "symbols": entry.get("X-SYMBOLS")}
        rows.append({"time": _start(entry), "title": entry.get("SUMMARY"), "kind": kind, **extra})
    return rows, sum(entry.get("RRULE") is not None for entry in entries)


def _start(entry: Any) -> object:
    """When an entry begins; None for a time that icalendar cannot read."""
    from icalendar.error import BrokenCalendarProperty

    try:
        return getattr(entry.get("DTSTART"), "dt", None)
    except BrokenCalendarProperty:
        return None


def _from_json(text: str, source: str) -> list[dict[str, Any]]:
    try:
        answer = json.loads(text)
    except (ValueError, RecursionError) as error:
        where = f" at line {error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        raise DataError(f"{source}: this is not JSON{where}", hint=_HINT) from None
    rows = next((answer[name] for name in ("events", "data", "results") if name in answer), None) if isinstance(answer, dict) else answer
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise DataError(f"{source}: is not a list of events", hint=_HINT)
    return rows


def _from_csv(text: str, source: str) -> list[dict[str, Any]]:
    try:
        rows = list(csv.DictReader(io.StringIO(text)))
    except csv.Error as error:
        raise DataError(f"{source}: cannot be read as CSV: {error}", hint=_HINT) from None
    names = {str(name).strip().lower() for name in (rows[0] if rows else {})}
    if not names & set(_NAMES["time"]):
        raise DataError(f"{source}: has no column for the time; it has {', '.join(sorted(names)) or 'no rows'}", hint=_HINT)
    return [{str(name): value for name, value in row.items()} for row in rows]


def _moment(written: object) -> int | None:
    """UTC ms of an ISO text, a date, or Unix s or ms; None when it is none of them. UTC where no zone is said."""
    if isinstance(written, date) and not isinstance(written, datetime):
        written = datetime(written.year, written.month, written.day, tzinfo=UTC)
    try:
        if not isinstance(written, datetime):
            text = str(written).strip()
            if text.isascii() and text.isdigit():
                return int(text) * (1000 if len(text) <= 10 else 1) if len(text) in (9, 10, 12, 13) else None
            written = datetime.fromisoformat(text)
        return to_ms(written if written.tzinfo else written.replace(tzinfo=UTC))
    except (ValueError, OverflowError):
        return None


def _shown(address: str) -> str:
    """An address without its path and query, either of which may be a token."""
    from urllib.parse import urlsplit

    return str(urlsplit(address).hostname)
