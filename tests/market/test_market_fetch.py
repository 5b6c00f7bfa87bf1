"""Fetching and following over real HTTP on this machine: pages, going on after an end of any kind, and what is never stored."""

import itertools
import subprocess
import sys
import time
from collections.abc import Iterator

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from tradeagent.domain.clock import HOUR_MS, MINUTE_MS, SimulatedClock, iso
from tradeagent.domain.errors import NotFound, VenueError
from tradeagent.hyperliquid.client import Candles, InfoClient, ListedMarket, Payments
from tradeagent.hyperliquid.loopback import Fault, InfoServer, Served, candles_of_parquet
from tradeagent.market.fetch import FetchPage, FetchReport, fetch_bars, fetch_funding, listed_market
from tradeagent.market.follow import Followed, NewBars, Trouble, follow
from tradeagent.market.quality import holes
from tradeagent.market.series import SeriesKey, bar_series, funding_series
from tradeagent.market.warehouse import Warehouse
from tradeagent.workspace.web import Patience

BEGIN = 1_760_000_400_000 - 1_760_000_400_000 % HOUR_MS
NOW = BEGIN + 12_000 * MINUTE_MS + 30_000
KEY = SeriesKey("hyperliquid", "BTC", MINUTE_MS)
META = {"universe": [{"name": name, "szDecimals": 5, "maxLeverage": 40} for name in ("BTC", "ETH", "kPEPE")]}


def made(count: int = 12_101, interval_ms: int = MINUTE_MS) -> Candles:
    steps = np.arange(count, dtype=np.int64)
    opens = 60_000.0 + steps
    return Candles(BEGIN + steps * interval_ms, np.array([opens, opens + 2, opens - 2, opens + 1, steps + 0.5]))


def paid(count: int = 1200) -> Payments:
    hours = np.arange(count, dtype=np.int64)
    return Payments(BEGIN - 900 * HOUR_MS + hours * HOUR_MS + 48, hours * 1e-7)


@pytest.fixture
def clock() -> SimulatedClock:
    return SimulatedClock(NOW, seed=1)


@pytest.fixture
def server(clock: SimulatedClock) -> Iterator[InfoServer]:
    served = Served(clock.now_ms, {"meta": META}, {("BTC", MINUTE_MS): made()}, {"BTC": paid()}, kept=20_000)
    with InfoServer(served) as running:
        yield running


@pytest.fixture
def client(server: InfoServer, clock: SimulatedClock) -> Iterator[InfoClient]:
    connected = InfoClient(server.url, clock, patience=Patience(silence_s=1, attempts=2), per_minute=100_000)
    yield connected
    connected.close()


def run(events: Iterator[FetchPage | FetchReport]) -> FetchReport:
    last = list(events)[-1]
    assert isinstance(last, FetchReport)
    return last


def asked(server: InfoServer) -> list[tuple[int, int]]:
    rows = [(r["req"]["startTime"], r["req"]["endTime"]) for r in server.requests if r["type"] == "candleSnapshot"]
    return [((low - BEGIN) // MINUTE_MS, (high + 1 - BEGIN) // MINUTE_MS) for low, high in rows]


def test_a_long_span_comes_in_pages_of_five_thousand_newest_first(warehouse, client, server):
    report = run(fetch_bars(warehouse, client, KEY, (BEGIN, None)))
    assert asked(server) == [(7_000, 12_000), (2_000, 7_000), (0, 2_000)]
    assert np.array_equal(warehouse.bars(KEY).ts, made().ts[:12_000])
    assert np.array_equal(warehouse.bars(KEY).high, made().values[1, :12_000])
    assert (report.rows_read, report.rows_written, report.duplicates, report.requests) == (12_000, 12_000, 0, 3)
    assert report.weight == 3 * 20 + 83 + 83 + 33
    assert (report.gaps, report.not_served, report.first, report.last) == (0, None, BEGIN, BEGIN + 11_999 * MINUTE_MS)


def test_a_second_run_asks_only_for_what_closed_since(warehouse, client, server, clock):
    run(fetch_bars(warehouse, client, KEY, (BEGIN, None)))
    server.requests.clear()
    assert run(fetch_bars(warehouse, client, KEY, (BEGIN, None))).requests == 0
    clock.advance_to(NOW + 3 * MINUTE_MS)
    client.markets()
    report = run(fetch_bars(warehouse, client, KEY, (BEGIN, None)))
    assert asked(server) == [(12_000, 12_003)]
    assert (report.rows_written, report.duplicates) == (3, 0)


def test_the_open_bar_is_never_stored(warehouse, client, server, clock):
    report = run(fetch_bars(warehouse, client, KEY, (None, None)))
    assert report.last == BEGIN + 11_999 * MINUTE_MS
    server.answer = lambda body, ask=server.answer: ask({**body, "req": {**body["req"], "endTime": NOW}})
    clock.advance_to(BEGIN + 12_001 * MINUTE_MS + 500)
    report = run(fetch_bars(warehouse, client, KEY, (BEGIN + 11_990 * MINUTE_MS, NOW + HOUR_MS)))
    assert int(warehouse.bars(KEY).close_ms[-1]) <= clock.now_ms()


def test_a_local_clock_that_is_fast_does_not_close_a_bar_early(warehouse, server):
    fast = SimulatedClock(NOW + 10 * MINUTE_MS)
    client = InfoClient(server.url, fast)
    listed_market(client, "BTC")
    report = run(fetch_bars(warehouse, client, KEY, (BEGIN + 11_000 * MINUTE_MS, None)))
    assert report.last == BEGIN + 11_999 * MINUTE_MS
    client.close()


def test_an_end_in_the_middle_keeps_the_pages_before_it(warehouse, client, server):
    pages = fetch_bars(warehouse, client, KEY, (BEGIN, None))
    next(pages)
    pages.close()
    assert len(warehouse.bars(KEY)) == 5_000
    server.requests.clear()
    run(fetch_bars(warehouse, client, KEY, (BEGIN, None)))
    assert asked(server) == [(2_000, 7_000), (0, 2_000)]
    assert len(warehouse.bars(KEY)) == 12_000


def test_a_venue_that_fails_half_way_is_an_error_and_what_came_stays(warehouse, client, server):
    server.faults.extend([None, Fault(status=502), Fault(cut_after=10)])
    with pytest.raises(VenueError):
        run(fetch_bars(warehouse, client, KEY, (BEGIN, None)))
    assert len(warehouse.bars(KEY)) == 5_000
    assert run(fetch_bars(warehouse, client, KEY, (BEGIN, None))).rows_written == 7_000


def test_what_the_venue_no_longer_has_is_said_and_not_asked_for_again_and_again(warehouse, client, server):
    server.served.kept = 5_000
    report = run(fetch_bars(warehouse, client, KEY, (BEGIN - 50_000 * MINUTE_MS, None)))
    assert report.rows_written == 4_999
    assert report.not_served == (BEGIN - 50_000 * MINUTE_MS, BEGIN + 7_001 * MINUTE_MS)
    assert report.requests == 2
    assert (report.gaps, report.missing_bars) == (0, 0)
    without_from = run(fetch_bars(Warehouse(warehouse.root / "other"), client, KEY, (None, None)))
    assert (without_from.requests, without_from.rows_written, without_from.not_served) == (1, 4_999, None)


def test_holes_of_the_venue_are_counted_and_near_ones_share_a_request(warehouse, client, server):
    missing = [100, 101, 900, 8_000]
    whole = made()
    kept = ~np.isin(np.arange(len(whole)), missing)
    server.served.candles = {("BTC", MINUTE_MS): Candles(whole.ts[kept], whole.values[:, kept])}
    report = run(fetch_bars(warehouse, client, KEY, (BEGIN, None)))
    assert (report.gaps, report.missing_bars) == (3, 4)
    server.requests.clear()
    server.served.candles = {("BTC", MINUTE_MS): whole}
    assert run(fetch_bars(warehouse, client, KEY, (BEGIN, None))).rows_written == 4
    assert asked(server) == [(8_000, 8_001), (100, 901)]


def test_imported_bars_are_joined_and_never_overwritten(warehouse, client):
    whole = made()
    old = bar_series(KEY, *(column[50:60].copy() for column in (whole.ts, *whole.values)))
    changed = bar_series(KEY, old.ts.copy(), old.open.copy(), old.high + 5, old.low.copy(), old.close.copy(), old.volume.copy())
    warehouse.append_bars(changed)
    report = run(fetch_bars(warehouse, client, KEY, (BEGIN, BEGIN + 100 * MINUTE_MS)))
    assert (report.rows_written, report.duplicates, report.conflicts) == (90, 10, 10)
    assert warehouse.bars(KEY).high[55] == whole.values[1, 55] + 5


def test_prices_are_put_on_the_markets_grid(warehouse, client, server):
    ts, values = made().ts[:3], made().values[:, :3].copy()
    values[0, 1] += 0.04
    server.served.candles = {("BTC", MINUTE_MS): Candles(ts, values)}
    report = run(fetch_bars(warehouse, client, KEY, (BEGIN, BEGIN + HOUR_MS), ListedMarket("BTC", 5, 40, (), False)))
    assert report.off_grid == 1
    assert warehouse.bars(KEY).open[1] == 60_001.0


def test_a_market_the_venue_lacks_names_its_neighbours(client):
    with pytest.raises(NotFound, match="KPEPE") as caught:
        listed_market(client, "KPEPE")
    assert "kPEPE" in caught.value.hint
    assert listed_market(client, "PURR/USDC") is None


def test_funding_comes_in_pages_and_a_second_run_asks_for_the_new_hour(warehouse, client, server, clock):
    first = BEGIN - 900 * HOUR_MS
    report = run(fetch_funding(warehouse, client, "hyperliquid", "BTC", (first, NOW)))
    assert report.rows_written == 900 + 201
    assert [r["startTime"] for r in server.requests] == [first, first + 500 * HOUR_MS - HOUR_MS + 49, first + 1000 * HOUR_MS - HOUR_MS + 49]
    assert (report.gaps, report.not_served, report.interval, report.funding) == (0, None, "1h", True)
    server.requests.clear()
    assert run(fetch_funding(warehouse, client, "hyperliquid", "BTC", (first, NOW))).requests == 0
    clock.advance_to(NOW + HOUR_MS)
    client.markets()
    assert run(fetch_funding(warehouse, client, "hyperliquid", "BTC", (first, NOW + HOUR_MS))).rows_written == 1


def test_funding_that_is_missing_inside_is_asked_for_again(warehouse, client, server):
    series = paid()
    kept = np.arange(len(series)) != 700
    warehouse.append_funding(funding_series("hyperliquid", "BTC", series.ts[kept], series.rate[kept]))
    report = run(fetch_funding(warehouse, client, "hyperliquid", "BTC", (BEGIN - 900 * HOUR_MS, NOW)))
    assert (report.rows_written, report.requests) == (1, 1)


def test_a_funding_report_is_of_the_span_that_was_asked_for(warehouse, client):
    series = paid()
    warehouse.append_funding(funding_series("hyperliquid", "BTC", series.ts.copy(), series.rate.copy()))
    report = run(fetch_funding(warehouse, client, "hyperliquid", "BTC", (BEGIN, BEGIN + 5 * HOUR_MS)))
    assert (report.first, report.last, report.requests) == (BEGIN, BEGIN + 4 * HOUR_MS, 0)
    early = run(fetch_funding(warehouse, client, "hyperliquid", "BTC", (BEGIN - 950 * HOUR_MS, BEGIN)))
    assert early.not_served == (BEGIN - 950 * HOUR_MS, BEGIN - 900 * HOUR_MS)


def test_following_stores_each_bar_after_its_close(warehouse, client, clock):
    followed = [Followed(KEY, None, funding=True)]
    events = list(itertools.islice(follow(warehouse, client, clock, followed), 4))
    assert all(isinstance(event, NewBars) for event in events)
    assert [iso(int(t)) for event in events for t in event.bars.ts] == [
        iso(BEGIN + i * MINUTE_MS) for i in (11_999, 12_000, 12_001, 12_002)
    ]
    assert clock.now_ms() - NOW < 3 * MINUTE_MS
    assert len(warehouse.bars(KEY)) == 4


def test_following_fills_what_closed_while_nobody_did(warehouse, client, clock):
    followed = [Followed(KEY, None)]
    list(follow(warehouse, client, clock, followed, rounds=1))
    clock.advance_to(NOW + 40 * MINUTE_MS)
    client.markets()
    (event,) = follow(warehouse, client, clock, followed, rounds=1)
    assert len(event.bars) == 40


def test_following_outlives_a_venue_that_is_away_and_misses_nothing(warehouse, client, server, clock):
    events = follow(warehouse, client, clock, [Followed(KEY, None)])
    next(events)
    server.faults.extend([Fault(status=503)] * 4)
    troubles = [next(events), next(events)]
    assert all(isinstance(event, Trouble) for event in troubles)
    event = next(events)
    assert isinstance(event, NewBars)
    assert len(event.bars) >= 3
    assert np.all(np.diff(warehouse.bars(KEY).ts) == MINUTE_MS)
    server.faults.extend([Fault(status=503)] * 2)
    clock.advance_to(clock.now_ms() + MINUTE_MS)
    with pytest.raises(VenueError):
        list(follow(warehouse, client, clock, [Followed(KEY, None)], rounds=1))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    missing=st.sets(st.integers(0, 300)),
    stored=st.sets(st.integers(0, 300)),
    span=st.tuples(st.integers(0, 310), st.integers(0, 310)),
    faults=st.lists(st.sampled_from([None, 429, 500, "cut", "garbage"]), max_size=6),
)
def test_whatever_was_there_and_whatever_fails_the_end_is_the_same(tmp_path_factory, missing, stored, span, faults):
    whole = made(301, HOUR_MS)
    there = ~np.isin(np.arange(301), sorted(missing))
    now = BEGIN + 300 * HOUR_MS + 30_000
    clock, key = SimulatedClock(now), SeriesKey("hyperliquid", "BTC", HOUR_MS)
    trouble = {None: None, 429: Fault(status=429), 500: Fault(status=500), "cut": Fault(cut_after=5), "garbage": Fault(body=b"{")}
    warehouse = Warehouse(tmp_path_factory.mktemp("market"))
    held = sorted(stored - {300})
    warehouse.append_bars(bar_series(key, *(np.array(column[held]) for column in (whole.ts, *whole.values))))
    served = Served(clock.now_ms, {}, {("BTC", HOUR_MS): Candles(whole.ts[there], whole.values[:, there])})
    low, high = (BEGIN + part * HOUR_MS for part in sorted(span))
    with InfoServer(served, [trouble[f] for f in faults]) as server:
        client = InfoClient(server.url, clock, patience=Patience(silence_s=1, attempts=2), per_minute=100_000)
        for _ in range(len(faults) + 1):
            try:
                report = run(fetch_bars(warehouse, client, key, (low, high)))
            except VenueError:
                continue
        client.close()
    rows = {i for i in range(301) if i not in missing and low <= int(whole.ts[i]) and int(whole.ts[i]) + HOUR_MS <= min(high, now)}
    assert ((warehouse.bars(key).ts - BEGIN) // HOUR_MS).tolist() == sorted(rows | set(held))
    assert report.missing_bars >= 0


_KILLED = """
import sys
from pathlib import Path
from tradeagent.domain.clock import SystemClock
from tradeagent.hyperliquid.client import InfoClient
from tradeagent.market.series import SeriesKey
from tradeagent.market.warehouse import Warehouse
from tradeagent.market.fetch import fetch_bars
client = InfoClient(sys.argv[1], SystemClock())
client.markets()
for event in fetch_bars(Warehouse(Path(sys.argv[2])), client, SeriesKey("hyperliquid", "BTC", 60_000), (int(sys.argv[3]), None)):
    print(event, flush=True)
"""


def test_a_kill_in_the_middle_keeps_what_was_done_and_the_next_run_goes_on(warehouse, client, server):
    server.faults.extend([None, None, None, Fault(wait_s=3)])
    process = subprocess.Popen([sys.executable, "-c", _KILLED, server.url, str(warehouse.root), str(BEGIN)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    began = time.monotonic()
    while len(server.requests) < 4:
        assert time.monotonic() - began < 30
        time.sleep(0.01)
    process.kill()
    process.wait()
    process.stdout.close()
    assert len(warehouse.bars(KEY)) >= 5_000
    run(fetch_bars(warehouse, client, KEY, (BEGIN, None)))
    assert np.array_equal(warehouse.bars(KEY).ts, made().ts[:12_000])


@pytest.mark.real_data
def test_a_real_market_followed_for_months_is_the_file_it_came_from(warehouse, shared_data):
    """The venue keeps 5,000 bars; somebody who fetches every 17 days owns all of them, and one who was away longer has a hole."""
    five, key = 5 * MINUTE_MS, SeriesKey("hyperliquid", "BTC", 5 * MINUTE_MS)
    whole = candles_of_parquet(shared_data / "hyperliquid_BTC_5m.parquet")
    first, last = int(whole.ts[0]), int(whole.ts[-1]) + five
    clock = SimulatedClock(first + 4_000 * five)
    away = Warehouse(warehouse.root / "away")
    with InfoServer(Served(clock.now_ms, {"meta": META}, {("BTC", five): whole})) as server:
        client = InfoClient(server.url, clock, per_minute=10**9)
        while True:
            client.markets()
            report = run(fetch_bars(warehouse, client, key, (None, None)))
            if clock.now_ms() in (first + 4_000 * five, last + five):
                run(fetch_bars(away, client, key, (None, None)))
            if clock.now_ms() > last:
                break
            clock.advance_to(min(clock.now_ms() + 4_500 * five, last + five))
        client.close()
    stored = warehouse.bars(key)
    assert np.array_equal(stored.ts, whole.ts)
    assert np.array_equal(np.array([stored.open, stored.high, stored.low, stored.close, stored.volume]), whole.values)
    assert (report.gaps, report.conflicts) == (0, 0)
    (hole,) = holes(away, key)
    assert hole.missing_bars == len(whole) - len(away.bars(key))
