"""A policy behind the Model protocol: says it is rule-based, makes the plan's calls, journals the outcome, ends with a short text."""

import json
from collections.abc import AsyncGenerator, Sequence
from decimal import Decimal
from typing import Any

from tradeagent.domain.errors import ModelError
from tradeagent.llm.contract import CHARACTERS_PER_TOKEN, Message, Model, ModelDelta, ToolCall, ToolSpec
from tradeagent.llm.offline.context import MESSAGE_SECTION, read_context
from tradeagent.llm.offline.policies import POLICIES, Plan, Policy
from tradeagent.llm.offline.trade import Call
from tradeagent.llm.usage import Usage

ASSISTANT = "assistant"
_CHUNK = 48
_TO_TALK = (
    "I follow fixed rules and understand no questions, so I do nothing because of one. `tradeagent journal AGENT` says what I did and why; "
    "`tradeagent chat` without --agent answers."
)
_NOTHING_TO_DO = Plan("hold", "no tick context in this conversation, so there is nothing to decide", "none")


def open_offline(model_id: str) -> Model:
    """The policy named by `offline/<policy>`, or the assistant; ModelError listing the known ones otherwise."""
    name = model_id.removeprefix("offline/")
    if name == ASSISTANT:
        from tradeagent.llm.offline.assistant import OfflineAssistant  # a run of an agent has no use for it

        return OfflineAssistant(model_id)
    if name not in POLICIES:
        known = ", ".join(f"offline/{policy}" for policy in (*POLICIES, ASSISTANT))
        raise ModelError(f"model {model_id!r}: no such rule-based policy", hint=f"choose one of {known}", details={"model": model_id})
    return OfflineModel(model_id, POLICIES[name])


class OfflineModel:
    """Answers in at most three rounds: the plan's calls, then the journal (with the verdicts read), then a closing text."""

    is_rule_based = True

    def __init__(self, model_id: str, policy: Policy) -> None:
        self.id = model_id
        self._policy = policy
        self._asked: tuple[tuple[str, ...], set[str]] | None = None
        self._alert, self._plan = "", _NOTHING_TO_DO

    async def estimate_usd(self, messages: Sequence[Message], max_tokens: int, tools: Sequence[ToolSpec] = ()) -> Decimal | None:
        return Decimal(0)

    async def stream(self, messages: Sequence[Message], tools: Sequence[ToolSpec], *, max_tokens: int) -> AsyncGenerator[ModelDelta, None]:
        offered = {tool.name for tool in tools}
        alert, plan = self._decide(messages, offered)
        if _is_talk(messages):
            yield ModelDelta(text=f"[rule-based {self.id}] {_TO_TALK}")
            yield ModelDelta(usage=Usage(sum(len(message.content) for message in messages) // CHARACTERS_PER_TOKEN), done="stop")
            return
        turn = _this_turn(messages)
        made = {call.name for message in turn for call in message.tool_calls}
        outcomes = [_outcome(message) for message in turn if message.role == "tool" and message.name not in _BOOKKEEPING]
        text, calls = "" if turn else f"[rule-based {self.id}] ", _first_look(alert, offered, made)
        if not calls and not made.difference(_READING) and plan.calls:
            text, calls = text + plan.reasoning, plan.calls
        elif not calls and "journal_action" in offered and "journal_action" not in made:
            calls = _bookkeeping(plan, outcomes, offered)
        elif not calls:
            text += f"{plan.action}: {'; '.join(outcomes) or plan.reasoning}"
        for start in range(0, len(text), _CHUNK):
            yield ModelDelta(text=text[start : start + _CHUNK])
        written = len(text)
        for number, call in enumerate(calls):
            arguments = json.dumps(call.arguments)
            written += len(arguments)
            yield ModelDelta(tool_call=ToolCall(f"rule_{len(made)}_{number}", call.name, arguments))
        read = sum(len(message.content) for message in messages)
        usage = Usage(read // CHARACTERS_PER_TOKEN, written // CHARACTERS_PER_TOKEN, Decimal(0))
        yield ModelDelta(usage=usage, done="tool_calls" if calls else "stop")

    def _decide(self, messages: Sequence[Message], offered: set[str]) -> tuple[str, Plan]:
        """The alert and the plan of a conversation; the rounds of one turn share their prompts, and only the first reads them."""
        asked = tuple(message.content for message in messages if message.role in ("system", "user")), offered
        if asked != self._asked:
            context = read_context(messages)
            self._alert, self._plan = (context.alert, self._policy(context, offered)) if context is not None else ("", _NOTHING_TO_DO)
            self._asked = asked
        return self._alert, self._plan


def _is_talk(messages: Sequence[Message]) -> bool:
    """Whether a person talks with the agent. Rules understand no wishes, and must not trade because of one."""
    asked = next((message.content for message in reversed(messages) if message.role == "user"), "")
    return f"\n{MESSAGE_SECTION}\n" in asked


_READING = frozenset({"get_portfolio"})
_BOOKKEEPING = _READING | {"journal_action", "add_learning", "update_reflection"}


def _this_turn(messages: Sequence[Message]) -> Sequence[Message]:
    """What came after the last thing anybody asked."""
    last = max((index for index, message in enumerate(messages) if message.role == "user"), default=-1)
    return messages[last + 1 :]


def _first_look(alert: str, offered: set[str], made: set[str]) -> tuple[Call, ...]:
    """An alert asks to read position and stop before anything else."""
    return (Call("get_portfolio", {}),) if alert and "get_portfolio" in offered and not made else ()


def _bookkeeping(plan: Plan, outcomes: list[str], offered: set[str]) -> tuple[Call, ...]:
    reasoning = "; ".join([plan.reasoning, *outcomes])[:600]
    calls = [Call("journal_action", {"action": plan.action, "reasoning": reasoning, "risk_note": plan.risk_note})]
    if plan.learning is not None and "add_learning" in offered:
        section, text = plan.learning
        calls.append(Call("add_learning", {"section": section, "text": text}))
    if plan.reflection and "update_reflection" in offered:
        calls.append(Call("update_reflection", dict(plan.reflection)))
    return tuple(calls)


def _outcome(message: Message) -> str:
    """One phrase for a tool's answer: the verdict with its rule, an error's message, or done."""
    try:
        content: Any = json.loads(message.content)
    except ValueError:
        content = None
    if not isinstance(content, dict):
        return f"{message.name}: unreadable answer"
    error = content.get("error")
    if isinstance(error, dict):
        return f"{message.name}: {error.get('message', 'failed')}"
    if content.get("verdict") == "rejected":
        detail = content.get("detail")
        said = detail.get("message", "") if isinstance(detail, dict) else ""
        return f"{message.name}: rejected by {content.get('rule')} {said}".rstrip()
    return f"{message.name}: {content.get('verdict', 'done')}"
