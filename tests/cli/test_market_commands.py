"""`data fetch|follow|export|compact|remove`, `market`, `news` and `calendar` as typed, against a venue on this machine."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from tradeagent.cli import entry
from tradeagent.domain.clock import HOUR_MS, MINUTE_MS
from tradeagent.hyperliquid.client import Candles, Payments
from tradeagent.hyperliquid.loopback import Fault, InfoServer, Served
from tradeagent.runtime.workspace import init_workspace

BEGIN = 1_760_000_400_000 - 1_760_000_400_000 % HOUR_MS
NOW = BEGIN + 300 * MINUTE_MS + 30_000
META = {"universe": [{"name": name, "szDecimals": 5, "maxLeverage": 40} for name in ("BTC", "kPEPE")]}
CONTEXT = {"markPx": "110.0", "oraclePx": "109.9", "midPx": None, "prevDayPx": "100.0", "funding": "0.0000125"}
CONTEXT |= {"openInterest": "5.0", "dayNtlVlm": "1000.0", "impactPxs": None, "premium": None}
BOOK = {"coin": "BTC", "time": NOW, "levels": [[{"px": "99.0", "sz": "1.0", "n": 1}], [{"px": "101.0", "sz": "2.0", "n": 3}]]}
Answer = tuple[int, object]


@pytest.fixture
def venue() -> Iterator[InfoServer]:
    steps = np.arange(301, dtype=np.int64)
    opens = 60_000.0 + steps
    candles = Candles(BEGIN + steps * MINUTE_MS, np.array([opens, opens + 2, opens - 2, opens + 1, steps + 0.5]))
    hours = np.arange(-3, 6, dtype=np.int64)
    answers = {
        "meta": META,
        "metaAndAssetCtxs": [META, [CONTEXT, CONTEXT | {"dayNtlVlm": "5000.0"}]],
        "l2Book": BOOK,
        "allMids": {"BTC": "1.0"},
    }
    served = Served(lambda: NOW, answers, {("BTC", MINUTE_MS): candles}, {"BTC": Payments(BEGIN + hours * HOUR_MS + 40, hours * 1e-6)})
    with InfoServer(served) as server:
        yield server


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    init_workspace(tmp_path / "ws")
    return tmp_path / "ws"


@pytest.fixture
def ask(workspace: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., Answer]:
    def typed(*arguments: str, json_output: bool = True) -> Answer:
        code = entry.run(["--workspace", str(workspace), *arguments, *(["--json"] if json_output else [])])
        printed = capsys.readouterr().out
        return code, json.loads(printed) if json_output else printed

    return typed


def _fetch(venue: InfoServer) -> list[str]:
    return ["data", "fetch", "--market", "BTC", "--interval", "1m", "--url", venue.url]


def test_fetched_bars_are_reported_as_imported_ones_are(ask, venue):
    code, report = ask(*_fetch(venue), "--funding")
    assert code == 0
    imported = {
        "venue",
        "market",
        "interval",
        "rows_read",
        "rows_written",
        "duplicates",
        "gaps",
        "missing_bars",
        "bad_rows",
        "first",
        "last",
    }
    assert imported <= set(report)
    assert (report["rows_written"], report["first"], report["last"]) == (300, "2025-10-09T09:00:00Z", "2025-10-09T13:59:00Z")
    assert report["funding_report"]["rows_written"] == 6
    assert report["weight"] >= 20
    assert report["not_served"] is None
    assert ask(*_fetch(venue), "--from", "2025-10-09T09:00Z")[1]["requests"] == 0
    assert ask("data", "verify")[1]["ok"]
    assert ask("data", "gaps") == (0, [])
    assert {row["interval"] for row in ask("data", "list")[1]} == {"1m", "1h"}


def test_a_span_older_than_the_venues_says_so(ask, venue):
    _, report = ask(*_fetch(venue), "--from", "2025-10-08")
    assert report["not_served"] == {"from": "2025-10-08T00:00:00Z", "to": "2025-10-09T09:00:00Z"}


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["--market", "BTCC"], 4, "BTC"),
        (["--market", "BTC", "--interval", "7m"], 2, "1m, 3m, 5m, 15m, 30m, 1h, 2h, 4h, 8h, 12h, 1d, 3d, 1w"),
        (["--market", "BTC", "--interval", "soon"], 2, "soon"),
        (["--market", "BTC", "--from", "2025-10-09", "--to", "2025-10-08"], 2, "from"),
        (["--market", "BTC", "--from", "yesterday"], 2, "yesterday"),
        (["--market", "BTC", "--from", "2099-01-01"], 2, "past"),
        (["--market", "BTC", "--interval", "1m", "--url", "ftp://x"], 2, "--url"),
    ],
)
def test_a_wrong_argument_of_fetch_is_named(ask, venue, arguments, code, says):
    url = [] if "--url" in arguments else ["--url", venue.url]
    answer = ask("data", "fetch", *arguments, *url)
    assert answer[0] == code
    assert says in json.dumps(answer[1]["error"])


def test_a_venue_that_is_away_is_exit_5_with_a_hint(ask, venue):
    venue.faults.extend([Fault(status=422)])
    code, answer = ask(*_fetch(venue))
    assert (code, answer["error"]["code"]) == (5, "venue_error")
    assert answer["error"]["hint"]


def test_following_once_prints_a_line_a_bar(ask, venue):
    code, line = ask("data", "follow", "--market", "BTC", "--interval", "1m", "--once", "--jsonl", "--url", venue.url)
    assert (code, line["time"], line["close"]) == (0, "2025-10-09T13:59:00Z", "60300")
    code, text = ask("data", "follow", "--market", "BTC", "--interval", "1m", "--once", "--url", venue.url, json_output=False)
    assert (code, text) == (0, "")


def test_ctrl_c_ends_following_cleanly(workspace, venue):
    command = [sys.executable, "-m", "tradeagent", "-w", str(workspace), "data", "follow", "-m", "BTC", "-i", "1m", "--url", venue.url]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ})
    assert process.stdout is not None
    assert "60300" in process.stdout.readline()
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Traceback" not in errors
    assert "run the same command again" in errors


def test_export_compact_and_remove_go_round(ask, venue, tmp_path, workspace):
    ask(*_fetch(venue))
    file = tmp_path / "out.csv"
    code, report = ask("data", "export", str(file), "--market", "BTC", "--interval", "1m")
    assert (code, report["rows"], report["format"]) == (0, 300, "csv")
    assert ask("data", "export", str(file), "--market", "BTC", "--interval", "1m")[0] == 2
    assert ask("data", "compact")[1]["series"][0]["rows"] == 300
    code, refused = ask("data", "remove", "--market", "BTC", "--interval", "1m")
    assert code == 2
    assert "newest 5,000" in refused["error"]["message"]
    code, removed = ask("data", "remove", "--market", "BTC", "--interval", "1m", "--yes")
    assert (code, removed["rows"]) == (0, 300)
    assert ask("data", "remove", "--market", "BTC", "--interval", "1m", "--yes")[0] == 4
    assert ask("data", "import", str(file), "--market", "BTC", "--interval", "1m")[1]["rows_written"] == 300


def test_market_commands_read_the_venue(ask, venue):
    url = ["--url", venue.url]
    assert [row["market"] for row in ask("market", "search", *url)[1]] == ["kPEPE", "BTC"]
    assert [row["market"] for row in ask("market", "search", "pepe", *url)[1]] == ["kPEPE"]
    shown = ask("market", "show", "BTC", *url)[1]
    assert (shown["size_step"], shown["min_notional"], shown["max_leverage"], shown["source"]) == ("0.00001", "10", 40, "venue")
    ticker = ask("market", "ticker", "BTC", *url)[1]
    assert (ticker["mark_price"], ticker["day_change_pct"], ticker["mid_price"]) == ("110", "10.00", None)
    assert ask("market", "ticker", "NOPE", *url)[0] == 4
    book = ask("market", "book", "BTC", *url)[1]
    assert (book["bids"][0], book["spread_bps"]) == ({"price": "99", "size": "1", "orders": 1}, "200.000")
    live = ask("market", "candles", "BTC", "--interval", "1m", "-n", "3", *url)[1]
    assert {type(value) for bar in live for value in bar.values()} == {str}
    assert [bar["time"] for bar in live] == [f"2025-10-09T13:{minute}:00Z" for minute in (57, 58, 59)]
    assert [row["time"] for row in ask("market", "funding", "BTC", "-n", "2", *url)[1]] == ["2025-10-09T13:00:00Z", "2025-10-09T14:00:00Z"]


def test_market_commands_work_offline_from_what_is_stored(ask, venue):
    shown = ask("market", "show", "BTC", "--offline")[1]
    assert (shown["max_leverage"], shown["source"]) == (40, "built in")
    assert "built-in table" in shown["note"]
    assert [row["market"] for row in ask("market", "search", "fart", "--offline")[1]] == ["FARTCOIN"]
    code, answer = ask("market", "candles", "BTC", "--interval", "1m")
    assert code == 4
    assert "data fetch" in answer["error"]["hint"]
    ask(*_fetch(venue), "--funding")
    assert len(ask("market", "candles", "BTC", "--interval", "1m", "-n", "500")[1]) == 300
    (bar,) = ask("market", "candles", "BTC", "--interval", "1m", "-n", "1", "--as-of", "2025-10-09T09:05:59Z")[1]
    assert bar == {"time": "2025-10-09T09:04:00Z", "open": "60004", "high": "60006", "low": "60002", "close": "60005", "volume": "4.5"}
    assert ask("market", "funding", "BTC", "-n", "1")[1][0]["rate"] == "0.0000050000"


def test_a_market_of_config_yml_is_known_everywhere(ask, workspace):
    ask("config", "set", "instruments.XYZ.size_decimals", "3", json_output=False)
    ask("config", "set", "instruments.XYZ.max_leverage", "7", json_output=False)
    assert ask("market", "show", "XYZ", "--offline")[1]["max_leverage"] == 7
    (workspace / "x.csv").write_text("time,open,high,low,close,volume\n1760000400,1.00001,1.0001,0.9,1,5\n1760004000,1,1,1,1,5\n")
    assert ask("data", "import", str(workspace / "x.csv"), "--market", "XYZ")[1]["off_grid"] == 1


def test_calendar_events_are_imported_listed_and_added(ask, workspace, monkeypatch):
    (workspace / "c.csv").write_text("time,title,impact\n2031-01-28T19:00Z,FOMC statement,High\n2031-02-12,Bake sale,Low\n")
    assert ask("calendar", "import", str(workspace / "c.csv"))[1]["written"] == 2
    assert ask("calendar", "import", str(workspace / "c.csv"))[1]["sources"][0]["duplicates"] == 2
    assert [row["kind"] for row in ask("calendar", "list", "--min-importance", "0.7")[1]] == ["fomc"]
    assert ask("calendar", "list", "--as-of", "2025-01-01", "--from", "2025-01-01")[1] == []
    (workspace / "d.csv").write_text("time,title,impact\n2031-03-01,FOMC,1.5\n2031-03-02,FOMC,High\nsoon,FOMC,\n")
    (row,) = ask("calendar", "import", str(workspace / "d.csv"))[1]["sources"]
    assert (row["read"], row["written"], row["skipped"]) == (3, 1, 2)
    assert row["mistakes"][0].startswith("entry 1: importance: '1.5' is not a number") and "'soon' is no time" in row["mistakes"][1]
    code, added = ask("calendar", "add", "nfp", "--at", "2031-02-07T13:30Z", "--symbol", "BTC")
    assert (code, added["written"], added["importance"], added["symbols"]) == (0, True, 0.9, ["BTC"])
    assert ask("calendar", "add", "party", "--at", "2031-02-07")[0] == 2
    assert ask("calendar", "list", "--kind", "party")[0] == 2
    assert ask("calendar", "list", "--from", "2031-01-01", "--to", "2030-01-01")[0] == 2
    assert ask("calendar", "list", "--to", "2020-01-01")[0] == 2
    assert ask("calendar", "import")[0] == 2
    monkeypatch.setenv("TRADEAGENT_CALENDAR__EVENTS", "halving 2032-04-01")
    assert ask("calendar", "import")[1]["sources"][0]["written"] == 1


def test_news_need_a_source_and_a_failing_one_is_exit_5(ask):
    assert ask("news", "list") == (0, [])
    code, answer = ask("news", "fetch")
    assert code == 2
    assert "news.feeds" in answer["error"]["hint"]
    ask("config", "set", "news.cryptopanic.api_key", "env:NO_SUCH_VARIABLE", json_output=False)
    code, answer = ask("news", "fetch")
    assert code == 5
    assert "NO_SUCH_VARIABLE" in answer["error"]["message"]
    assert ask("news", "fetch", "--source", "nowhere")[0] == 4
    assert ask("news", "search", "bitcoin") == (0, [])


RSS = b"""<rss version="2.0"><channel><title>W</title><item><guid>1</guid><title>Fed holds rates</title>
<pubDate>Fri, 10 Jan 2025 21:00:00 GMT</pubDate></item><item><guid>2</guid><title>Bitcoin and ETH rise</title></item></channel></rss>"""


class _Feed(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/rss" else 404)
        self.end_headers()
        self.wfile.write(RSS)

    def log_message(self, *args: object) -> None:
        pass


def test_news_are_fetched_listed_searched_and_looked_through_for_events(ask):
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Feed)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        for name, path in (("wire", "rss"), ("gone", "nothing")):
            ask("config", "set", f"news.feeds.{name}", f"http://127.0.0.1:{server.server_address[1]}/{path}", json_output=False)
        code, report = ask("news", "fetch")
        again = ask("news", "fetch", "--source", "wire")[1]
    finally:
        server.shutdown()
        server.server_close()
    assert (code, report["written"], report["events_written"]) == (0, 2, 1)
    assert [(row["source"], row["error"] is None) for row in report["sources"]] == [("gone", False), ("wire", True)]
    assert (again["written"], again["events_written"], again["sources"][0]["duplicates"]) == (0, 0, 2)
    assert [row["title"] for row in ask("news", "search", "bitcoin")[1]] == ["Bitcoin and ETH rise"]
    assert [row["external_id"] for row in ask("news", "list", "--symbol", "ETH")[1]] == ["2", "1"]
    assert ask("news", "list", "--as-of", "2025-01-11")[1] == [], "nobody had it then"
    assert [row["kind"] for row in ask("calendar", "list", "--from", "2025-01-01")[1]] == ["fomc"]
    assert ask("calendar", "list", "--from", "2025-01-01", "--as-of", "2025-01-11")[1] == []


def test_one_unreadable_month_file_stops_only_its_own_series(ask, venue, workspace):
    ask(*_fetch(venue), "--funding")
    (file,) = (workspace / "data").rglob("1m/*.parquet")
    file.write_bytes(b"garbage")
    code, told = ask("data", "verify")
    good, bad = sorted(told["series"], key=lambda row: row["ok"], reverse=True)
    assert (code, told["ok"], good["rows"], bad["unreadable"]["file"]) == (1, False, 6, str(file))
    code, listed = ask("data", "list")
    assert (code, sorted(row["rows"] for row in listed)) == (0, [0, 6])
    code, packed = ask("data", "compact")
    assert (code, len(packed["series"]), packed["unreadable"][0]["file"]) == (1, 1, str(file))
    assert ask("data", "gaps") == (1, [])
    code, refused = ask("data", "export", str(workspace / "out.csv"), "--market", "BTC", "--interval", "1m")
    assert (code, refused["error"]["details"]["file"]) == (2, str(file))
    file.unlink()
    assert ask(*_fetch(venue))[1]["rows_written"] == 300
    assert ask("data", "verify")[0] == 0


def test_doctor_names_a_store_that_cannot_be_read(ask, workspace):
    def found():
        rows = {row["name"]: row for row in ask("doctor")[1]["checks"]}
        return rows["results"], rows["news and events"]

    assert [row["ok"] for row in found()] == [True, True]
    ask("calendar", "add", "nfp", "--at", "2031-02-07T13:30Z")
    assert [row["ok"] for row in found()] == [True, True]
    for name in ("research.duckdb", "events.duckdb"):
        (workspace / "data" / name).write_bytes(b"garbage " * 1000)
    assert [row["ok"] for row in found()] == [False, False]
    assert all("move" in row["fix"] and "away" in row["fix"] for row in found())


def test_an_import_obeys_what_is_said_of_the_file(ask, workspace):
    (workspace / "o.csv").write_text("ts,o,h,l,c,v\n" + "".join(f"{1760004000 + 60 * i},1,2,1,1.5,3\n" for i in range(3)))
    command = ("data", "import", str(workspace / "o.csv"), "--market", "ZZZ", "--interval", "1m")
    code, told = ask(*command, "--columns", "time=ts,open=c", "--columns", "close=o", "--time-unit", "s")
    assert (code, told["rows_written"], told["time_unit"]) == (0, 3, "s")
    assert told["columns"] == {"time": "ts", "open": "c", "high": "h", "low": "l", "close": "o", "volume": "v"}
    for flags, says in (
        (("--time-unit", "min"), "'min' is not a unit"),
        (("--time-unit", "ms"), "no time of our days in ms"),
        (("--columns", "time"), "'time' is not WHICH=COLUMN"),
        (("--columns", "time=ts,"), "'' is not WHICH=COLUMN"),
        (("--columns", "time=ts,time=o"), "time is given twice, as 'ts' and 'o'"),
        (("--columns", "time=when"), "no column 'when' for time"),
    ):
        code, answer = ask(*command, *flags)
        assert code == 2 and says in answer["error"]["message"] and answer["error"]["hint"]
