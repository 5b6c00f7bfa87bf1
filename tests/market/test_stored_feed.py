"""A feed over all that is stored: the same answers as a run's feed, new bars without being told, and few series in memory."""

from functools import partial

import numpy as np
import pytest
from market_samples import FIVE, HOUR, T0, make_bars

from tradeagent.domain.errors import DataError, NotFound
from tradeagent.market.feed import WarehouseFeed
from tradeagent.market.instruments import SYNTHETIC, instrument, known_markets
from tradeagent.market.series import SeriesKey
from tradeagent.market.stored_feed import MOST_HELD, StoredFeed, finest
from tradeagent.market.synthetic import store_synthetic, synthetic_market
from tradeagent.market.warehouse import Warehouse

END = T0 + 300 * FIVE


def feed_of(warehouse: Warehouse) -> StoredFeed:
    return StoredFeed(warehouse, partial(instrument, extra={}))


def test_it_answers_as_a_runs_feed_does(warehouse: Warehouse) -> None:
    for market in ("BTC", "ETH"):
        warehouse.append_bars(make_bars(300, SeriesKey("hyperliquid", market, FIVE)))
    stored = feed_of(warehouse)
    own = WarehouseFeed(warehouse, [finest(warehouse, "ETH")], {"ETH": instrument("hyperliquid", "ETH")})
    assert stored.markets == ("BTC", "ETH") and stored.interval_ms("ETH") == FIVE
    for interval in (FIVE, HOUR):
        for as_of in (T0, T0 + 7 * FIVE, END, END + HOUR):
            one, other = stored.history("ETH", interval, as_of, 5), own.history("ETH", interval, as_of, 5)
            assert np.array_equal(one.ts, other.ts) and np.array_equal(one.close, other.close)
            assert stored.newest_close("ETH", as_of) == own.newest_close("ETH", as_of)
    assert stored.bars_closing(T0, T0 + 2 * FIVE) == own.bars_closing(T0, T0 + 2 * FIVE)
    assert stored.bar_opening_at(T0 + FIVE) == own.bar_opening_at(T0 + FIVE)


def test_the_finest_bars_that_reach_furthest_are_taken(warehouse: Warehouse) -> None:
    warehouse.append_bars(make_bars(40, SeriesKey("hyperliquid", "BTC", FIVE)))
    warehouse.append_bars(make_bars(40, SeriesKey("hyperliquid", "BTC", HOUR)))
    assert finest(warehouse, "BTC").interval_ms == FIVE
    warehouse.append_bars(make_bars(40, SeriesKey("hyperliquid", "BTC", HOUR), T0 + 60 * 24 * HOUR))
    assert finest(warehouse, "BTC").interval_ms == HOUR, "hours reach two months further"
    assert finest(warehouse, "SOL").interval_ms == FIVE


def test_bars_written_later_are_seen(warehouse: Warehouse) -> None:
    feed = feed_of(warehouse)
    assert feed.markets == () and not feed.refresh()
    with pytest.raises(DataError, match="no bars of 'BTC'"):
        feed.history("BTC", FIVE, END, 1)
    warehouse.append_bars(make_bars(10))
    assert feed.newest_close("BTC", END) == T0 + 10 * FIVE
    warehouse.append_bars(make_bars(1, start_ms=T0 + 10 * FIVE))
    assert feed.newest_close("BTC", END) == T0 + 11 * FIVE


def test_bars_of_the_venue_go_before_synthetic_ones(warehouse: Warehouse) -> None:
    store_synthetic(warehouse, synthetic_market(1, 50))
    feed = feed_of(warehouse)
    assert feed.venue_of("BTC") == SYNTHETIC and len(feed.history("BTC", FIVE, END, 3)) == 3
    warehouse.append_bars(make_bars(10))
    assert feed_of(warehouse).venue_of("BTC") == "hyperliquid"


def test_only_the_markets_asked_for_last_are_held(warehouse: Warehouse) -> None:
    markets = known_markets()[: MOST_HELD + 3]
    for market in markets:
        warehouse.append_bars(make_bars(3, SeriesKey("hyperliquid", market, FIVE)))
    feed = feed_of(warehouse)
    for market in markets:
        assert len(feed.history(market, FIVE, END, 5)) == 3
    assert len(feed._held) == MOST_HELD and markets[-1] in feed._held and markets[0] not in feed._held


def test_a_market_without_an_instrument_is_named(warehouse: Warehouse) -> None:
    warehouse.append_bars(make_bars(3, SeriesKey("hyperliquid", "ODDCOIN", FIVE)))
    with pytest.raises(NotFound, match="ODDCOIN"):
        feed_of(warehouse).history("ODDCOIN", FIVE, END, 1)
