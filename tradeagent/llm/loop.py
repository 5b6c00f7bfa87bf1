"""One bounded exchange with a model: ask, dispatch the calls that validate and are permitted, answer, until it ends.

The same loop serves ticks, alerts, chats and the assistant. Every bound (calls, repairs, repeats, tokens, timers, budget)
is enforced here, whatever the model or its adapter does; a turn always ends with exactly one TurnFinished.
"""

import asyncio
import difflib
import json
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from pydantic import BaseModel

from tradeagent.domain.clock import Clock
from tradeagent.domain.errors import TradeAgentError
from tradeagent.llm.arguments import canonical, read_arguments
from tradeagent.llm.contract import (
    CHARACTERS_PER_TOKEN,
    Acted,
    FinishReason,
    Message,
    Model,
    ModelDelta,
    Permit,
    ReasoningDelta,
    TextDelta,
    Tool,
    ToolCall,
    ToolCallFinished,
    ToolCallStarted,
    ToolResult,
    TurnEvent,
    TurnFinished,
    TurnLimits,
    UsageReported,
)
from tradeagent.llm.keys import traceback_of
from tradeagent.llm.messages import RAW_SHOWN, as_kept, result_message
from tradeagent.llm.usage import Budget, Reservation, Usage
from tradeagent.llm.watch import TurnEndedError, Watch, release

_SAME_CALL_ENDS_AT = 3
_QUEUE_SIZE = 64
_NAME_SHOWN = 64


@dataclass(frozen=True, slots=True)
class TurnControl:
    """What may stop a turn from outside: the budget its calls share, and an event that interrupts it."""

    budget: Budget | None = None
    interrupt: asyncio.Event | None = None


async def run_turn(
    model: Model,
    messages: Sequence[Message],
    tools: Sequence[Tool],
    limits: TurnLimits,
    permit: Permit,
    context: Any,
    clock: Clock,
    control: TurnControl | None = None,
) -> AsyncGenerator[TurnEvent, None]:
    """Run one turn over `messages`; the last event is TurnFinished. Close the generator to abort without one.

    A call is dispatched only when its tool is in `tools` (read anew before each model call), its arguments validate and `permit`
    allows it; everything else is answered with an error. A trading tool still at work when the turn ends is left to finish: the
    ledger knows its outcome.
    A model that runs its tools itself asks the same `permit`; its calls are shown and counted, and leaving it is all that stops it.
    """
    turn = _Turn(model, messages, tools, limits, permit, context, clock, control or TurnControl())
    try:
        while True:
            async with aclosing(turn.ask()) as asking:
                async for event in asking:
                    yield event
            async with aclosing(turn.answer()) as answering:
                async for event in answering:
                    yield event
    except TurnEndedError as end:
        for event in turn.finish(end):
            yield event
    finally:
        turn.close()


class _Turn:
    """State of one turn: the conversation it adds, what it counted, and the calls still to answer."""

    def __init__(
        self,
        model: Model,
        messages: Sequence[Message],
        tools: Sequence[Tool],
        limits: TurnLimits,
        permit: Permit,
        context: Any,
        clock: Clock,
        control: TurnControl,
    ) -> None:
        self._model, self._limits, self._permit = model, limits, permit
        self._context, self._clock, self._budget = context, clock, control.budget
        self._offered = tools
        self._look_at_tools()
        self._before = list(messages)
        self._added: list[Message] = []
        self._said: list[str] = []
        self._watch = Watch(clock, limits.deadline_s, control.interrupt)
        self._asked: _Asked | None = None
        self._calls: list[ToolCall] = []
        self._started: ToolCall | None = None
        self._dispatched = False
        self._acting: dict[str, ToolCall] = {}
        self._ids: set[str] = set()
        self._seen: Counter[tuple[str, str]] = Counter()
        self._usage = Usage()
        self._tool_calls = 0
        self._repairs = 0

    def _look_at_tools(self) -> None:
        """A host may change the list between two model calls, as when a family of tools is added."""
        self._tools = {tool.name: tool for tool in self._offered}
        self._specs = [tool.spec for tool in self._offered]

    async def ask(self) -> AsyncGenerator[TurnEvent, None]:
        """One model call: stream its answer, report its usage, keep its calls for `answer`."""
        self._watch.check()
        self._look_at_tools()
        left = self._limits.max_tokens - self._usage.tokens_out
        if left <= 0:
            raise TurnEndedError("token_limit", f"the turn used its {self._limits.max_tokens} output tokens")
        asked = self._asked = _Asked(await self._reserve(left), sum(len(m.content) for m in (*self._before, *self._added)))
        asked.pump = asyncio.ensure_future(self._stream_into(asked, left))
        timer: tuple[float | None, FinishReason] = (self._limits.first_token_timeout_s, "first_token_timeout")
        while (delta := await self._next(asked.queue, *timer)) is not None:
            for event in self._take(asked, delta):
                yield event
            if delta.asking is not None:
                call = delta.asking.call
                refusal, _ = await self._refusal(call.name, json.loads(call.arguments))
                if not delta.asking.answer.done():
                    delta.asking.answer.set_result(refusal)
            # a tool that the model runs itself may be silent for as long as it works
            timer = (None, "deadline") if self._acting else (self._limits.idle_timeout_s, "idle_timeout")
            if asked.characters > left * CHARACTERS_PER_TOKEN:
                raise TurnEndedError("token_limit", f"the answer went on past {self._limits.max_tokens} output tokens")
        report, self._asked = self._settle(asked), None
        self._added.append(Message("assistant", "".join(asked.text), tuple(map(as_kept, self._calls))))
        yield report
        if not self._calls:
            raise TurnEndedError("token_limit" if asked.done == "length" else "stop")

    async def answer(self) -> AsyncGenerator[TurnEvent, None]:
        """Dispatch the calls of the last answer in order; an answer with any invalid call costs one repair."""
        invalid = False
        while self._calls:
            self._watch.check()
            call = self._calls[0]
            arguments = self._read(call)
            text = call.arguments[:RAW_SHOWN] if isinstance(arguments, ToolResult) else canonical(arguments)
            self._count(call.name, text)
            self._started, self._dispatched = call, False
            yield ToolCallStarted(call.id, call.name, text)
            finished = await self._run(call, arguments, text)
            self._started = None
            self._calls.pop(0)
            self._added.append(result_message(call, finished.result))
            yield finished
            invalid = invalid or isinstance(arguments, ToolResult)
        self._repairs += invalid
        if self._repairs > self._limits.max_repairs:
            raise TurnEndedError("repair_limit", f"the model sent invalid calls again after {self._limits.max_repairs} repairs")

    def finish(self, end: TurnEndedError) -> Iterator[TurnEvent]:
        """Settle what was under way, answer every open call, and close the turn with what was said."""
        if self._asked is not None:
            asked, self._asked = self._asked, None
            self._calls.clear()
            if asked.pump is not None:
                yield self._settle(asked, end)
            if asked.text:
                self._added.append(Message("assistant", "".join(asked.text)))
        for call in self._calls:
            begun = call is self._started and self._dispatched
            result = _cut_off(end, begun=begun)
            self._added.append(result_message(call, result))
            if call is self._started:
                yield ToolCallFinished(call.id, call.name, result, begun)
        for call in self._acting.values():
            yield ToolCallFinished(call.id, call.name, _cut_off(end, begun=True), False)
        yield TurnFinished(end.reason, "".join(self._said), tuple(self._added), self._usage, self._tool_calls, end.detail, end.defect)

    def close(self) -> None:
        """Let go of everything still running; an aborted call gives its reservation back as spent."""
        if self._asked is not None:
            self._settle(self._asked)
        self._watch.close()

    async def _reserve(self, max_tokens: int) -> Reservation:
        """Set the call's estimate aside. Estimating also loads a model's adapter, so that its seconds do not count as silence."""
        estimate = await self._watch.run(self._estimate(max_tokens))
        reservation = self._budget.reserve(estimate) if self._budget is not None else Reservation(estimate)
        if reservation is None:
            raise TurnEndedError("budget", "the budget for this period is spent")
        return reservation

    async def _estimate(self, max_tokens: int) -> Decimal | None:
        try:
            return await self._model.estimate_usd([*self._before, *self._added], max_tokens, self._specs)
        except TradeAgentError as error:
            raise TurnEndedError("model_error", _told(error)) from None

    async def _stream_into(self, asked: "_Asked", max_tokens: int) -> None:
        """The model's own task, so that one that hangs or ignores cancellation holds up nobody."""
        end: TurnEndedError | None = None
        try:
            async with aclosing(self._model.stream([*self._before, *self._added], self._specs, max_tokens=max_tokens)) as stream:
                async for delta in stream:
                    if asked.released:
                        return
                    await asked.queue.put(delta)
        except TradeAgentError as error:
            end = TurnEndedError("model_error", _told(error))
        except Exception as error:  # noqa: BLE001 - worker boundary: a defect of a model adapter ends the turn and is reported in it
            end = TurnEndedError("model_error", f"the adapter of {self._model.id} failed", traceback_of(error))
        if not asked.released:
            await asked.queue.put(end)

    async def _next(self, queue: "asyncio.Queue[_Item]", timeout_s: float | None, reason: FinishReason) -> ModelDelta | None:
        self._watch.check()
        if queue.empty():
            getting = asyncio.ensure_future(queue.get())
            try:
                item = await self._watch.wait(getting, timeout_s, reason)
            finally:
                release(getting)
        else:
            item = queue.get_nowait()
        if isinstance(item, TurnEndedError):
            raise item
        return item

    def _take(self, asked: "_Asked", delta: ModelDelta) -> Iterator[TurnEvent]:
        asked.characters += len(delta.text) + len(delta.reasoning)
        asked.usage = delta.usage or asked.usage
        asked.done = delta.done or asked.done
        if delta.reasoning:
            yield ReasoningDelta(delta.reasoning)
        if delta.text:
            asked.text.append(delta.text)
            self._said.append(delta.text)
            yield TextDelta(delta.text)
        if delta.tool_call is not None:
            asked.characters += len(delta.tool_call.arguments)
            if len(self._calls) <= self._limits.max_tool_calls:
                self._calls.append(self._identified(delta.tool_call))
        if delta.acted is not None:
            yield from self._observe(asked, delta.acted)
        if delta.usage is not None and delta.done is None and self._budget is not None and self._budget.is_passed_by(delta.usage):
            raise TurnEndedError("budget", "the budget for this period is spent")

    def _observe(self, asked: "_Asked", acted: Acted) -> Iterator[TurnEvent]:
        """Show and count a call that the model makes itself."""
        call = acted.call
        if call.id not in self._acting:
            self._count(call.name, call.arguments)
            asked.characters += len(call.arguments)
            self._acting[call.id] = call
            yield ToolCallStarted(call.id, call.name, call.arguments[:RAW_SHOWN])
        if acted.result is not None:
            del self._acting[call.id]
            yield ToolCallFinished(call.id, call.name, acted.result, False)

    def _count(self, name: str, arguments: str) -> None:
        """Count a call against the turn's limits, before anything is done about it."""
        if self._tool_calls >= self._limits.max_tool_calls:
            raise TurnEndedError("tool_limit", f"more than {self._limits.max_tool_calls} tool calls in one turn")
        self._tool_calls += 1
        self._seen[name, arguments] += 1
        if self._seen[name, arguments] >= _SAME_CALL_ENDS_AT:
            raise TurnEndedError("repeat", f"{name} was called {_SAME_CALL_ENDS_AT} times with the same arguments")

    def _identified(self, call: ToolCall) -> ToolCall:
        """The call with an id no other call of this turn has."""
        call_id = call.id if call.id and call.id not in self._ids else f"call_{len(self._ids)}"
        self._ids.add(call_id)
        return ToolCall(call_id, call.name[:_NAME_SHOWN], call.arguments)

    def _settle(self, asked: "_Asked", end: TurnEndedError | None = None) -> UsageReported:
        """Book the call: what the provider reported, else an estimate at the reserved cost. A call refused unheard cost nothing."""
        asked.release()
        usage = asked.usage
        if usage is None and end is not None and end.reason == "model_error" and not asked.characters:
            usage = Usage(estimated=True)
        elif usage is None:
            tokens_in, tokens_out = asked.characters_in // CHARACTERS_PER_TOKEN, asked.characters // CHARACTERS_PER_TOKEN
            usage = Usage(tokens_in, tokens_out, asked.reservation.estimate_usd, estimated=True)
        self._usage += usage
        if self._budget is not None:
            self._budget.settle(asked.reservation, usage)
        return UsageReported(self._model.id, usage)

    def _read(self, call: ToolCall) -> BaseModel | ToolResult:
        tool = self._tools.get(call.name)
        if tool is not None:
            return read_arguments(tool, call.arguments)
        near = difflib.get_close_matches(call.name, self._tools, n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        return ToolResult.error(
            "unknown_tool", f"no tool named {call.name!r} in this turn", f"{hint}available: {', '.join(self._tools) or 'none'}"
        )

    async def _run(self, call: ToolCall, arguments: BaseModel | ToolResult, text: str) -> ToolCallFinished:
        if isinstance(arguments, ToolResult):
            return ToolCallFinished(call.id, call.name, arguments, False)
        refusal, defect = await self._refusal(call.name, json.loads(text))
        if refusal is not None:
            result = ToolResult.error("not_permitted", refusal, "go on without this call in this turn")
            return ToolCallFinished(call.id, call.name, result, False, defect=defect)
        tool = self._tools[call.name]
        began = self._clock.monotonic()
        self._dispatched = True
        # a trade cut off half-way would leave its intent unknown until reconciliation, so only harmless work is cancelled
        result, defect = await self._watch.run(handled(tool, arguments, self._context), cancel=tool.scope not in ("trade", "ops"))
        return ToolCallFinished(call.id, call.name, result, True, round((self._clock.monotonic() - began) * 1000), defect)

    async def _refusal(self, name: str, arguments: dict[str, Any]) -> tuple[str | None, str | None]:
        """Why the call may not be made (None = it may), and the traceback of a permission check that failed: that is a no."""
        try:
            answer = self._permit(name, arguments)
            if isinstance(answer, Awaitable):
                answer = await self._watch.run(_decided(answer, self._limits.permit_timeout_s))
        except TurnEndedError:
            raise
        except Exception as error:  # noqa: BLE001 - worker boundary: whatever goes wrong in a permission check, nothing is dispatched
            return "the permission check failed", traceback_of(error)
        return answer, None


_Item = ModelDelta | TurnEndedError | None


class _Asked:
    """One model call under way."""

    def __init__(self, reservation: Reservation, characters_in: int) -> None:
        self.reservation = reservation
        self.characters_in = characters_in
        self.queue: asyncio.Queue[_Item] = asyncio.Queue(_QUEUE_SIZE)
        self.pump: asyncio.Task[None] | None = None
        self.text: list[str] = []
        self.characters = 0
        self.usage: Usage | None = None
        self.done = ""
        self.released = False

    def release(self) -> None:
        self.released = True
        if self.pump is not None:
            release(self.pump)


async def handled(tool: Tool, arguments: BaseModel, context: Any) -> tuple[ToolResult, str | None]:
    """The tool's answer and, when it failed unexpectedly, the traceback: the person gets that, the model only that it happened."""
    try:
        result = await tool.handler(arguments, context)
        json.dumps(result.content, allow_nan=False)
    except TradeAgentError as error:
        return ToolResult.error(error.code, error.message, error.hint), None
    except Exception as error:  # noqa: BLE001 - worker boundary: a defect in a tool must not end the turn; the event carries it
        failed = ToolResult.error("internal", f"{tool.name} failed inside the product", "try another way; a person has been told")
        return failed, traceback_of(error)
    return result, None


async def _decided(answer: Awaitable[str | None], timeout_s: float) -> str | None:
    """The answer of a person, or the refusal that stands for silence."""
    deciding = asyncio.ensure_future(answer)
    try:
        done, _ = await asyncio.wait({deciding}, timeout=timeout_s)
        return deciding.result() if done else f"nobody allowed it within {timeout_s:g} s"
    finally:
        release(deciding)


def _cut_off(end: TurnEndedError, *, begun: bool) -> ToolResult:
    outcome = "its outcome is not known here" if begun else "not run"
    return ToolResult.error("turn_ended", f"the turn ended ({end.reason}); {outcome}", end.detail)


def _told(error: TradeAgentError) -> str:
    return f"{error.message} ({error.hint})" if error.hint else error.message
