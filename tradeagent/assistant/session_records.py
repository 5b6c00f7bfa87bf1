"""The records of a conversation: one JSON object a line, made from the events of a turn, read back as the messages a model is given.

Kinds: `message` (a finished message of the conversation), `tool_call`, `usage`, `turn` (how one ended), `card`, `change` (of settings).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tradeagent.llm.contract import Message, ToolCall, ToolCallFinished, ToolCallStarted, TurnEvent, TurnFinished, UsageReported

ROLES = ("user", "assistant", "tool")
NO_ANSWER = "(interrupted before an answer)"
INTERRUPTED = {"error": {"code": "interrupted", "message": "the session ended before this call did", "hint": "call it again if needed"}}
Record = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Parsed:
    """Records that could be read; `damaged` lines that could not; `torn`: bytes of a last line that was never finished."""

    records: list[Record]
    damaged: int = 0
    torn: int = 0
    lacks_newline: bool = False


def parse_records(data: bytes) -> Parsed:
    """Every line of the file; a last line without its end counts when it is whole, and is torn otherwise."""
    *lines, tail = data.split(b"\n")
    records, damaged = [], 0
    for line in lines:
        record = _record_of(line)
        if record is not None:
            records.append(record)
        elif line.strip():
            damaged += 1
    last = _record_of(tail) if tail else None
    if last is not None:
        return Parsed([*records, last], damaged, lacks_newline=True)
    return Parsed(records, damaged, torn=len(tail))


def turn_records(event: TurnEvent, arguments: dict[str, str]) -> list[Record]:
    """What an event leaves behind; `arguments` keeps those of a call from its start to its end."""
    if isinstance(event, ToolCallStarted):
        arguments[event.call_id] = event.arguments
    elif isinstance(event, ToolCallFinished):
        status = "refused" if event.result.is_error else "ok"
        record = {"kind": "tool_call", "id": event.call_id, "name": event.name, "arguments": arguments.pop(event.call_id, "{}")}
        return [record | {"status": status, "duration_ms": event.duration_ms, "detail": _detail(event.result.content)}]
    elif isinstance(event, UsageReported):
        used = event.usage
        return [{"kind": "usage", "model": used.model_id or event.model_id, **used.as_dict()}]
    elif isinstance(event, TurnFinished):
        ended = {"kind": "turn", "reason": event.reason, "tool_calls": event.tool_calls, "detail": event.detail}
        return [*map(message_record, event.messages), ended]
    return []


def message_record(message: Message) -> Record:
    """A message as it is written down; only what it has."""
    record: Record = {"kind": "message", "role": message.role, "content": message.content}
    if message.tool_calls:
        record["tool_calls"] = [{"id": call.id, "name": call.name, "arguments": call.arguments} for call in message.tool_calls]
    if message.role == "tool":
        record |= {"tool_call_id": message.tool_call_id, "name": message.name}
    return record


def messages_of(records: list[Record]) -> tuple[Message, ...]:
    """The conversation as a model is given it: each call is answered once, and no question directly follows another."""
    found: list[Message] = []
    waiting: dict[str, ToolCall] = {}
    for message in filter(None, map(_message_of, records)):
        if message.role == "tool":
            if waiting.pop(message.tool_call_id, None):
                found.append(message)
            continue
        found += _interrupted(waiting)
        if message.role == "user" and found and found[-1].role != "assistant":
            found.append(Message("assistant", NO_ANSWER))
        found.append(message)
        waiting = {call.id: call for call in message.tool_calls}
    return (*found, *_interrupted(waiting))


def _interrupted(waiting: Mapping[str, ToolCall]) -> list[Message]:
    return [Message("tool", json.dumps(INTERRUPTED), tool_call_id=call.id, name=call.name) for call in waiting.values()]


def _message_of(record: Record) -> Message | None:
    if record["kind"] != "message" or record.get("role") not in ROLES:
        return None
    calls = [call for call in record.get("tool_calls") or [] if isinstance(call, dict)]
    return Message(
        record["role"],
        str(record.get("content", "")),
        tuple(ToolCall(str(call.get("id", "")), str(call.get("name", "")), str(call.get("arguments", "{}"))) for call in calls),
        str(record.get("tool_call_id", "")),
        str(record.get("name", "")),
    )


def _record_of(line: bytes) -> Record | None:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) and isinstance(record.get("kind"), str) else None


def _detail(content: Mapping[str, Any]) -> str:
    """Why a call was refused, or the verdict of the door; empty when there is neither."""
    error = content.get("error") or content.get("detail") or {}
    words = [str(content[key]) for key in ("verdict", "rule") if content.get(key)]
    if isinstance(error, dict) and error.get("message"):
        words.append(str(error["message"]))
    return " ".join(words)
