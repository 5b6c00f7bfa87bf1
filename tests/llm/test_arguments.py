"""Mutated tool calls: whatever a model writes, only arguments that validate are dispatched, and nothing crashes."""

import asyncio
import json
from decimal import Decimal
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scripted_model import Desk, OrderArguments, ScriptedModel, call, ending, play

from tradeagent.llm.arguments import canonical, read_arguments
from tradeagent.llm.contract import ModelDelta, ToolResult

VALID = '{"market": "BTC", "quote": "25.5", "confidence": 0.7, "tags": ["a", "b"]}'
ORDER = Desk().tools()[0]
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["NaN", "1e5", "٣", "-0", "", "Infinity"])
)
JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3), max_leaves=6
)
OBJECTS = st.dictionaries(st.sampled_from(["market", "quote", "confidence", "tags", "mode", "Quote", "quоte"]), JSON).map(json.dumps)
SPLICES = [
    '"quote": 9,',
    "NaN",
    "[",
    "]",
    "{",
    "}",
    '"',
    "\\",
    "null",
    "1e999",
    '"mode": "live",',
    "\x00",
    "\ud83d",
    "'",
    ",",
    "0x1F",
    "٣",
    "-",
]


def mutated(chance: Random) -> str:
    """A valid call with one to four random edits: cut, spliced, doubled, encoded again."""
    text = VALID
    for _ in range(chance.randint(1, 4)):
        at, to = sorted((chance.randint(0, len(text)), chance.randint(0, len(text))))
        edit = chance.randrange(5)
        if edit == 0:
            text = text[:at] + text[min(to, at + 4) :]
        elif edit == 1:
            text = text[:at] + chance.choice(SPLICES) + text[at:]
        elif edit == 2:
            text = text[:at] + text[at:to] + text[at:]
        elif edit == 3:
            text = chance.choice([json.dumps(text), f"[{text}]", text[:to], text + text])
        else:
            text = text[:at] + chr(chance.randrange(0x3000)) + text[at + 1 :]
    return text


def pairs_of(raw: str) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = json.loads(raw, object_pairs_hook=list)
    return found


def check(raw: str) -> bool:
    """Whether `raw` is accepted; an accepted one must hold up to a reading of its own."""
    value = read_arguments(ORDER, raw)
    if isinstance(value, ToolResult):
        assert value.is_error
        assert set(value.content["error"]) == {"code", "message", "hint"}
        assert value.content["error"]["message"]
        json.dumps(value.content)
        return False
    assert isinstance(value, OrderArguments)
    names = [name for name, _ in pairs_of(raw)]
    assert len(names) == len(set(names))
    assert {"market", "quote"} <= set(names) <= {"market", "quote", "confidence", "tags"}
    assert isinstance(value.quote, Decimal)
    assert value.quote.is_finite()
    assert value.quote > 0
    assert abs(value.confidence) < float("inf")
    assert all(isinstance(tag, str) for tag in value.tags)
    assert read_arguments(ORDER, canonical(value)) == value
    return True


def test_the_unchanged_call_is_accepted() -> None:
    assert check(VALID)


@settings(max_examples=300, deadline=None)
@given(st.randoms(use_true_random=False).map(mutated) | OBJECTS | JSON.map(json.dumps) | st.text(max_size=60))
def test_no_text_is_dispatched_unless_it_validates(raw: str) -> None:
    check(raw)


@pytest.mark.slow
def test_a_hundred_thousand_mutated_calls_crash_nothing_and_dispatch_nothing_invalid() -> None:
    chance = Random(20261120)
    accepted = sum(check(mutated(chance)) for _ in range(100_000))
    assert 0 < accepted < 50_000


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(["propose_order", "get_portfolio"]) | st.text(max_size=80), OBJECTS | st.text(max_size=40)), max_size=6
    )
)
def test_a_turn_survives_any_calls_and_answers_each_of_them(calls: list[tuple[str, str]]) -> None:
    desk = Desk()
    model = ScriptedModel([call(name, raw) for name, raw in calls], [ModelDelta(done="stop")])
    end = ending(asyncio.run(play(model, desk.tools())))
    assert end.reason in ("stop", "repeat")
    asked = [made.id for message in end.messages for made in message.tool_calls]
    assert asked == [message.tool_call_id for message in end.messages if message.role == "tool"]
    assert len(set(asked)) == len(calls)
    assert all(isinstance(json.loads(made.arguments), dict) for message in end.messages for made in message.tool_calls)
    assert all(order.quote > 0 for order in desk.orders)
