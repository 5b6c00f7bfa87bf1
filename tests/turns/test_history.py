"""A conversation within its budget: well-formed whatever is cut, old tool results first, the newest question whole."""

import json

from hypothesis import given
from hypothesis import strategies as st

from tradeagent.llm.contract import CHARACTERS_PER_TOKEN, Message, ToolCall
from tradeagent.turns.history import SHORT, bounded, with_preface

WORDS = st.text(alphabet="abc \n", max_size=400)


@st.composite
def turns(draw: st.DrawFn) -> list[Message]:
    found: list[Message] = []
    for number in range(draw(st.integers(0, 6))):
        found.append(Message("user", f"q{number} {draw(WORDS)}"))
        for call in range(draw(st.integers(0, 3))):
            name = f"c{number}_{call}"
            found.append(Message("assistant", draw(WORDS), (ToolCall(name, "get_ticker", '{"market": "BTC"}'),)))
            found.append(Message("tool", json.dumps({"x": "y" * draw(st.integers(0, 3_000))}), tool_call_id=name, name="get_ticker"))
        found.append(Message("assistant", draw(WORDS)))
    return found


@given(turns(), st.integers(50, 3_000))
def test_what_is_kept_is_well_formed_and_within_the_budget(messages: list[Message], tokens: int) -> None:
    kept = bounded(messages, tokens)
    open_calls: set[str] = set()
    for message in kept:
        if message.role == "tool":
            assert message.tool_call_id in open_calls, "an answer without its call"
            open_calls.discard(message.tool_call_id)
            json.loads(message.content)
        open_calls |= {call.id for call in message.tool_calls}
    assert not open_calls
    if messages:
        last = max(index for index, message in enumerate(messages) if message.role == "user")
        assert kept[0].role == "user"
        assert kept[-1] == messages[-1] and [m.content for m in kept[-len(messages) + last :]][1:] == [
            m.content for m in messages[last + 1 :]
        ]
        earlier = sum(len(m.content) + sum(len(c.arguments) + len(c.name) for c in m.tool_calls) for m in kept)
        newest = sum(len(m.content) + sum(len(c.arguments) + len(c.name) for c in m.tool_calls) for m in messages[last:])
        assert earlier <= max(tokens * CHARACTERS_PER_TOKEN, newest) + 200, "the note about what is left out is all that comes on top"


def test_the_oldest_results_are_shortened_before_anything_is_left_out() -> None:
    messages = []
    for number in range(3):
        messages += [
            Message("user", f"question {number}"),
            Message("assistant", "", (ToolCall(f"c{number}", "get_candles", "{}"),)),
            Message("tool", json.dumps({"rows": "1" * 4_000}), tool_call_id=f"c{number}", name="get_candles"),
            Message("assistant", f"answer {number}"),
        ]
    kept = bounded(messages, 2_400)
    results = [message.content for message in kept if message.role == "tool"]
    assert [len(result) < 2 * SHORT for result in results] == [True, False, False]
    assert json.loads(results[0])["shortened_from_characters"] == len(messages[2].content)
    assert [message.content for message in kept if message.role == "user"] == ["question 0", "question 1", "question 2"]
    fewer = bounded(messages, 1_100)
    assert "4 messages" in fewer[0].content and fewer[0].content.endswith("question 1")


def test_facts_stand_before_the_first_words_and_never_alone() -> None:
    assert with_preface([], "facts") == ()
    first, second = with_preface([Message("user", "hello"), Message("assistant", "hi")], "<untrusted origin=f>\nx\n</untrusted>")
    assert first.role == "user" and first.content == "<untrusted origin=f>\nx\n</untrusted>\n\nhello"
    assert second.content == "hi"
