"""What `doctor` finds on the network: servers that answer, are gone or stay silent, and a clock that is wrong."""

import email.utils
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tradeagent.cli import entry
from tradeagent.domain.clock import SystemClock
from tradeagent.ledger import wallets
from tradeagent.ledger.store import open_ledger

MODEL = "openai/own"
Rows = dict[str, dict[str, Any]]


@contextmanager
def server(status: int = 404, ahead_s: float = 0.0) -> Iterator[str]:
    """Answers every GET with a status and a Date."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response_only(status)
            self.send_header("Date", email.utils.formatdate(time.time() + ahead_s, usegmt=True))
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            pass

    served = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=served.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{served.server_port}"
    finally:
        served.shutdown()
        served.server_close()


@pytest.fixture
def gone() -> str:
    """An address on this machine where nobody listens."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{closed.getsockname()[1]}"


@pytest.fixture
def doctor(root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Rows]:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-canary-77aa00")

    def asked(venue: str, model: str | None = None) -> Rows:
        monkeypatch.setenv("TRADEAGENT_HYPERLIQUID__URL", venue)
        if model is not None:
            agent = next((root / "trading_agents").glob("*/agent.md"))
            lines = agent.read_text().split("\n")
            agent.write_text("\n".join(f"model: {MODEL}" if line.startswith("model:") else line for line in lines))
            monkeypatch.setenv("OPENAI_BASE_URL", model)
        entry.run(["--workspace", str(root), "doctor", "--json"])
        return {row["name"]: row for row in json.loads(capsys.readouterr().out)["checks"]}

    return asked


def test_what_answers_is_ok_whatever_it_answers_and_the_clocks_agree(doctor: Callable[..., Rows]) -> None:
    with server(404) as venue, server(401) as model:
        rows = doctor(venue, f"{model}/v1")
    assert [rows[name]["ok"] for name in ("clock", "venue", "model servers")] == [True, True, True]
    assert (rows["venue"]["detail"], rows["model servers"]["detail"]) == (f"{venue} answers", f"{MODEL} answers")
    assert "the servers asked" in rows["clock"]["detail"]


def test_a_venue_that_is_gone_is_a_note_on_paper_and_a_failure_for_a_wallet_on_it(
    doctor: Callable[..., Rows], gone: str, root: Path
) -> None:
    rows = doctor(gone)
    assert rows["venue"]["ok"] and f"{gone}: the connection failed" in rows["venue"]["detail"] and "paper" in rows["venue"]["detail"]
    assert rows["clock"]["ok"] and "nobody was there" in rows["clock"]["detail"]
    ledger = open_ledger(root / "state" / "ledger.sqlite")
    with ledger.transaction() as tx:
        wallets.create(tx, wallets.WalletRow("far", "hyperliquid", "testnet", "agent", {}, SystemClock().now_ms()))
    ledger.close()
    rows = doctor(gone)
    assert not rows["venue"]["ok"] and "needed by far" in rows["venue"]["detail"] and rows["venue"]["fix"]


def test_a_models_server_that_is_gone_is_a_failure_that_names_the_model(doctor: Callable[..., Rows], gone: str) -> None:
    with server() as venue:
        rows = doctor(venue, f"{gone}/v1")
        assert not rows["model servers"]["ok"] and f"{MODEL}: the connection failed" in rows["model servers"]["detail"]
        assert "models.<id>.base_url" in rows["model servers"]["fix"]
        with server(503) as model:
            rows = doctor(venue, model)
    assert not rows["model servers"]["ok"] and "answered 503" in rows["model servers"]["detail"]


@pytest.mark.parametrize(("ahead_s", "ok", "words"), [(-120, False, "120 s ahead of"), (60, False, "60 s behind"), (2, True, "behind")])
def test_a_clock_that_is_wrong_is_told_with_how_far(doctor: Callable[..., Rows], ahead_s: float, ok: bool, words: str) -> None:
    with server(200, ahead_s) as venue:
        row = doctor(venue)["clock"]
    assert row["ok"] is ok and bool(row["fix"]) is not ok
    assert words in row["detail"].replace("121", "120").replace("119", "120").replace("61", "60").replace("59", "60")


def test_servers_that_stay_silent_cost_two_seconds_together(doctor: Callable[..., Rows]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as first, socket.create_server(("127.0.0.1", 0)) as second:
        venue, model = (f"http://127.0.0.1:{each.getsockname()[1]}" for each in (first, second))
        rows = doctor(venue, model)
    assert rows["venue"]["ok"] and "silent for 2 s" in rows["venue"]["detail"]
    assert not rows["model servers"]["ok"] and "silent for 2 s" in rows["model servers"]["detail"]


def test_a_broken_agent_hides_neither_the_venue_nor_the_other_servers(doctor: Callable[..., Rows], root: Path, gone: str) -> None:
    (root / "trading_agents" / "btc_momentum" / "agent.md").write_text("---\nname: [\n---\n")
    rows = doctor(gone)
    assert not rows["agents"]["ok"] and rows["venue"]["ok"] and rows["model servers"]["ok"]
