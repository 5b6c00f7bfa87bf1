"""Notifications over real HTTP on this machine: what is told to whom, how often, and what can never be in it."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tradeagent.domain.clock import HOUR_MS, SimulatedClock
from tradeagent.domain.errors import InvalidConfig, NotFound
from tradeagent.domain.names import Actor, ApprovalState, EventKind, IncidentCode, Level
from tradeagent.ledger import events, notes
from tradeagent.ledger.store import Ledger, create_ledger
from tradeagent.runtime.notifications import (
    MOST_AT_ONCE,
    Channel,
    ChannelSettings,
    Message,
    Notifier,
    channel_settings,
    message_of,
    open_channel,
    try_channels,
)
from tradeagent.workspace.config import Config, load_config

# Apprise asks the standard library for something that later versions of Python no longer have; it is prepared for that.
pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")
NOW = 1_767_787_200_000
TOKEN = "s3cr3t-t0ken-of-the-channel"
FILL = {"market": "BTC", "side": "buy", "size": "0.001", "price": "91000", "fee": "0.04", "realised_pnl": "0", "exit_reason": None}


@contextmanager
def receiver(status: int = 200) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A service on this machine: its Apprise address, and what it was sent."""
    got: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            got.append(json.loads(body))
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        yield f"json://127.0.0.1:{server.server_port}/{TOKEN}", got
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    ledger = create_ledger(tmp_path / "ledger.sqlite")
    yield ledger
    ledger.close()


def config(tmp_path: Path, text: str) -> Config:
    (tmp_path / "config.yml").write_text(text)
    return load_config(tmp_path / "config.yml", {})


def put(ledger: Ledger, kind: EventKind, data: dict[str, Any], *, wallet: str = "one", actor: Actor = Actor.SYSTEM) -> None:
    with ledger.transaction() as tx:
        events.append(tx, kind, NOW, wallet=wallet, deployment=f"{wallet}_1", actor=actor, subject="01AB", data=data)


def told(ledger: Ledger, monkeypatch: pytest.MonkeyPatch, address: str, act: Any, **settings: Any) -> None:
    """What happens while `act` runs, and a notifier follows; it has sent everything when this ends."""
    monkeypatch.setenv("PHONE", address)
    notifier = Notifier(ledger, SimulatedClock(NOW), "one", [ChannelSettings("phone", "env:PHONE", **settings)])
    notifier.start()
    act()
    notifier.stop()


def test_a_run_tells_fills_incidents_approvals_and_an_agents_words_of_its_own_wallet(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(ledger, EventKind.FILL, FILL)

    def act() -> None:
        put(ledger, EventKind.FILL, FILL | {"exit_reason": "stop", "realised_pnl": "-1.5", "side": "sell"})
        put(ledger, EventKind.FILL, FILL, wallet="other")
        put(ledger, EventKind.EQUITY, {})
        put(
            ledger,
            EventKind.APPROVAL_STATE,
            {"state": ApprovalState.WAITING.value, "plan": {"side": "buy", "market": "BTC"}, "expires_ms": 1},
        )
        put(ledger, EventKind.NOTIFICATION, {"text": "look at this", "level": "info", "agent": "btc"}, actor=Actor.AGENT)
        with ledger.transaction() as tx:
            notes.open_incident(tx, "01", notes.Incident(IncidentCode.HALT_DRAWDOWN, Level.CRITICAL, "drawdown 12 %", "one", "one_1"), NOW)

    with receiver() as (address, got):
        told(ledger, monkeypatch, address, act)
    assert [(row["type"], row["title"], row["message"]) for row in got] == [
        ("info", "TradeAgent one_1: fill", "sell 0.001 BTC at 91000, fee 0.04 USDC, PnL -1.5 USDC (stop)"),
        ("warning", "TradeAgent one_1: approval wanted", "buy BTC; it waits for `tradeagent approval approve 01AB` or decline"),
        ("info", "TradeAgent one_1: agent btc says", "“look at this”"),
        ("failure", "TradeAgent one_1: incident halt_drawdown", "drawdown 12 %"),
    ]


def test_a_channel_hears_its_level_and_its_rate_and_how_much_it_missed() -> None:
    sent: list[Message] = []

    def send(message: Message) -> bool:
        sent.append(message)
        return True

    channel = Channel(ChannelSettings("phone", None, Level.WARNING, 2), send)
    for index, level in enumerate([Level.INFO, Level.WARNING, Level.ERROR, Level.WARNING, Level.WARNING, Level.CRITICAL]):
        assert channel.deliver(Message(level, "t", str(index)), NOW + index)
    assert [message.body for message in sent] == ["1", "2", "5 (2 others were held back)"]
    channel.deliver(Message(Level.WARNING, "t", "later"), NOW + HOUR_MS + 10)
    assert sent[-1].body == "later"


def test_a_burst_is_told_by_its_newest_and_the_count_of_the_rest(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    def burst() -> None:
        with ledger.transaction() as tx:
            for number in range(MOST_AT_ONCE + 7):
                events.append(tx, EventKind.FILL, NOW, wallet="one", deployment="one_1", data=FILL | {"price": str(number)})

    with receiver() as (address, got):
        told(ledger, monkeypatch, address, burst, per_hour=1_000)
    assert len(got) == MOST_AT_ONCE
    assert "(7 others were held back)" in got[0]["message"] and got[-1]["message"].startswith(f"buy 0.001 BTC at {MOST_AT_ONCE + 6},")


def test_no_key_no_address_no_link_no_mention_and_no_control_character_is_ever_sent(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_API_KEY", "canary.value-0123456789")
    words = (
        "see https://evil.example.com/?d=1 and evil.example.com ![x](http://evil.example.com/p.png) @everyone "
        f"canary.value-0123456789 sk-abcdefgh12345678 {TOKEN} \x1b[31m\u202e price 0.5\nnext"
    )
    with receiver() as (address, got):
        told(ledger, monkeypatch, address, lambda: put(ledger, EventKind.NOTIFICATION, {"text": words, "level": "info", "agent": "a"}))
    [row] = got
    text = row["title"] + row["message"]
    for secret in ("canary", "sk-abc", TOKEN, "://", "example.com", "@", "\x1b", "\u202e", "\n"):
        assert secret not in text, secret
    assert "price 0.5 next" in text and "evil[.]example[.]com" in text


def test_a_message_is_cut(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    with receiver() as (address, got):
        told(
            ledger, monkeypatch, address, lambda: put(ledger, EventKind.NOTIFICATION, {"text": "p" * 9_000, "level": "info", "agent": "a"})
        )
    assert len(got[0]["message"]) == 500


@pytest.mark.parametrize("address", ["json://127.0.0.1:1/x", "no address at all", None])
def test_what_a_channel_does_not_take_is_an_incident_once_and_the_run_goes_on(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, address: str | None
) -> None:
    def act() -> None:
        for _ in range(3):
            put(ledger, EventKind.FILL, FILL)

    told(ledger, monkeypatch, address or "", act)
    with ledger.reading() as tx:
        rows = notes.list_incidents(tx)
    assert [(row["code"], row["level"]) for row in rows] == [("notify_failed", "warning")]
    assert "phone" in rows[0]["message"] and (address or "x") not in rows[0]["message"].replace("no address", "")


def test_a_service_that_refuses_is_a_failure_too(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    with receiver(500) as (address, got):
        told(ledger, monkeypatch, address, lambda: put(ledger, EventKind.FILL, FILL))
    assert got
    with ledger.reading() as tx:
        assert [row["code"] for row in notes.list_incidents(tx)] == ["notify_failed"]


def test_channels_are_read_from_the_configuration(tmp_path: Path) -> None:
    text = "notify:\n  phone: {url: 'env:PHONE', min_level: error, per_hour: 3}\n  mail: {url: 'keyring:mail'}\n"
    assert channel_settings(config(tmp_path, text)) == (
        ChannelSettings("mail", "keyring:mail"),
        ChannelSettings("phone", "env:PHONE", Level.ERROR, 3),
    )
    assert channel_settings(config(tmp_path, "")) == ()


@pytest.mark.parametrize(
    ("line", "part"),
    [
        (f"url: json://host/{TOKEN}", "write where the key is kept"),
        ("min_level: loud", "none of info"),
        ("per_hour: 0", "from 1 to 1000"),
        ("colour: red", "unknown key"),
    ],
)
def test_a_wrong_channel_is_refused_and_an_address_in_the_file_is_not_repeated(tmp_path: Path, line: str, part: str) -> None:
    with pytest.raises(Exception, match=part) as caught:
        config(tmp_path, f"notify:\n  phone:\n    {line}\n")
    assert TOKEN not in str(caught.value)


def test_an_address_that_is_none_is_never_part_of_the_error() -> None:
    for settings, environment in (
        (ChannelSettings("phone", None), {}),
        (ChannelSettings("phone", "env:PHONE"), {}),
        (ChannelSettings("phone", "env:PHONE"), {"PHONE": f"nonsense://{TOKEN}"}),
    ):
        with pytest.raises(InvalidConfig) as caught:
            open_channel(settings, environment)
        assert "notify.phone.url" in caught.value.message and TOKEN not in caught.value.message + caught.value.hint


def test_the_test_command_says_what_each_channel_did(tmp_path: Path) -> None:
    found = config(tmp_path, "notify:\n  phone: {url: 'env:PHONE'}\n  dead: {url: 'env:DEAD'}\n")
    with receiver() as (address, got):
        rows = try_channels(found, None, {"PHONE": address, "DEAD": "json://127.0.0.1:1/x"})
    assert [(row["name"], row["sent"]) for row in rows] == [("dead", False), ("phone", True)]
    assert [row["title"] for row in got] == ["TradeAgent: a test"]
    with pytest.raises(NotFound, match="no channel 'desk'"):
        try_channels(found, "desk", {})


def test_what_is_no_news_to_a_person_is_no_message() -> None:
    for kind in (EventKind.APPROVAL_STATE, EventKind.HALT, EventKind.EQUITY):
        row = {"kind": kind.value, "data": {"state": "halted"}, "deployment": None, "wallet": "one", "subject": ""}
        assert message_of(row) is None
