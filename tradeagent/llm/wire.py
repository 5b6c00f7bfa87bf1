"""A conversation in the words of LiteLLM, which are OpenAI's, and the pieces of streamed tool calls put together again."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tradeagent.llm.arguments import MAX_ARGUMENT_BYTES
from tradeagent.llm.contract import Message, ToolSpec

_MAX_STREAMED_CALLS = 256
_MARKS_PROMPTS = frozenset({"anthropic", "bedrock", "openrouter", "vertex_ai"})
_CACHED = {"type": "ephemeral"}


@dataclass(slots=True)
class PartialCall:
    """A tool call whose pieces are still arriving; its text is kept up to just past what the loop accepts."""

    id: str
    name: str
    arguments: list[str]
    characters: int = 0


def collect(calls: dict[int, PartialCall], pieces: Sequence[Any]) -> bool:
    """Add streamed pieces to their calls by index; True when there were any. Beyond sane bounds pieces are dropped."""
    for piece in pieces:
        index = piece.index if piece.index is not None else len(calls)
        if index not in calls and len(calls) >= _MAX_STREAMED_CALLS:
            continue
        call = calls.setdefault(index, PartialCall("", "", []))
        call.id = call.id or piece.id or ""
        function = piece.function
        if function is None:
            continue
        call.name = call.name or function.name or ""
        text = function.arguments or ""
        if text and call.characters <= MAX_ARGUMENT_BYTES:
            call.arguments.append(text)
            call.characters += len(text)
    return bool(pieces)


def wire_tool(tool: ToolSpec) -> dict[str, Any]:
    return {"type": "function", "function": {"name": tool.name, "description": tool.description, "parameters": dict(tool.parameters)}}


def wire_messages(messages: Sequence[Message], model_id: str) -> list[dict[str, Any]]:
    """The messages, with hints where a provider wants to be told what to keep of a prompt; the others keep it by themselves.

    Marked are the rules, the question and the newest message: each call of a turn begins with all of the one before.
    """
    wired = [_wire_message(message) for message in messages]
    if marks_prompts(model_id):
        newest = {message.role: number for number, message in enumerate(messages)}
        marked = {newest[role] for role in ("system", "user") if role in newest}
        for number in marked | {len(messages) - 1} if messages else ():
            content = wired[number]["content"]
            if content:
                wired[number]["content"] = [{"type": "text", "text": content, "cache_control": _CACHED}]
    return wired


def marks_prompts(model_id: str) -> bool:
    """Whether the model's provider keeps a prompt only where it is marked: Claude, at whichever provider."""
    provider = model_id.partition("/")[0]
    return provider in _MARKS_PROMPTS and (provider == "anthropic" or "claude" in model_id.lower())


def _wire_message(message: Message) -> dict[str, Any]:
    wire: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.tool_calls:
        wire["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}} for call in message.tool_calls
        ]
    if message.role == "tool":
        wire["tool_call_id"] = message.tool_call_id
    return wire
