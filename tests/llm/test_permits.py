"""Permission: a no by default, by silence and by accident; a person may take time, and an interruption does not wait for them."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from scripted_model import Desk, ScriptedModel, call, ending, order, play, say

from tradeagent.domain.clock import SystemClock
from tradeagent.llm.contract import Message, ModelDelta, ToolCallFinished, ToolCallStarted, TurnLimits
from tradeagent.llm.loop import TurnControl, run_turn

STOP = [ModelDelta(done="stop")]
BRIEF = TurnLimits(deadline_s=5, permit_timeout_s=0.1)


async def yes(_name: str, _arguments: dict[str, Any]) -> str | None:
    await asyncio.sleep(0)
    return None


async def no(_name: str, _arguments: dict[str, Any]) -> str | None:
    return "a person said no"


async def silence(_name: str, _arguments: dict[str, Any]) -> str | None:
    await asyncio.Event().wait()
    return None


async def breaks(_name: str, _arguments: dict[str, Any]) -> str | None:
    raise RuntimeError("no ledger")


def breaks_at_once(_name: str, _arguments: dict[str, Any]) -> str | None:
    raise RuntimeError("no ledger")


async def deaf(_name: str, _arguments: dict[str, Any]) -> str | None:
    for _ in range(3):
        try:
            await asyncio.sleep(0.5)
        except asyncio.CancelledError:
            continue
    return None


@pytest.mark.parametrize(
    ("permit", "refusal"),
    [
        (yes, None),
        (no, "a person said no"),
        (silence, "nobody allowed it within 0.1 s"),
        (deaf, "nobody allowed it within 0.1 s"),
        (breaks, "the permission check failed"),
        (breaks_at_once, "the permission check failed"),
        (lambda _n, _a: "", ""),
    ],
)
async def test_a_call_waits_for_its_answer_and_anything_but_a_yes_is_a_no(
    permit: Callable[[str, dict[str, Any]], str | Awaitable[str | None] | None], refusal: str | None
) -> None:
    desk = Desk()
    events = await play(ScriptedModel([order(5)], STOP), desk.tools(), BRIEF, permit)
    (finished,) = [event for event in events if isinstance(event, ToolCallFinished)]
    assert finished.dispatched == (refusal is None) == bool(desk.orders)
    if refusal is not None:
        assert finished.result.content["error"]["code"] == "not_permitted"
        assert finished.result.content["error"]["message"] == refusal
    assert (finished.defect is not None and "no ledger" in finished.defect) == (refusal == "the permission check failed")
    assert ending(events).reason == "stop"


async def test_a_person_who_is_asked_can_be_interrupted_and_the_call_is_not_run() -> None:
    desk, interrupt = Desk(), asyncio.Event()
    control = TurnControl(interrupt=interrupt)
    model = ScriptedModel([say("I buy"), order(5), call("get_portfolio", "{}")])
    events = []
    async for event in run_turn(model, [Message("user", "go")], desk.tools(), TurnLimits(), silence, None, SystemClock(), control):
        events.append(event)
        if isinstance(event, ToolCallStarted):
            asyncio.get_running_loop().call_later(0.05, interrupt.set)
    end = ending(events)
    assert (end.reason, end.text, desk.orders, desk.looks) == ("interrupted", "I buy", [], 0)
    (finished,) = [event for event in events if isinstance(event, ToolCallFinished)]
    assert not finished.dispatched
    assert all("not run" in message.content for message in end.messages if message.role == "tool")
    assert len([message for message in end.messages if message.role == "tool"]) == 2


async def test_the_deadline_of_the_turn_does_not_wait_for_a_person() -> None:
    end = ending(await play(ScriptedModel([order(5)]), Desk().tools(), TurnLimits(deadline_s=0.2), silence))
    assert end.reason == "deadline"
