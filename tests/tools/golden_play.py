"""Plays the calls of the golden transcripts through the turn loop, an agent's in a run and the desk's in a conversation, and writes down
each call and its answer as the model was told it."""

import itertools
import json
import re
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from unittest import mock

from desk_stage import Stage
from golden_calls import AFTER_JOBS, AGENT_TICKS, BEFORE_JOBS, Pair
from minds import run_with
from product import Product
from scripted_model import ScriptedModel, call, say
from test_desk_backtests import work

from tradeagent.assistant.sessions import Sessions
from tradeagent.llm.contract import Message, ModelDelta, Tool, ToolSpec, TurnFinished, TurnLimits
from tradeagent.llm.loop import run_turn
from tradeagent.tools.registry import DESK, permit_for

SLUG = "keeper"
AGENT = """---
name: Keeper
model: offline/hold
markets: [BTC, ETH]
tick_interval: 5m
tools: [market, portfolio, trading, executors, journal, config, notifications, routines, research]
configs: {risk_pct: 0.1}
context: {bars: {interval: 5m, lookback: 24}, news: 3}
limits: {max_single_order_quote: 100, max_position_size_quote: 300, max_daily_trades: 9}
budget: {max_tool_calls_per_turn: 100, max_tokens_per_turn: 100000}
---

# Keeper

Keep the range.
"""
ROUTINE = '''"""High of the newest bars."""
from pydantic import BaseModel, Field


class Config(BaseModel):
    bars: int = Field(default=20, ge=2)


async def run(config, context):
    return RoutineResult("the high", table=[{"high_usdc": float(context.bars["BTC"]["high"][-config.bars:].max())}])
'''
_STEADY = (
    (r"127\.0\.0\.1:\d+", "127.0.0.1:PORT"),
    (r"\b[0-9A-HJKMNP-TV-Z]{26}\b", "ID"),
    (r"\b0x[0-9a-f]{32,}\b", "0xID"),
    (r"\b\d+ ms\b", "N ms"),
    (r"…[0-9A-HJKMNP-TV-Z]{6}\b", "…ID"),
    (r'("modified": )"[^"]+"', r'\1"TIME"'),
)


@dataclass
class Asker(ScriptedModel):
    """Makes the calls of one pair after another in one message; what each was told, by tool, good one first."""

    turns: list[Sequence[Pair]]
    told: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    known: dict[str, Any] = field(default_factory=dict)
    prompts: int = 0

    def __post_init__(self) -> None:
        super().__init__([])

    async def stream(self, messages: Sequence[Message], tools: Sequence[ToolSpec], *, max_tokens: int) -> AsyncGenerator[ModelDelta, None]:
        if messages[-1].role == "tool":
            self.take(messages)
            yield say("done")
        else:
            pairs = self.turns[self.prompts] if self.prompts < len(self.turns) else ()
            self.prompts += 1
            for number, (name, arguments) in enumerate(_calls(pairs)):
                yield call(name, json.dumps(self._filled(arguments), ensure_ascii=False), f"t{self.prompts}c{number}")
            if not pairs:
                yield say("done")
        yield ModelDelta(done="stop")

    def take(self, messages: Iterable[Message]) -> None:
        """Keep what a conversation says of its calls."""
        asked: dict[str, str] = {}
        for message in messages:
            asked |= {each.id: each.arguments for each in message.tool_calls}
            if message.role == "tool":
                self.told.setdefault(message.name, []).append((asked[message.tool_call_id], message.content))
                found = json.loads(message.content)
                if "error" not in found and found.get("verdict") != "rejected":
                    self.known[message.name] = found

    def _filled(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        return {name: self._found(value[1:]) if _is_path(value) else value for name, value in arguments.items()}

    def _found(self, path: str) -> Any:
        found: Any = self.known
        for step in path.split("."):
            found = found[int(step)] if step.isdigit() else found[step]
        return found


def agent_transcript(stage: Stage, start: str) -> dict[str, str]:
    """Each tool of an agent in a run of the product over stored bars: by name, its calls and answers."""
    root = stage.workspace.root
    folder = root / "trading_agents" / SLUG
    (folder / "routines").mkdir(parents=True)
    (folder / "agent.md").write_text(AGENT)
    (folder / "routines" / "scan.py").write_text(ROUTINE)
    asker = Asker(list(AGENT_TICKS))
    bars = "hyperliquid:BTC:5m,hyperliquid:ETH:5m"
    numbers = itertools.count(1)
    with mock.patch("tradeagent.domain.clock.secrets.randbits", lambda _bits: next(numbers)):  # rows of one instant are told by their ids
        answer = run_with(asker, Product(root), SLUG, "--replay", bars, "--from", start, "--max-ticks", str(len(AGENT_TICKS)))
    assert answer.code == 0, answer
    return _sections(asker, root)


async def desk_transcript(stage: Stage, settings: dict[str, str], site: str) -> dict[str, str]:
    """Each tool of the desk in one conversation; jobs that it asks for are worked on once."""
    asker = Asker([], known={"SITE": site})
    with Sessions(stage.workspace, stage.clock).create() as session:
        context = replace(stage.context(settings=settings), conversation=session, session=session.settings.id)
        for pairs in (BEFORE_JOBS, AFTER_JOBS):
            for pair in pairs:
                stage.clock.advance_to(stage.clock.now_ms() + 1)
                asker.turns.append((pair,))
                await _turn(asker, list(DESK.values()), replace(context, mode=pair.mode), stage)
            work(stage)
    return _sections(asker, stage.workspace.root)


async def _turn(asker: Asker, tools: list[Tool], context: Any, stage: Stage) -> None:
    asked = [Message("user", "go")]
    events = [event async for event in run_turn(asker, asked, tools, TurnLimits(), permit_for(tools), context, stage.clock)]
    end = events[-1]
    assert isinstance(end, TurnFinished) and end.reason == "stop" and end.defect is None, end


def _calls(pairs: Iterable[Pair]) -> list[tuple[str, Mapping[str, Any]]]:
    return [(pair.tool, arguments) for pair in pairs for arguments in (pair.good, pair.bad)]


def _is_path(value: Any) -> bool:
    return isinstance(value, str) and value.startswith("=")


def _sections(asker: Asker, root: Path) -> dict[str, str]:
    return {name: "\n\n".join(_shown(*each, root) for each in told) for name, told in asker.told.items()}


def _shown(arguments: str, content: str, root: Path) -> str:
    text = f"> {arguments}\n\n```json\n{json.dumps(json.loads(content), indent=1, ensure_ascii=False)}\n```"
    text = text.replace(str(root), "WORKSPACE")
    for pattern, word in _STEADY:
        text = re.sub(pattern, word, text)
    return text
