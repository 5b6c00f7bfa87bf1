"""`find_tools`: the long tail. A turn at the desk shows few tools; this one adds a family of them to the conversation."""

from collections.abc import Mapping

from pydantic import Field

from tradeagent.llm.contract import Tool, ToolResult
from tradeagent.tools.desk import DeskContext
from tradeagent.tools.market import Arguments


class FindTools(Arguments):
    query: str = Field(max_length=100, description="a family's name, or words of what you want to do")


async def find_tools(arguments: FindTools, context: DeskContext) -> ToolResult:
    from tradeagent.tools.registry import DESK, DESK_FAMILIES  # the registry lists this tool

    there = {name: tuple(DESK[each] for each in names) for name, names in DESK_FAMILIES.items()} | dict(context.outside)
    families = {family: ", ".join(tool.name for tool in tools) for family, tools in there.items()}
    words = arguments.query.lower().replace("_", " ").split()
    family = _best(words, there)
    if family is None:
        hint = f"name one of the families: {', '.join(families)}"
        return ToolResult.error("not_found", f"query: no tool is about {arguments.query!r}", hint)
    if family in context.loaded:
        context.loaded.remove(family)
    context.loaded.append(family)
    tools = [{"tool": tool.name, "does": tool.description} for tool in there[family]]
    return ToolResult(
        {"loaded": family, "tools": tools, "other_families": {key: value for key, value in families.items() if key != family}}
    )


def _best(words: list[str], families: Mapping[str, tuple[Tool, ...]]) -> str | None:
    """The family whose name is a word, else the one of the tool that holds most words; None when no tool holds any."""
    named = next((family for family in families if family in words), None)
    if named is not None:
        return named
    scored = [
        (sum((3 if word in tool.name else 1) for word in words if word in tool.name or word in tool.description.lower()), family)
        for family, tools in families.items()
        for tool in tools
    ]
    score, family = max(scored, key=lambda found: found[0], default=(0, ""))
    return family if score else None


FIND_TOOLS = (
    Tool(
        "find_tools",
        "Add a family of tools to this conversation; say a family or what you want to do.",
        FindTools,
        "tools",
        "read",
        find_tools,
    ),
)
