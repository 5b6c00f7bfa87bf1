"""Values as people type them on a command line."""

from typing import TYPE_CHECKING

from tradeagent.domain.errors import InvalidInput

if TYPE_CHECKING:
    from tradeagent.market.warehouse import Warehouse


def instant(text: str, field: str) -> int:
    """An ISO-8601 date or time, UTC unless it says otherwise, or integer milliseconds → UTC ms."""
    from tradeagent.domain.clock import parse_instant  # with asyncio behind it, which help does not need

    return parse_instant(text, field)


def span(from_: str | None, to: str | None) -> tuple[int | None, int | None]:
    """`--from` and `--to` in UTC ms; InvalidInput when they hold nothing between them."""
    found = (None if from_ is None else instant(from_, "--from"), None if to is None else instant(to, "--to"))
    if found[0] is not None and found[1] is not None and found[0] >= found[1]:
        raise InvalidInput(f"--from {from_} is not before --to {to}", hint="give --from the earlier time")
    return found


def venue_interval(text: str) -> int:
    """`--interval` of bars that the venue is asked for, in ms; InvalidInput lists those it has."""
    from tradeagent.domain.bars import interval_text, parse_duration
    from tradeagent.hyperliquid.client import INTERVALS

    interval_ms = parse_duration(text, "--interval")
    if interval_ms not in INTERVALS:
        hint = f"one of {', '.join(map(interval_text, INTERVALS))}"
        raise InvalidInput(f"--interval: the venue has no {interval_text(interval_ms)} bars", hint=hint)
    return interval_ms


def require_usable_interval(warehouse: "Warehouse", venue: str, market: str, interval_ms: int) -> None:
    """InvalidInput unless bars of this interval are stored for the market, or the venue knows the interval."""
    from tradeagent.domain.bars import interval_text
    from tradeagent.hyperliquid.client import INTERVALS

    keys = warehouse.series_keys() if interval_ms not in INTERVALS else []
    stored = {key.interval_ms for key in keys if (key.venue, key.market, key.funding) == (venue, market, False)}
    if interval_ms in INTERVALS or interval_ms in stored:
        return
    known = ", ".join(map(interval_text, sorted({*INTERVALS, *stored})))
    told = f"--interval: {interval_text(interval_ms)} is no interval of the venue, and no such bars of {market} are stored"
    raise InvalidInput(told, hint=f"one of {known}")
