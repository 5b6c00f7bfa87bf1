"""When an agent ticks: an interval from its start, or cron marks as UTC instants. Missed marks are skipped, never burst."""

from collections.abc import Callable
from datetime import datetime
from zoneinfo import ZoneInfo

from tradeagent.agents.definition import AgentDefinition
from tradeagent.domain.clock import to_datetime, to_ms

NextMark = Callable[[int], int]
"""Instant (UTC ms) → the first tick mark strictly after it."""


def schedule_of(definition: AgentDefinition, start_ms: int) -> NextMark:
    """The marks of an agent that starts at `start_ms`. Intervals count from there; cron lines are read in the agent's zone."""
    interval = definition.interval_ms
    if interval is not None:
        return lambda after_ms: start_ms + max(1, -(-(after_ms + 1 - start_ms) // interval)) * interval
    return _cron(definition.cron or "* * * * *", ZoneInfo(definition.zone))


def _cron(expression: str, zone: ZoneInfo) -> NextMark:
    from croniter import croniter  # type: ignore[import-untyped]  # the package has no types

    def after(moment_ms: int) -> int:
        local = to_datetime(moment_ms).astimezone(zone)
        found: datetime = croniter(expression, local).get_next(datetime)
        return to_ms(found)

    return after
