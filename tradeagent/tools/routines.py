"""Tools of family routines: the user's own helpers, listed, described and run on the market as of the turn's instant."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from tradeagent.agents.routines import Routines, sight_of
from tradeagent.algos.sandbox.process import Process
from tradeagent.domain.bars import interval_text, parse_duration
from tradeagent.domain.clock import iso
from tradeagent.domain.errors import DataError, InvalidInput, NotFound
from tradeagent.llm.contract import Tool, ToolResult
from tradeagent.tools.context import AgentContext
from tradeagent.tools.market import Arguments
from tradeagent.workspace.config import Config
from tradeagent.workspace.paths import Workspace

MOST_BARS = 2_000
_LONGEST_CONFIG = 4_000
Name = Annotated[str, Field(min_length=1, max_length=48, description="name of a routine")]


class ListRoutines(Arguments):
    name: Name | None = Field(default=None, description="describe this one with the fields of its config; without it all are listed")


class RunRoutine(Arguments):
    name: Name
    config: dict[str, Any] = Field(default_factory=dict, description="values for fields of its config; the rest keep their defaults")
    interval: str | None = Field(default=None, max_length=4, description="interval of the bars it gets; the feed's own without it")
    bars: int = Field(default=500, ge=1, le=MOST_BARS, description="how many closed bars of each market it gets")


async def list_routines(arguments: ListRoutines, context: AgentContext) -> ToolResult:
    routines = _routines(context)
    name = arguments.name
    if name is None:
        rows = [
            {"name": one.name, "what": one.description, **({"broken": one.problem} if one.problem else {})} for one in routines.listed()
        ]
        return ToolResult({"routines": rows})
    schema = await _beside(lambda begun: routines.schema(name, begun))
    return ToolResult({"name": name, "what": routines.get(name).description, "config": schema.get("properties", {})})


async def run_routine(arguments: RunRoutine, context: AgentContext) -> ToolResult:
    if len(json.dumps(arguments.config, default=str)) > _LONGEST_CONFIG:
        raise InvalidInput(f"config: at most {_LONGEST_CONFIG} characters of JSON", hint="list_routines with its name shows the fields")
    if context.feed is None or not context.feed.markets:
        raise DataError("there are no bars to run a routine on", hint="go on without it")
    interval_ms = None if arguments.interval is None else parse_duration(arguments.interval)
    now = context.clock.now_ms()
    routines = _routines(context)
    sight = sight_of(context.feed, now, context.slug, context.resources.configs, interval_ms, arguments.bars)
    found = await _beside(lambda begun: routines.run(arguments.name, arguments.config, sight, begun))
    return ToolResult({"routine": arguments.name, "as_of": iso(now), "interval": interval_text(sight.interval_ms), **found})


async def _beside(ask: Callable[[Callable[[Process], None]], dict[str, Any]]) -> dict[str, Any]:
    """Wait for a routine in a thread, and end it when the turn ends first."""
    watch = _Watch()
    try:
        return await asyncio.to_thread(ask, watch.begun)
    except asyncio.CancelledError:
        watch.end()
        raise


class _Watch:
    """Ends a routine's process when its turn ends, whichever of the two threads comes first."""

    def __init__(self) -> None:
        self._has_ended = False
        self._process: Process | None = None

    def begun(self, process: Process) -> None:
        self._process = process
        if self._has_ended:
            process.kill()

    def end(self) -> None:
        self._has_ended = True
        if self._process is not None:
            self._process.kill()


def routines_of(workspace: Workspace, folder: Path, config: Config) -> Routines:
    """The routines of the agent in `folder`, and those of the workspace."""
    return Routines((folder / "routines", workspace.routines_dir), allow_unsafe=config.flag("sandbox.allow_unsafe"))


def _routines(context: AgentContext) -> Routines:
    routines = context.resources.routines
    if routines is None:
        raise NotFound("no routine can be run in this turn", hint="go on without it")
    return routines


ROUTINE_TOOLS = (
    Tool("list_routines", "The user's own helpers; with a name, what that one takes.", ListRoutines, "routines", "read", list_routines),
    Tool(
        "run_routine",
        "Run one of the user's helpers on the closed bars of your markets; it may take up to 120 s.",
        RunRoutine,
        "routines",
        "read",
        run_routine,
    ),
)
