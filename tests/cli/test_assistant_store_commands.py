"""`memory`, `skills` and `sessions` as typed: what is printed, what comes as JSON, and how a mistake is answered."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tradeagent.assistant.sessions import Sessions
from tradeagent.cli import complete
from tradeagent.cli.session import Globals, set_globals
from tradeagent.domain.clock import SystemClock
from tradeagent.llm.contract import Message, TextDelta, TurnFinished
from tradeagent.llm.usage import Usage
from tradeagent.workspace.paths import Workspace

Ask = Callable[..., tuple[int, Any]]


def run(root: Path, *arguments: str, piped: str | bytes = b"") -> "subprocess.CompletedProcess[bytes]":
    """A command line in a process of its own."""
    command = [sys.executable, "-m", "tradeagent", "--workspace", str(root), *arguments]
    given = piped.encode() if isinstance(piped, str) else piped
    return subprocess.run(command, input=given, capture_output=True, check=False, timeout=60)


def talked(root: Path) -> str:
    """One conversation, as a chat leaves it; its id."""
    with Sessions(Workspace(root), SystemClock()).create(model="offline/assistant") as session:
        session.ask("why do grids lose?")
        session.take(TextDelta("Trends."))
        session.take(TurnFinished("stop", "Trends.", (Message("assistant", "Trends."),), Usage(), 0))
    return session.settings.id


def test_an_empty_workspace_says_what_to_do_next(root: Path) -> None:
    for command, told in ((["memory", "ls"], b"tradeagent memory write"), (["sessions", "list"], b"a chat with the assistant makes one")):
        done = run(root, *command)
        assert (done.returncode, done.stderr) == (0, b"")
        assert told in done.stdout


def test_a_note_goes_in_by_pipe_and_comes_out_as_it_was(root: Path) -> None:
    text = "# Basis\n\nfünding pays\n"
    done = run(root, "memory", "write", "research/basis.md", "--json", piped=text)
    assert done.returncode == 0
    assert json.loads(done.stdout)["path"] == "research/basis.md"
    assert run(root, "memory", "append", "research/basis.md", "each hour").returncode == 0
    assert run(root, "memory", "read", "research/basis.md").stdout.decode() == text + "each hour\n"
    found = json.loads(run(root, "memory", "search", "funding", "hour", "--json").stdout)
    assert [(hit["path"], hit["title"]) for hit in found] == [("research/basis.md", "Basis")]
    assert "**fünding** pays" in found[0]["snippet"]
    listed = json.loads(run(root, "memory", "ls", "--json").stdout)
    assert [(set(row), row["size"]) for row in listed] == [({"path", "size", "modified_at"}, 33)]


@pytest.mark.parametrize(
    ("arguments", "code", "error"),
    [
        (["memory", "write", "../x.md", "x"], 2, "invalid_input"),
        (["memory", "write", "x.txt", "x"], 2, "invalid_input"),
        (["memory", "write", "x.md", " "], 2, "invalid_input"),
        (["memory", "read", "no.md"], 4, "not_found"),
        (["memory", "rm", "no.md", "--yes"], 4, "not_found"),
        (["memory", "search", "…"], 2, "invalid_input"),
        (["memory", "search", "x", "--folder", "/etc"], 2, "invalid_input"),
        (["skills", "show", "no"], 4, "not_found"),
        (["skills", "show", "../x"], 2, "invalid_input"),
        (["sessions", "show", "last"], 4, "not_found"),
        (["sessions", "rm", "../..", "--yes"], 4, "not_found"),
    ],
)
def test_a_mistake_has_a_code_a_name_and_a_way_on(ask: Ask, arguments: list[str], code: int, error: str) -> None:
    found, document = ask(*arguments)
    assert (found, document["error"]["code"]) == (code, error)
    assert document["error"]["hint"]


def test_what_is_piped_must_be_text(root: Path) -> None:
    done = run(root, "memory", "write", "a.md", piped=b"\xff\xfe")
    assert (done.returncode, done.stdout) == (2, b"")
    assert b"not UTF-8: byte 1" in done.stderr
    assert b"Traceback" not in done.stderr
    done = run(root, "memory", "write", "a.md", piped=b"x" * (1 << 21))
    assert (done.returncode, b"at most 1,048,576" in done.stderr) == (2, True)


def test_a_note_is_deleted_only_after_a_yes(ask: Ask, root: Path) -> None:
    ask("memory", "write", "a.md", "x")
    code, document = ask("memory", "rm", "a.md")
    assert (code, document["error"]["hint"]) == (2, "add --yes")
    assert (root / "memory/a.md").exists()
    assert ask("memory", "rm", "a.md", "--yes") == (0, {"path": "a.md", "removed": True})
    assert not (root / "memory/a.md").exists()


def test_skills_are_listed_with_cost_and_shown(ask: Ask, root: Path) -> None:
    (root / "skills/mine.md").write_text("---\nname: other\n---\nx")
    _, rows = ask("skills", "list")
    assert ask("skills") == (0, rows)
    assert [row["name"] for row in rows] == ["agent-authoring", "backtest-review", "risk-first-sizing", "mine"]
    assert all(row["tokens"] > 100 and row["problem"] is None for row in rows[:3])
    assert "mine.md:1: description must be one line of text" in rows[3]["problem"]
    _, shown = ask("skills", "show", "backtest-review")
    assert shown["body"].startswith("# Reviewing a backtest")


def test_a_conversation_is_listed_shown_searched_exported_and_deleted(ask: Ask, root: Path, tmp_path: Path) -> None:
    name = talked(root)
    _, rows = ask("sessions", "list")
    assert ask("sessions") == (0, rows)
    assert [(row["id"], row["title"], row["model"]) for row in rows] == [(name, "why do grids lose?", "offline/assistant")]
    _, shown = ask("sessions", "show", "last")
    assert [record["kind"] for record in shown["records"]] == ["message", "message", "turn"]
    assert [hit["id"] for hit in ask("sessions", "search", "trends")[1]] == [name]
    page = run(root, "sessions", "export", name[-6:].lower()).stdout.decode()
    assert "## Assistant" in page
    assert "Trends." in page
    out = tmp_path / "chat.md"
    assert ask("sessions", "export", "last", "--out", str(out))[0] == 0
    assert out.read_text() == page
    assert ask("sessions", "export", "last", "--out", str(out))[1]["error"]["code"] == "invalid_input"
    with Sessions(Workspace(root), SystemClock()).open(name):
        code, document = ask("sessions", "rm", name, "--yes")
        assert (code, document["error"]["code"]) == (6, "busy")
    assert ask("sessions", "rm", name, "--yes")[0] == 0
    assert ask("sessions", "list") == (0, [])


def test_names_are_completed(root: Path) -> None:
    (root / "memory").mkdir()
    (root / "memory/basis.md").write_text("x")
    name = talked(root)
    set_globals(Globals(workspace=str(root)))
    assert complete.notes("ba") == ["basis.md"]
    assert complete.skills("risk") == ["risk-first-sizing"]
    assert complete.sessions("") == ["last", name]
    set_globals(Globals(workspace=str(root / "nowhere")))
    assert (complete.notes(""), complete.skills(""), complete.sessions("")) == ([], [], [])


def test_a_read_only_workspace_is_said(root: Path) -> None:
    if os.geteuid() == 0:
        (root / "state").rename(root / "was")
        (root / "state").write_text("a file in the way")
    else:
        (root / "state").chmod(0o500)
    done = run(root, "memory", "write", "a.md", "x")
    assert done.returncode == 2
    assert b"cannot write" in done.stderr
    assert not (root / "memory").exists()
