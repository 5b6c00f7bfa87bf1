"""`find_tools`: the long tail. A turn at the desk shows few tools; this one adds a family of them to the conversation.

Of a family that is larger than what a turn shows, the query chooses: those tools are added that it is about, the best first.
"""

import re
from collections.abc import Mapping, Sequence

from pydantic import Field

from tradeagent.llm.contract import Tool, ToolResult
from tradeagent.tools.desk import DeskContext
from tradeagent.tools.market import Arguments

_WORD = re.compile(r"[^\W_]+")


class FindTools(Arguments):
    query: str = Field(max_length=100, description="a family's name, or words of what you want to do")


async def find_tools(arguments: FindTools, context: DeskContext) -> ToolResult:
    from tradeagent.tools.registry import DESK, DESK_FAMILIES, MOST_SHOWN  # the registry lists this tool

    there = {name: tuple(DESK[each] for each in names) for name, names in DESK_FAMILIES.items()} | dict(context.outside)
    families = {family: ", ".join(tool.name for tool in tools) for family, tools in there.items()}
    words = _words(arguments.query)
    family = _best(words, there)
    if family is None:
        hint = f"name one of the families: {', '.join(families)}"
        return ToolResult.error("not_found", f"query: no tool is about {arguments.query!r}", hint)
    most = MOST_SHOWN - 1  # `find_tools` is always there
    fits = len(there[family]) <= most
    chosen = there[family] if fits else _chosen(words, family, there[family])[:most]
    for entry in [family] if fits else [tool.name for tool in reversed(chosen)]:
        if entry in context.loaded:
            context.loaded.remove(entry)
        context.loaded.append(entry)
    answer = {"loaded": family, "tools": [{"tool": tool.name, "does": tool.description} for tool in chosen]}
    if more := [tool.name for tool in there[family] if tool not in chosen]:
        answer["more_of_it"] = f"{', '.join(more)}; to add one, ask again with its name"
    return ToolResult(answer | {"other_families": {key: value for key, value in families.items() if key != family}})


def _best(words: Sequence[str], families: Mapping[str, tuple[Tool, ...]]) -> str | None:
    """The family of the tool that the words are the name of, or whose own name is among them, or of the tool that holds most of them;
    None when no tool holds any."""
    named = next((family for family, tools in families.items() for tool in tools if _words(tool.name) == words), None)
    named = named or next((family for family in families if set(_words(family)) <= set(words)), None)
    if named is not None:
        return named
    scored = [(_score(words, tool), family) for family, tools in families.items() for tool in tools]
    score, family = max(scored, key=lambda found: found[0], default=(0, ""))
    return family if score else None


def _chosen(words: Sequence[str], family: str, tools: Sequence[Tool]) -> list[Tool]:
    """The tools that the words are about, best first, of equal ones those that they name; every tool when they are about none."""
    about = [word for word in words if word not in _words(family)]
    scores = {tool.name: _score(about, tool) for tool in tools}

    def rank(tool: Tool) -> tuple[int, bool]:
        return scores[tool.name], set(_words(tool.name.rpartition("__")[2])) <= set(words)

    ranked = sorted(tools, key=rank, reverse=True)
    return [tool for tool in ranked if scores[tool.name]] or ranked


def _score(words: Sequence[str], tool: Tool) -> int:
    return sum((3 if word in tool.name.lower() else 1) for word in words if word in tool.name.lower() or word in tool.description.lower())


def _words(text: str) -> list[str]:
    return _WORD.findall(text.lower())


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
