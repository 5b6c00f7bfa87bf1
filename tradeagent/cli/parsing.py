"""Values as people type them on a command line."""

from datetime import UTC, datetime

from tradeagent.domain.errors import InvalidInput


def instant(text: str, field: str) -> int:
    """An ISO-8601 date or time, UTC unless it says otherwise, or integer milliseconds → UTC ms."""
    from tradeagent.domain.clock import to_ms  # with asyncio behind it, which help does not need

    if text.isdigit() and len(text) >= 12:
        return int(text)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidInput(f"{field}: {text!r} is not a time", hint="write 2025-03-15 or 2025-03-15T12:00Z") from None
    return to_ms(moment if moment.tzinfo else moment.replace(tzinfo=UTC))
