"""`data follow`: each bar of some series into the warehouse soon after it has closed, until somebody stops it."""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tradeagent.domain.clock import HOUR_MS, Clock
from tradeagent.domain.errors import VenueError
from tradeagent.hyperliquid.client import InfoClient, ListedMarket
from tradeagent.market.fetch import SETTLE_MS, FetchReport, fetch_bars, fetch_funding
from tradeagent.market.series import BarSeries, SeriesKey
from tradeagent.market.warehouse import Warehouse, month_start_ms

# The venue publishes a closed candle a moment late.
_LATE_MS = 2_000


@dataclass(frozen=True, slots=True)
class Followed:
    """One series: its key and, for its price grid, the venue's entry of the market."""

    key: SeriesKey
    listed: ListedMarket | None
    funding: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class NewBars:
    """Bars stored in one round, oldest first; `payments` funding rows came with them."""

    key: SeriesKey
    bars: BarSeries
    payments: int


@dataclass(frozen=True, slots=True)
class Trouble:
    """A round that failed; the next one asks for the same bars again."""

    key: SeriesKey
    error: VenueError


def follow(
    warehouse: Warehouse, client: InfoClient, clock: Clock, followed: Sequence[Followed], *, rounds: int | None = None
) -> Iterator[NewBars | Trouble]:
    """Store what closed since the newest stored bar (since now, when there is none), wait for the next close, and so on, `rounds` times.

    Yields after each series of each round. A venue that does not answer is `Trouble`, in the last round VenueError.
    """
    done = 0
    while True:
        done += 1
        for one in followed:
            try:
                yield _round(warehouse, client, one)
            except VenueError as error:
                if done == rounds:
                    raise
                yield Trouble(one.key, error)
        if done == rounds:
            return
        asyncio.run(clock.sleep(_until_next(client.now_ms(), followed) / 1000))


def _round(warehouse: Warehouse, client: InfoClient, one: Followed) -> NewBars:
    now, interval = client.now_ms(), one.key.interval_ms
    newest = _newest(warehouse, one.key)
    start = (now - SETTLE_MS) // interval * interval - interval if newest is None else newest + interval
    for _ in fetch_bars(warehouse, client, one.key, (start, None), one.listed):
        pass
    payments = 0
    if one.funding:
        hours = warehouse.funding(one.key.venue, one.key.market).hours
        since = int(hours[-1]) + HOUR_MS if len(hours) else start
        reports = [e for e in fetch_funding(warehouse, client, one.key.venue, one.key.market, (since, now)) if isinstance(e, FetchReport)]
        payments = sum(report.rows_written for report in reports)
    return NewBars(one.key, warehouse.bars(one.key, start), payments)


def _newest(warehouse: Warehouse, key: SeriesKey) -> int | None:
    files = warehouse.files(key)
    stored = warehouse.bars(key, month_start_ms(files[-1])) if files else None
    return int(stored.ts[-1]) if stored is not None and len(stored) else None


def _until_next(now_ms: int, followed: Sequence[Followed]) -> int:
    """Milliseconds until the next close of any of the series is published."""
    return min(one.key.interval_ms - (now_ms - SETTLE_MS - _LATE_MS) % one.key.interval_ms for one in followed)
