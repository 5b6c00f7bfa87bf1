"""What asking a model costs beside the model: the time to its first token against a bare HTTP client, and a turn with ten tool calls."""

import asyncio
import json
import statistics
import sys
import time
import warnings
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from decimal import Decimal
from pathlib import Path

import httpx
from pydantic import BaseModel, ConfigDict

from benchmarks.report import Floor, Row, main
from tradeagent.domain.clock import SystemClock
from tradeagent.llm.contract import Message, Model, ModelDelta, TextDelta, Tool, ToolCall, ToolResult, ToolSpec, TurnFinished, TurnLimits
from tradeagent.llm.gateway import load_litellm, open_model
from tradeagent.llm.loop import run_turn
from tradeagent.llm.settings import ModelEntry, ModelSettings
from tradeagent.llm.usage import Price, Usage

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests" / "llm"))
from loopback import END, ROLE, Loopback, Reply, chunk, text_reply, tool_piece

MODEL = "openai/some-model"
ASKED = [Message("system", "You trade. " * 400), Message("user", "The market. " * 700)]
CALLS, WARM, RUNS = 10, 5, 40


class Look(BaseModel):
    model_config = ConfigDict(extra="forbid")
    market: str


async def look(arguments: Look, _context: object) -> ToolResult:
    return ToolResult({"market": arguments.market, "mark": "50000"})


TOOL = Tool("get_ticker", "Read a ticker.", Look, "market", "read", look)


class Scripted:
    """A model without a network: a call in each of its first ten answers, then a word."""

    id = "benchmark/scripted"
    is_rule_based = True

    def __init__(self) -> None:
        self.asked = 0

    async def estimate_usd(self, messages: Sequence[Message], max_tokens: int, tools: Sequence[ToolSpec] = ()) -> Decimal | None:
        return Decimal(0)

    async def stream(self, messages: Sequence[Message], tools: Sequence[ToolSpec], *, max_tokens: int) -> AsyncGenerator[ModelDelta, None]:
        self.asked += 1
        if self.asked <= CALLS:
            yield ModelDelta(tool_call=ToolCall(f"c{self.asked}", TOOL.name, json.dumps({"market": f"M{self.asked}"})))
        yield ModelDelta(text="." if self.asked > CALLS else "", usage=Usage(1, 1), done="stop")


def rows() -> list[Row]:
    """Milliseconds of wall time, medians, with the bare client beside them."""
    warnings.simplefilter("ignore")
    load_litellm()
    return asyncio.run(_measured())


async def _measured() -> list[Row]:
    calls = [_call_reply(number) for number in range(CALLS)]
    async with httpx.AsyncClient() as client:
        with Loopback(text_reply("Hold", ".")) as server:
            bare = await _median(lambda: _bare_first_token(client, server.url))
            ours = await _median(lambda: _first_token(_opened(server.url)))
    own = await _median(lambda: _whole_turn(Scripted()))
    networked, floors = [], []
    for _ in range(WARM + RUNS // 4):
        with Loopback(*calls, text_reply("done")) as server:
            networked.append(await _timed(lambda: _whole_turn(_opened(server.url))))
        async with httpx.AsyncClient() as client:
            with Loopback(*calls, text_reply("done")) as server:
                floors.append(await _timed(lambda: _bare_calls(client, server.url)))
    whole, floor = statistics.median(networked[WARM:]), statistics.median(floors[WARM:])
    return [
        Row("first token of a model: added to a bare HTTP client", ours - bare, "ms wall", bound=20, floor=Floor("bare client", bare)),
        Row("a turn with 10 tool calls: the loop itself", own, "ms wall", bound=60),
        Row(
            "a turn with 10 tool calls over HTTP: added to 11 bare requests",
            whole - floor,
            "ms wall",
            floor=Floor("11 bare requests", floor),
        ),
    ]


def _opened(url: str) -> Model:
    price = Price(Decimal(1), Decimal(1))
    return open_model(MODEL, ModelSettings({"OPENAI_API_KEY": "k"}, {MODEL: ModelEntry(base_url=url, price=price)}, retries=0))


def _call_reply(number: int) -> Reply:
    call = tool_piece(0, json.dumps({"market": f"M{number}"}), TOOL.name, f"c{number}")
    return Reply((ROLE, call, chunk({}, "tool_calls"), chunk(usage=(10, 5)), END))


async def _first_token(model: Model) -> None:
    turn = run_turn(model, ASKED, [TOOL], TurnLimits(), lambda _n, _a: None, None, SystemClock())
    async for event in turn:
        if isinstance(event, TextDelta):
            break
    await turn.aclose()


async def _whole_turn(model: Model) -> None:
    events = [e async for e in run_turn(model, ASKED, [TOOL], TurnLimits(), lambda _n, _a: None, None, SystemClock())]
    assert isinstance(events[-1], TurnFinished)
    assert (events[-1].reason, events[-1].tool_calls) == ("stop", CALLS), events[-1]


async def _bare_first_token(client: httpx.AsyncClient, url: str) -> None:
    body = {"model": "m", "stream": True, "messages": [{"role": m.role, "content": m.content} for m in ASKED]}
    async with client.stream("POST", f"{url}/chat/completions", json=body) as response:
        async for line in response.aiter_lines():
            if line.startswith("data: {"):
                choices = json.loads(line[6:])["choices"]
                if choices and choices[0]["delta"].get("content"):
                    return


async def _bare_calls(client: httpx.AsyncClient, url: str) -> None:
    body = {"model": "m", "stream": True, "messages": [{"role": m.role, "content": m.content} for m in ASKED]}
    for _ in range(CALLS + 1):
        (await client.post(f"{url}/chat/completions", json=body)).raise_for_status()


async def _timed(work: Callable[[], Awaitable[None]]) -> float:
    began = time.perf_counter()
    await work()
    return (time.perf_counter() - began) * 1000


async def _median(work: Callable[[], Awaitable[None]]) -> float:
    return statistics.median([await _timed(work) for _ in range(WARM + RUNS)][WARM:])


if __name__ == "__main__":
    main(rows)
