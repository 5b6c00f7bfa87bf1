"""A family that a model finds in the middle of a turn can be used in the same turn, when the host changes the turn's list."""

import json
from collections.abc import AsyncGenerator, Sequence
from decimal import Decimal

from desk_stage import Stage

from tradeagent.domain.names import Mode
from tradeagent.llm.contract import Message, ModelDelta, Tool, ToolCall, ToolCallFinished, ToolSpec, TurnFinished, TurnLimits
from tradeagent.llm.loop import run_turn
from tradeagent.tools.registry import desk_tools, permit_for


class Finder:
    """Looks for the watchlist, then reads it, then stops; remembers what it was shown."""

    id = "test/finder"
    is_rule_based = True

    def __init__(self) -> None:
        self.shown: list[set[str]] = []

    async def estimate_usd(self, messages: Sequence[Message], max_tokens: int, tools: Sequence[ToolSpec] = ()) -> Decimal | None:
        return Decimal(0)

    async def stream(self, messages: Sequence[Message], tools: Sequence[ToolSpec], *, max_tokens: int) -> AsyncGenerator[ModelDelta, None]:
        self.shown.append({tool.name for tool in tools})
        step = len(self.shown)
        if step == 1:
            yield ModelDelta(tool_call=ToolCall("1", "find_tools", json.dumps({"query": "watchlist"})))
        elif step == 2:
            yield ModelDelta(tool_call=ToolCall("2", "get_watchlist", "{}"))
        else:
            yield ModelDelta(text="done")


async def test_a_family_found_in_a_turn_is_used_in_it(stage: Stage) -> None:
    context, model = stage.context(Mode.RESEARCH), Finder()
    tools: list[Tool] = list(desk_tools(Mode.RESEARCH))

    def permit(name: str, arguments: dict[str, object]) -> str | None:
        return permit_for(tools)(name, arguments)

    finished: list[ToolCallFinished] = []
    end: TurnFinished | None = None
    async for event in run_turn(model, [Message("user", "my list?")], tools, TurnLimits(), permit, context, stage.clock):
        if isinstance(event, ToolCallFinished):
            finished.append(event)
            tools[:] = desk_tools(Mode.RESEARCH, context.loaded)
        end = event if isinstance(event, TurnFinished) else end
    assert [(call.name, call.result.is_error) for call in finished] == [("find_tools", False), ("get_watchlist", False)]
    assert "get_watchlist" not in model.shown[0] and "get_watchlist" in model.shown[1]
    assert all(len(names) <= 16 for names in model.shown)
    assert end is not None and end.reason == "stop"
