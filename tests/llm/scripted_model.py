"""A model that follows a script, and small tools, for tests of the turn loop."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from decimal import Decimal
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from tradeagent.domain.clock import SystemClock
from tradeagent.llm.contract import Message, ModelDelta, Permit, Tool, ToolCall, ToolResult, ToolSpec, TurnEvent, TurnFinished, TurnLimits
from tradeagent.llm.loop import TurnControl, run_turn

Step = Sequence[ModelDelta] | Callable[[Sequence[Message]], AsyncGenerator[ModelDelta, None]]


class ScriptedModel:
    """Answers its n-th call with the n-th step, the last one over and over; keeps the messages it was asked with."""

    id = "test/scripted"
    is_rule_based = True

    def __init__(self, *steps: Step, estimate: Decimal | None = Decimal(0)) -> None:
        self.steps = steps
        self.asked: list[Sequence[Message]] = []
        self.estimate = estimate

    async def estimate_usd(self, messages: Sequence[Message], max_tokens: int, tools: Sequence[ToolSpec] = ()) -> Decimal | None:
        return self.estimate

    async def stream(self, messages: Sequence[Message], tools: Sequence[ToolSpec], *, max_tokens: int) -> AsyncGenerator[ModelDelta, None]:
        step = self.steps[min(len(self.asked), len(self.steps) - 1)]
        self.asked.append(list(messages))
        if callable(step):
            async for delta in step(messages):
                yield delta
        else:
            for delta in step:
                yield delta


class OrderArguments(BaseModel):
    model_config = ConfigDict(extra="forbid")
    market: str
    quote: Decimal = Field(gt=0)
    confidence: float = 0.5
    tags: list[str] = []


class NoArguments(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Desk:
    """Tools that remember what was dispatched to them."""

    def __init__(self) -> None:
        self.orders: list[OrderArguments] = []
        self.looks = 0

    async def order(self, arguments: OrderArguments, context: Any) -> ToolResult:
        assert isinstance(arguments, OrderArguments)
        self.orders.append(arguments)
        return ToolResult({"verdict": "executed", "n": len(self.orders)})

    async def look(self, arguments: NoArguments, context: Any) -> ToolResult:
        self.looks += 1
        return ToolResult({"equity": "10000", "context": str(context)})

    def tools(self) -> list[Tool]:
        return [
            Tool("propose_order", "Propose an order.", OrderArguments, "trading", "trade", self.order),
            Tool("get_portfolio", "Read the portfolio.", NoArguments, "portfolio", "read", self.look),
        ]


def say(text: str) -> ModelDelta:
    return ModelDelta(text=text)


def call(name: str, arguments: str, call_id: str = "") -> ModelDelta:
    return ModelDelta(tool_call=ToolCall(call_id, name, arguments))


def order(number: int) -> ModelDelta:
    return call("propose_order", f'{{"market": "BTC", "quote": "{number}"}}')


FAST = TurnLimits(deadline_s=5, first_token_timeout_s=2, idle_timeout_s=2)


async def play(
    model: Any,
    tools: Sequence[Tool] = (),
    limits: TurnLimits = FAST,
    permit: Permit = lambda _name, _arguments: None,
    control: TurnControl | None = None,
) -> list[TurnEvent]:
    """All events of one turn; checks that exactly the last one is TurnFinished."""
    turn = run_turn(model, [Message("user", "go")], tools, limits, permit, "the context", SystemClock(seed=1), control)
    events = [event async for event in turn]
    assert [isinstance(event, TurnFinished) for event in events] == [False] * (len(events) - 1) + [True]
    return events


def ending(events: Sequence[TurnEvent]) -> TurnFinished:
    last = events[-1]
    assert isinstance(last, TurnFinished)
    return last


async def forever() -> None:
    await asyncio.Event().wait()
