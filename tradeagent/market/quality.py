"""Judging stored series: holes, duplicates, contradictory bars, silence, price spikes. Reports only; nothing is changed or filled."""

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from tradeagent.domain.bars import interval_text
from tradeagent.domain.clock import iso
from tradeagent.domain.errors import DataError
from tradeagent.market.series import BarSeries, Ints, Mask, SeriesKey, distinct, missing_funding
from tradeagent.market.warehouse import Warehouse

# How far (log) a body or a wick may stray from its neighbours. A wick that halves the price happens on thin books; a body that
# jumps a quarter and comes straight back is a wrong number.
_BODY_LOG = 0.25
_WICK_LOG = 0.69
_SPIKE_SIGMAS = 25.0
_SIGMA_PER_MAD = 1.4826


@dataclass(frozen=True, slots=True)
class Hole:
    """Missing bars: opens from `from_ms` (the first missing) to `to_ms` (the next bar that is there, UTC ms)."""

    from_ms: int
    to_ms: int
    missing_bars: int

    def as_dict(self) -> dict[str, Any]:
        return {"from": iso(self.from_ms), "to": iso(self.to_ms), "missing_bars": self.missing_bars}


Holes = list[Hole]


@dataclass(frozen=True, slots=True)
class SeriesQuality:
    """One stored series judged; `ok` is false with a hole, duplicate, bad row, spike, a bar from the future or an unreadable file.

    `unreadable` names that file, the reason and the fix; nothing else of the series could then be counted.

    Zero-volume bars are counted and are no fault: venues have outages. `first` and `last` are open times (UTC ms), None when empty.
    """

    venue: str
    market: str
    interval: str
    funding: bool
    rows: int
    gaps: int
    missing_bars: int
    duplicates: int
    bad_rows: int
    zero_volume: int
    outliers: int
    clock_skew: int
    first: int | None
    last: int | None
    ok: bool
    unreadable: dict[str, str] | None = None

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values, times as ISO text."""
        return {**asdict(self), "first": iso(self.first), "last": iso(self.last)}


def verify(warehouse: Warehouse, key: SeriesKey, now_ms: int) -> SeriesQuality:
    """Read a whole series and count its faults; rows later than `now_ms` are counted as clock skew. Never raises DataError."""
    try:
        return _verified(warehouse, key, now_ms)
    except DataError as error:
        fault = {"file": str(error.details.get("file", "")), "reason": error.message, "fix": error.hint}
        empty = np.empty(0, np.int64)
        return replace(_judge(key, empty, empty, np.empty(0, np.bool_), 0), ok=False, unreadable=fault)


def _verified(warehouse: Warehouse, key: SeriesKey, now_ms: int) -> SeriesQuality:
    if key.funding:
        series = warehouse.funding(key.venue, key.market)
        ts, slots, bad = series.ts, series.hours, ~np.isfinite(series.rate)
        return _judge(key, ts, slots, bad, int(np.count_nonzero(ts > now_ms)))
    bars = warehouse.bars(key)
    future = int(np.count_nonzero(bars.close_ms > now_ms))
    return _judge(key, bars.ts, bars.ts, ~bars.valid, future, bars)


def holes(warehouse: Warehouse, key: SeriesKey) -> Holes:
    """Every hole of a stored series, oldest first; for funding the payments that were due."""
    if key.funding:
        return funding_holes(distinct(warehouse.funding(key.venue, key.market).hours))
    return bar_holes(distinct(warehouse.bars(key).ts), key.interval_ms)


def bar_holes(ts: Ints, interval_ms: int) -> Holes:
    """Holes between distinct open times in order."""
    steps = np.diff(ts)
    return [
        Hole(int(ts[i]) + interval_ms, int(ts[i + 1]), int(steps[i] // interval_ms) - 1 or 1) for i in np.flatnonzero(steps > interval_ms)
    ]


def funding_holes(hours: Ints) -> Holes:
    """Runs of payments that were due and are not there; `hours` distinct, in order."""
    missing = missing_funding(hours)
    before = np.searchsorted(hours, missing)
    return [Hole(int(missing[before == i][0]), int(hours[i]), int(np.count_nonzero(before == i))) for i in np.unique(before)]


def _judge(key: SeriesKey, ts: Ints, slots: Ints, bad: Mask, future: int, bars: BarSeries | None = None) -> SeriesQuality:
    once = distinct(slots)
    found = funding_holes(once) if key.funding else bar_holes(once, key.interval_ms)
    duplicates = len(slots) - len(once)
    bad_rows = int(np.count_nonzero(bad))
    zero_volume = 0 if bars is None else int(np.count_nonzero(bars.volume == 0))
    outliers = 0 if bars is None else int(np.count_nonzero(spikes(bars.where(bars.valid))))
    return SeriesQuality(
        venue=key.venue,
        market=key.market,
        interval=interval_text(key.interval_ms),
        funding=key.funding,
        rows=len(ts),
        gaps=len(found),
        missing_bars=sum(hole.missing_bars for hole in found),
        duplicates=duplicates,
        bad_rows=bad_rows,
        zero_volume=zero_volume,
        outliers=outliers,
        clock_skew=future,
        first=int(ts[0]) if len(ts) else None,
        last=int(ts[-1]) if len(ts) else None,
        ok=not (found or duplicates or bad_rows or outliers or future),
    )


def spikes(series: BarSeries) -> Mask:
    """Bars with a price far off the median close of themselves and two bars on either side.

    Far = 25 % for open and close, a factor of 2 for high and low, and more than 25 robust deviations of one bar's log move
    (1.4826 · median |r|).
    """
    if len(series) < 5:
        return np.zeros(len(series), np.bool_)
    closes = np.log(series.close)
    middle = np.median(np.lib.stride_tricks.sliding_window_view(np.pad(closes, 2, mode="edge"), 5), axis=1)
    usual = _SPIKE_SIGMAS * _SIGMA_PER_MAD * float(np.median(np.abs(np.diff(closes))))
    body = np.maximum(np.abs(closes - middle), np.abs(np.log(series.open) - middle))
    wick = np.maximum(np.abs(np.log(series.high) - middle), np.abs(np.log(series.low) - middle))
    return np.asarray((body > max(_BODY_LOG, usual)) | (wick > max(_WICK_LOG, usual)))
