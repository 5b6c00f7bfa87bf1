"""A recorded tick asked again: its prompt to a model, with the answers that the tools gave then, and no way to an order at all.

There is no door here: a trading tool is answered from the record, or refused with DRY_RUN. Market data are those of the tick's instant.
"""

import contextlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydantic import BaseModel

from tradeagent.agents.folder import Agent
from tradeagent.agents.snapshots import SnapshotRecord
from tradeagent.domain.clock import SimulatedClock, iso
from tradeagent.domain.names import Actor, Rule, VerdictKind
from tradeagent.domain.order import Rejection, Verdict
from tradeagent.ledger.store import Ledger
from tradeagent.llm.arguments import canonical, read_arguments
from tradeagent.llm.contract import Message, Model, Tool, ToolCallStarted, ToolResult, TurnFinished, TurnLimits, UsageReported
from tradeagent.llm.loop import TurnControl, run_turn
from tradeagent.llm.usage import Budget, Usage
from tradeagent.market.feed import MarketFeed
from tradeagent.tools.context import ToolContext
from tradeagent.tools.registry import TOOLS, permit_for, tools_for
from tradeagent.turns.choices import Choice, agree, choices_of
from tradeagent.turns.prompt_rules import ENTRIES_BARRED

_ASK_NOBODY = frozenset({"list_executor_types", "describe_executor"})


@dataclass(frozen=True, slots=True)
class World:
    """What a replay may look at: the agent as it was, stored bars, and the ledger for reading."""

    agent: Agent
    feed: MarketFeed
    ledger: Ledger
    limits: TurnLimits


@dataclass(frozen=True, slots=True)
class Replayed:
    """One recorded tick and what a model makes of it now; `reason` is how its turn ended."""

    record: SnapshotRecord
    then: tuple[Choice, ...]
    now: tuple[Choice, ...]
    reason: str
    detail: str
    text: str
    usage: Usage
    model_calls: int

    @property
    def is_answered(self) -> bool:
        """Whether the model came to an end of its own; a turn that broke off says nothing about its choice."""
        return self.reason in ("stop", "tool_limit", "repeat", "repair_limit", "token_limit")

    @property
    def is_same(self) -> bool:
        return agree(self.then, self.now)


async def replay_tick(record: SnapshotRecord, world: World, model: Model, budget: Budget) -> Replayed:
    """Ask `model` what it would have done. Never raises for a model's fault, which is in `reason`."""
    barred = f"\n- {ENTRIES_BARRED}" in record.system_prompt
    answers = _Answers(record, world)
    tools = [answers.in_place_of(tool) for tool in tools_for(world.agent.definition.tools or (), entries_barred=barred)]
    messages = [Message("system", record.system_prompt), Message("user", record.user_prompt)]
    clock = SimulatedClock(record.at_ms)
    calls: list[tuple[str, str]] = []
    asked, end = 0, None
    events = run_turn(model, messages, tools, world.limits, permit_for(tools), None, clock, TurnControl(budget))
    async with contextlib.aclosing(events):
        async for event in events:
            if isinstance(event, ToolCallStarted):
                calls.append((event.name, event.arguments))
            elif isinstance(event, UsageReported):
                asked += 1
            elif isinstance(event, TurnFinished):
                end = event
    assert end is not None  # the last event of every turn
    return Replayed(record, recorded_choices(record), choices_of(calls), end.reason, end.detail, end.text, end.usage, asked)


def recorded_choices(record: SnapshotRecord) -> tuple[Choice, ...]:
    """What was chosen then."""
    return choices_of((call.name, call.arguments) for call in record.tool_calls)


class _Answers:
    """The tools of a recorded tick: what they answered then, what stored bars say, and a refusal for everything that would act."""

    def __init__(self, record: SnapshotRecord, world: World) -> None:
        self._record = record
        self._context = ToolContext(Actor.AGENT, SimulatedClock(record.at_ms), world.ledger, world.feed)
        self._given = {
            key: answer for call in record.tool_calls if (key := _key(call.name, call.arguments)) and (answer := _read(call.result))
        }

    def in_place_of(self, tool: Tool) -> Tool:
        """The tool as the model sees it, with a handler that cannot act."""

        async def handler(arguments: BaseModel, _context: Any) -> ToolResult:
            return await self._answer(tool, arguments)

        return replace(tool, handler=handler)

    async def _answer(self, tool: Tool, arguments: BaseModel) -> ToolResult:
        given = self._given.get((tool.name, canonical(arguments)))
        if given is not None:
            return ToolResult(given, is_error="error" in given or given.get("verdict") == VerdictKind.REJECTED.value)
        if tool.scope == "trade":
            return _refusal()
        if tool.scope in ("memory", "ops"):
            return ToolResult({"noted": True})
        if tool.family == "market" or tool.name in _ASK_NOBODY:
            return await tool.handler(arguments, self._context)
        if tool.name in ("get_portfolio", "get_account_overview"):
            return self._account(whole=tool.name == "get_portfolio")
        return ToolResult.error("not_recorded", f"{tool.name} was not asked in this tick", "decide from the prompt")

    def _account(self, *, whole: bool) -> ToolResult:
        """The account as the tick saw it before it asked its model."""
        data = {provider.name: json.loads(provider.data) for provider in self._record.providers if provider.data}
        account = {"as_of": iso(self._record.at_ms), "account": data.get("account")}
        rest = {"positions": data.get("positions"), "open_orders": data.get("orders")} if whole else {}
        return ToolResult({**account, **rest})


def _key(name: str, arguments: str) -> tuple[str, str] | None:
    """A call by its meaning; None for one that no tool would take."""
    tool = TOOLS.get(name)
    value = read_arguments(tool, arguments) if tool is not None else None
    return (name, canonical(value)) if isinstance(value, BaseModel) else None


def _read(result: str) -> dict[str, Any] | None:
    """A recorded result; None for one that its file has cut."""
    try:
        found = json.loads(result)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _refusal() -> ToolResult:
    rejection = Rejection(Rule.DRY_RUN, "replay: no order is possible here; your choice is noted")
    full = Verdict(VerdictKind.REJECTED, rejection=rejection).as_dict()
    return ToolResult({key: full[key] for key in ("verdict", "rule", "detail")}, is_error=True)


def ticks_of(replayed: Sequence[Replayed], *, then: bool) -> list[tuple[int, tuple[Choice, ...]]]:
    """Instant and choices of each answered tick, recorded ones or today's, as `worth_of` takes them."""
    return [(one.record.at_ms, one.then if then else one.now) for one in replayed if one.is_answered]
