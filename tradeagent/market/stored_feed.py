"""A feed over everything that is stored, for whoever looks without running: each market's series is loaded when it is first asked for."""

import threading
from collections import OrderedDict
from collections.abc import Callable

from tradeagent.domain.bars import Bar, parse_duration
from tradeagent.domain.errors import DataError
from tradeagent.domain.instrument import Instrument
from tradeagent.market.feed import WarehouseFeed
from tradeagent.market.instruments import HYPERLIQUID
from tradeagent.market.replay import ReplaySource
from tradeagent.market.series import BarSeries, SeriesKey
from tradeagent.market.warehouse import Warehouse

MOST_HELD = 8


def finest(warehouse: Warehouse, market: str, venue: str = HYPERLIQUID) -> ReplaySource:
    """The stored bars of a market that reach furthest, the finest interval first; `VENUE:M:5m` when there are none."""
    stored = [key for key in warehouse.series_keys() if key.market == market and not key.funding and key.venue == venue]
    key = min(stored, key=lambda found: _rank(found, warehouse), default=SeriesKey(venue, market, parse_duration("5m")))
    return ReplaySource(key.venue, key.market, key.interval_ms)


def _rank(key: SeriesKey, warehouse: Warehouse) -> tuple[int, int]:
    """Newest month first, then the finest interval."""
    newest = max((path.stem for path in warehouse.files(key)), default="0000-00")
    return -int(newest.replace("-", "")), key.interval_ms


class StoredFeed:
    """A MarketFeed over every stored market, the bars of Hyperliquid before those of another venue.

    It notices by itself what other processes write, and holds the arrays of the markets asked for last only. Threads may share it.
    """

    def __init__(self, warehouse: Warehouse, instrument_of: Callable[[str, str], Instrument]) -> None:
        self._warehouse = warehouse
        self._instrument_of = instrument_of
        self._held: OrderedDict[str, WarehouseFeed] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def markets(self) -> tuple[str, ...]:
        return tuple(self._venues())

    def venue_of(self, market: str) -> str:
        """Whose bars of a market are served. DataError when there are none."""
        found = self._venues().get(market)
        if found is None:
            raise DataError(f"market: no bars of {market!r} are stored", hint=f"tradeagent data fetch --market {market} --interval 5m")
        return found

    def interval_ms(self, market: str) -> int:
        return self._feed(market).interval_ms(market)

    def bars_closing(self, after_ms: int, until_ms: int) -> list[dict[str, Bar]]:
        """Of the markets that have been asked for."""
        instants: dict[int, dict[str, Bar]] = {}
        for feed in list(self._held.values()):
            for bars in feed.bars_closing(after_ms, until_ms):
                for market, bar in bars.items():
                    instants.setdefault(bar.close_ms, {})[market] = bar
        return [instants[close] for close in sorted(instants)]

    def bar_opening_at(self, ms: int) -> dict[str, Bar]:
        """Of the markets that have been asked for."""
        return {market: bar for feed in list(self._held.values()) for market, bar in feed.bar_opening_at(ms).items()}

    def history(self, market: str, interval_ms: int, as_of_ms: int, count: int) -> BarSeries:
        return self._feed(market).history(market, interval_ms, as_of_ms, count)

    def funding(self, market: str, after_ms: int, until_ms: int) -> list[tuple[int, int]]:
        return self._feed(market).funding(market, after_ms, until_ms)

    def newest_close(self, market: str, as_of_ms: int) -> int | None:
        return self._feed(market).newest_close(market, as_of_ms)

    def refresh(self) -> bool:
        return any([feed.refresh() for feed in list(self._held.values())])

    def _venues(self) -> dict[str, str]:
        """Each stored market with its venue."""
        keys = sorted((key for key in self._warehouse.series_keys() if not key.funding), key=lambda key: key.venue != HYPERLIQUID)
        found: dict[str, str] = {}
        for key in keys:
            found.setdefault(key.market, key.venue)
        return dict(sorted(found.items()))

    def _feed(self, market: str) -> WarehouseFeed:
        with self._lock:
            feed = self._held.get(market)
            if feed is None:
                venue = self.venue_of(market)
                source = finest(self._warehouse, market, venue)
                feed = self._held[market] = WarehouseFeed(self._warehouse, [source], {market: self._instrument_of(venue, market)})
            else:
                feed.refresh()
            self._held.move_to_end(market)
            while len(self._held) > MOST_HELD:
                self._held.popitem(last=False)
            return feed
