"""News and calendar: what is kept once, from when it may be seen, how files and feeds are read, and several processes on one file."""

import contextlib
import json
import multiprocessing
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, given, settings
from market_samples import HOUR, T0

from tradeagent.domain.clock import SimulatedClock
from tradeagent.domain.errors import BusyError, DataError, InvalidConfig, InvalidInput, NotFound, VenueError
from tradeagent.market.calendar_files import configured_events, parse_calendar, read_calendar
from tradeagent.market.event_store import CalendarEvent, EventStore, NewsItem, Window
from tradeagent.market.event_words import event_in, kind_of, symbols_of
from tradeagent.market.news import Source, fetch_news, parse_cryptopanic, parse_feed, parse_tiingo, sources_of
from tradeagent.workspace.config import load_config

RSS = """<?xml version="1.0"?><rss version="2.0"><channel><title>Wire</title>
<item><guid>a1</guid><title>SEC approves Bitcoin ETF &amp; more</title><link>https://x.test/1</link>
<description>&lt;p&gt;Spot &lt;b&gt;ETF&lt;/b&gt; for BTC&lt;/p&gt;</description><pubDate>Wed, 10 Jan 2025 21:00:00 GMT</pubDate></item>
<item><title>Plain day \x1b[31m</title><link>javascript:alert(1)</link></item>
</channel></rss>""".replace("\x1b", "&#8238;")
ATOM = """<feed xmlns="http://www.w3.org/2005/Atom"><title>A</title><entry><id>urn:1</id><title>Solana $WIF</title>
<updated>2025-01-10T10:00:00+02:00</updated></entry></feed>"""


@pytest.fixture
def store(tmp_path: Path) -> EventStore:
    return EventStore(tmp_path)


def item(number: int, published: int, **fields: object) -> NewsItem:
    given: dict[str, object] = {"symbols": (), "sentiment": None, "title": f"title {number}", "summary": ""} | fields
    return NewsItem("wire", str(number), url="", published=published, **given)  # type: ignore[arg-type]


def test_an_item_is_kept_once_and_stays_as_it_was(store):
    assert store.add_news([item(1, T0), item(2, T0), item(1, T0, title="again")], T0).written == 2
    added = store.add_news([item(1, T0, title="edited"), item(3, T0)], T0 + HOUR)
    assert (added.written, added.duplicates) == (1, 1)
    seen = {one.external_id: one for one in store.news(Window(T0 + HOUR))}
    assert (seen["1"].title, seen["1"].ingested, seen["3"].ingested) == ("title 1", T0, T0 + HOUR)


def test_an_item_is_visible_from_the_later_of_published_and_had(store):
    store.add_news([item(1, T0 - HOUR), item(2, T0 + HOUR)], T0)
    assert store.news(Window(T0 - 1)) == []
    assert [one.external_id for one in store.news(Window(T0))] == ["1"]
    assert [one.external_id for one in store.news(Window(T0 + HOUR))] == ["2", "1"]


def test_news_are_found_by_span_symbol_and_words(store):
    rows = [
        item(1, T0, symbols=("BTC",), title="Bitcoin Falls"),
        item(2, T0 + 1, symbols=("ETH",)),
        item(3, T0 + 2, summary="a fall of 5%"),
    ]
    store.add_news(rows, T0)
    now = T0 + HOUR
    assert [one.external_id for one in store.news(Window(now, symbols=("BTC",)))] == ["3", "1"]
    assert [one.external_id for one in store.news(Window(now, since=T0 + 1, until=T0 + 2))] == ["2"]
    assert [one.external_id for one in store.news(Window(now), ["FALL"])] == ["3", "1"]
    assert [one.external_id for one in store.news(Window(now), ["fall", "bitcoin"])] == ["1"]
    assert store.news(Window(now), ["5%"])[0].external_id == "3"
    assert len(store.news(Window(now, limit=2))) == 2


def test_an_event_is_one_a_kind_hour_and_markets(store):
    base = CalendarEvent("cpi", T0 + 90 * 60_000, "CPI", 0.9)
    same_hour = CalendarEvent("cpi", T0 + 60 * 60_000, "CPI y/y", 0.5)
    others = [CalendarEvent("cpi", T0 + 3 * HOUR, "next", 0.9), CalendarEvent("earnings", base.time, "E", 0.5, ("B", "A"))]
    assert store.add_events([base, same_hour, *others], T0).written == 3
    assert store.add_events([CalendarEvent("earnings", base.time, "E2", 0.5, ("A", "B"))], T0).duplicates == 1
    assert [event.title for event in store.events(Window(T0))] == ["CPI", "E", "next"]
    assert [event.title for event in store.events(Window(T0), min_importance=0.7)] == ["CPI", "next"]
    assert [event.title for event in store.events(Window(T0, symbols=("A",)), kinds=("earnings",))] == ["E"]
    assert [event.title for event in store.events(Window(T0, symbols=("ZZZ",)))] == ["CPI", "next"]


@pytest.mark.parametrize(
    ("event", "says"),
    [
        (CalendarEvent("party", T0, "x", 0.5), "party"),
        (CalendarEvent("cpi", T0, "x", 1.5), "importance"),
        (CalendarEvent("cpi", T0, "x", 0.5, known=T0 + 1), "known"),
    ],
)
def test_an_event_that_makes_no_sense_is_refused_whole(store, event, says):
    with pytest.raises(InvalidInput, match=says):
        store.add_events([CalendarEvent("cpi", T0, "good", 0.5), event], T0)
    assert store.events(Window(T0)) == []


def test_events_are_found_in_news_once_and_seen_when_the_report_was(store):
    store.add_news([item(1, T0 - HOUR, title="Fed holds rates", symbols=("BTC",)), item(2, T0, title="A quiet day")], T0)
    first, second = store.extract(event_in), store.extract(event_in)
    assert ((first.read, first.found, first.written), second.read) == ((2, 1, 1), 0)
    (event,) = store.events(Window(T0))
    assert (event.kind, event.time, event.known, event.source, event.symbols) == ("fomc", T0 - HOUR, T0, "news:wire", ("BTC",))
    assert store.events(Window(T0 - 1)) == []
    store.add_news([item(3, T0, title="US CPI hot")], T0 + HOUR)
    assert store.extract(event_in).written == 1


def test_the_watermark_stays_when_looking_fails(store):
    store.add_news([item(1, T0, title="US CPI hot")], T0)

    def fails(one: NewsItem) -> CalendarEvent:
        raise RuntimeError(one.title)

    with pytest.raises(RuntimeError):
        store.extract(fails)
    assert store.extract(event_in).written == 1


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(st.tuples(st.integers(-3, 3), st.integers(0, 3)), min_size=1, max_size=8),
    as_of=st.integers(-4, 5),
)
def test_no_reader_sees_news_or_events_before_their_time(tmp_path_factory, rows, as_of):
    store = EventStore(tmp_path_factory.mktemp("events"))
    for had in sorted({ingested for _, ingested in rows}):
        numbers = [number for number, (_, ingested) in enumerate(rows) if ingested == had]
        store.add_news([item(n, T0 + rows[n][0] * HOUR, title=f"US CPI {n}") for n in numbers], T0 + had * HOUR)
        store.add_events([CalendarEvent("other", T0 + n * HOUR * 100, f"own {n}", 0.3) for n in numbers], T0 + had * HOUR)
    store.extract(event_in)
    window = Window(T0 + as_of * HOUR)
    assert {int(one.external_id) for one in store.news(window)} == {n for n, row in enumerate(rows) if max(row) <= as_of}
    own = {n for n, (_, ingested) in enumerate(rows) if ingested <= as_of}
    events = store.events(window)
    assert {int(event.title.split()[1]) for event in events if event.kind == "other"} == own
    by_title = {f"US CPI {n}": max(row) for n, row in enumerate(rows)}
    assert all(by_title[event.title] <= as_of for event in events if event.kind == "cpi")


def _write_many(root: str, share: int) -> None:
    store = EventStore(Path(root))
    for batch in range(2):
        store.add_news([item(share * 1000 + batch * 10 + i, T0) for i in range(10)], T0)
        store.add_news([item(9_000_000 + i, T0) for i in range(5)], T0)


def test_processes_take_turns_and_lose_nothing(store, tmp_path):
    spawn = multiprocessing.get_context("spawn")
    writers = [spawn.Process(target=_write_many, args=(str(tmp_path), share)) for share in (0, 1)]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        store.news(Window(T0))
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    assert len(store.news(Window(T0, limit=1000))) == 45


def test_a_store_that_stays_locked_is_busy_and_not_a_hang(store, tmp_path):
    from filelock import FileLock

    store.add_news([item(1, T0)], T0)
    with FileLock(tmp_path / ".events.duckdb.lock"), pytest.raises(BusyError):
        EventStore(tmp_path, patience_s=0.05).news(Window(T0))


def test_a_damaged_file_is_named_with_the_way_out(store, tmp_path):
    (tmp_path / "events.duckdb").write_bytes(b"not a database" * 1000)
    with pytest.raises(DataError, match=r"events\.duckdb") as caught:
        store.news(Window(T0))
    assert "move" in caught.value.hint


def test_a_feed_is_read_as_plain_text():
    first, second = parse_feed(RSS.encode(), "wire", T0)
    assert (first.external_id, first.title, first.url) == ("a1", "SEC approves Bitcoin ETF & more", "https://x.test/1")
    assert (first.summary, first.symbols, first.sentiment) == ("Spot ETF for BTC", ("BTC",), None)
    assert first.published == int(datetime(2025, 1, 10, 21, tzinfo=UTC).timestamp() * 1000)
    assert (second.title, second.url, second.published) == ("Plain day [31m", "", T0)
    (entry,) = parse_feed(ATOM.encode(), "atom", T0)
    assert (entry.symbols, entry.published) == (("SOL", "WIF"), int(datetime(2025, 1, 10, 8, tzinfo=UTC).timestamp() * 1000))


def test_a_feed_that_names_a_file_does_not_open_it(tmp_path):
    secret = tmp_path / "secret.xml"
    secret.write_text(RSS)
    with pytest.raises(VenueError, match="no RSS or Atom"):
        parse_feed(str(secret).encode(), "wire", T0)


def test_a_hostile_feed_costs_seconds_at_most_and_opens_nothing():
    entities = "".join(f'<!ENTITY l{i} "{f"&l{i - 1};" * 10}">' for i in range(1, 10))
    bomb = f'<?xml version="1.0"?><!DOCTYPE b [<!ENTITY l0 "lol">{entities}<!ENTITY f SYSTEM "file:///etc/passwd">]>'
    rows = "".join(f"<item><title>t{i} &l9; &f;</title><description>{'<b>x' * 40}</description></item>" for i in range(150))
    began = time.process_time()
    items = parse_feed(f'{bomb}<rss version="2.0"><channel>{rows}</channel></rss>'.encode(), "wire", T0)
    assert time.process_time() - began < 10
    assert len(items) == 150
    assert all("lollol" not in item.title and "root:" not in item.title for item in items)


@settings(max_examples=60, deadline=None)
@given(cuts=st.lists(st.tuples(st.integers(0, 700), st.integers(0, 40), st.binary(max_size=6)), min_size=1, max_size=5))
def test_a_mangled_feed_or_calendar_is_read_or_refused(cuts):
    for whole, parse in ((RSS.encode(), parse_feed), (ICS, None), (CSV, None)):
        body = whole
        for start, length, instead in cuts:
            body = body[:start] + instead + body[start + length :]
        with contextlib.suppress(VenueError, DataError):
            parse_feed(body, "wire", T0) if parse else parse_calendar(body, "cal")


@pytest.mark.parametrize("body", [b"", b"<html><body>hi</body></html>", b"\x00\xff" * 50, b"{}"])
def test_what_is_no_feed_is_said(body):
    with pytest.raises(VenueError, match="no RSS or Atom"):
        parse_feed(body, "wire", T0)


def test_cryptopanic_votes_become_sentiment():
    post = {"id": 7, "title": "Ether up", "published_at": "2025-01-10T08:00:00Z", "url": "https://c.test/7"}
    votes = {"positive": 3, "negative": 1}
    body = {"results": [post | {"votes": votes, "instruments": [{"code": "ETH"}]}, post | {"id": 8, "votes": {}}, "junk", {"id": 9}]}
    first, second = parse_cryptopanic(json.dumps(body).encode(), T0)
    assert (first.source, first.external_id, first.sentiment, first.symbols) == ("cryptopanic", "7", 0.5, ("ETH",))
    assert (second.sentiment, second.symbols) == (None, ("ETH",))


def test_tiingo_articles_are_read():
    body = [
        {"id": 5, "title": "T", "description": "d", "url": "https://t.test", "publishedDate": "2025-01-10T08:00:00Z", "tickers": ["btcusd"]}
    ]
    (one,) = parse_tiingo(json.dumps(body).encode(), T0)
    assert (one.external_id, one.symbols, one.url) == ("5", ("BTC",), "https://t.test")
    with pytest.raises(VenueError, match="no list"):
        parse_tiingo(b'{"detail": "no"}', T0)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("Fed holds rates steady", "fomc"),
        ("US CPI m/m", "cpi"),
        ("Core PCE Price Index", "pce"),
        ("PPI y/y", "ppi"),
        ("Non-Farm Employment Change, payrolls", "nfp"),
        ("Unemployment Claims", "jobless_claims"),
        ("ECB main refinancing rate decision", "ecb_rate"),
        ("Bank of Japan policy rate", "boj_rate"),
        ("Binance will list ABC", "exchange_listing"),
        ("Arbitrum token unlock tomorrow", "crypto_unlock"),
        ("SEC sues an exchange", "regulatory"),
        ("Monad mainnet launch", "mainnet_launch"),
        ("Bitcoin halving in 10 days", "halving"),
        ("A second opinion on seconds", None),
        ("Bitcoin falls 3%", None),
    ],
)
def test_headlines_are_sorted_into_kinds_by_words(text, kind):
    assert kind_of(text) == kind


def test_symbols_are_believed_where_they_cannot_be_words():
    assert symbols_of("Bitcoin and ETH near a LINK, S OP up; $NEAR, DOT/USD and PEPE") == ("BTC", "DOT", "ETH", "NEAR", "kPEPE")


@pytest.fixture
def web() -> Iterator[tuple[str, dict[str, tuple[int, bytes]], list[tuple[str, str | None]]]]:
    pages: dict[str, tuple[int, bytes]] = {}
    asked: list[tuple[str, str | None]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append((self.path, self.headers.get("Authorization")))
            status, body = pages.get(self.path.partition("?")[0], (404, b""))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}", pages, asked
    server.shutdown()
    server.server_close()


def test_sources_come_from_the_configuration_and_keys_by_reference(tmp_path):
    file = tmp_path / "config.yml"
    file.write_text("news:\n  feeds:\n    wire: https://w.test/rss\n  cryptopanic:\n    api_key: env:MY_KEY\n")
    wire, panic = sources_of(load_config(file, {}))
    assert (wire.name, wire.kind, wire.url, wire.key) == ("wire", "rss", "https://w.test/rss", None)
    assert (panic.kind, panic.key) == ("cryptopanic", "env:MY_KEY")
    file.write_text("news:\n  cryptopanic:\n    api_key: sk-123456\n")
    with pytest.raises(InvalidConfig) as caught:
        load_config(file, {})
    assert "sk-123456" not in str(caught.value)


def test_a_source_that_fails_does_not_stop_the_others_and_no_key_is_shown(store, web):
    address, pages, asked = web
    pages["/rss"] = (200, RSS.encode())
    pages["/panic"] = (401, b"bad token")
    pages["/tiingo"] = (200, b"[]")
    sources = (
        Source("panic", "cryptopanic", f"{address}/panic", "env:PANIC"),
        Source("keyless", "cryptopanic", f"{address}/panic", "env:NOT_SET"),
        Source("wire", "rss", f"{address}/rss"),
        Source("tiingo", "tiingo", f"{address}/tiingo", "env:TIINGO"),
    )
    keys = {"PANIC": "secret-one", "TIINGO": "secret-two"}
    reports = {report.source: report for report in fetch_news(store, sources, SimulatedClock(T0), keys)}
    assert (reports["wire"].written, reports["wire"].error) == (2, None)
    assert "401" in str(reports["panic"].error)
    assert "NOT_SET" in str(reports["keyless"].error)
    assert ("/panic?auth_token=secret-one&public=true", None) in asked
    assert ("/tiingo", "Token secret-two") in asked
    assert not any("secret" in str(report) for report in reports.values())
    again = {report.source: report for report in fetch_news(store, sources, SimulatedClock(T0), keys)}
    assert (again["wire"].written, again["wire"].duplicates) == (0, 2)


CSV = b"""time,title,impact,symbol,known
2025-01-29T19:00Z,FOMC statement,High,,2024-12-01
2025-02-12T13:30Z,CPI m/m,Low,BTC;ETH,
,nothing,,,
"""
ICS = b"""BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//t//t//EN\r\nBEGIN:VEVENT\r\nUID:1\r\nDTSTART;TZID=America/New_York:20250129T140000\r
SUMMARY:Federal Open Market Committee\r\nEND:VEVENT\r\nBEGIN:VEVENT\r\nUID:2\r\nDTSTART;VALUE=DATE:20250301\r\nSUMMARY:ETH day\r
CATEGORIES:halving\r\nRRULE:FREQ=YEARLY\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"""


def test_csv_json_and_ics_say_the_same_thing(store):
    read = parse_calendar(CSV, "c.csv")
    fomc, cpi = read.events
    assert read.mistakes == ("entry 3: it has no time",)
    assert (fomc.kind, fomc.importance, fomc.symbols) == ("fomc", 0.9, ())
    assert (cpi.kind, cpi.importance, cpi.symbols, cpi.known) == ("cpi", 0.2, ("BTC", "ETH"), 0)
    rows = [{"date": fomc.time // 1000, "name": "FOMC statement", "impact": "High"}, {"at": "2025-02-12T14:30+01:00", "kind": "cpi"}]
    from_json = parse_calendar(json.dumps({"events": rows}).encode(), "c.json").events
    assert [(e.kind, e.time) for e in from_json] == [(fomc.kind, fomc.time), (cpi.kind, cpi.time)]
    from_ics = parse_calendar(ICS, "c.ics")
    assert [(e.kind, e.time) for e in from_ics.events] == [
        ("fomc", fomc.time),
        ("halving", int(datetime(2025, 3, 1, tzinfo=UTC).timestamp() * 1000)),
    ]
    assert from_ics.repeating == 1
    now = cpi.time
    store.add_events(read.events, now)
    assert [e.kind for e in store.events(Window(fomc.time))] == ["fomc"], "known_at lets an old calendar be seen in its own time"
    assert store.add_events(from_ics.events[:1], now).duplicates == 1


def test_an_entry_whose_importance_is_none_is_left_out_and_named(store):
    written = ["0.4", "1.5", "-0.1", "nan", "urgent", "1", "0", "", "Medium"]
    body = "time,title,importance\n" + "".join(f"2025-02-{day:02},FOMC,{text}\n" for day, text in enumerate(written, 1))
    for read in (
        parse_calendar(body.encode(), "c.csv"),
        parse_calendar(
            json.dumps([{"at": f"2025-02-{n:02}", "name": "FOMC", "impact": t} for n, t in enumerate(written, 1)]).encode(), "c"
        ),
    ):
        assert [event.importance for event in read.events] == [0.4, 1.0, 0.0, 1.0, 0.5], "an empty one is the kind's own"
        said = "entry {}: importance: {!r} is not a number from 0 to 1, nor high, medium or low"
        assert read.mistakes == tuple(said.format(n, t) for n, t in ((2, "1.5"), (3, "-0.1"), (4, "nan"), (5, "urgent")))


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"time,title,impact\n2025-02-01,FOMC,1.5\n", "none of its 1 entries can be taken: entry 1: importance: '1.5'"),
        (b"", "empty"),
        (b"[1, 2]", "not a list of events"),
        (b'{"a": 1}', "not a list of events"),
        (b"[{", "not JSON"),
        (b"a,b\n1,2\n", "no column for the time"),
        (b"time,title\nsoon,FOMC\n", "none of its 1 entries"),
        (b"BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\n", "ICS|none of its"),
        (b"\xff\xfe\x00garbage", "no column"),
        (b"BEGIN:VCALENDAR\nBEGIN:VEVENT\nDTSTART:2025\nSUMMARY:x\nEND:VEVENT\nEND:VCALENDAR", "none of its 1"),
    ],
)
def test_a_calendar_that_cannot_be_read_says_what_is_wrong(body, says):
    with pytest.raises(DataError, match=says):
        parse_calendar(body, "cal")


def test_calendars_come_from_files_addresses_and_the_environment(tmp_path, web):
    address, pages, _ = web
    pages["/cal.csv"] = (200, CSV)
    clock = SimulatedClock(T0)
    assert len(read_calendar(f"{address}/cal.csv?token=secret", clock).events) == 2
    assert "secret" not in read_calendar(f"{address}/cal.csv?token=secret", clock).source
    (tmp_path / "c.csv").write_bytes(CSV)
    assert read_calendar(str(tmp_path / "c.csv"), clock).source == "c.csv"
    with pytest.raises(NotFound, match="no such file"):
        read_calendar(str(tmp_path / "none.csv"), clock)
    config = load_config(tmp_path / "config.yml", {"TRADEAGENT_CALENDAR__EVENTS": "fomc 2026-01-28T19:00Z; halving 2028-04-01"})
    assert [event.kind for event in configured_events(config)] == ["fomc", "halving"]
    with pytest.raises(InvalidInput, match="party"):
        configured_events(load_config(tmp_path / "config.yml", {"TRADEAGENT_CALENDAR__EVENTS": "party 2026-01-28"}))
