"""What a conversation keeps of a model's calls and of the answers to them: always well-formed, and bounded."""

import json
import re

from tradeagent.llm.arguments import MAX_ARGUMENT_BYTES
from tradeagent.llm.contract import Message, ToolCall, ToolResult

MAX_RESULT_CHARACTERS = 24_000
RAW_SHOWN = 2_000


def as_kept(call: ToolCall) -> ToolCall:
    """A call as the conversation keeps it: adapters parse names and arguments again, so broken ones are replaced by a valid quote."""
    name = re.sub(r"[^a-zA-Z0-9_-]", "_", call.name) or "unnamed"
    try:
        sound = len(call.arguments) <= MAX_ARGUMENT_BYTES and isinstance(json.loads(call.arguments or "{}"), dict)
    except (ValueError, RecursionError):
        sound = False
    arguments = (call.arguments or "{}") if sound else json.dumps({"invalid": call.arguments[:RAW_SHOWN]})
    return ToolCall(call.id, name, arguments)


def result_message(call: ToolCall, result: ToolResult) -> Message:
    """The `tool` message that answers `call`, cut to a size that leaves room for others."""
    text = json.dumps(result.content, ensure_ascii=False)
    if len(text) > MAX_RESULT_CHARACTERS:
        text = json.dumps({"clipped_to_characters": MAX_RESULT_CHARACTERS, "text": text[:MAX_RESULT_CHARACTERS]}, ensure_ascii=False)
    return Message("tool", text, tool_call_id=call.id, name=call.name)
