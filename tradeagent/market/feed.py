"""What a runner sees of the market at an instant: closed bars, history and funding, never anything later.

`WarehouseFeed` serves replays and paper runs from stored bars; it holds arrays, not objects, so that its memory does not grow
with the ticks it serves.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from tradeagent.domain.bars import Bar, interval_text
from tradeagent.domain.errors import DataError
from tradeagent.domain.instrument import Instrument
from tradeagent.market.readers import funding_of
from tradeagent.market.replay import ReplaySource, import_hint, require_stored
from tradeagent.market.series import BarSeries, FundingSeries, SeriesKey, resample
from tradeagent.market.warehouse import Signature, Warehouse


class MarketFeed(Protocol):
    """Market data at instants that the caller's clock names; all times UTC ms."""

    @property
    def markets(self) -> tuple[str, ...]:
        """Markets served, in the order they were asked for."""

    def interval_ms(self, market: str) -> int:
        """Interval of the bars that move the clock."""

    def bars_closing(self, after_ms: int, until_ms: int) -> list[dict[str, Bar]]:
        """Bars whose close is in (after, until]: one dict (market → bar) per instant, in time order."""

    def bar_opening_at(self, ms: int) -> dict[str, Bar]:
        """Bars whose open is exactly `ms`. Only their open may be used before they have closed."""

    def history(self, market: str, interval_ms: int, as_of_ms: int, count: int) -> BarSeries:
        """The newest `count` bars that closed at or before `as_of_ms`, oldest first."""

    def funding(self, market: str, after_ms: int, until_ms: int) -> list[tuple[int, int]]:
        """(hour, rate in 10⁻¹⁰) of the payments in (after, until]."""

    def newest_close(self, market: str, as_of_ms: int) -> int | None:
        """Close of the newest bar that has closed at `as_of_ms`; None when there is none."""

    def refresh(self) -> bool:
        """Notice new data; whether there was any."""


@dataclass(slots=True)
class _Market:
    """One market's arrays: the bars that move the clock, coarser ones as they are asked for, and funding."""

    source: ReplaySource
    instrument: Instrument
    bars: BarSeries
    funding: FundingSeries
    signatures: dict[SeriesKey, Signature]
    stored: dict[int, BarSeries] = field(default_factory=dict)
    resampled: dict[int, BarSeries] = field(default_factory=dict)

    def bars_in(self, start: int, stop: int) -> list[Bar]:
        return [self.bars.bar(row, self.instrument) for row in range(start, stop)]


class WarehouseFeed:
    """A feed over stored bars: each source's series is loaded once and again only when its files changed.

    Bars that may not be traded on are left out. A replay needs its bars: DataError with the import command when a source is
    not stored. With `wait` a source may be empty until somebody imports it.
    """

    def __init__(
        self, warehouse: Warehouse, sources: Sequence[ReplaySource], instruments: Mapping[str, Instrument], *, wait: bool = False
    ) -> None:
        self._warehouse = warehouse
        self._wait = wait
        for source in () if wait else sources:
            require_stored(warehouse, source)
        self._markets = {source.market: self._load(source, instruments[source.market]) for source in sources}

    @property
    def markets(self) -> tuple[str, ...]:
        return tuple(self._markets)

    def interval_ms(self, market: str) -> int:
        return self._market(market).source.interval_ms

    def instrument(self, market: str) -> Instrument:
        return self._market(market).instrument

    @property
    def first_open(self) -> int:
        """Open (UTC ms) of the earliest bar of any market; of a feed that is not waiting for one."""
        return min(int(m.bars.ts[0]) for m in self._markets.values() if len(m.bars))

    @property
    def last_close(self) -> int:
        """Close (UTC ms) of the latest bar of any market; of a feed that is not waiting for one."""
        return max(int(m.bars.ts[-1]) + m.bars.interval_ms for m in self._markets.values() if len(m.bars))

    def bars_closing(self, after_ms: int, until_ms: int) -> list[dict[str, Bar]]:
        instants: dict[int, dict[str, Bar]] = {}
        for name, market in self._markets.items():
            for bar in market.bars_in(market.bars.closed_by(after_ms), market.bars.closed_by(until_ms)):
                instants.setdefault(bar.close_ms, {})[name] = bar
        return [instants[close] for close in sorted(instants)]

    def bar_opening_at(self, ms: int) -> dict[str, Bar]:
        found = {}
        for name, market in self._markets.items():
            row = int(market.bars.ts.searchsorted(ms))
            if row < len(market.bars) and int(market.bars.ts[row]) == ms:
                found[name] = market.bars_in(row, row + 1)[0]
        return found

    def history(self, market: str, interval_ms: int, as_of_ms: int, count: int) -> BarSeries:
        """As the protocol says; the stored series of that interval, or bars made from the base where those reach further.

        DataError with the reason for an interval that is neither stored nor a multiple of the base.
        """
        held = self._market(market)
        base = held.source.interval_ms
        series = held.bars if interval_ms == base else self._stored(held, interval_ms)
        if not len(series) and (interval_ms < base or interval_ms % base):
            key = SeriesKey(held.source.venue, market, interval_ms)
            raise DataError(
                f"{key.text}: not stored, and it cannot be made from the {interval_text(base)} bars of this run",
                hint=import_hint(key),
            )
        seen = series.closed_by(as_of_ms)
        if interval_ms > base and interval_ms % base == 0 and not _is_current(series, seen, as_of_ms):
            made = self._resampled(held, interval_ms)
            made_seen = made.closed_by(as_of_ms)
            if made_seen and (not seen or made.ts[made_seen - 1] > series.ts[seen - 1]):
                series, seen = made, made_seen
        return series.rows(max(0, seen - count), seen)

    def funding(self, market: str, after_ms: int, until_ms: int) -> list[tuple[int, int]]:
        return self._market(market).funding.between(after_ms, until_ms)

    def missing_funding(self, market: str, after_ms: int, until_ms: int) -> int:
        """How many due payments in (after, until] have no stored rate and so pay 0."""
        return self._market(market).funding.missing_hours(after_ms, until_ms)

    def newest_close(self, market: str, as_of_ms: int) -> int | None:
        bars = self._market(market).bars
        seen = bars.closed_by(as_of_ms)
        return int(bars.ts[seen - 1]) + bars.interval_ms if seen else None

    def refresh(self) -> bool:
        """Load again what another process has written since; costs one stat per month file when nothing changed."""
        signed = self._warehouse.signature
        changed = [m for m in self._markets.values() if any(signed(key) != old for key, old in m.signatures.items())]
        for market in changed:
            self._markets[market.source.market] = self._load(market.source, market.instrument)
        return bool(changed)

    def _market(self, market: str) -> _Market:
        held = self._markets.get(market)
        if held is None:
            raise DataError(f"market: {market!r} is not part of this run", hint=f"the run has {', '.join(self._markets)}")
        return held

    def _load(self, source: ReplaySource, instrument: Instrument) -> _Market:
        # Signed before it is read: a file replaced in between is loaded again at the next refresh.
        keys = (source.key, SeriesKey(source.venue, source.market, funding=True))
        signatures = {key: self._warehouse.signature(key) for key in keys}
        bars = self._warehouse.bars(source.key)
        bars = bars.where(bars.valid)
        if not len(bars) and not self._wait:
            raise DataError(
                f"{source.key.text}: none of the stored bars can be traded on", hint="see what is wrong: tradeagent data verify"
            )
        return _Market(source, instrument, bars, funding_of(self._warehouse, source.venue, source.market), signatures)

    def _stored(self, held: _Market, interval_ms: int) -> BarSeries:
        if interval_ms not in held.stored:
            key = SeriesKey(held.source.venue, held.source.market, interval_ms)
            held.signatures[key] = self._warehouse.signature(key)
            bars = self._warehouse.bars(key)
            held.stored[interval_ms] = bars.where(bars.valid)
        return held.stored[interval_ms]

    def _resampled(self, held: _Market, interval_ms: int) -> BarSeries:
        if interval_ms not in held.resampled:
            held.resampled[interval_ms] = resample(held.bars, interval_ms)
        return held.resampled[interval_ms]


def _is_current(series: BarSeries, seen: int, as_of_ms: int) -> bool:
    """Whether the newest bar seen is the newest there can be: the next one is still open."""
    return bool(seen) and int(series.ts[seen - 1]) + 2 * series.interval_ms > as_of_ms
