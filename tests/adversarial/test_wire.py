"""A model behind the real protocol asks too much, reads why not, and does better at the next tick: by an order, then by an executor."""

import json
import re
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from agent_play import BARS, prepared
from books_of_agent import SLUG, over_caps, refusals
from foe import REST, Case, level
from loopback import END, ROLE, Loopback, Reply, chunk, text_reply, tool_piece
from product import Answer, Product

pytestmark = pytest.mark.slow
HEAD = (("model: offline/hold", "model: openai/learner"),)
LESSON = "one order may be at most {} USDC, said SINGLE_ORDER"
_LESSON = re.compile(r"one order may be at most ([0-9.]+) USDC")


class Thinking(Loopback):
    """A provider whose answer depends on what it is asked."""

    def __init__(self, think: Callable[[list[dict[str, Any]]], Reply]) -> None:
        super().__init__(text_reply("done"))
        self._think = think

    def _next(self, handler: Any) -> Reply:
        super()._next(handler)
        return self._think(self.bodies[-1]["messages"])


def _calls(*calls: tuple[str, dict[str, Any]]) -> Reply:
    pieces = [tool_piece(index, json.dumps(arguments), name, f"call_{index}") for index, (name, arguments) in enumerate(calls)]
    return Reply((ROLE, *pieces, chunk({}, "tool_calls"), chunk(usage=(1000, 50)), END))


def learner(messages: list[dict[str, Any]]) -> Reply:
    """Greedy until it is refused; the reason becomes a lesson, and the lesson the size of what it does next."""
    told = [json.loads(message["content"]) for message in messages if message["role"] == "tool"]
    prompt = messages[1]["content"]
    lesson = _LESSON.search(prompt)
    last = told[-1] if told else {}
    if not told:
        return _calls(("get_mark_price", {"market": "BTC"}), ("get_portfolio", {}))
    if last.get("rule") == "SINGLE_ORDER":
        return _calls(
            ("add_learning", {"text": LESSON.format(last["detail"]["limit"])}),
            ("journal_action", _noted("refused", last["detail"]["message"])),
        )
    if "verdict" in last or "noted" in last:
        return text_reply("done")
    price, size = Decimal(told[0]["mark_usdc"]), lesson[1] if lesson else "800"
    quote = str(Decimal(size) * Decimal("0.8"))
    stop = level(price * Decimal("0.97"))
    if lesson and told[1]["positions"]:
        twap = {"market": "BTC", "side": "buy", "total_amount_quote": "50", "duration_s": 3600, "interval_s": 1800, "stop": stop}
        return _calls(("place_twap", twap))
    return _calls(("propose_order", {"market": "BTC", "side": "buy", "quote": quote, "stop": stop, "reason": "it rises"}))


def _noted(action: str, reasoning: str) -> dict[str, str]:
    return {"action": action, "reasoning": reasoning[:500]}


@pytest.fixture(scope="module")
def learned(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Product, Thinking, Answer]]:
    case = Case("wire", "a learner", lambda _: iter([REST]), head=HEAD)  # type: ignore[arg-type,return-value]
    with Thinking(learner) as server:
        product = prepared(template, tmp_path_factory.mktemp("wire") / "place", case)
        product.ask("config", "set", "models.openai/learner.base_url", server.url)
        answer = product.run("run", SLUG, "--replay", BARS, "--max-ticks", "4", "--json", timeout=240)
        yield product, server, answer


def test_it_is_refused_once_and_then_trades_within_its_limits(learned: tuple[Product, Thinking, Answer]) -> None:
    product, _, answer = learned
    assert answer.code == 0, answer
    report = answer.document
    assert report["rejected"]["SINGLE_ORDER"] == 1
    assert report["executed"] >= 2
    assert over_caps(product.ledger_file) == []
    assert refusals(product.ledger_file)["SINGLE_ORDER"] == 1


def test_the_reason_is_in_its_next_request_and_the_lesson_in_its_next_tick(learned: tuple[Product, Thinking, Answer]) -> None:
    _, server, _ = learned
    at, messages = next((number, body["messages"]) for number, body in enumerate(server.bodies) if "SINGLE_ORDER" in str(body["messages"]))
    refusal = json.loads(messages[-1]["content"])
    assert (refusal["verdict"], refusal["detail"]["limit_key"], refusal["detail"]["limit"]) == ("rejected", "max_single_order_quote", "100")
    assert Decimal(refusal["detail"]["max_ok"]) > 0
    later = [body["messages"] for body in server.bodies[at + 1 :] if len(body["messages"]) == 2]
    assert later and all("one order may be at most 100 USDC" in messages[1]["content"] for messages in later)
    assert not any("one order may be" in messages[0]["content"] for messages in later), "what it wrote is data, not a rule"


def test_it_traded_by_order_and_by_executor(learned: tuple[Product, Thinking, Answer]) -> None:
    product, _, _ = learned
    fills = product.ask("fills")
    assert {fill["market"] for fill in fills} == {"BTC"} and len(fills) >= 2
    sizes = [Decimal(fill["size"]) * Decimal(fill["price"]) for fill in fills]
    assert max(sizes) <= Decimal("100.5") and any(abs(size - 80) < 2 for size in sizes)
    journal = product.ask("journal", SLUG)["text"]
    assert "refused" in journal and "max_single_order_quote 100" in journal
    assert "twap" in journal
