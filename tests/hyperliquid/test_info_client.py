"""The info client against real HTTP on this machine: recorded answers, paging, weights, and everything that goes wrong on a wire."""

import contextlib
import os
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from tradeagent.domain.clock import HOUR_MS, MINUTE_MS, SimulatedClock
from tradeagent.domain.errors import InvalidInput, VenueError
from tradeagent.hyperliquid.client import Candles, InfoClient, Payments
from tradeagent.hyperliquid.loopback import Fault, InfoServer, Served, recorded_answers
from tradeagent.hyperliquid.throttle import WeightBudget
from tradeagent.workspace.web import Patience

NOW = 1_760_000_000_000 - 1_760_000_000_000 % HOUR_MS + 30 * 1000
PATIENT = Patience(connect_s=10, silence_s=30, total_s=60, attempts=3)  # a busy machine may take its time to answer


def candles(count: int, interval_ms: int = MINUTE_MS, until_ms: int = NOW) -> Candles:
    """`count` candles of which the last is still open at `until_ms`."""
    last = until_ms - until_ms % interval_ms
    ts = last - np.arange(count - 1, -1, -1, dtype=np.int64) * interval_ms
    opens = 60_000.0 + np.arange(count)
    return Candles(ts, np.array([opens, opens + 2, opens - 2, opens + 1, np.arange(count) + 0.5]))


def payments(count: int) -> Payments:
    last = NOW - NOW % HOUR_MS
    return Payments(last - np.arange(count - 1, -1, -1, dtype=np.int64) * HOUR_MS + 48, np.arange(count) * 1e-6)


@pytest.fixture
def recorded() -> dict[str, object]:
    root = Path(os.environ.get("TRADEAGENT_SHARED", Path(__file__).resolve().parents[2].parent / "shared"))
    folder = root / "fixtures" / "hyperliquid" / "info"
    if not folder.is_dir():
        pytest.skip("no recorded answers of the venue; set TRADEAGENT_SHARED")
    return recorded_answers(folder)


@pytest.fixture
def server() -> Iterator[InfoServer]:
    served = Served(lambda: NOW, candles={("BTC", MINUTE_MS): candles(7000)}, payments={"BTC": payments(1200)})
    with InfoServer(served) as running:
        yield running


@pytest.fixture
def clock() -> SimulatedClock:
    return SimulatedClock(NOW, seed=1)


@pytest.fixture
def client(server: InfoServer, clock: SimulatedClock) -> Iterator[InfoClient]:
    made = InfoClient(server.url + "/", clock, patience=PATIENT)
    yield made
    made.close()


def test_recorded_market_lists_and_prices_are_read(server, client, recorded):
    server.served.answers = recorded
    markets = {market.name: market for market in client.markets()}
    assert markets["BTC"].size_decimals == 5
    assert markets["BTC"].tiers == ((Decimal(0), 40), (Decimal(150_000_000), 20))
    assert markets["ATOM"].tiers == ((Decimal(0), 5),)
    assert markets["MATIC"].is_delisted
    listed, contexts = client.contexts()
    assert [c.market for c in contexts] == [m.name for m in listed]
    btc = contexts[0]
    assert abs(btc.mark / btc.oracle - 1) < Decimal("0.01")
    assert client.mids()["@107"] == Decimal("28.718")
    book = client.book("BTC")
    assert book.bids[0].price < book.asks[0].price
    assert [level.price for level in book.bids] == sorted((level.price for level in book.bids), reverse=True)


def test_recorded_candles_and_payments_are_read(server, client, recorded):
    server.answer = lambda body: (200, recorded[body["type"]])
    found = client.candles("kPEPE", HOUR_MS, 1684702007000, 1684784807001)
    assert found.ts[0] == 1684702800000, "the candle that contains startTime does not open in the span"
    assert found.values[:, 0].tolist() == [0.001603, 0.001603, 0.001584, 0.001591, 682593287.0]
    paid = client.funding("BTC", 1681923833000, 1684811870001)
    assert (paid.ts[0], paid.rate[0]) == (1683849600048, -0.00061334)


def test_candles_are_those_that_open_in_the_span(client):
    until = NOW - NOW % MINUTE_MS
    found = client.candles("BTC", MINUTE_MS, until - 10 * MINUTE_MS + 1, until)
    assert found.ts.tolist() == [until - i * MINUTE_MS for i in range(9, 0, -1)]
    assert client.candles("BTC", MINUTE_MS, until, until + MINUTE_MS).ts.tolist() == [until]
    assert len(client.candles("BTC", MINUTE_MS, until - 6_000 * MINUTE_MS, until - 5_500 * MINUTE_MS)) == 0


def test_weights_are_counted_as_the_venue_does(client):
    client.candles("BTC", MINUTE_MS, NOW - 5000 * MINUTE_MS, NOW)
    assert client.weight == 20 + 5000 // 60
    assert client.requests == 1
    client.funding("BTC", NOW - 500 * HOUR_MS, NOW)
    assert client.weight == 20 + 5000 // 60 + 20 + 500 // 20


def test_a_full_minute_is_waited_out_and_not_run_into(server, clock):
    client = InfoClient(server.url, clock, patience=PATIENT, per_minute=200)
    for _ in range(3):
        client.candles("BTC", MINUTE_MS, NOW - 5000 * MINUTE_MS, NOW)
    assert clock.now_ms() - NOW >= MINUTE_MS
    client.close()


def test_a_budget_holds_in_every_minute_of_any_order_of_spending():
    clock = SimulatedClock(NOW)
    budget, spent = WeightBudget(clock, 100), []
    for weight in (40, 60, 10, 100, 99, 1, 1, 130, 5):
        budget.take(weight)
        spent.append((clock.now_ms(), weight))
        within = sum(w for at, w in spent if at > clock.now_ms() - MINUTE_MS)
        assert within <= max(100, weight)
    assert budget.total == 446


def test_429_and_5xx_are_tried_again_and_paid_for(server, client, clock):
    server.faults.extend([Fault(status=429), Fault(status=502, retry_after=2)])
    assert len(client.candles("BTC", MINUTE_MS, NOW - MINUTE_MS, NOW)) == 1
    assert (client.requests, client.weight) == (3, 60)
    assert clock.now_ms() - NOW >= 2000


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (Fault(status=429), "answered 429, 3 times"),
        (Fault(status=503), "answered 503, 3 times"),
        (Fault(cut_after=20), "the connection failed"),
        (Fault(status=422), "answered 422"),
        (Fault(body=b"<html>sorry</html>"), "is not JSON"),
        (Fault(body=b"[" * 100_000), "is not JSON"),
        (Fault(body=b'{"a": 1}'), "is not a list of objects"),
        (Fault(body=b"[1, 2]"), "is not a list of objects"),
        (Fault(body=b"null"), "is not a list of objects"),
        (Fault(body=b'[{"t": "soon"}]'), "no time in ms"),
        (Fault(body=b'[{"t": 60000, "o": "1"}]'), "no number where one belongs"),
        (Fault(body=b'[{"t": 60000, "o": "nan", "h": "1", "l": "1", "c": "1", "v": "1"}]'), "not finite"),
        (Fault(body=b'[{"t": 60001, "o": "1", "h": "1", "l": "1", "c": "1", "v": "1"}]'), "off the grid"),
        (Fault(body=b'[{"t": 60000, "s": "ETH", "o": "1", "h": "1", "l": "1", "c": "1", "v": "1"}]'), "is not of BTC 1m"),
    ],
)
def test_what_goes_wrong_is_a_venue_error_with_a_way_out(server, client, fault, says):
    server.faults.extend([fault] * 3)
    with pytest.raises(VenueError, match=says) as caught:
        client.candles("BTC", MINUTE_MS, NOW - MINUTE_MS, NOW)
    assert caught.value.exit_code == 5
    assert "--url" in caught.value.hint
    server.faults.clear()
    assert len(client.candles("BTC", MINUTE_MS, NOW - MINUTE_MS, NOW)) == 1


def test_a_server_that_is_silent_is_a_venue_error(server, clock):
    server.faults.extend([Fault(wait_s=0.4)] * 3)
    client = InfoClient(server.url, clock, patience=Patience(connect_s=10, silence_s=0.2, total_s=60, attempts=3))
    with pytest.raises(VenueError, match=r"was silent for 0\.2 s, 3 times"):
        client.candles("BTC", MINUTE_MS, NOW - MINUTE_MS, NOW)
    client.close()


def test_a_server_that_is_not_there_is_a_venue_error(server, clock):
    client = InfoClient("http://127.0.0.1:9", clock, patience=PATIENT)
    with pytest.raises(VenueError, match=r"127.0.0.1:9: the connection failed"):
        client.markets()
    client.close()


def test_an_answer_that_drips_or_never_ends_is_cut_off(server, clock):
    server.served.answers = {"meta": {"universe": [], "filler": "x" * 200_000}}
    client = InfoClient(server.url, clock, patience=Patience(attempts=1, max_bytes=100_000))
    with pytest.raises(VenueError, match="longer than"):
        client.markets()
    client.close()


@pytest.mark.parametrize("answer", [None, {}, {"universe": [{"name": "BTC"}]}, {"universe": "BTC"}, []])
def test_a_market_list_of_another_form_is_refused(server, client, answer):
    server.served.answers = {"meta": answer}
    with pytest.raises(VenueError, match="meta"):
        client.markets()


def test_an_interval_the_venue_lacks_is_refused_before_anything_is_asked(server, client):
    with pytest.raises(InvalidInput, match="7m"):
        client.candles("BTC", 7 * MINUTE_MS, 0, NOW)
    assert server.requests == []


def test_time_is_the_venues_once_it_has_answered(server, client, clock):
    assert client.now_ms() == NOW
    clock.advance_to(NOW + 5 * HOUR_MS)
    client.candles("BTC", MINUTE_MS, NOW - MINUTE_MS, NOW)
    assert client.now_ms() == NOW
    clock.advance_to(NOW + 6 * HOUR_MS)
    assert client.now_ms() == NOW + HOUR_MS


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=True) | st.sampled_from(["BTC", "1m", "60000", "1.5", "nan", "-1", ""]),
    lambda below: (
        st.lists(below, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["universe", "name", "szDecimals", "maxLeverage", "levels", "coin", "time", "px", "sz", "t", "o", "markPx", "fundingRate"]
            ),
            below,
            max_size=6,
        )
    ),
    max_leaves=12,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(answer=JSON)
def test_whatever_json_comes_it_is_read_or_refused_as_the_venues(server, client, answer):
    server.answer = lambda body: (200, answer)
    reads = [
        client.markets,
        client.contexts,
        client.mids,
        lambda: client.book("BTC"),
        lambda: client.candles("BTC", MINUTE_MS, 0, NOW),
        lambda: client.funding("BTC", 0, NOW),
    ]
    for read in reads:
        with contextlib.suppress(VenueError):
            read()


def test_a_hundred_answers_do_not_wait_for_acknowledgements(server, client):
    import time

    began = time.perf_counter()
    for _ in range(50):
        client.candles("BTC", MINUTE_MS, NOW - MINUTE_MS, NOW)
    assert time.perf_counter() - began < 50 * 0.04
