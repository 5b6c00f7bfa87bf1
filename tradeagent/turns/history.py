"""A conversation cut to what a model should read again: the oldest tool results are shortened first, then whole old turns are left out."""

import json
from collections.abc import Sequence
from dataclasses import replace

from tradeagent.llm.contract import CHARACTERS_PER_TOKEN, Message

HISTORY_TOKENS = 48_000
SHORT = 240
_NOTE = "(The oldest part of this conversation is left out: {count} messages. Tools know the figures.)"


def bounded(messages: Sequence[Message], tokens: int = HISTORY_TOKENS) -> tuple[Message, ...]:
    """The conversation within about `tokens`, well-formed: it begins with a user's message, and every tool message answers a call.

    The last turn is kept in full, whatever its size.
    """
    limit = tokens * CHARACTERS_PER_TOKEN
    turns = _turns(messages)
    earlier, last = [message for turn in turns[:-1] for message in turn], turns[-1] if turns else []
    room = limit - _size(last)
    if _size(earlier) > room:
        earlier = _shortened(earlier, room)
    kept = _turns(earlier)
    left_out = 0
    while kept and _size([message for turn in kept for message in turn]) > room:
        left_out += len(kept.pop(0))
    found = [message for turn in kept for message in turn] + last
    if left_out and found:
        found[0] = replace(found[0], content=f"{_NOTE.format(count=left_out)}\n\n{found[0].content}")
    return tuple(found)


def with_preface(messages: Sequence[Message], preface: str) -> tuple[Message, ...]:
    """The conversation with data about the user before the first words: never part of the system prompt, since files hold it."""
    if not preface or not messages:
        return tuple(messages)
    first, *rest = messages
    return replace(first, content=f"{preface}\n\n{first.content}"), *rest


def _turns(messages: Sequence[Message]) -> list[list[Message]]:
    """From one user's message to the next. What stands before the first has no question and is left out."""
    found: list[list[Message]] = []
    for message in messages:
        if message.role == "user":
            found.append([message])
        elif found:
            found[-1].append(message)
    return found


def _shortened(messages: Sequence[Message], room: int) -> list[Message]:
    """Tool results cut short, the oldest first, until the rest fits or all are."""
    found, size = list(messages), _size(messages)
    for index, message in enumerate(found):
        if size <= room:
            break
        if message.role == "tool" and len(message.content) > 2 * SHORT:
            text = json.dumps({"shortened_from_characters": len(message.content), "begins": message.content[:SHORT]}, ensure_ascii=False)
            size -= len(message.content) - len(text)
            found[index] = replace(message, content=text)
    return found


def _size(messages: Sequence[Message]) -> int:
    return sum(len(message.content) + sum(len(call.arguments) + len(call.name) for call in message.tool_calls) for message in messages)
