"""The turn loop: what is dispatched, what is answered instead, and every way a turn ends."""

import asyncio
import json
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from decimal import Decimal
from typing import Any

import pytest
from scripted_model import FAST, Desk, NoArguments, ScriptedModel, call, ending, forever, order, play, say

from tradeagent.domain.clock import SystemClock
from tradeagent.domain.errors import Defect, ModelError, NotFound
from tradeagent.llm.contract import (
    Message,
    ModelDelta,
    ReasoningDelta,
    TextDelta,
    Tool,
    ToolCallFinished,
    ToolCallStarted,
    ToolResult,
    TurnEvent,
    TurnLimits,
    UsageReported,
)
from tradeagent.llm.loop import TurnControl, run_turn
from tradeagent.llm.messages import MAX_RESULT_CHARACTERS
from tradeagent.llm.usage import Budget, Usage

STOP = [ModelDelta(done="stop")]


def results(events: Sequence[TurnEvent]) -> list[ToolCallFinished]:
    return [event for event in events if isinstance(event, ToolCallFinished)]


def error_of(finished: ToolCallFinished) -> dict[str, str]:
    found: dict[str, str] = finished.result.content["error"]
    return found


async def test_text_a_tool_call_and_the_answer_to_it_make_one_turn() -> None:
    desk = Desk()
    model = ScriptedModel(
        [say("I buy "), ModelDelta(reasoning="hm"), order(50), ModelDelta(usage=Usage(100, 20, Decimal("0.01")))],
        [say("done"), ModelDelta(usage=Usage(150, 5, Decimal("0.02")), done="stop")],
    )
    events = await play(model, desk.tools())
    assert [type(event) for event in events[:5]] == [TextDelta, ReasoningDelta, UsageReported, ToolCallStarted, ToolCallFinished]
    end = ending(events)
    assert (end.reason, end.text, end.tool_calls) == ("stop", "I buy done", 1)
    assert end.usage == Usage(250, 25, Decimal("0.03"))
    assert [o.quote for o in desk.orders] == [Decimal(50)]
    assistant, answer, last = end.messages
    assert (assistant.role, answer.role, last.content) == ("assistant", "tool", "done")
    assert answer.tool_call_id == assistant.tool_calls[0].id
    assert json.loads(answer.content) == {"verdict": "executed", "n": 1}
    assert model.asked[1][-2:] == [assistant, answer]


async def test_an_unknown_tool_is_answered_with_the_tools_there_are() -> None:
    desk = Desk()
    events = await play(ScriptedModel([call("propose_0rder", "{}")], STOP), desk.tools())
    (finished,) = results(events)
    assert not finished.dispatched
    assert error_of(finished)["code"] == "unknown_tool"
    assert "did you mean propose_order?" in error_of(finished)["hint"]
    assert ending(events).reason == "stop"


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        ("", "empty"),
        ("null", "null"),
        ("[]", "list"),
        ('"{\\"market\\": \\"BTC\\"}"', "twice"),
        ('{"market": "BTC"', "not valid JSON"),
        ("{}", "market: Field required"),
        ('{"market": "BTC", "quote": "5", "mode": "live"}', "mode: Extra inputs"),
        ('{"market": "BTC", "quote": 5, "quote": 500}', "twice"),
        ('{"market": "BTC", "quote": NaN}', "NaN is not a number"),
        ('{"market": "BTC", "quote": "NaN"}', "quote"),
        ('{"market": "BTC", "quote": 1e999}', "not finite"),
        ('{"market": "BTC", "quote": 5, "confidence": "Infinity"}', "NaN or infinite"),
        ('{"market": "BTC", "quote": -5}', "quote: Input should be greater than 0"),
        ('{"market": "BTC", "quote": 5, "tags": "x"}', "tags"),
        ('{"market": "BTC", "quote": 5, "tags": ' + "[" * 200_000, "not valid JSON"),
        ('{"market": "' + "B" * 300_000 + '", "quote": 5}', "larger than"),
        ('{"market": "\ud800", "quote": 5}', "not valid JSON"),
        ('{"market": "BTC", "quote": 1' + "0" * 5000 + "}", "not valid JSON"),
    ],
    ids=range(18),
)
async def test_invalid_arguments_are_never_dispatched_and_the_answer_names_what_was_expected(raw: str, says: str) -> None:
    desk = Desk()
    events = await play(ScriptedModel([call("propose_order", raw)], STOP), desk.tools(), TurnLimits(max_tokens=200_000))
    (finished,) = results(events)
    assert not finished.dispatched
    assert finished.result.is_error
    assert says in error_of(finished)["message"]
    assert "market (required), quote (required), confidence, tags" in error_of(finished)["hint"]
    assert desk.orders == []
    assert all(isinstance(json.loads(c.arguments), dict) for m in ending(events).messages for c in m.tool_calls)


async def test_a_tool_without_arguments_takes_empty_text() -> None:
    desk = Desk()
    events = await play(ScriptedModel([call("get_portfolio", "")], STOP), desk.tools())
    assert results(events)[0].result.content == {"equity": "10000", "context": "the context"}


async def test_the_third_answer_with_an_invalid_call_ends_the_turn() -> None:
    model = ScriptedModel(*[[call("propose_order", f'{{"nonsense": {n}}}')] for n in range(9)])
    events = await play(model, Desk().tools())
    assert ending(events).reason == "repair_limit"
    assert len(model.asked) == 3


async def test_the_same_call_three_times_ends_the_turn_before_the_third_is_dispatched() -> None:
    desk = Desk()
    spellings = ['{"market": "BTC", "quote": "5"}', '{"quote": 5, "market": "BTC"}', '{ "market":"BTC","quote":"5","confidence":0.5 }']
    events = await play(ScriptedModel(*[[call("propose_order", text)] for text in spellings]), desk.tools())
    assert ending(events).reason == "repeat"
    assert len(desk.orders) == 2


async def test_two_tools_in_turn_do_not_hide_a_repeat() -> None:
    desk = Desk()
    model = ScriptedModel([order(5)], [call("get_portfolio", "{}")], [order(5)], [call("get_portfolio", "{}")], [order(5)])
    assert ending(await play(model, desk.tools())).reason == "repeat"
    assert (len(desk.orders), desk.looks) == (2, 2)


async def test_twelve_calls_run_and_the_thirteenth_ends_the_turn() -> None:
    desk = Desk()
    events = await play(ScriptedModel(*[[order(n + 1)] for n in range(20)]), desk.tools())
    assert ending(events).reason == "tool_limit"
    assert len(desk.orders) == 12


async def test_five_hundred_parallel_calls_are_capped_and_every_kept_one_is_answered() -> None:
    desk = Desk()
    events = await play(ScriptedModel([order(n + 1) for n in range(500)]), desk.tools())
    end = ending(events)
    assert end.reason == "tool_limit"
    assert len(desk.orders) == 12
    (assistant,) = [message for message in end.messages if message.role == "assistant"]
    answered = {message.tool_call_id for message in end.messages if message.role == "tool"}
    assert {c.id for c in assistant.tool_calls} == answered
    assert len(answered) == 13


async def test_a_refused_call_tells_the_model_why_and_is_not_dispatched() -> None:
    desk = Desk()
    seen: list[dict[str, Any]] = []

    def permit(name: str, arguments: dict[str, Any]) -> str | None:
        seen.append(arguments)
        return "chat may not trade" if name == "propose_order" else None

    events = await play(ScriptedModel([order(5), call("get_portfolio", "{}")], STOP), desk.tools(), permit=permit)
    refused, looked = results(events)
    assert error_of(refused) == {"code": "not_permitted", "message": "chat may not trade", "hint": "go on without this call in this turn"}
    assert looked.dispatched
    assert desk.orders == []
    assert seen[0] == {"market": "BTC", "quote": "5", "confidence": 0.5, "tags": []}


async def test_an_error_of_the_product_reaches_the_model_with_its_hint() -> None:
    async def missing(arguments: NoArguments, context: Any) -> ToolResult:
        raise NotFound("market 'XXX' is not listed", hint="search_markets finds one")

    tool = Tool("get_ticker", "Read a ticker.", NoArguments, "market", "read", missing)
    (finished,) = results(await play(ScriptedModel([call("get_ticker", "{}")], STOP), [tool]))
    assert error_of(finished) == {"code": "not_found", "message": "market 'XXX' is not listed", "hint": "search_markets finds one"}
    assert finished.defect is None


async def test_a_defect_in_a_tool_is_reported_to_people_and_hidden_from_the_model() -> None:
    async def broken(arguments: NoArguments, context: Any) -> ToolResult:
        raise RuntimeError("secret-key-123")

    tool = Tool("get_ticker", "Read a ticker.", NoArguments, "market", "read", broken)
    events = await play(ScriptedModel([call("get_ticker", "{}")], STOP), [tool])
    (finished,) = results(events)
    assert error_of(finished)["code"] == "internal"
    assert "secret-key-123" in (finished.defect or "")
    assert all("secret-key-123" not in message.content for message in ending(events).messages)
    assert ending(events).reason == "stop"


async def test_a_result_that_is_no_json_is_a_defect_and_a_huge_one_is_clipped() -> None:
    async def odd(arguments: NoArguments, context: Any) -> ToolResult:
        return ToolResult({"value": float("nan")})

    async def huge(arguments: NoArguments, context: Any) -> ToolResult:
        return ToolResult({"text": "x" * 10 * MAX_RESULT_CHARACTERS})

    tools = [Tool("odd", "Odd.", NoArguments, "x", "read", odd), Tool("huge", "Huge.", NoArguments, "x", "read", huge)]
    events = await play(ScriptedModel([call("odd", "{}"), call("huge", "{}")], STOP), tools)
    assert error_of(results(events)[0])["code"] == "internal"
    assert len(ending(events).messages[2].content) < MAX_RESULT_CHARACTERS + 100


async def test_call_ids_that_are_missing_or_doubled_are_replaced() -> None:
    model = ScriptedModel([call("get_portfolio", "{}", "a"), call("get_portfolio", "", "a")], STOP)
    end = ending(await play(model, Desk().tools()))
    ids = [c.id for c in end.messages[0].tool_calls]
    assert ids[0] == "a"
    assert len(set(ids)) == 2
    assert [message.tool_call_id for message in end.messages[1:3]] == ids


async def test_endless_text_stops_at_the_token_limit() -> None:
    async def babble(messages: Sequence[Message]) -> AsyncGenerator[ModelDelta, None]:
        while True:
            yield say("blah " * 10)

    events = await play(ScriptedModel(babble), limits=TurnLimits(max_tokens=500, deadline_s=5))
    end = ending(events)
    assert end.reason == "token_limit"
    assert 500 * 4 <= len(end.text) < 500 * 4 + 100
    assert end.usage.estimated


async def test_an_answer_cut_by_the_provider_says_token_limit() -> None:
    assert ending(await play(ScriptedModel([say("and then"), ModelDelta(done="length")]))).reason == "token_limit"


async def silent(messages: Sequence[Message]) -> AsyncGenerator[ModelDelta, None]:
    await forever()
    yield say("never")


async def stalls(messages: Sequence[Message]) -> AsyncGenerator[ModelDelta, None]:
    yield say("well")
    await forever()


async def drips(messages: Sequence[Message]) -> AsyncGenerator[ModelDelta, None]:
    while True:
        await asyncio.sleep(0.02)
        yield say(".")


async def ignores_cancellation(messages: Sequence[Message]) -> AsyncGenerator[ModelDelta, None]:
    yield say("you cannot stop me")
    for _ in range(3):
        try:
            await asyncio.sleep(1.5)
        except asyncio.CancelledError:
            continue
    yield say("too late")


@pytest.mark.parametrize(
    ("step", "limits", "reason"),
    [
        (silent, TurnLimits(deadline_s=5, first_token_timeout_s=0.2), "first_token_timeout"),
        (stalls, TurnLimits(deadline_s=5, first_token_timeout_s=2, idle_timeout_s=0.2), "idle_timeout"),
        (drips, TurnLimits(deadline_s=0.2), "deadline"),
        (ignores_cancellation, TurnLimits(deadline_s=0.2), "deadline"),
    ],
)
async def test_a_model_that_does_not_come_back_is_left_in_time(step: Any, limits: TurnLimits, reason: str) -> None:
    clock = SystemClock()
    began = clock.monotonic()
    end = ending(await play(ScriptedModel(step), limits=limits))
    assert end.reason == reason
    assert clock.monotonic() - began < 0.2 + 1
    assert end.messages == ((Message("assistant", end.text),) if end.text else ())


async def test_a_tool_that_hangs_ends_the_turn_at_the_deadline_and_its_call_is_answered() -> None:
    finished = asyncio.Event()

    async def slow(arguments: NoArguments, context: Any) -> ToolResult:
        await asyncio.sleep(0.4)
        finished.set()
        return ToolResult({})

    def turn(scope: Any) -> Any:
        tool = Tool("slow", "Slow.", NoArguments, "x", scope, slow)
        return play(ScriptedModel([call("slow", "{}")]), [tool], TurnLimits(deadline_s=0.1))

    events = await turn("trade")
    assert ending(events).reason == "deadline"
    assert error_of(results(events)[0])["code"] == "turn_ended"
    assert ending(events).messages[-1].role == "tool"
    await asyncio.wait_for(finished.wait(), 1)  # a trade under way is not cut off
    finished.clear()
    await turn("read")
    await asyncio.sleep(0.5)
    assert not finished.is_set()


async def test_an_interruption_keeps_what_was_said() -> None:
    interrupt = asyncio.Event()
    turn = run_turn(
        ScriptedModel(stalls), [Message("user", "go")], [], FAST, lambda _n, _a: None, None, SystemClock(), TurnControl(interrupt=interrupt)
    )
    events = []
    async for event in turn:
        events.append(event)
        if isinstance(event, TextDelta):
            asyncio.get_running_loop().call_later(0.05, interrupt.set)
    end = ending(events)
    assert (end.reason, end.text, end.messages) == ("interrupted", "well", (Message("assistant", "well"),))


async def test_a_call_announced_when_the_user_interrupts_is_not_dispatched_any_more() -> None:
    desk, interrupt = Desk(), asyncio.Event()
    model = ScriptedModel([order(5), order(6)])
    control = TurnControl(interrupt=interrupt)
    events = []
    async for event in run_turn(model, [Message("user", "go")], desk.tools(), FAST, lambda _n, _a: None, None, SystemClock(), control):
        events.append(event)
        if isinstance(event, ToolCallStarted):
            interrupt.set()
    end = ending(events)
    assert (end.reason, desk.orders) == ("interrupted", [])
    assert [message.role for message in end.messages] == ["assistant", "tool", "tool"]


async def test_a_call_is_booked_once_even_when_the_reader_leaves_at_its_report() -> None:
    till = Till()
    model = ScriptedModel([say("x"), ModelDelta(usage=Usage(1, 1, Decimal("0.1")))])
    turn = run_turn(model, [], [], FAST, lambda _n, _a: None, None, SystemClock(), TurnControl(till.budget("9")))
    async with aclosing(turn):
        async for event in turn:
            if isinstance(event, UsageReported):
                break
    assert till.spent == Decimal("0.1")


async def test_closing_the_turn_early_stops_the_model() -> None:
    stopped = asyncio.Event()

    async def talks(messages: Sequence[Message]) -> AsyncGenerator[ModelDelta, None]:
        try:
            while True:
                await asyncio.sleep(0)
                yield say("x")
        finally:
            stopped.set()

    model = ScriptedModel(talks)
    async with aclosing(run_turn(model, [], [], FAST, lambda _n, _a: None, None, SystemClock())) as turn:
        await anext(turn)
    await asyncio.wait_for(stopped.wait(), 1)


async def test_a_failing_model_ends_the_turn_with_its_message() -> None:
    async def refuses(messages: Sequence[Message]) -> AsyncGenerator[ModelDelta, None]:
        yield say("so ")
        raise ModelError("quota reached", hint="wait")

    async def breaks(messages: Sequence[Message]) -> AsyncGenerator[ModelDelta, None]:
        yield say("so ")
        raise KeyError("choices")

    end = ending(await play(ScriptedModel(refuses)))
    assert (end.reason, end.text, end.detail, end.defect) == ("model_error", "so ", "quota reached (wait)", None)
    end = ending(await play(ScriptedModel(breaks)))
    assert end.reason == "model_error"
    assert "KeyError" in (end.defect or "")


class Till:
    """The recorded spend of a day."""

    def __init__(self) -> None:
        self.spent = Decimal(0)

    def budget(self, cap: str) -> Budget:
        return Budget(Decimal(cap), lambda: self.spent, self.book)

    def book(self, usage: Usage) -> None:
        self.spent += usage.cost_usd or 0


async def test_fifty_turns_at_once_overspend_a_budget_by_at_most_one_call() -> None:
    till = Till()
    budget = till.budget("1.00")

    async def costly(messages: Sequence[Message]) -> AsyncGenerator[ModelDelta, None]:
        await asyncio.sleep(0.001)
        yield order(len(messages))
        yield ModelDelta(usage=Usage(10, 10, Decimal("0.07")))

    def turn() -> Any:
        model = ScriptedModel(costly, estimate=Decimal("0.07"))
        return play(model, Desk().tools(), control=TurnControl(budget=budget))

    ends = [ending(events) for events in await asyncio.gather(*[turn() for _ in range(50)])]
    assert {end.reason for end in ends} == {"budget"}
    assert Decimal("0.90") < till.spent <= Decimal("1.07")


async def test_a_call_that_breaks_off_is_booked_at_its_estimate_and_a_refused_one_at_nothing() -> None:
    async def refused(messages: Sequence[Message]) -> AsyncGenerator[ModelDelta, None]:
        raise ModelError("rate limit")
        yield

    till = Till()
    await play(ScriptedModel(stalls, estimate=Decimal("0.5")), limits=TurnLimits(deadline_s=0.1), control=TurnControl(till.budget("9")))
    assert till.spent == Decimal("0.5")
    await play(ScriptedModel(refused, estimate=Decimal("0.5")), control=TurnControl(till.budget("9")))
    assert till.spent == Decimal("0.5")


def test_a_tool_whose_arguments_allow_extra_keys_cannot_be_made() -> None:
    from pydantic import BaseModel

    class Loose(BaseModel):
        market: str

    async def handler(arguments: Loose, context: Any) -> ToolResult:
        return ToolResult({})

    with pytest.raises(Defect, match="Loose must forbid extra"):
        Tool("loose", "Loose.", Loose, "x", "read", handler)
