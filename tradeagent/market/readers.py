"""As-of reads of the warehouse: a bar is visible only from its close, and bars nobody may trade on are left out.

`history` gives the newest bars of an instant, `columns` a whole span in the form that algorithms and backtests take.
"""

import hashlib
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from tradeagent.algos.bars import Bars
from tradeagent.domain.bars import interval_text
from tradeagent.domain.clock import iso
from tradeagent.domain.errors import DataError
from tradeagent.domain.instrument import Instrument
from tradeagent.market.quality import bar_holes
from tradeagent.market.replay import import_hint
from tradeagent.market.series import (
    PRICE_COLUMNS,
    RATE_DECIMALS,
    BarSeries,
    Floats,
    FundingSeries,
    Ints,
    SeriesKey,
    funding_series,
    resample,
    round_to_grid,
)
from tradeagent.market.warehouse import Warehouse, month_start_ms


def history(warehouse: Warehouse, key: SeriesKey, as_of_ms: int, count: int) -> BarSeries:
    """The newest `count` good bars whose close is at or before `as_of_ms`, oldest first; fewer when fewer are stored.

    Reads from the newest month backwards, so that its cost does not grow with the length of the series.
    """
    until = as_of_ms - key.interval_ms + 1
    files = warehouse.files(key)
    span = count * key.interval_ms
    while True:
        lower = max(0, until - span)
        series = warehouse.bars(key, lower, until)
        series = series.where(series.valid)
        oldest_read = not files or month_start_ms(files[0]) >= lower
        if len(series) >= count or oldest_read:
            return series.rows(max(0, len(series) - count), len(series))
        span *= 4


def funding_between(warehouse: Warehouse, venue: str, market: str, after_ms: int, until_ms: int) -> list[tuple[int, int]]:
    """(hour in UTC ms, rate in 10⁻¹⁰) of each stored payment in (after, until]; a missing hour is simply not there."""
    return funding_of(warehouse, venue, market).between(after_ms, until_ms)


def funding_of(warehouse: Warehouse, venue: str, market: str) -> FundingSeries:
    """A market's whole funding, finite rates only."""
    stored = warehouse.funding(venue, market)
    finite = np.isfinite(stored.rate)
    return funding_series(venue, market, stored.ts[finite], stored.rate[finite])


@dataclass(frozen=True, slots=True, eq=False)
class SpanReport:
    """What a span of bars is made of, and the funding payments in it.

    `funding_hours` (UTC ms) and `funding_rates` (10⁻¹⁰) are the payments after the first open and up to the last close;
    `funding_missing` counts the due ones without a row. `made_from` names the finer interval the bars were made from, None when they
    are stored as asked. `gaps` are holes between the bars, `missing_bars` the bars in them; `bad_bars` were stored and left out, as were
    the `unclosed` stored bars of the span, which nobody could know yet.
    `zero_volume` counts bars nothing traded in, `backfilled` the unbroken run of them at the start. `off_grid` bars had a price
    rounded. `fingerprint` is equal when and only when market, interval, bars and payments are.
    """

    venue: str
    market: str
    interval: str
    made_from: str | None
    bars: int
    first: int | None
    last: int | None
    gaps: int
    missing_bars: int
    bad_bars: int
    unclosed: int
    zero_volume: int
    backfilled: int
    off_grid: int
    funding_payments: int
    funding_missing: int
    fingerprint: str
    funding_hours: Ints = field(repr=False)
    funding_rates: Ints = field(repr=False)

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values, times as ISO text, without the arrays."""
        plain = {f.name: getattr(self, f.name) for f in fields(self) if not f.name.startswith(("funding_hours", "funding_rates"))}
        return {**plain, "first": iso(self.first), "last": iso(self.last)}


def columns(
    warehouse: Warehouse,
    key: SeriesKey,
    from_ms: int | None = None,
    until_ms: int | None = None,
    instrument: Instrument | None = None,
    *,
    as_of_ms: int | None = None,
) -> tuple[Bars, SpanReport]:
    """The good bars that open at or after `from_ms` and have closed by `until_ms` (UTC ms, None = all), with funding, and what they are.

    `as_of_ms` is the reader's now: bars of the span that close later are counted as `unclosed` and not shown.
    With an `instrument` prices are on its storage grid and volumes in whole lots (a positive one is at least one), as `BarSeries.grid`
    has them; without it they are as stored. An interval that is not stored is made from the coarsest finer one, from complete buckets.
    DataError with the import command when neither is there.
    """
    series, made_from, counts = _span(warehouse, key, from_ms, until_ms, as_of_ms)
    prices = {name: getattr(series, name) for name in PRICE_COLUMNS}
    volume = series.volume
    off_grid = np.zeros(len(series), np.bool_)
    if instrument is not None:
        for name, values in prices.items():
            prices[name], moved = round_to_grid(values, instrument.price_decimals)
            off_grid |= moved
        volume = round_to_grid(volume, instrument.size_decimals)[0]
        volume = np.where((volume == 0) & (series.volume > 0), float(instrument.lot), volume)
    paid = funding_of(warehouse, key.venue, key.market)
    bars = _bars(series, prices, volume, paid)
    return bars, _report(key, bars, paid, made_from, {**counts, "off_grid": int(np.count_nonzero(off_grid))})


def _span(
    warehouse: Warehouse, key: SeriesKey, from_ms: int | None, until_ms: int | None, as_of_ms: int | None
) -> tuple[BarSeries, str | None, dict[str, int]]:
    """Good bars of the span that have closed, the interval they were made from, and how many bad and unclosed ones were left out."""
    source = key if warehouse.has(key) else _finer(warehouse, key)
    stored = warehouse.bars(source, from_ms, None if until_ms is None else until_ms - source.interval_ms + 1)
    seen = len(stored) if as_of_ms is None else stored.closed_by(as_of_ms)
    unclosed, stored = len(stored) - seen, stored.rows(0, seen)
    valid = stored.valid
    bad = len(valid) - int(np.count_nonzero(valid))
    good = stored.where(valid) if bad else stored
    counts = {"bad_bars": bad, "unclosed": unclosed}
    if source == key:
        return good, None, counts
    return resample(good, key.interval_ms), interval_text(source.interval_ms), counts


def _finer(warehouse: Warehouse, key: SeriesKey) -> SeriesKey:
    same = [k for k in warehouse.series_keys() if (k.venue, k.market, k.funding) == (key.venue, key.market, False)]
    usable = [k for k in same if k.interval_ms < key.interval_ms and key.interval_ms % k.interval_ms == 0]
    if not usable:
        there = f"; there are {', '.join(k.text for k in same)}" if same else ""
        raise DataError(
            f"{key.text}: no bars are stored{there}",
            hint=import_hint(key),
            details={"venue": key.venue, "market": key.market, "interval": interval_text(key.interval_ms)},
        )
    return max(usable, key=lambda k: k.interval_ms)


def _bars(series: BarSeries, prices: dict[str, Floats], volume: Floats, paid: FundingSeries) -> Bars:
    newest = np.searchsorted(paid.hours, series.close_ms, side="right") - 1
    funding = np.concatenate([paid.rate, [np.nan]])[newest]
    for column in (volume, funding, *prices.values()):
        column.setflags(write=False)
    return Bars(series.market, series.interval_ms, series.ts, **prices, volume=volume, funding=funding)


def _report(key: SeriesKey, bars: Bars, paid: FundingSeries, made_from: str | None, counts: dict[str, int]) -> SpanReport:
    first, last = (int(bars.time[0]), int(bars.time[-1])) if len(bars) else (None, None)
    begin, end = first or 0, 0 if last is None else last + bars.interval_ms
    start, stop = np.searchsorted(paid.hours, [begin, end], side="right")
    hours = paid.hours[start:stop]
    rates = np.rint(paid.rate[start:stop] * 10.0**RATE_DECIMALS).astype(np.int64)
    holes = bar_holes(bars.time, bars.interval_ms)
    silent = bars.volume == 0
    return SpanReport(
        venue=key.venue,
        market=key.market,
        interval=interval_text(key.interval_ms),
        made_from=made_from,
        bars=len(bars),
        first=first,
        last=last,
        gaps=len(holes),
        missing_bars=sum(hole.missing_bars for hole in holes),
        bad_bars=counts["bad_bars"],
        unclosed=counts["unclosed"],
        zero_volume=int(np.count_nonzero(silent)),
        backfilled=int(np.argmin(silent)) if len(silent) and not silent.all() else len(silent),
        off_grid=counts["off_grid"],
        funding_payments=len(hours),
        funding_missing=paid.missing_hours(begin, end),
        fingerprint=_fingerprint(key, bars, hours, rates),
        funding_hours=hours,
        funding_rates=rates,
    )


def _fingerprint(key: SeriesKey, bars: Bars, hours: Ints, rates: Ints) -> str:
    """SHA-256 of the values in their stored form, little-endian: the first 32 hex digits."""
    digest = hashlib.sha256(f"bars-1|{key.text}|{len(bars)}|{len(hours)}".encode())
    for column in (bars.time, bars.open, bars.high, bars.low, bars.close, bars.volume, bars.funding[:1], hours, rates):
        digest.update(np.ascontiguousarray(column, column.dtype.newbyteorder("<")).data)
    return digest.hexdigest()[:32]
