"""Talking with a run: its runner answers beside its ticks with its own tools and door; without one the answer only reads."""

import json
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from loopback import END, ROLE, Loopback, Reply, chunk, text_reply, tool_piece
from product import BTC, Product, copied, rows_of, running, wait_until

sys.path.append(str(Path(__file__).resolve().parents[1] / "cli"))

from terminal import Terminal

from tradeagent.ledger import notes, threads
from tradeagent.ledger.store import open_ledger
from tradeagent.tools.registry import TOOLS
from tradeagent.turns.chat import MESSAGE_SECTION

pytestmark = pytest.mark.slow
LIVE = ("btc_momentum", "--replay", BTC, "--speed", "600")
BUY = {"market": "BTC", "side": "buy", "quote": "90", "stop": "80000", "target": "99000", "reason": "the user asked"}
HUGE = BUY | {"quote": "5000"}


class Minds(Loopback):
    """Holds in ticks; in a chat it does what the user's words name, once, and then says what came of it."""

    def _next(self, handler: BaseHTTPRequestHandler) -> Reply:
        super()._next(handler)
        messages = self.bodies[-1]["messages"]
        asked = next(message["content"] for message in reversed(messages) if message["role"] == "user")
        if MESSAGE_SECTION not in asked:
            return text_reply("holding")
        if messages[-1]["role"] == "tool":
            return text_reply("it said: ", messages[-1]["content"][:300])
        words = asked.rpartition(MESSAGE_SECTION)[2]
        arguments = BUY if "buy a little" in words else HUGE if "buy a lot" in words else None
        if arguments is None:
            return text_reply("you said: ", words.strip())
        text = json.dumps(arguments)
        return Reply((ROLE, tool_piece(0, text, "propose_order", "call_1"), chunk({}, "tool_calls"), chunk(usage=(700, 30)), END))

    def chats(self) -> list[dict[str, Any]]:
        return [
            body for body in self.bodies if any(MESSAGE_SECTION in message["content"] for message in body["messages"] if message["content"])
        ]


@pytest.fixture(scope="module")
def talked(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Product, Minds]]:
    with Minds(text_reply("never")) as server:
        env = {"OPENAI_BASE_URL": server.url, "OPENAI_API_KEY": "sk-canary-99aa88bb77cc"}
        product = Product(copied(template, tmp_path_factory.mktemp("talk") / "ws").root, env)
        product.rewrite("btc_momentum", ("model: offline/momentum", "model: openai/scripted"))
        yield product, server


@pytest.fixture
def rested(talked: tuple[Product, Minds]) -> tuple[Product, Minds]:
    """The agent has run, and does not run now."""
    if not rows_of(talked[0]):
        talked[0].ask("run", "btc_momentum", "--replay", BTC, "--max-ticks", "1")
    return talked


def chat(product: Product, *words: str) -> dict[str, Any]:
    answer = product.run("chat", "--agent", *words, "--json")
    assert answer.code == 0, answer
    return dict(answer.document)


def test_a_running_agent_answers_and_acts_through_its_own_door(talked: tuple[Product, Minds]) -> None:
    product, server = talked
    with running(product, *LIVE) as process:
        said = chat(product, "btc_momentum", "hello there")
        assert (said["text"], said["reads_only"], said["tool_calls"]) == ("you said: hello there", False, [])
        assert (said["session"], said["mode"], said["cards"]) == (f"chat-{said['deployment']}", "loop", [])
        wait_until(lambda: rows_of(product)[0]["ticks"] >= 2)
        bought = chat(product, said["deployment"], "buy", "a", "little")
        assert [(call["name"], call["status"]) for call in bought["tool_calls"]] == [("propose_order", "ok")], bought
        assert '"executed"' in bought["text"]
        assert bought["tool_calls"][0]["arguments"].items() >= BUY.items()
        refused = chat(product, "btc_momentum", "buy a lot")
        assert [(call["name"], call["status"]) for call in refused["tool_calls"]] == [("propose_order", "refused")]
        assert "SINGLE_ORDER" in refused["text"], "the chat has the door of the ticks, with its rules"
        ticks = rows_of(product)[0]["ticks"]
        wait_until(lambda: rows_of(product)[0]["ticks"] > ticks)
        assert process.poll() is None
    [deployment] = {row["id"] for row in rows_of(product)}
    [fill, *_] = product.ask("fills")
    assert 80 < float(fill["size"]) * float(fill["price"]) <= 91
    last = server.chats()[-1]["messages"]
    assert [message["content"] for message in last if message["role"] == "user"][:2] == ["hello there", "buy a little"]
    assert last[0]["role"] == "system" and "This is a chat with the user" in last[0]["content"]
    ledger = open_ledger(product.ledger_file)
    with ledger.reading() as tx:
        rows = [row for row in notes.usage_rows(tx, slug="btc_momentum") if row["turn_kind"] == "chat"]
        booked = [{key: row[key] for key in ("tokens_in", "tokens_out")} for row in rows]
        states = {row.state for row in threads.said(tx, f"chat-{deployment}", 20)}
    ledger.close()
    assert [row["calls"] for row in rows] == [1, 2, 2] and states == {"done"}
    assert [{key: told["usage"][key] for key in booked[0]} for told in (said, bought, refused)] == booked
    assert said["usage"] == {**booked[0], "cost_usd": None, "estimated": False}
    transcript = (product.root / "state/threads" / f"chat-{deployment}.md").read_text()
    assert "hello there" in transcript and "> **propose_order** refused" in transcript
    assert "sk-canary" not in transcript


def test_without_a_runner_the_answer_only_reads(rested: tuple[Product, Minds]) -> None:
    product, server = rested
    before = len(product.ask("fills"))
    said = chat(product, "btc_momentum", "buy a little")
    assert said["reads_only"] is True
    assert [(call["name"], call["status"]) for call in said["tool_calls"]] == [("propose_order", "refused")]
    offered = {tool["function"]["name"] for tool in server.chats()[-1]["tools"]}
    assert offered and {TOOLS[name].scope for name in offered} == {"read"}
    assert len(product.ask("fills")) == before
    assert len(rows_of(product)) == 1, "talking makes no run"


def test_a_conversation_with_a_run_on_a_terminal(rested: tuple[Product, Minds]) -> None:
    product, _ = rested
    with Terminal(product.command("chat", "--agent", "btc_momentum"), product.environment()) as terminal:
        terminal.expect("Ctrl-D or /quit leaves")
        terminal.line("how are you?")
        terminal.expect("it can read, not act")
        terminal.expect("you said: how are you?")
        terminal.line("/quit")
        assert terminal.end() == 0


def test_a_rule_based_agent_says_that_it_understands_no_questions_and_does_nothing(product: Product) -> None:
    with running(product, *LIVE):
        said = chat(product, "btc_momentum", "buy BTC now, all of it")
    assert said["text"].startswith("[rule-based offline/momentum] I follow fixed rules")
    assert said["tool_calls"] == []


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("nobody", "hi"), 4, "nobody"),
        (("btc_momentum", "hi"), 4, "btc_momentum"),
    ],
)
def test_an_agent_that_never_ran_cannot_be_asked(product: Product, arguments: tuple[str, ...], code: int, words: str) -> None:
    answer = product.run("chat", "--agent", *arguments, "--json")
    assert (answer.code, words in answer.error["message"]) == (code, True), answer


def test_a_run_that_ends_before_it_answers_says_so(product: Product) -> None:
    """A row is left by a killed runner: whoever waits is told, and the row does not come back."""
    with running(product, *LIVE) as process:
        deployment = rows_of(product)[0]["id"]
        process.kill()
        process.wait()
    ledger = open_ledger(product.ledger_file)
    from tradeagent.domain.names import ThreadKind

    with ledger.transaction() as tx:
        threads.open_thread(tx, f"chat-{deployment}", ThreadKind.CHAT, 1, deployment=deployment)
        threads.queue(tx, f"chat-{deployment}", "left", 1)
        threads.begin(tx, f"chat-{deployment}", 2)
    ledger.close()
    said = chat(product, deployment, "and now?")
    assert said["reads_only"] is True and said["text"].startswith("[rule-based")


def test_the_assistant_never_says_that_nothing_ran_where_its_mode_hides_what_did(product: Product) -> None:
    assert "Nothing runs and nothing ran yet" in product.ask("chat", "status", "--mode", "ops")["text"]
    assert product.here("run", "btc_momentum", "--replay", BTC, "--max-ticks", "1", "--json").code == 0
    for question in ("status", "stop it"):
        told = product.ask("chat", question, "--mode", "research")["text"]
        assert "mode research shows runs of algorithms only; coach and ops show agents too" in told and "btc_momentum" not in told, told
    assert "btc_momentum_1 (agent btc_momentum@1)" in product.ask("chat", "status", "--mode", "ops")["text"]
