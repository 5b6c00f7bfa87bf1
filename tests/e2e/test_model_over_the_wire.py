"""The path of a real model: the same run, its decisions streamed over HTTP by a provider that is a script on this machine."""

import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from loopback import END, ROLE, Loopback, Reply, chunk, failure, text_reply, tool_piece
from product import BTC, Answer, Product, copied

pytestmark = pytest.mark.slow
CANARY = "sk-canary-5b1d77e0a94c4f2e"
BUY = {"market": "BTC", "side": "buy", "stop": "80000", "target": "99000", "reason": "the script says so"}
JOURNAL = {"action": "bought", "reasoning": "as scripted", "risk_note": "none"}


def _calls(*calls: tuple[str, dict[str, Any]], usage: tuple[int, int] = (1000, 50)) -> Reply:
    """One streamed answer that makes tool calls, their arguments in two pieces as providers send them."""
    pieces = []
    for index, (name, arguments) in enumerate(calls):
        text = json.dumps(arguments)
        pieces += [tool_piece(index, text[:9], name, f"call_{index}"), tool_piece(index, text[9:])]
    return Reply((ROLE, *pieces, chunk({}, "tool_calls"), chunk(usage=usage), END))


@pytest.fixture(scope="module")
def asked(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Product, Loopback, Answer]]:
    """Three ticks: one that asks too much, is refused and adapts; one that holds; one in which the provider fails."""
    replies = (
        _calls(("propose_order", BUY | {"quote": "5000"})),
        _calls(("propose_order", BUY | {"quote": "90"}), ("journal_action", JOURNAL)),
        text_reply("bought a little", usage=(1200, 20)),
        _calls(("journal_action", {"action": "hold", "reasoning": "nothing new"})),
        text_reply("holding", usage=(1100, 10)),
        failure(401, f"Incorrect API key provided: {CANARY}"),
    )
    with Loopback(*replies) as server:
        env = {"OPENAI_BASE_URL": server.url, "OPENAI_API_KEY": CANARY}
        product = Product(copied(template, tmp_path_factory.mktemp("wire") / "ws").root, env)
        product.rewrite("btc_momentum", ("model: offline/momentum", "model: openai/scripted"))
        for key, price in (("input_price_per_mtok", "2"), ("output_price_per_mtok", "10")):
            product.ask("config", "set", f"models.openai/scripted.{key}", price)
        answer = product.run("run", "btc_momentum", "--replay", BTC, "--max-ticks", "3", "--json")
        yield product, server, answer


def test_the_model_is_refused_adapts_and_trades(asked: tuple[Product, Loopback, Answer]) -> None:
    product, server, answer = asked
    assert (answer.code, answer.err) == (0, ""), answer
    report = answer.document
    assert (report["ticks"], report["proposals"], report["executed"]) == (3, 2, 1)
    assert report["rejected"] == {"SINGLE_ORDER": 1}
    refusal = json.loads(next(message["content"] for message in server.bodies[1]["messages"] if message["role"] == "tool"))
    assert (refusal["verdict"], refusal["rule"], refusal["detail"]["limit"]) == ("rejected", "SINGLE_ORDER", "100")
    assert Decimal(refusal["detail"]["max_ok"]) > 0
    [fill] = product.ask("fills")
    assert 80 < Decimal(fill["size"]) * Decimal(fill["price"]) <= 91
    journal = product.ask("journal", "btc_momentum")["text"]
    answered = f"rejected SINGLE_ORDER (max_ok {refusal['detail']['max_ok']}), executed"
    assert f"**#1** (18:00) bought [verdict: {answered}] -- as scripted" in journal
    assert "**#2** (18:05) hold -- nothing new" in journal
    next_prompt = server.bodies[3]["messages"][1]["content"]
    assert f"bought -- as scripted [verdict: {answered}]" in next_prompt


def test_the_provider_gets_the_prompt_and_the_tools_of_the_turn(asked: tuple[Product, Loopback, Answer]) -> None:
    product, server, _ = asked
    first = server.bodies[0]
    assert (first["model"], first["stream"]) == ("scripted", True)
    assert [message["role"] for message in first["messages"]] == ["system", "user"]
    names = {tool["function"]["name"] for tool in first["tools"]}
    assert {"propose_order", "journal_action", "get_candles"} <= names
    snapshot = (product.session_folder("btc_momentum") / "snapshots" / "snapshot_1.md").read_text()
    assert all(line in snapshot for line in first["messages"][1]["content"].split("\n")[:20])


def test_tokens_and_cost_are_recorded_and_the_same_everywhere(asked: tuple[Product, Loopback, Answer]) -> None:
    product, _, answer = asked
    tokens_in, tokens_out = 1000 + 1000 + 1200 + 1000 + 1100, 50 + 50 + 20 + 50 + 10
    cost = (Decimal(2) * tokens_in + Decimal(10) * tokens_out) / 1_000_000
    model = answer.document["model"]
    assert (model["id"], model["tokens"], Decimal(model["cost_usd"])) == ("openai/scripted", tokens_in + tokens_out, cost)
    [row] = product.ask("usage")
    assert (row["turns"], row["tokens_in"], row["tokens_out"], Decimal(row["cost_usd"])) == (3, tokens_in, tokens_out, cost)
    shown = {row["tick"]: row["tokens"] for row in product.ask("snapshots", "btc_momentum")}
    assert shown[1] + shown[2] == tokens_in + tokens_out


def test_a_refused_key_fails_the_tick_and_not_the_run(asked: tuple[Product, Loopback, Answer]) -> None:
    product, _, answer = asked
    assert answer.document["stopped_because"] == "max_ticks"
    assert [incident["code"] for incident in product.ask("incidents")] == ["model_failed"]
    assert "model_error" in product.ask("journal", "btc_momentum")["text"]
    [position] = product.ask("position", "list")
    assert position["stop"] == "80000"


def test_the_key_is_sent_to_the_provider_and_is_nowhere_else(asked: tuple[Product, Loopback, Answer]) -> None:
    product, server, answer = asked
    assert set(server.authorizations) == {f"Bearer {CANARY}"}
    assert CANARY not in answer.out + answer.err
    for arguments in (
        ("config", "show", "--origin"),
        ("doctor",),
        ("incidents",),
        ("audit", "--limit", "1000"),
        ("agent", "show", "btc_momentum"),
    ):
        shown = product.here(*arguments, "--json")
        assert CANARY not in shown.out + shown.err, arguments
    files = [path for path in product.root.rglob("*") if path.is_file() and path.suffix != ".parquet"]
    assert len(files) > 15
    assert [path for path in files if CANARY.encode() in path.read_bytes()] == []
