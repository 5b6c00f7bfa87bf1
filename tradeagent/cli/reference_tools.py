"""`docs/reference/tools.md`: every tool that a model may call, from the registry."""

from collections.abc import Iterable

from tradeagent.domain.names import Mode, TokenScope
from tradeagent.llm.contract import Tool


def tools_page(notice: str) -> str:
    """The desk's tools by family with what each mode begins with, then those of agents."""
    from tradeagent.tools.registry import DESK, FAMILIES, FIND, MOST_SHOWN, TOOLS, desk_tools, tools_in_scope

    lines = [f"# Tools\n\n{notice}\n", "## The assistant and programs over MCP\n"]
    lines.append(
        f"The assistant sees at most {MOST_SHOWN} tools at a time. A mode begins with those below; `{FIND}` adds a family to the "
        "conversation.\n"
        "Mode `research` sees algo wallets only, `authoring` no account, `coach` and `ops` everything you own. None of them can trade.\n"
    )
    lines += [f"- `{mode}`: {_listed(tool.name for tool in desk_tools(mode))}" for mode in Mode]
    lines += ["", _scopes({scope: tools_in_scope(scope) for scope in TokenScope}), "", _table(DESK.values())]
    lines += ["\n## Agents\n\nAn agent's tools reach its own wallet only; `tools` in agent.md names tools or families.\n"]
    lines.append(_table(tool for name in FAMILIES for tool in TOOLS.values() if tool.family == name))
    return "\n".join(lines) + "\n"


def _scopes(found: dict[TokenScope, tuple[Tool, ...]]) -> str:
    counts = ", ".join(f"`{scope}` {len(tools)}" for scope, tools in found.items())
    return f"Over MCP a token's scope decides, by how much a tool does: {counts} tools."


def _table(tools: Iterable[Tool]) -> str:
    rows = ["| tool | family | does | what it does | arguments |", "|---|---|---|---|---|"]
    for tool in tools:
        required = tool.spec.parameters.get("required", ())
        names = [name if name in required else f"[{name}]" for name in tool.spec.parameters["properties"]]
        cells = (f"`{tool.name}`", tool.family, tool.scope, tool.description.replace("|", "\\|"), " ".join(names) or "–")
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)
