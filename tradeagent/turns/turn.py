"""One bounded exchange of an agent with its model: the loop's events become a transcript and a result."""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from tradeagent.domain.clock import Clock
from tradeagent.llm.contract import (
    Message,
    Model,
    Permit,
    TextDelta,
    Tool,
    ToolCallFinished,
    ToolCallStarted,
    TurnEvent,
    TurnFinished,
    TurnLimits,
    UsageReported,
)
from tradeagent.llm.loop import TurnControl, run_turn
from tradeagent.llm.usage import Usage
from tradeagent.tools.context import ToolContext
from tradeagent.turns.prompt import Prompt
from tradeagent.workspace.transcript import Transcript


@dataclass(frozen=True, slots=True)
class CalledTool:
    """One tool call of a turn: arguments as JSON text, the result as the model saw it."""

    number: int
    name: str
    status: str
    arguments: str
    result: dict[str, Any]
    duration_ms: int


@dataclass(slots=True)
class TurnResult:
    """What a turn came to. `defects` are tracebacks of handlers that failed, for incidents."""

    reason: str = "stop"
    text: str = ""
    detail: str = ""
    calls: list[CalledTool] = field(default_factory=list)
    usage: Usage = field(default_factory=Usage)
    model_calls: int = 0
    defects: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class TurnSetup:
    """With whom, with what and within which bounds."""

    model: Model
    tools: Sequence[Tool]
    limits: TurnLimits
    control: TurnControl
    permit: Permit


async def converse(prompt: Prompt, setup: TurnSetup, context: ToolContext, clock: Clock, transcript: Transcript) -> TurnResult:
    """Run one turn to its end, whatever ends it. Never raises for a model's fault."""
    messages = [Message("system", prompt.system), Message("user", prompt.user)]
    result = TurnResult()
    arguments: dict[str, str] = {}
    events = run_turn(setup.model, messages, setup.tools, setup.limits, setup.permit, context, clock, setup.control)
    async with contextlib.aclosing(events):
        async for event in events:
            _take(event, result, arguments, transcript)
    transcript.flush()
    return result


def _take(event: TurnEvent, result: TurnResult, arguments: dict[str, str], transcript: Transcript) -> None:
    if isinstance(event, TextDelta):
        transcript.say(event.text)
    elif isinstance(event, ToolCallStarted):
        arguments[event.call_id] = event.arguments
    elif isinstance(event, ToolCallFinished):
        status = "refused" if event.result.is_error else "ok"
        stated = arguments.get(event.call_id, "{}")
        result.calls.append(CalledTool(len(result.calls) + 1, event.name, status, stated, event.result.content, event.duration_ms))
        transcript.add(f"\n\n> **{event.name}** {status}: {_summary(event)}\n\n")
        if event.defect:
            result.defects.append(event.defect)
    elif isinstance(event, UsageReported):
        result.model_calls += 1
    elif isinstance(event, TurnFinished):
        result.reason, result.text, result.detail, result.usage = event.reason, event.text, event.detail, event.usage
        if event.defect:
            result.defects.append(event.defect)


def _summary(event: ToolCallFinished) -> str:
    content = event.result.content
    detail = content.get("detail") or content.get("error") or {}
    words = [str(content[key]) for key in ("verdict", "rule") if content.get(key)]
    if isinstance(detail, dict) and detail.get("message"):
        words.append(str(detail["message"]))
    return " ".join(words) or "done"
