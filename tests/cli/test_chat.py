"""`chat` as typed: one question, what is piped in, a conversation on a terminal; Ctrl-C, `kill -9`, and every way to ask wrongly."""

import io
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from terminal import Terminal

from tradeagent.ledger import threads
from tradeagent.ledger.store import Ledger, open_ledger

sys.path.append(str(Path(__file__).resolve().parents[1] / "e2e"))
sys.path.append(str(Path(__file__).resolve().parents[1] / "llm"))

from loopback import END, ROLE, Loopback, Reply, chunk, failure, text_reply, tool_piece
from product import Answer, Product


def command(root: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "tradeagent", "--workspace", str(root), *arguments]


def run(root: Path, *arguments: str, piped: bytes = b"", **env: str) -> "subprocess.CompletedProcess[bytes]":
    return subprocess.run(command(root, *arguments), input=piped, capture_output=True, check=False, timeout=120, env={**os.environ, **env})


def here(root: Path, *arguments: str, piped: bytes = b"", **env: str) -> Answer:
    """The same in this process, where starting one proves nothing."""
    with mock.patch.object(sys, "stdin", io.TextIOWrapper(io.BytesIO(piped))):
        return Product(root, env).here(*arguments)


def answered(root: Path, *arguments: str, **options: Any) -> dict[str, Any]:
    done = run(root, *arguments, "--json", **options)
    assert (done.returncode, done.stderr) == (0, b""), done
    return dict(json.loads(done.stdout))


def test_one_question_has_one_document_and_a_session_to_go_on_with(root: Path) -> None:
    first = answered(root, "chat", "list", "the", "algorithms", "--mode", "coach", "--level", "expert", "--focus", "BTC")
    assert list(first)[:7] == ["session", "mode", "model", "rule_based", "text", "tool_calls", "cards"]
    assert (first["mode"], first["model"], first["rule_based"], first["reason"]) == ("coach", "offline/assistant", True, "stop")
    assert [(call["name"], call["status"]) for call in first["tool_calls"]] == [("find_tools", "ok"), ("list_algorithms", "ok")]
    assert first["tool_calls"][0]["arguments"] == {"query": "list_algorithms"}
    assert first["usage"]["cost_usd"] == "0" and first["cards"] == []
    assert "sma_cross" in first["text"]
    second = answered(root, "chat", "--session", "last", piped=b"what is a drawdown?\n")
    assert (second["session"], second["mode"]) == (first["session"], "coach")
    shown = here(root, "sessions", "show", "last", "--json").document
    assert [record["content"] for record in shown["records"] if record.get("role") == "user"] == [
        "list the algorithms",
        "what is a drawdown?",
    ]
    assert (shown["level"], shown["focus"]) == ("expert", "BTC")


def test_without_a_terminal_the_answer_is_on_stdout_and_what_was_done_on_stderr(root: Path) -> None:
    done = run(root, "chat", "show breakout")
    assert done.returncode == 0
    assert done.stdout.startswith(b"[rule-based offline/assistant] breakout (built-in)")
    assert done.stderr.startswith("▸ show_algorithm ".encode())


@pytest.mark.parametrize(
    ("arguments", "piped", "code", "words"),
    [
        (["chat"], b"", 2, "nothing is given and nothing is piped in"),
        (["chat"], b"\xff\xfe", 2, "not UTF-8"),
        (["chat"], b"x" * 200_000, 2, "at most 32,000"),
        (["chat", "hi", "--mode", "trader"], b"", 2, "mode: 'trader' is not known"),
        (["chat", "hi", "--level", "guru"], b"", 2, "level: 'guru' is not known"),
        (["chat", "hi", "--session", "nosuch"], b"", 4, "there is no session 'nosuch'"),
        (["chat", "hi", "--model", "offline/nosuch"], b"", 5, "offline/assistant"),
        (["chat", "hi", "--model", "openai/any"], b"", 5, "OPENAI_API_KEY"),
        (["chat", "hi", "--agent", "x", "--mode", "ops"], b"", 2, "--agent"),
    ],
    ids=range(9),
)
def test_a_wrong_question_is_one_clear_error_and_leaves_nothing(
    root: Path, arguments: list[str], piped: bytes, code: int, words: str
) -> None:
    clean = {name: "" for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_API_BASE")}
    done = here(root, *arguments, "--json", piped=piped, **clean)
    assert done.code == code, done
    assert words in f"{done.error['message']} {done.error['hint']}"
    assert "Traceback" not in done.err


def test_help_and_completion_load_nothing_of_a_conversation(root: Path) -> None:
    code = "import sys; from tradeagent.cli import entry; entry.run(['chat', '--help']); print(sorted(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    for heavy in ("prompt_toolkit", "rich.markdown", "sqlalchemy", "litellm", "numba", "tradeagent.runtime"):
        assert f"'{heavy}'" not in loaded


def test_a_session_that_is_open_elsewhere_is_busy(root: Path) -> None:
    from tradeagent.assistant.sessions import Sessions
    from tradeagent.domain.clock import SystemClock
    from tradeagent.workspace.paths import Workspace

    with Sessions(Workspace(root), SystemClock()).create() as session:
        done = run(root, "chat", "hi", "--session", session.settings.id, "--json")
    assert (done.returncode, json.loads(done.stdout)["error"]["code"]) == (6, "busy")


class Provider:
    """A loopback provider and the environment that leads to it."""

    def __init__(self, *replies: Reply) -> None:
        self.server = Loopback(*replies)

    def __enter__(self) -> "Provider":
        self.server.__enter__()
        self.env = {"OPENAI_BASE_URL": self.server.url, "OPENAI_API_KEY": "sk-canary-0a1b2c3d"}
        return self

    def __exit__(self, *error: Any) -> None:
        self.server.__exit__(*error)


@pytest.mark.slow
def test_a_provider_that_fails_is_exit_code_5_with_what_to_do(root: Path) -> None:
    with Provider(failure(401, "Incorrect API key provided: sk-canary-0a1b2c3d")) as provider:
        done = here(root, "chat", "hi", "--model", "openai/scripted", "--json", **provider.env)
    assert (done.code, done.error["code"]) == (5, "model_error")
    assert "sk-canary" not in done.out + done.err
    assert "tradeagent sessions show" in done.error["hint"]


@pytest.mark.slow
def test_arguments_that_are_no_object_are_shown_as_the_model_wrote_them(root: Path) -> None:
    broken = ("{bad", '{"market": NaN}', "[" * 1_500)
    asked = [Reply((ROLE, tool_piece(0, text, "get_ticker", f"call_{i}"), chunk({}, "tool_calls"), END)) for i, text in enumerate(broken)]
    with Provider(*asked, text_reply("I gave up.")) as provider:
        done = here(root, "chat", "the price?", "--model", "openai/scripted", "--json", **provider.env)
    told = json.loads(done.out, parse_constant=pytest.fail)
    assert (done.code, told["reason"]) == (0, "repair_limit"), done
    assert [(call["arguments"], call["status"]) for call in told["tool_calls"]] == [(text, "refused") for text in broken]


SLOW = Reply((ROLE, chunk({"content": "The first half. "})), ending="stall")


@pytest.mark.slow
def test_ctrl_c_ends_a_question_with_what_was_said(root: Path) -> None:
    with Provider(SLOW) as provider:
        asked = subprocess.Popen(
            command(root, "chat", "hi", "--model", "openai/scripted", "--json"),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, **provider.env},
        )
        _until(lambda: "The first half." in _transcript(root))
        asked.send_signal(signal.SIGINT)
        out, _ = asked.communicate(timeout=60)
    assert (asked.returncode, json.loads(out)["error"]["code"]) == (130, "interrupted")
    assert _said(root) == ["user: hi", "assistant: The first half. "]


@pytest.mark.slow
def test_kill_9_in_a_turn_loses_no_question_and_the_conversation_goes_on(root: Path) -> None:
    with Provider(SLOW, text_reply("Second answer.")) as provider:
        asked = subprocess.Popen(
            command(root, "chat", "first question", "--model", "openai/scripted"),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, **provider.env},
        )
        _until(lambda: "The first half." in _transcript(root))
        asked.kill()
        asked.wait()
        with _ledger(root) as ledger, ledger.transaction() as tx:
            [session] = [folder.name for folder in (root / "sessions").iterdir() if folder.is_dir()]
            threads.queue(tx, session, "typed before the kill", 1)
        told = answered(root, "chat", "second question", "--session", "last", **provider.env)
        asked_last = [message["content"] for message in provider.server.bodies[1]["messages"] if message["role"] == "user"]
    assert told["text"] == "Second answer."
    assert asked_last == ["first question", "typed before the kill\n\nsecond question"], "what waited is asked, in order"
    assert "the turn ended: interrupted" in _transcript(root)
    with _ledger(root) as ledger, ledger.reading() as tx:
        assert [row.state for row in threads.said(tx, session, 10)] == ["interrupted", "done", "done", "done"]


@pytest.mark.slow
def test_a_conversation_on_a_terminal(root: Path) -> None:
    with Terminal(command(root, "chat")) as terminal:
        terminal.expect("/help lists commands")
        terminal.line("what is a drawdown?")
        terminal.expect("How far equity fell")
        terminal.line("/mode coach")
        terminal.expect("mode: coach")
        terminal.line("/mode trader")
        terminal.expect("is not known")
        terminal.line("/nosuch")
        terminal.expect("is no command")
        terminal.line("/skills push risk-first-sizing")
        terminal.expect("active, top first: risk-first-sizing")
        terminal.line("/tools")
        terminal.expect("get_portfolio: ")
        terminal.line("/memory")
        terminal.expect("no notes yet")
        terminal.line("/cards")
        terminal.expect("no card waits")
        terminal.line("/confirm")
        terminal.expect("no card waits")
        terminal.line("/model offline/nosuch")
        terminal.expect("no such rule-based policy")
        terminal.line("/cost")
        terminal.expect("0 USD")
        terminal.line("/new")
        terminal.expect("/help lists commands")
        terminal.line("/session")
        terminal.expect("what is a drawdown?")
        terminal.line("/help")
        terminal.expect("queued; esc or Ctrl-C interrupts the turn")
        terminal.send("\x03")
        terminal.expect("Ctrl-D or /quit leaves")
        assert terminal.leave() == 0
        assert "Traceback" not in terminal.screen
    with Terminal(command(root, "chat", "--session", "last")) as terminal:
        terminal.expect("/help lists commands")
        terminal.line("/quit")
        assert terminal.end() == 0
    kept = here(root, "sessions", "list", "--json").document
    assert len(kept) == 2 and {"coach"} == {row["mode"] for row in kept}
    assert (root / "state/chat_history").stat().st_mode & 0o777 == 0o600


@pytest.mark.slow
@pytest.mark.parametrize("flags", [[], ["--no-color"]], ids=["drawn", "plain"])
def test_one_question_on_a_terminal_is_drawn_as_it_comes(root: Path, flags: list[str]) -> None:
    with Terminal(command(root, "chat", "show breakout", *flags)) as terminal:
        assert terminal.end() == 0
        terminal.expect("▸ show_algorithm")
        terminal.expect("breakout (built-in)")
        terminal.expect("name: breakout")
        terminal.expect("offline/assistant (rule-based) · cost 0 USD")
        assert ("```" in terminal.screen) == bool(flags), "a code block is drawn, or left as it was written"


@pytest.mark.slow
def test_a_card_is_drawn_with_its_figures_and_one_key_commits_it(root: Path) -> None:
    with Terminal(command(root, "chat", "--mode", "authoring")) as terminal:
        terminal.expect("/help lists commands")
        terminal.line("draft an agent that buys BTC breakouts named breaker")
        terminal.expect("I drafted the agent")
        terminal.line("save it")
        terminal.expect("└ y confirms, n dismisses")
        terminal.line("no, wait")
        terminal.expect("I did not understand that")
        assert not (root / "trading_agents/breaker").exists()
        terminal.line("/confirm")
        terminal.expect("state committed")
        terminal.line("draft an agent that fades ETH named fader")
        terminal.expect("I drafted the agent")
        terminal.line("save it")
        terminal.expect("└ y confirms, n dismisses")
        terminal.line("n")
        terminal.expect("is dismissed")
        terminal.line("save it")
        terminal.expect("└ y confirms, n dismisses")
        terminal.line("y")
        terminal.expect("state committed")
        terminal.expect("›")  # between two prompts the terminal itself would take Ctrl-D
        assert terminal.leave() == 0
    assert (root / "trading_agents/breaker/agent.md").exists() and (root / "trading_agents/fader/agent.md").exists()
    states = [row["state"] for row in here(root, "confirm", "--list", "--json").document]
    assert sorted(states) == ["committed", "committed", "dismissed"]


@pytest.mark.slow
def test_esc_interrupts_a_turn_and_what_was_queued_is_run_together(root: Path) -> None:
    with Provider(SLOW, text_reply("Both at once.")) as provider:
        with Terminal(command(root, "chat", "--model", "openai/scripted"), provider.env) as terminal:
            terminal.expect("/help lists commands")
            terminal.line("first")
            _until(lambda: "The first half." in _transcript(root))
            terminal.line("second")
            terminal.expect("queued (1 waiting")
            terminal.line("third")
            terminal.expect("queued (2 waiting")
            terminal.send("\x1b")
            terminal.expect("The first half.")
            terminal.expect("the turn ended: interrupted")
            terminal.expect("Both at once.")
            assert terminal.leave() == 0
        last = [message["content"] for message in provider.server.bodies[1]["messages"] if message["role"] == "user"]
    assert last == ["first", "second\n\nthird"]


@pytest.mark.slow
def test_leaving_during_a_turn_keeps_what_was_said(root: Path) -> None:
    with Provider(SLOW) as provider, Terminal(command(root, "chat", "--model", "openai/scripted"), provider.env) as terminal:
        terminal.expect("/help lists commands")
        terminal.line("first")
        _until(lambda: "The first half." in _transcript(root))
        assert terminal.leave() == 0
    assert _said(root) == ["user: first", "assistant: The first half. "]


def _transcript(root: Path) -> str:
    return "".join(file.read_text() for file in (root / "sessions").glob("*/transcript.md"))


def _said(root: Path) -> list[str]:
    [file] = (root / "sessions").glob("*/transcript.jsonl")
    records = [json.loads(line) for line in file.read_text().splitlines()]
    return [f"{record['role']}: {record['content']}" for record in records if record["kind"] == "message"]


@contextmanager
def _ledger(root: Path) -> Iterator[Ledger]:
    """The ledger of a workspace."""
    ledger = open_ledger(root / "state/ledger.sqlite")
    try:
        yield ledger
    finally:
        ledger.close()


def _until(holds: Callable[[], bool], patience_s: float = 60.0) -> None:
    """Wait for something that another process does."""
    done = threading.Event()
    for _ in range(int(patience_s / 0.05)):
        if holds():
            return
        done.wait(0.05)
    raise AssertionError("it did not happen in time")
