"""When a person lets entries happen: hours, news lockout and free disk of config.yml, with the calendar's events kept in memory.

The calendar is read when the door opens and again when its file changed, so that an admission is arithmetic and opens no database.
"""

import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, replace
from operator import attrgetter

from tradeagent.domain.clock import MINUTE_MS
from tradeagent.domain.errors import BusyError, TradeAgentError
from tradeagent.domain.session_hours import SessionHours, parse_session_hours
from tradeagent.market.event_store import CalendarEvent, EventStore, Signature
from tradeagent.workspace.config import Config
from tradeagent.workspace.disk import NO_LEAST, Room
from tradeagent.workspace.paths import Workspace

HOURS_KEY = "trading.session_hours"
LOCKOUT_KEY = "trading.news_lockout_min"
# A close must not wait long for somebody who is writing news.
_PATIENCE_S = 2.0
_TITLE_LENGTH = 60
_time = attrgetter("time")


@dataclass(frozen=True, slots=True)
class EntryTimes:
    """Hours (None = always), minutes of the lockout (0 = off), and the high-impact events of the calendar in time order.

    `is_readable` is False when a lockout is set and the calendar could not be read; `room` is what the disk had left.
    """

    hours: SessionHours | None = None
    lockout_min: int = 0
    events: tuple[CalendarEvent, ...] = ()
    is_readable: bool = True
    room: Room = NO_LEAST

    def event_near(self, market: str, now_ms: int) -> tuple[CalendarEvent, int] | None:
        """The nearest event that locks entries in a market now, and when they open again (UTC ms).

        An event at t locks [t − minutes, t + minutes), once it is known; locks that touch are one.
        """
        around = self.lockout_min * MINUTE_MS
        near = []
        end = now_ms + around
        for event in self._concerning(market, now_ms, now_ms - around):
            if event.time > end:
                break
            near.append(event)
            end = event.time + 2 * around
        locking = [event for event in near if event.time <= now_ms + around]
        if not locking:
            return None
        return min(locking, key=lambda event: abs(event.time - now_ms)), near[-1].time + around

    def _concerning(self, market: str, now_ms: int, after_ms: int) -> Iterator[CalendarEvent]:
        """What is known now, later than `after_ms`, and names this market or none; `xyz:TSLA` is also meant by `TSLA`."""
        names = {market, market.rpartition(":")[2]}
        for place in range(bisect_right(self.events, after_ms, key=_time), len(self.events)):
            event = self.events[place]
            if event.known <= now_ms and (not event.symbols or names.intersection(event.symbols)):
                yield event


def title_of(event: CalendarEvent) -> str:
    """An event's title for a message that a model may read: text from outside, so a few plain words of it."""
    return " ".join(re.sub(r"[^\w %.,:+/()-]|_", " ", event.title).split())[:_TITLE_LENGTH]


class EntryCalendar:
    """Keeps the `EntryTimes` of a door current."""

    def __init__(self, workspace: Workspace, config: Config) -> None:
        hours = config.text(HOURS_KEY)
        self._store = EventStore(workspace.warehouse_dir, patience_s=_PATIENCE_S)
        self._seen: Signature | None = None
        self.times = EntryTimes(parse_session_hours(hours, HOURS_KEY) if hours else None, config.whole(LOCKOUT_KEY))

    def refresh(self, now_ms: int) -> EntryTimes:
        """The times with the events from `now_ms` on; one look at a file when nothing changed, none when no lockout is set.

        A calendar that is damaged locks entries; one that somebody else writes at this moment is read at the next call.
        """
        if not self.times.lockout_min:
            return self.times
        # Signed before it is read: a file that is written in between is read again.
        signature = self._store.signature()
        if signature == self._seen:
            return self.times
        first = self._seen is None
        try:
            events = self._store.scheduled(now_ms - self.times.lockout_min * MINUTE_MS)
        except BusyError:
            if first:
                self.times = replace(self.times, is_readable=False)
            return self.times
        except TradeAgentError:
            self.times = replace(self.times, events=(), is_readable=False)
        else:
            self.times = replace(self.times, events=tuple(events), is_readable=True)
        self._seen = signature
        return self.times
