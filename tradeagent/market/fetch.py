"""`data fetch`: bars and funding from the venue into the warehouse, page by page.

Each page is stored as soon as it is there, newest first, so an interrupted run keeps what it has and the next one asks only for what is
missing. A bar that has not closed by the venue's own time is never stored. Runs are generators: a `FetchPage` for every page, and the
`FetchReport` last.
"""

import difflib
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from tradeagent.domain.bars import interval_text
from tradeagent.domain.clock import DAY_MS, HOUR_MS, iso
from tradeagent.domain.errors import NotFound
from tradeagent.domain.instrument import PERP_PRICE_DECIMALS
from tradeagent.hyperliquid.client import MAX_CANDLES, MAX_PAYMENTS, Candles, InfoClient, ListedMarket
from tradeagent.market.quality import bar_holes, funding_holes
from tradeagent.market.series import BarSeries, FundingSeries, Ints, SeriesKey, bar_series, distinct, funding_series, round_to_grid
from tradeagent.market.warehouse import Appended, Warehouse

# A bar may still change in the second in which it ends.
SETTLE_MS = 1_000
# Reading this many bars again costs what one more request costs (20 + 1/60 a bar).
_NOT_WORTH_A_REQUEST = 1_200
Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class FetchPage:
    """One answer stored: the span asked for (UTC ms), rows in it, and how many pages may follow."""

    from_ms: int
    until_ms: int
    rows: int
    pages_left: int


@dataclass(frozen=True, slots=True)
class FetchReport:
    """What a fetch did. Rows are counted as received: rows_read = rows_written + duplicates + unclosed.

    `first`, `last`, `gaps` and `missing_bars` describe what is stored of the asked span now; `not_served` is its beginning that the
    venue does not have (any more), None when it gave everything or no beginning was asked for.
    """

    venue: str
    market: str
    interval: str
    funding: bool
    rows_read: int
    rows_written: int
    duplicates: int
    conflicts: int
    gaps: int
    missing_bars: int
    bad_rows: int
    off_grid: int
    unclosed: int
    first: int | None
    last: int | None
    not_served: Span | None
    requests: int
    weight: int

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values, times as ISO text."""
        lost = None if self.not_served is None else {"from": iso(self.not_served[0]), "to": iso(self.not_served[1])}
        return {**asdict(self), "first": iso(self.first), "last": iso(self.last), "not_served": lost}


@dataclass(slots=True)
class _Tally:
    """Sums over pages, from the client's counters at the start."""

    client: InfoClient
    requests: int = field(init=False)
    weight: int = field(init=False)
    read: int = 0
    written: int = 0
    duplicates: int = 0
    conflicts: int = 0
    bad: int = 0
    off_grid: int = 0
    unclosed: int = 0

    def __post_init__(self) -> None:
        self.requests, self.weight = self.client.requests, self.client.weight

    def add(self, appended: Appended) -> None:
        self.written += appended.written
        self.duplicates += appended.duplicates
        self.conflicts += appended.conflicts


def listed_market(client: InfoClient, market: str) -> ListedMarket | None:
    """The venue's entry of a perpetual; None for a spot pair (`PURR/USDC`, `@107`), which the list of perpetuals does not hold.

    NotFound with the nearest names for a market the venue does not have.
    """
    if "/" in market or market.startswith("@"):
        return None
    dex = market.partition(":")[0] if ":" in market else ""
    by_name = {listed.name: listed for listed in client.markets(dex)}
    if market in by_name:
        return by_name[market]
    lower = {name.lower(): name for name in by_name}
    near = [lower[name] for name in difflib.get_close_matches(market.lower(), lower, n=3, cutoff=0.5)]
    hint = f"did you mean {' or '.join(near)}? names are exact" if near else "tradeagent market search WORD"
    raise NotFound(f"market: the venue has no {market!r}", hint=hint, details={"nearest": near})


def fetch_bars(
    warehouse: Warehouse, client: InfoClient, key: SeriesKey, span: tuple[int | None, int | None], listed: ListedMarket | None = None
) -> Iterator[FetchPage | FetchReport]:
    """Store the closed bars of `span` (from, until; UTC ms; None = all that is served, now) that are not stored yet.

    Prices are rounded to the grid of `listed`. Raises VenueError when the venue cannot be asked; pages stored until then stay.
    """
    tally, interval = _Tally(client), key.interval_ms
    closed = client.now_ms() - SETTLE_MS
    until = closed if span[1] is None else min(span[1], closed)
    start = max(0, closed // interval * interval - (MAX_CANDLES - 1) * interval) if span[0] is None else span[0]
    pages = _pages(_missing(warehouse.bars(key, start, until).ts, (start, until), interval), interval)
    for number, (low, high) in enumerate(pages):
        answer = client.candles(key.market, interval, low, high)
        tally.read += len(answer)
        series = _closed(key, answer, client.now_ms() - SETTLE_MS, listed, tally)
        tally.add(warehouse.append_bars(series))
        yield FetchPage(low, high, len(answer), len(pages) - number - 1)
        # Nothing, from before the newest candles that the venue keeps: it keeps nothing older either.
        if not len(answer) and high <= closed - (MAX_CANDLES - 1) * interval:
            break
    stored = distinct(warehouse.bars(key, start, until).ts)
    holes = bar_holes(stored, interval)
    lost = None if span[0] is None else _lost(stored, start, until, interval)
    yield _report(key, tally, stored, (len(holes), sum(h.missing_bars for h in holes)), lost)


def fetch_funding(warehouse: Warehouse, client: InfoClient, venue: str, market: str, span: Span) -> Iterator[FetchPage | FetchReport]:
    """Store the payments of `span` (from, until; UTC ms) that are not stored yet. Raises as `fetch_bars`."""
    tally, key = _Tally(client), SeriesKey(venue, market, HOUR_MS, funding=True)
    start, until = span[0], min(span[1], client.now_ms())
    spans = _due(warehouse.funding(venue, market), (start, until))
    for number, (low, high) in enumerate(spans):
        while low < high:
            answer = client.funding(market, low, high)
            tally.read += len(answer)
            yield FetchPage(low, high, len(answer), len(spans) - number - 1)
            if not len(answer):
                break
            tally.add(warehouse.append_funding(funding_series(venue, market, answer.ts, answer.rate)))
            low = int(answer.ts[-1]) + 1  # noqa: PLW2901  # the next page begins after the last row
            if low // HOUR_MS >= (high - 1) // HOUR_MS:
                break
    hours = warehouse.funding(venue, market).hours
    stored = distinct(hours[(hours >= start) & (hours < until)])
    holes = funding_holes(stored)
    yield _report(key, tally, stored, (len(holes), sum(h.missing_bars for h in holes)), _lost(stored, start, until, HOUR_MS))


def _closed(key: SeriesKey, answer: Candles, closed_ms: int, listed: ListedMarket | None, tally: _Tally) -> BarSeries:
    """The candles that have ended, as a series on the market's grid."""
    kept = answer.ts + key.interval_ms <= closed_ms
    tally.unclosed += len(kept) - int(np.count_nonzero(kept))
    *prices, volume = answer.values[:, kept]
    moved = np.zeros(int(np.count_nonzero(kept)), np.bool_)
    if listed is not None:
        rounded = [round_to_grid(values, PERP_PRICE_DECIMALS - listed.size_decimals) for values in prices]
        prices = [values for values, _ in rounded]
        moved = np.logical_or.reduce([off for _, off in rounded])
    series = bar_series(key, answer.ts[kept], *prices, volume.copy())
    tally.off_grid += int(np.count_nonzero(moved))
    tally.bad += int(np.count_nonzero(~series.valid))
    return series


def _missing(ts: Ints, span: Span, interval_ms: int) -> list[Span]:
    """Spans of open times that are not stored, oldest first. Bars longer than a day have no fixed grid: they are asked for anew."""
    start, until = span
    if interval_ms > DAY_MS:
        return [span] if start < until else []
    first = -(-start // interval_ms) * interval_ms
    last = (until - interval_ms) // interval_ms * interval_ms
    marks = np.concatenate([[first - interval_ms], ts[(ts >= first) & (ts <= last)], [last + interval_ms]]).astype(np.int64)
    return [(int(marks[i]) + interval_ms, int(marks[i + 1])) for i in np.flatnonzero(np.diff(marks) > interval_ms)]


def _pages(missing: list[Span], interval_ms: int) -> list[Span]:
    """What to ask, newest first, at most 5,000 bars each; neighbouring spans are one when asking twice would cost more."""
    joined: list[Span] = []
    for low, high in missing:
        if joined and low - joined[-1][1] < _NOT_WORTH_A_REQUEST * interval_ms:
            joined[-1] = (joined[-1][0], high)
        else:
            joined.append((low, high))
    size = MAX_CANDLES * interval_ms
    return [(max(low, high - (n + 1) * size), high - n * size) for low, high in reversed(joined) for n in range(-(-(high - low) // size))]


def _due(stored: FundingSeries, span: Span) -> list[Span]:
    """Spans in which payments were due that are not stored, oldest first."""
    start, until = span
    if not len(stored):
        return [span] if start < until else []
    first, last = int(stored.hours[0]), int(stored.hours[-1])
    inside = [(hole.from_ms, hole.to_ms) for hole in funding_holes(distinct(stored.hours))]
    spans = [(max(low, start), min(high, until)) for low, high in [(start, first), *inside, (last + HOUR_MS, until)]]
    joined: list[Span] = []
    for low, high in spans:
        if -(-low // HOUR_MS) * HOUR_MS >= high:
            continue
        if joined and low - joined[-1][1] < MAX_PAYMENTS * HOUR_MS // 2:
            joined[-1] = (joined[-1][0], high)
        else:
            joined.append((low, high))
    return joined


def _lost(stored: Ints, start: int, until: int, interval_ms: int) -> Span | None:
    """The beginning of the span that is not stored although it was asked for."""
    if until - start < interval_ms:
        return None
    begin = int(stored[0]) if len(stored) else until
    return (start, begin) if begin - start >= interval_ms else None


def _report(key: SeriesKey, tally: _Tally, stored: Ints, holes: tuple[int, int], lost: Span | None) -> FetchReport:
    return FetchReport(
        venue=key.venue,
        market=key.market,
        interval=interval_text(key.interval_ms),
        funding=key.funding,
        rows_read=tally.read,
        rows_written=tally.written,
        duplicates=tally.duplicates,
        conflicts=tally.conflicts,
        gaps=holes[0],
        missing_bars=holes[1],
        bad_rows=tally.bad,
        off_grid=tally.off_grid,
        unclosed=tally.unclosed,
        first=int(stored[0]) if len(stored) else None,
        last=int(stored[-1]) if len(stored) else None,
        not_served=lost,
        requests=tally.client.requests - tally.requests,
        weight=tally.client.weight - tally.weight,
    )
