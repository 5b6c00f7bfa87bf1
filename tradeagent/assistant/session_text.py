"""How a conversation reads as markdown: in the transcript that grows while a model speaks, and in an export made from the records."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from tradeagent.agents.text import one_line
from tradeagent.workspace.plain_text import visible
from tradeagent.workspace.transcript import as_said

MAX_ARGUMENTS = 200
MAX_TITLE = 60
UNTITLED = "(nothing said yet)"
Record = Mapping[str, Any]
_HEAD = ("id", "mode", "level", "model", "created_at", "updated_at")


def title_of(text: str) -> str:
    """The first words of a first message."""
    line = one_line(text, 400)
    if len(line) <= MAX_TITLE:
        return line or UNTITLED
    return line[:MAX_TITLE].rsplit(" ", 1)[0].rstrip() + "…"


def heading(who: str, at: str) -> str:
    """`## You · 2026-11-20 12:05 UTC`; `at` is ISO-8601 in UTC."""
    return f"## {who} · {at[:10]} {at[11:16]} UTC"


def marked(record: Record) -> str:
    """The line of a record that is no message: a tool call, a card, how a turn ended; empty for what people need not read."""
    kind = record["kind"]
    if kind == "tool_call":
        arguments = one_line(str(record.get("arguments", "")), MAX_ARGUMENTS)
        detail = f": {one_line(str(record['detail']), MAX_ARGUMENTS)}" if record.get("detail") else ""
        arguments = arguments.replace("`", "'")
        return _line(f"**{record.get('name')}** {record.get('status')}, {record.get('duration_ms', 0)} ms `{arguments}`{detail}")
    if kind == "card":
        return _line(f"**card {record.get('id')}** {one_line(str(record.get('title', '')), MAX_ARGUMENTS)}")
    if kind == "change":
        changed = (f"{key} {json.dumps(value, ensure_ascii=False)}" for key, value in record.items() if key not in ("kind", "at"))
        return _line(f"now {one_line(', '.join(changed))}")
    if kind == "turn" and record.get("reason") != "stop":
        detail = f": {one_line(str(record['detail']), MAX_ARGUMENTS)}" if record.get("detail") else ""
        return _line(f"the turn ended: {record.get('reason')}{detail}")
    return ""


def exported(head: Record, records: Sequence[Record]) -> str:
    """A whole conversation as one page, from its records: calls stand under the message that made them, however a turn was cut off."""
    facts = "\n".join(f"- {key}: {one_line(str(head[key]))}" for key in _HEAD if head.get(key))
    page = [f"# {one_line(str(head['title']))}", facts]
    calls = {record.get("id"): record for record in records if record["kind"] == "tool_call"}
    placed = {call.get("id") for record in records for call in _calls(record)}
    speaker = ""
    for record in records:
        role = record.get("role") if record["kind"] == "message" else None
        if role == "tool" or (record["kind"] == "tool_call" and record.get("id") in placed):
            continue
        blocks = [as_said(visible(str(record.get("content", ""))).strip("\n")) if role else marked(record)]
        blocks += [marked(calls[call["id"]]) for call in _calls(record) if call.get("id") in calls]
        who = "You" if role == "user" else "Assistant"
        if any(blocks) and (role == "user" or who != speaker):
            blocks.insert(0, heading(who, str(record.get("at", ""))))
            speaker = who
        page += filter(str.strip, blocks)
    return "\n\n".join(page) + "\n"


def _calls(record: Record) -> list[Record]:
    return [call for call in record.get("tool_calls") or [] if isinstance(call, dict)] if record["kind"] == "message" else []


def _line(text: str) -> str:
    return f"> {text}"
