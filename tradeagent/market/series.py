"""Bars and funding as aligned arrays, and what may be read out of them: masks, slices, domain bars, coarser bars, holes."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tradeagent.algos.align import buckets
from tradeagent.domain.bars import Bar, interval_text
from tradeagent.domain.clock import HOUR_MS
from tradeagent.domain.errors import DataError
from tradeagent.domain.instrument import Instrument

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

PRICE_COLUMNS = ("open", "high", "low", "close")
BAR_COLUMNS = ("ts", *PRICE_COLUMNS, "volume")
FUNDING_COLUMNS = ("ts", "funding_rate")
RATE_DECIMALS = 10
_EIGHT_HOURS = 8
_VOLUME_DECIMALS = 8


@dataclass(frozen=True, slots=True, order=True)
class SeriesKey:
    """Name of one stored series; funding is a series of hours (`interval_ms` = 1 h)."""

    venue: str
    market: str
    interval_ms: int = HOUR_MS
    funding: bool = False

    @property
    def text(self) -> str:
        return f"{self.venue}:{self.market}:{'funding' if self.funding else interval_text(self.interval_ms)}"


@dataclass(frozen=True, slots=True, eq=False)
class BarSeries:
    """Bars of one market in time order; `ts` is each bar's open (UTC ms), prices in quote, volume in base units.

    The arrays are aligned, read-only views that may be shared.
    """

    venue: str
    market: str
    interval_ms: int
    ts: Ints
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats

    def __len__(self) -> int:
        return len(self.ts)

    @property
    def key(self) -> SeriesKey:
        return SeriesKey(self.venue, self.market, self.interval_ms)

    @property
    def close_ms(self) -> Ints:
        return self.ts + self.interval_ms

    @property
    def valid(self) -> Mask:
        """False where a bar cannot be traded on: a price missing or ≤ 0, volume < 0, or high and low not around open and close."""
        finite = np.isfinite(self.open) & np.isfinite(self.close) & np.isfinite(self.volume)
        around = (self.low <= np.minimum(self.open, self.close)) & (self.high >= np.maximum(self.open, self.close))
        return finite & around & (self.low > 0) & (self.volume >= 0) & np.isfinite(self.high)

    def where(self, mask: Mask) -> "BarSeries":
        return self._each(lambda column: column[mask])

    def rows(self, start: int, stop: int) -> "BarSeries":
        """Rows start ≤ i < stop, without copying."""
        return self._each(lambda column: column[start:stop])

    def closed_by(self, as_of_ms: int) -> int:
        """How many bars have closed at `as_of_ms`: the bars a reader may see are `rows(0, n)`."""
        return int(np.searchsorted(self.ts, as_of_ms - self.interval_ms, side="right"))

    def bar(self, row: int, instrument: Instrument) -> Bar:
        """One row as a domain bar: an off-grid price is rounded half-even, a positive volume is at least one lot."""
        opened, high, low, close = (round(float(getattr(self, name)[row]) * 10.0**instrument.price_decimals) for name in PRICE_COLUMNS)
        volume = float(self.volume[row])
        lots = max(round(volume * 10.0**instrument.size_decimals), int(volume > 0))
        return Bar(self.market, int(self.ts[row]), self.interval_ms, opened, high, low, close, lots)

    def grid(self, instrument: Instrument) -> tuple[Ints, Ints, Ints, Ints, Ints]:
        """open, high, low, close in 10^-price_decimals and volume in lots: every row as `bar` gives it, as int64 arrays."""
        opened, high, low, close = (_scaled(getattr(self, name), instrument.price_decimals) for name in PRICE_COLUMNS)
        lots = np.maximum(_scaled(self.volume, instrument.size_decimals), (self.volume > 0).astype(np.int64))
        return opened, high, low, close, lots

    def columns(self) -> dict[str, npt.NDArray[np.generic]]:
        return {name: getattr(self, name) for name in BAR_COLUMNS}

    def _each(self, pick: Callable[[npt.NDArray[np.generic]], npt.NDArray[np.generic]]) -> "BarSeries":
        return bar_series(self.key, *(pick(getattr(self, name)) for name in BAR_COLUMNS))


def bar_series(key: SeriesKey, *columns: npt.NDArray[np.generic]) -> BarSeries:
    """A series from its six columns in the order of `BAR_COLUMNS`; the arrays become read-only."""
    for column in columns:
        column.setflags(write=False)
    return BarSeries(key.venue, key.market, key.interval_ms, *columns)  # type: ignore[arg-type]


def _scaled(values: Floats, decimals: int) -> Ints:
    return np.rint(values * 10.0**decimals).astype(np.int64)


def round_to_grid(values: Floats, decimals: int) -> tuple[Floats, Mask]:
    """Values at `decimals` places, rounded half-even, and where the rounding moved one by more than float noise."""
    scale = 10.0**decimals
    scaled = values * scale
    whole = np.rint(scaled)
    moved = np.abs(scaled - whole) > 1e-6 + np.abs(whole) * 1e-14
    return whole / scale, moved


def distinct(values: Ints) -> Ints:
    """Sorted distinct values; several times faster than `np.unique`, which hashes integers."""
    ordered: Ints = np.sort(values)
    first: Mask = np.diff(ordered, prepend=ordered[:1] - 1) != 0
    result: Ints = ordered[first]
    return result


def resample(series: BarSeries, interval_ms: int) -> BarSeries:
    """Coarser bars aligned to the UTC epoch, from complete buckets only; DataError for a finer or uneven interval.

    A bucket that misses one bar is left out: nothing is filled in.
    """
    if interval_ms == series.interval_ms:
        return series
    per_bucket, rest = divmod(interval_ms, series.interval_ms)
    if per_bucket < 1 or rest:
        raise DataError(
            f"{series.key.text}: {interval_text(interval_ms)} bars cannot be made from {interval_text(series.interval_ms)} bars",
            hint=f"ask for a whole multiple of {interval_text(series.interval_ms)}, or import {interval_text(interval_ms)} bars",
        )
    first, size = buckets(series.ts, interval_ms)
    complete = size == per_bucket
    last = first + size - 1
    merged = (
        series.ts[first] // interval_ms * interval_ms,
        series.open[first],
        np.maximum.reduceat(series.high, first) if len(first) else series.high,
        np.minimum.reduceat(series.low, first) if len(first) else series.low,
        series.close[last],
        np.round(np.add.reduceat(series.volume, first), _VOLUME_DECIMALS) if len(first) else series.volume,
    )
    return bar_series(SeriesKey(series.venue, series.market, interval_ms), *(column[complete] for column in merged))


@dataclass(frozen=True, slots=True, eq=False)
class FundingSeries:
    """Funding rows in time order: `ts` as stamped (UTC ms), `rate` the fraction paid by longs at that stamp.

    `hours` is the hour each row belongs to: its stamp floored, because stamps come late and never early.
    """

    venue: str
    market: str
    ts: Ints
    rate: Floats
    hours: Ints

    def __len__(self) -> int:
        return len(self.ts)

    def columns(self) -> dict[str, npt.NDArray[np.generic]]:
        return {"ts": self.ts, "funding_rate": self.rate}

    def between(self, after_ms: int, until_ms: int) -> list[tuple[int, int]]:
        """(hour in UTC ms, rate in 10⁻¹⁰) of the hours in (after, until]; a row pays at its own hour only."""
        start, stop = np.searchsorted(self.hours, [after_ms, until_ms], side="right")
        return list(zip(self.hours[start:stop].tolist(), _scaled(self.rate[start:stop], RATE_DECIMALS).tolist(), strict=True))

    def missing_hours(self, after_ms: int, until_ms: int) -> int:
        """How many due payments in (after, until] have no row, before the first and after the last row included."""
        first_due, last_due = after_ms // HOUR_MS + 1, until_ms // HOUR_MS
        if last_due < first_due:
            return 0
        if not len(self):
            return last_due - first_due + 1
        hours = self.hours // HOUR_MS
        before = max(0, min(int(hours[0]), last_due + 1) - first_due)
        after = max(0, last_due - max(int(hours[-1]), first_due - 1))
        inside = [due for due in missing_funding(self.hours).tolist() if after_ms < due <= until_ms]
        return before + len(inside) + after


def funding_series(venue: str, market: str, ts: Ints, rate: Floats) -> FundingSeries:
    for column in (ts, rate):
        column.setflags(write=False)
    return FundingSeries(venue, market, ts, rate, ts - ts % HOUR_MS)


def missing_funding(hours: Ints) -> Ints:
    """Hours (UTC ms) at which a payment was due and no row is stored, between the first and the last row.

    Rows are due hourly, except where neighbouring steps are whole multiples of 8 h: there the venue paid every 8 hours.
    """
    steps = np.diff(hours) // HOUR_MS
    eights = steps % _EIGHT_HOURS == 0
    beside = np.full(len(steps), len(steps) == 1)
    beside[1:] |= eights[:-1]
    beside[:-1] |= eights[1:]
    cadence = np.where(eights & beside, _EIGHT_HOURS, 1)
    holes = np.flatnonzero(steps > cadence)
    due = [np.arange(hours[i] + cadence[i] * HOUR_MS, hours[i + 1], cadence[i] * HOUR_MS) for i in holes]
    return np.concatenate(due).astype(np.int64) if due else np.empty(0, np.int64)
