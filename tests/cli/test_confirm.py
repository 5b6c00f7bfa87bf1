"""`confirm` and `drafts` as typed: what is printed, what comes as JSON, exit codes, and asking on a real terminal."""

import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

sys.path.append(str(Path(__file__).resolve().parents[1] / "assistant"))

from card_stage import Stage, make
from test_drafts import written

from tradeagent.assistant import cards as prepared
from tradeagent.assistant.drafts import Bench
from tradeagent.cli import complete, entry
from tradeagent.domain.clock import SystemClock
from tradeagent.domain.names import CardKind

Ask = Callable[..., tuple[int, Any]]


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return make(tmp_path / "ws")


@pytest.fixture
def bench(stage: Stage) -> Bench:
    """Cards here expire by the wall clock, as commands see it."""
    return Bench(stage.bench.workspace, stage.bench.config, stage.ledger, SystemClock(), stage.bench.known)


@pytest.fixture
def ask(stage: Stage, capsys: pytest.CaptureFixture[str]) -> Ask:
    def typed(*arguments: str) -> tuple[int, Any]:
        capsys.readouterr()
        code = entry.run(["--workspace", str(stage.place.workspace.root), *arguments, "--json"])
        return code, json.loads(capsys.readouterr().out)

    return typed


def draft_card(stage: Stage, bench: Bench) -> str:
    return prepared.prepare(bench, CardKind.SAVE_DRAFT, prepared.save_draft(bench, written(stage).id, None), None).id


def on_a_terminal(stage: Stage, answer: bytes, *arguments: str) -> tuple[int, str]:
    """The command with somebody at the keyboard who types `answer`."""
    leader, follower = pty.openpty()
    command = [sys.executable, "-m", "tradeagent", "-w", str(stage.place.workspace.root), *arguments]
    process = subprocess.Popen(command, stdin=follower, stdout=follower, stderr=follower, env={**os.environ, "TERM": "xterm"})
    os.close(follower)
    os.write(leader, answer)
    shown = b""
    while True:
        try:
            part = os.read(leader, 65_536)
        except OSError:
            break
        if not part:
            break
        shown += part
    os.close(leader)
    return process.wait(30), shown.decode("utf-8", errors="replace")


def test_a_card_that_is_not_there_exits_4(ask: Ask) -> None:
    code, found = ask("confirm", "NOSUCH", "--yes")
    assert code == 4 and found["error"]["code"] == "not_found" and "--list" in found["error"]["hint"]
    assert ask("confirm")[0] == 2


def test_without_a_terminal_it_needs_yes_and_gives_the_card(ask: Ask, stage: Stage, bench: Bench) -> None:
    card = draft_card(stage, bench)
    code, found = ask("confirm", card)
    assert code == 2 and found["error"]["hint"] == "repeat with --yes"
    assert found["error"]["details"]["card"] == card and "consequences" in found["error"]["details"]
    code, found = ask("confirm", card[-6:], "--yes")
    assert code == 0 and found["state"] == "committed" and found["result"] == {"kind": "agent", "name": "btc_breakout", "version": 1}
    code, found = ask("confirm", card, "--yes")
    assert code == 3 and found["error"]["code"] == "gate_failed" and found["error"]["details"]["state"] == "committed"


def test_void_and_expired_cards_exit_3(ask: Ask, stage: Stage, bench: Bench) -> None:
    old = draft_card(stage, stage.bench)  # made by a clock that is years ahead or behind: see its expiry
    with stage.ledger.transaction() as tx:
        from sqlalchemy import update

        from tradeagent.ledger.minds_schema import cards

        tx.execute(update(cards).where(cards.c.id == old).values(expires_ms=1))
    code, found = ask("confirm", old, "--yes")
    assert (code, found["error"]["details"]["state"]) == (3, "expired")
    card = draft_card(stage, bench)
    stage.place.workspace.agent_dir("btc_breakout").mkdir(parents=True)
    (stage.place.workspace.agent_dir("btc_breakout") / "agent.md").write_text("mine")
    code, found = ask("confirm", card, "--yes")
    assert code == 3 and "is void" in found["error"]["message"]
    assert (stage.place.workspace.agent_dir("btc_breakout") / "agent.md").read_text() == "mine"


def test_the_list_and_dismissing(ask: Ask, stage: Stage, bench: Bench) -> None:
    assert ask("confirm", "--list") == (0, [])
    card = draft_card(stage, bench)
    (row,) = ask("confirm", "--list")[1]
    assert (row["card"], row["state"], row["open_ended"]) == (card, "waiting", False)
    assert complete.cards(card[:4]) == [card]
    assert ask("confirm", card, "--dismiss")[1]["state"] == "dismissed"
    assert ask("confirm", card, "--yes")[0] == 3


@pytest.mark.parametrize(("key", "code", "state"), [(b"y\n", 0, "committed"), (b"n\n", 130, "waiting"), (b"\n", 130, "waiting")])
def test_on_a_terminal_it_shows_the_card_and_asks(stage: Stage, bench: Bench, key: bytes, code: int, state: str) -> None:
    card = draft_card(stage, bench)
    ended, shown = on_a_terminal(stage, key, "confirm", card)
    assert "becomes: agent btc_breakout" in shown and "Buy breakouts" in shown
    assert ended == code and stage.card(card).state == state


@pytest.mark.slow
def test_an_algo_is_deployed_restarted_and_stopped_by_cards(ask: Ask, tmp_path: Path) -> None:
    stage = make(tmp_path / "run", bars=600)
    stage.wallet("alpha")
    bench = Bench(stage.bench.workspace, stage.bench.config, stage.ledger, SystemClock(), stage.bench.known)
    where = ("-w", str(tmp_path / "run"))

    def confirmed(kind: CardKind, action: dict[str, Any], *flags: str) -> dict[str, Any]:
        code, found = ask("confirm", prepared.prepare(bench, kind, action, None).id, "--yes", *flags, *where)
        assert code == 0, found
        result: dict[str, Any] = found["result"]
        return result

    action = prepared.deploy_algo(bench, "sma_cross", "alpha", ("synthetic", "BTC", "1h"), {}, None)
    refused = prepared.prepare(bench, CardKind.DEPLOY, action, None)
    code, found = ask("confirm", refused.id, "--yes", *where)
    assert code == 3 and found["error"]["details"]["failed_gates"] == ["backtest", "rolling_cv"]
    try:
        first = confirmed(CardKind.DEPLOY, action, "--override")
        assert first["state"] == "running" and first["wallet"] == "alpha"
        second = confirmed(CardKind.RESTART, prepared.restart(bench, first["deployment"]), "--override")
        assert second["deployed"]["pid"] != first["pid"] and second["stopped"]["state"] == "done"
        ended = confirmed(CardKind.STOP, prepared.stop(second["deployed"]["deployment"], unwind=False))
        assert ended["state"] == "done"
        assert {row["state"] for row in ask("status", *where)[1]["deployments"]} == {"stopped"}
    finally:
        ask("stop", "sma_cross", *where)  # whatever failed above, nothing runs on


def test_drafts_as_typed(ask: Ask, stage: Stage) -> None:
    assert ask("drafts") == (0, [])
    row = written(stage)
    (listed,) = ask("drafts", "list")[1]
    assert listed["draft"] == row.id and listed["ready"] and complete.drafts("0") == [row.id]
    shown = ask("drafts", "show", row.id[-6:])[1]
    assert shown["chips"]["schedule"] == {"state": "ok"} and "Buy breakouts" in shown["text"]
    assert ask("drafts", "rm", row.id)[0] == 2  # it is not saved, and nobody can be asked
    assert ask("drafts", "save", row.id) == (0, {"kind": "agent", "name": "btc_breakout", "version": 1})
    assert ask("drafts", "rm", row.id)[1] == {"draft": row.id, "removed": True}
    assert ask("drafts", "show", row.id)[0] == 4
    assert ask("agent", "validate", "btc_breakout")[0] == 0
