"""A conversation as the offline assistant reads it: what is asked now, what tools answered in this turn, and what they answered before."""

import json
import re
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any

from tradeagent.llm.contract import Message
from tradeagent.llm.offline.trade import Call

FIND = "find_tools"
_OUTSIDE = re.compile(r"<untrusted .*?</untrusted>|^\(The oldest part of this conversation is left out.*?\)$", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a tool said to one call."""

    name: str
    arguments: dict[str, Any]
    result: dict[str, Any]

    @property
    def is_error(self) -> bool:
        return "error" in self.result


Script = Generator[Call, Answer, str]
"""What to do about a question: calls are yielded one by one, each is answered, and the text to say is returned."""


@dataclass(frozen=True, slots=True)
class Talk:
    """`now` are the answers of this turn, `before` those that did what was asked in earlier ones, oldest first. A script looks at `before`
    only, so that it goes the same way each time it is replayed."""

    question: str
    now: tuple[Answer, ...]
    before: tuple[Answer, ...]
    is_beginner: bool = False

    def last(self, *names: str) -> Answer | None:
        """The newest earlier answer of one of these tools."""
        return next((answer for answer in reversed(self.before) if answer.name in names), None)


def read_talk(messages: Sequence[Message]) -> Talk:
    """The conversation after its last question, and before it."""
    last = max((index for index, message in enumerate(messages) if message.role == "user"), default=-1)
    question = _OUTSIDE.sub("", messages[last].content).strip() if last >= 0 else ""
    rules = next((message.content for message in messages if message.role == "system"), "")
    before = tuple(answer for answer in _answers(messages[: max(last, 0)]) if not answer.is_error)
    return Talk(question, tuple(_answers(messages[last + 1 :])), before, "Experience level: beginner" in rules)


def _answers(messages: Sequence[Message]) -> list[Answer]:
    calls: dict[str, tuple[str, str]] = {}
    found = []
    for message in messages:
        calls |= {call.id: (call.name, call.arguments) for call in message.tool_calls}
        if message.role == "tool" and message.tool_call_id in calls:
            name, arguments = calls[message.tool_call_id]
            found.append(Answer(name, _object(arguments), _object(message.content)))
    return found


def _object(text: str) -> dict[str, Any]:
    """What cannot be read is an error like any other."""
    try:
        found = json.loads(text or "{}")
    except ValueError:
        found = None
    return found if isinstance(found, dict) else {"error": {"code": "unreadable", "message": "the answer cannot be read", "hint": ""}}
