"""Feeds, replay names and the synthetic market."""

import time
import tracemalloc
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from market_samples import FIVE, HOUR, KEY, T0, make_bars

from tradeagent.domain.errors import DataError, InvalidInput
from tradeagent.market.feed import WarehouseFeed
from tradeagent.market.importer import import_bars, import_funding
from tradeagent.market.instruments import instrument
from tradeagent.market.replay import ReplaySource, parse_replay
from tradeagent.market.series import SeriesKey, bar_series, funding_series
from tradeagent.market.synthetic import store_synthetic, synthetic_market
from tradeagent.market.warehouse import Warehouse

QUARTER = 3 * FIVE
GOLDEN = [(600000, 600604, 599563, 600174, 6136411), (633805, 635469, 633711, 635234, 8938157)]
MARKETS = {name: instrument("hyperliquid", name) for name in ("BTC", "ETH")}


def feed_of(warehouse, text="hyperliquid:BTC:5m", **options):
    return WarehouseFeed(warehouse, parse_replay(text), MARKETS, **options)


def test_bars_of_several_markets_arrive_per_instant_in_order(warehouse):
    warehouse.append_bars(make_bars(10))
    warehouse.append_bars(make_bars(10, SeriesKey("hyperliquid", "ETH", FIVE), start_ms=T0 + 4 * FIVE))
    feed = feed_of(warehouse, "hyperliquid:BTC:5m,hyperliquid:ETH:5m")
    instants = feed.bars_closing(T0 + 3 * FIVE, T0 + 6 * FIVE)
    assert [sorted(instant) for instant in instants] == [["BTC"], ["BTC", "ETH"], ["BTC", "ETH"]]
    assert [instant["BTC"].close_ms for instant in instants] == [T0 + i * FIVE for i in (4, 5, 6)]
    assert instants[1]["ETH"].open == 6_000_000
    assert (feed.first_open, feed.last_close) == (T0, T0 + 14 * FIVE)
    assert feed.markets == ("BTC", "ETH")


def test_stepping_in_any_way_shows_every_bar_once(warehouse):
    warehouse.append_bars(make_bars(200))
    feed = feed_of(warehouse)
    marks = [T0, *sorted(T0 + int(x) for x in np.random.default_rng(1).integers(0, 200 * FIVE, 60)), T0 + 200 * FIVE]
    seen = [i["BTC"].open_ms for after, until in pairwise(marks) for i in feed.bars_closing(after, until)]
    assert seen == [T0 + i * FIVE for i in range(200)]


def test_only_the_bar_that_opens_at_the_instant_is_given_for_fills(warehouse):
    warehouse.append_bars(make_bars(10))
    feed = feed_of(warehouse)
    assert feed.bar_opening_at(T0 + 3 * FIVE)["BTC"].open_ms == T0 + 3 * FIVE
    assert feed.bar_opening_at(T0 + 3 * FIVE + 1) == {}
    assert feed.bar_opening_at(T0 + 10 * FIVE) == {}


@settings(deadline=None)
@given(as_of=st.integers(-QUARTER, 101 * FIVE), count=st.integers(1, 50), interval=st.sampled_from([FIVE, QUARTER, HOUR]))
def test_history_never_shows_a_bar_that_has_not_closed(tmp_path_factory, as_of, count, interval):
    warehouse = Warehouse(tmp_path_factory.mktemp("market"))
    warehouse.append_bars(make_bars(100))
    seen = feed_of(warehouse).history("BTC", interval, T0 + as_of, count)
    closed = max(0, min(as_of, 100 * FIVE) // interval)
    assert len(seen) == min(count, closed)
    assert (seen.close_ms <= T0 + as_of).all()
    if closed:
        assert seen.close_ms[-1] == T0 + closed * interval
        assert seen.close[-1] == 60_000.0 + closed * interval // FIVE


def test_a_stored_interval_is_used_until_the_base_reaches_further(warehouse):
    warehouse.append_bars(make_bars(36))
    stored = make_bars(2, SeriesKey("hyperliquid", "BTC", HOUR), price=1_000.0)
    warehouse.append_bars(stored)
    feed = feed_of(warehouse)
    assert feed.history("BTC", HOUR, T0 + 2 * HOUR, 5).open.tolist() == [1_000.0, 1_001.0]
    assert feed.history("BTC", HOUR, T0 + 3 * HOUR, 5).open.tolist() == [60_000.0, 60_012.0, 60_024.0]


def test_an_interval_that_cannot_be_made_says_why_and_what_to_import(warehouse):
    warehouse.append_bars(make_bars(36))
    feed = feed_of(warehouse)
    with pytest.raises(DataError, match="hyperliquid:BTC:1m: not stored") as caught:
        feed.history("BTC", 60_000, T0 + HOUR, 5)
    assert caught.value.hint == "tradeagent data import FILE --venue hyperliquid --market BTC --interval 1m"
    with pytest.raises(DataError, match="'SOL' is not part of this run"):
        feed.history("SOL", FIVE, T0, 5)


def test_finer_bars_are_served_when_they_are_stored(warehouse):
    warehouse.append_bars(make_bars(36))
    warehouse.append_bars(make_bars(60, SeriesKey("hyperliquid", "BTC", 60_000)))
    assert len(feed_of(warehouse).history("BTC", 60_000, T0 + HOUR, 5)) == 5


def test_bad_bars_are_not_served(warehouse):
    bars = make_bars(12)
    low = bars.low.copy()
    low[5] = -1.0
    warehouse.append_bars(bar_series(KEY, bars.ts, bars.open, bars.high, low, bars.close, bars.volume))
    feed = feed_of(warehouse)
    assert len(feed.bars_closing(T0, T0 + HOUR)) == 11
    assert feed.bar_opening_at(T0 + 5 * FIVE) == {}
    assert len(feed.history("BTC", HOUR, T0 + HOUR, 5)) == 0


def test_newly_imported_bars_are_noticed_by_refresh(warehouse):
    warehouse.append_bars(make_bars(10))
    feed = feed_of(warehouse)
    assert feed.newest_close("BTC", T0 + HOUR) == T0 + 10 * FIVE
    feed.history("BTC", HOUR, T0 + HOUR, 5)
    assert not feed.refresh()
    Warehouse(warehouse.root).append_bars(make_bars(12))
    assert feed.newest_close("BTC", T0 + HOUR) == T0 + 10 * FIVE
    assert feed.refresh()
    assert feed.newest_close("BTC", T0 + HOUR) == T0 + HOUR
    assert len(feed.history("BTC", HOUR, T0 + HOUR, 5)) == 1
    assert not feed.refresh()


def test_newly_imported_funding_and_coarser_bars_are_noticed_too(warehouse):
    warehouse.append_bars(make_bars(10))
    feed = feed_of(warehouse)
    assert feed.missing_funding("BTC", T0 - 1, T0 + HOUR) == 2
    warehouse.append_funding(funding_series("hyperliquid", "BTC", np.array([T0 + 48]), np.array([1.25e-5])))
    assert feed.refresh()
    assert feed.funding("BTC", T0 - 1, T0 + HOUR) == [(T0, 125_000)]
    assert len(feed.history("BTC", 2 * HOUR, T0 + 2 * HOUR, 5)) == 0
    warehouse.append_bars(make_bars(1, SeriesKey("hyperliquid", "BTC", 2 * HOUR)))
    assert feed.refresh()
    assert len(feed.history("BTC", 2 * HOUR, T0 + 2 * HOUR, 5)) == 1


def test_a_replay_of_bars_that_are_not_stored_gives_the_import_command(warehouse):
    warehouse.append_bars(make_bars(3))
    with pytest.raises(DataError, match=r"no bars of hyperliquid:BTC:1h are stored; there are hyperliquid:BTC:5m") as caught:
        feed_of(warehouse, "hyperliquid:BTC:1h")
    assert caught.value.hint == "tradeagent data import FILE --venue hyperliquid --market BTC --interval 1h"


def test_a_feed_that_waits_is_empty_until_bars_are_imported(warehouse):
    feed = feed_of(warehouse, wait=True)
    assert feed.newest_close("BTC", T0 + HOUR) is None
    assert len(feed.history("BTC", HOUR, T0 + HOUR, 5)) == 0
    assert feed.bars_closing(T0, T0 + HOUR) == []
    warehouse.append_bars(make_bars(12))
    assert feed.refresh()
    assert len(feed.history("BTC", HOUR, T0 + HOUR, 5)) == 1


@pytest.mark.real_data
def test_thousands_of_ticks_are_fast_and_keep_no_memory(warehouse, shared_data):
    import_bars(warehouse, shared_data / "hyperliquid_BTC_5m.parquet", KEY, MARKETS["BTC"])
    import_funding(warehouse, shared_data / "hyperliquid_BTC_funding_1h.parquet", "hyperliquid", "BTC")
    feed = feed_of(warehouse)
    start = feed.last_close - 5000 * FIVE

    def tick(number):
        now = start + number * FIVE
        feed.bars_closing(now - FIVE, now)
        feed.bar_opening_at(now)
        feed.funding("BTC", now - FIVE, now)
        return len(feed.history("BTC", QUARTER, now, 96))

    assert tick(0) == 96
    began = time.perf_counter()
    assert all(feed.history("BTC", QUARTER, start + n * FIVE, 96).closed_by(start + n * FIVE) == 96 for n in range(1000))
    assert (time.perf_counter() - began) / 1000 < 0.0003
    tracemalloc.start()
    for number in range(200):
        tick(number)
    before = tracemalloc.get_traced_memory()[0]
    for number in range(200, 3000):
        tick(number)
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert grown < 50_000


def test_replay_names_may_hold_colons_and_several_markets():
    assert parse_replay("hyperliquid:xyz:TSLA:15m") == (ReplaySource("hyperliquid", "xyz:TSLA", 15 * 60_000),)
    assert [source.market for source in parse_replay("hyperliquid:BTC:5m, hyperliquid:PURR/USDC:5m")] == ["BTC", "PURR/USDC"]


@pytest.mark.parametrize(
    "text", ["", "BTC", "hyperliquid:BTC", ":BTC:5m", "hyperliquid::5m", "hyperliquid:BTC:", "hyperliquid:BTC:5x", "a:B:5m,"]
)
def test_a_broken_replay_name_is_refused(text):
    with pytest.raises(InvalidInput, match="replay"):
        parse_replay(text)


def test_one_market_twice_is_refused():
    with pytest.raises(InvalidInput, match="BTC is named twice"):
        parse_replay("hyperliquid:BTC:5m,hyperliquid:BTC:1h")


def test_the_same_seed_makes_the_same_market_and_another_seed_another():
    one, two, other = synthetic_market(7, 2000), synthetic_market(7, 2000), synthetic_market(8, 2000)
    for name, column in one.bars.columns().items():
        assert np.array_equal(column, two.bars.columns()[name]), name
    assert np.array_equal(one.funding.rate, two.funding.rate)
    assert not np.array_equal(one.bars.close, other.bars.close)


def test_the_market_of_seed_seven_is_the_one_it_has_always_been():
    """Golden numbers: they must hold on every platform and numpy version."""
    bars = synthetic_market(7, 2000).bars
    perp = instrument("synthetic", "BTC")
    assert [(b.open, b.high, b.low, b.close, b.volume) for b in (bars.bar(0, perp), bars.bar(1999, perp))] == GOLDEN


@pytest.mark.parametrize("seed", range(5))
def test_a_synthetic_market_moves_like_a_market(seed):
    made = synthetic_market(seed, 8640)
    assert made.bars.venue == "synthetic"
    assert made.bars.valid.all()
    assert len(made.funding) == 720
    returns = np.diff(np.log(made.bars.close))
    assert 0.0015 < returns.std() < 0.0032
    day = np.abs(made.bars.close[288:] / made.bars.close[:-288] - 1)
    assert np.median(day) > 0.01
    assert np.abs(made.funding.rate).max() < 0.0005
    assert np.array_equal(made.bars.open[1:], made.bars.close[:-1])


def test_a_stored_synthetic_market_is_replayed_like_any_other(warehouse):
    made = synthetic_market(3, 500)
    store_synthetic(warehouse, made)
    store_synthetic(warehouse, made)
    feed = WarehouseFeed(warehouse, parse_replay("synthetic:BTC:5m"), {"BTC": made.instrument})
    assert len(feed.bars_closing(feed.first_open, feed.last_close)) == 500
    assert feed.missing_funding("BTC", feed.first_open, feed.last_close - FIVE) == 0
