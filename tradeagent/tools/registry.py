"""Every tool by name and family, and which of them a turn may use: deny by default. A family may have no tools yet."""

from collections.abc import Callable, Sequence
from typing import Any

from tradeagent.llm.contract import Tool
from tradeagent.tools.executors import EXECUTOR_ENTRY_TOOLS, EXECUTOR_TOOLS
from tradeagent.tools.journal import JOURNAL_TOOLS
from tradeagent.tools.market import MARKET_TOOLS
from tradeagent.tools.portfolio import PORTFOLIO_TOOLS
from tradeagent.tools.trading import ENTRY_TOOLS, TRADING_TOOLS

TOOLS: dict[str, Tool] = {tool.name: tool for tool in (*MARKET_TOOLS, *PORTFOLIO_TOOLS, *TRADING_TOOLS, *EXECUTOR_TOOLS, *JOURNAL_TOOLS)}
_FAMILY_NAMES = (
    "market",
    "portfolio",
    "watchlist",
    "trading",
    "executors",
    "alerts",
    "journal",
    "config",
    "notifications",
    "routines",
    "research",
)
FAMILIES: dict[str, tuple[str, ...]] = {
    family: tuple(tool.name for tool in TOOLS.values() if tool.family == family) for family in _FAMILY_NAMES
}
DEFAULT_TOOLS = ("market", "portfolio", "journal", "list_executors", "propose_order", "modify_protection", "close_position", "cancel_order")
_ENTERS = ENTRY_TOOLS | EXECUTOR_ENTRY_TOOLS


def known_names() -> frozenset[str]:
    """What agent.md may list under `tools`."""
    return frozenset(TOOLS) | frozenset(FAMILIES)


def tools_for(names: Sequence[str], *, entries_barred: bool) -> tuple[Tool, ...]:
    """The tools of one turn, in registry order. When entries are barred, the tools that enter are not there at all."""
    wanted = {name for entry in (names or DEFAULT_TOOLS) for name in FAMILIES.get(entry, (entry,))}
    return tuple(tool for name, tool in TOOLS.items() if name in wanted and not (entries_barred and name in _ENTERS))


def permit_for(tools: Sequence[Tool]) -> Callable[[str, dict[str, Any]], str | None]:
    """The turn's permission check: only what is on its list, whatever name the model writes."""
    allowed = frozenset(tool.name for tool in tools)

    def permit(name: str, _arguments: dict[str, Any]) -> str | None:
        return None if name in allowed else f"{name} is not on this turn's list of tools"

    return permit
