"""`acp:` against real agent processes on standard streams, scripted with the protocol's own library."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from scripted_model import Desk, ending, play

from tradeagent.domain.clock import SystemClock
from tradeagent.domain.errors import ModelError
from tradeagent.llm import watch
from tradeagent.llm.acp_talk import Listener
from tradeagent.llm.contract import (
    Message,
    ReasoningDelta,
    TextDelta,
    ToolCallFinished,
    ToolCallStarted,
    TurnEvent,
    TurnLimits,
)
from tradeagent.llm.gateway import open_model
from tradeagent.llm.loop import TurnControl, run_turn
from tradeagent.llm.settings import ModelEntry, ModelSettings
from tradeagent.llm.usage import Budget, Price, Usage

AGENT = Path(__file__).with_name("acp_agent.py")
PATIENT = TurnLimits(deadline_s=60, first_token_timeout_s=50, idle_timeout_s=50)
SECRETS = {"OPENAI_API_KEY": "canary-of-a-key", "TRADEAGENT_KEYSTORE_PASSWORD": "canary-of-a-password", "AGENT_KEY": "canary-of-the-agent"}
slow = pytest.mark.slow


@pytest.fixture(autouse=True)
async def nothing_left() -> AsyncIterator[None]:
    """A turn does not wait for the end of what it left; a test does."""
    yield
    async with asyncio.timeout(10):
        while watch._abandoned:
            await asyncio.sleep(0.02)
    await asyncio.sleep(0)


def agent(scene: str, **settings: Any) -> Any:
    model_id = f"acp:{sys.executable} {AGENT} {scene}"
    values: dict[str, Any] = {"environment": {**os.environ, **SECRETS}, "acp_server": ("/usr/bin/tradeagent", "mcp", "serve")}
    if entry := settings.pop("entry", None):
        values["models"] = {model_id: entry}
    return open_model(model_id, ModelSettings(**(values | settings)))


def of_type(events: Sequence[TurnEvent], kind: type[Any]) -> list[Any]:
    return [event for event in events if isinstance(event, kind)]


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def gone(*pids: int) -> None:
    async with asyncio.timeout(10):
        while any(map(is_alive, pids)):
            await asyncio.sleep(0.02)


@slow
async def test_what_an_agent_says_thinks_does_and_uses_is_the_turn() -> None:
    price = ModelEntry(price=Price(Decimal(2), Decimal(10)))
    events = await play(agent("talk", entry=price), Desk().tools(), PATIENT)
    end = ending(events)
    assert (end.reason, end.text, end.tool_calls) == ("stop", "I look. Fine.", 1)
    assert end.usage == Usage(1000, 50, Decimal("0.0025"))
    assert [event.text for event in of_type(events, ReasoningDelta)] == ["hm"]
    (started,), (finished,) = of_type(events, ToolCallStarted), of_type(events, ToolCallFinished)
    assert (started.name, json.loads(started.arguments)) == ("get_portfolio", {"wallet": "w"})
    assert (finished.call_id, finished.dispatched, finished.result.is_error) == (started.call_id, False, False)
    assert "done" in finished.result.content["output"]
    assert end.messages == (Message("assistant", "I look. Fine."),)


@slow
async def test_an_agent_gets_our_tools_an_empty_folder_no_files_no_terminal_and_none_of_our_secrets() -> None:
    end = ending(await play(agent("tells", entry=ModelEntry(api_key="env:AGENT_KEY")), Desk().tools(), PATIENT))
    told = json.loads(end.text)
    (server,) = told["servers"]
    assert (server["name"], server["command"], server["args"]) == ("tradeagent", "/usr/bin/tradeagent", ["mcp", "serve"])
    assert told["files"] == []
    assert not Path(told["cwd"]).exists()
    assert not (told["capabilities"] or {}).get("terminal")
    assert not any(((told["capabilities"] or {}).get("fs") or {}).values())
    assert told["environment"]["AGENT_KEY"] == "canary-of-the-agent"
    assert set(told["environment"]) >= {"PATH"}
    assert not {"OPENAI_API_KEY", "TRADEAGENT_KEYSTORE_PASSWORD", "PYTHONPATH"} & set(told["environment"])
    assert told["asked"] == "[user]\ngo"
    assert json.loads(ending(await play(agent("reaches"), (), PATIENT)).text) == ["Method not found"] * 3


@slow
async def test_an_agent_uses_the_tools_it_is_handed_once_it_may() -> None:
    handed = agent("uses", acp_server=(sys.executable, str(AGENT.with_name("mcp_tools.py"))))
    events = await play(handed, Desk().tools(), PATIENT)
    assert (ending(events).reason, ending(events).text) == ("stop", "['get_portfolio']: equity 10000")
    (finished,) = of_type(events, ToolCallFinished)
    assert (finished.name, "equity 10000" in finished.result.content["output"]) == ("get_portfolio", True)
    refused = ending(await play(handed, (), PATIENT, lambda name, _arguments: f"{name} may not be called"))
    assert (refused.reason, refused.text) == ("stop", "")


@slow
async def test_leave_is_given_once_by_the_turns_permit_and_never_for_what_is_none_of_our_tools() -> None:
    seen: list[tuple[str, dict[str, Any]]] = []

    async def permit(name: str, arguments: dict[str, Any]) -> str | None:
        seen.append((name, arguments))
        return None if name == "get_portfolio" else f"{name} is not on this turn's list of tools"

    end = ending(await play(agent("asks"), Desk().tools(), PATIENT, permit))
    assert json.loads(end.text) == ["once", "no", "no", "no"]
    assert [name for name, _ in seen] == ["get_portfolio", "agent: Run `get_portfolio`", "agent: get_portfolio", "agent: x"]
    assert seen[0][1] == {"a": 0}
    assert ending(await play(agent("wants_always"), Desk().tools(), PATIENT, permit)).text == "cancelled"


@slow
async def test_an_interrupted_agent_is_killed_with_everything_it_started() -> None:
    interrupt = asyncio.Event()
    turn = run_turn(
        agent("hangs"), [Message("user", "go")], [], PATIENT, lambda _n, _a: None, None, SystemClock(), TurnControl(interrupt=interrupt)
    )
    said = ""
    async with aclosing(turn):
        async for event in turn:
            if isinstance(event, TextDelta):
                said = event.text
                interrupt.set()
    end = ending([event])
    assert (end.reason, end.text) == ("interrupted", said)
    await gone(*map(int, said.split()))


@slow
async def test_the_deadline_holds_for_an_agent_that_hangs_and_the_idle_timer_only_while_it_does_nothing() -> None:
    clock = SystemClock()
    began = clock.monotonic()
    end = ending(await play(agent("mute"), (), TurnLimits(deadline_s=1, first_token_timeout_s=30)))
    assert (end.reason, clock.monotonic() - began < 3) == ("deadline", True)
    end = ending(await play(agent("hangs"), (), TurnLimits(deadline_s=60, first_token_timeout_s=50, idle_timeout_s=0.3)))
    assert end.reason == "idle_timeout"
    await gone(*map(int, end.text.split()))
    events = await play(agent("works_long"), (), TurnLimits(deadline_s=60, first_token_timeout_s=50, idle_timeout_s=0.4))
    assert (ending(events).reason, ending(events).text) == ("stop", "ready")


@slow
@pytest.mark.parametrize(("scene", "reason", "calls"), [("calls_on", "tool_limit", 12), ("repeats", "repeat", 3), ("untold", "stop", 5)])
async def test_calls_that_an_agent_makes_itself_are_counted(scene: str, reason: str, calls: int) -> None:
    tools = [tool for tool in Desk().tools()]
    events = await play(agent(scene), tools, PATIENT)
    end = ending(events)
    assert (end.reason, end.tool_calls) == (reason, calls)
    started, finished = of_type(events, ToolCallStarted), of_type(events, ToolCallFinished)
    assert [event.call_id for event in finished] == [event.call_id for event in started]
    assert finished[-1].result.is_error == (scene == "untold")


@slow
async def test_an_agent_that_says_what_it_spends_is_stopped_at_the_cap_and_one_that_floods_at_the_token_limit() -> None:
    booked: list[Usage] = []
    budget = Budget(Decimal("0.55"), lambda: sum((usage.cost_usd or Decimal(0) for usage in booked), Decimal(0)), booked.append)
    end = ending(await play(agent("spends"), (), PATIENT, control=TurnControl(budget)))
    assert (end.reason, end.usage.cost_usd) == ("budget", Decimal("0.6"))
    assert [usage.cost_usd for usage in booked] == [Decimal("0.6")]
    end = ending(await play(agent("floods"), (), TurnLimits(max_tokens=1000, deadline_s=60, first_token_timeout_s=50)))
    assert (end.reason, len(end.text) < 6000) == ("token_limit", True)


@slow
async def test_garbage_on_the_line_is_no_message_and_a_line_without_end_is_no_memory(capfd: pytest.CaptureFixture[str]) -> None:
    end = ending(await play(agent("garbage"), (), PATIENT))
    assert (end.reason, end.text) == ("stop", "still here")
    end = ending(await play(agent("complains"), (), PATIENT))
    assert (end.reason, end.text) == ("stop", "done complaining")
    end = ending(await play(agent("newline"), (), PATIENT))
    assert end.reason == "model_error"
    assert "Traceback" not in capfd.readouterr().err


async def test_an_agent_is_read_no_faster_than_it_is_listened_to() -> None:
    listener = Listener([])
    chunk = {"sessionId": "s", "update": {"sessionUpdate": "agent_message_chunk", "content": {"type": "text", "text": "x"}}}
    heard = 0
    while heard < 10_000:
        try:
            await asyncio.wait_for(listener.room(), 0.01)
        except TimeoutError:
            break
        await listener.handle("session/update", chunk, True)
        heard += 1
    assert heard == 256
    listener.end()
    assert len([delta async for delta in listener.deltas()]) == heard
    await asyncio.wait_for(listener.room(), 1)


@slow
@pytest.mark.parametrize(
    ("scene", "says"), [("dies", "the agent failed"), ("auth", "logged in"), ("refuses", "refused to answer"), ("unwritten", "failed")]
)
async def test_an_agent_that_fails_is_a_model_error_without_secrets(scene: str, says: str) -> None:
    end = ending(await play(agent(scene, entry=ModelEntry(api_key="env:AGENT_KEY")), (), PATIENT))
    assert (end.reason, end.defect) == ("model_error", None)
    assert says in end.detail
    assert "canary" not in end.detail
    assert "sk-abc" not in end.detail
    if scene == "dies":
        assert "fatal: <key> and <key>" in end.detail


async def test_commands_that_cannot_be_run_say_so_before_anything_starts() -> None:
    for model_id, says in [
        ("acp:no-such-agent --acp", "no program 'no-such-agent'"),
        ("acp:'open", "no closing quotation"),
        ("acp: ", "no program ''"),
    ]:
        with pytest.raises(ModelError, match=says):
            open_model(model_id, ModelSettings(dict(os.environ)))
    with pytest.raises(ModelError, match="MY_AGENT_KEY is not set"):
        open_model("acp:sh", ModelSettings(dict(os.environ), {"acp:sh": ModelEntry(api_key="env:MY_AGENT_KEY")}))
    text = Path("/etc/hostname")
    end = ending(await play(open_model(f"acp:{sys.executable} {text}", ModelSettings(dict(os.environ))), (), PATIENT))
    assert end.reason == "model_error"
