"""Tool of family config: what an agent would change in its own values. A person decides; no tool changes anything."""

from decimal import Decimal
from typing import Annotated

from pydantic import Field, StrictBool

from tradeagent.llm.contract import Tool, ToolResult
from tradeagent.tools.context import AgentContext
from tradeagent.tools.market import Arguments

# The text first, so that "4" stays one: a number in quotes is no number to a key that has one.
Value = Annotated[
    Annotated[str, Field(max_length=200)] | StrictBool | Annotated[Decimal, Field(allow_inf_nan=False, max_digits=30)],
    Field(union_mode="left_to_right", description="its new value, of the type it has now"),
]


class SuggestConfig(Arguments):
    key: str = Field(min_length=1, max_length=80, description="a key of your config")
    value: Value
    reason: str = Field(min_length=1, max_length=600, description="what you saw that speaks for it")


async def suggest_config(arguments: SuggestConfig, context: AgentContext) -> ToolResult:
    box = context.suggestions
    if box is None:
        return ToolResult.error("not_here", "no suggestion can be made in this turn", "say in your answer what you would change")
    queued = await context.engine.alone(lambda: box.add(arguments.key, arguments.value, arguments.reason))
    return ToolResult({**queued, "in_force": "once the user approves it, from the next run"})


CONFIG_TOOLS = (
    Tool(
        "suggest_config",
        "Suggest another value for one of your config keys; the user decides, nothing changes before. Limits cannot be suggested.",
        SuggestConfig,
        "config",
        "memory",
        suggest_config,
    ),
)
