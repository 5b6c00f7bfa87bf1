"""Every tool by name and family, and which of them a turn may use: deny by default. A family may have no tools yet.

`TOOLS` are those of agents, `DESK` those of the user's desk: the assistant and programs over MCP. Two of one name do the same for
whoever asks, an agent about its own wallet, the desk about all that its mode sees.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from tradeagent.domain.names import Mode, TokenScope
from tradeagent.llm.contract import Tool
from tradeagent.tools.actions import ACTION_TOOLS
from tradeagent.tools.config import CONFIG_TOOLS
from tradeagent.tools.desk_algos import ALGO_TOOLS
from tradeagent.tools.desk_backtests import BACKTEST_TOOLS
from tradeagent.tools.desk_deployments import DEPLOYMENT_TOOLS
from tradeagent.tools.desk_market import MORE_MARKET_TOOLS
from tradeagent.tools.desk_portfolio import DESK_PORTFOLIO_TOOLS
from tradeagent.tools.desk_research import RESEARCH_TOOLS
from tradeagent.tools.desk_studies import STUDY_TOOLS
from tradeagent.tools.desk_watchlist import WATCHLIST_TOOLS
from tradeagent.tools.drafts import DRAFT_TOOLS
from tradeagent.tools.executors import EXECUTOR_ENTRY_TOOLS, EXECUTOR_TOOLS
from tradeagent.tools.find import FIND_TOOLS
from tradeagent.tools.journal import JOURNAL_TOOLS
from tradeagent.tools.market import MARKET_TOOLS
from tradeagent.tools.memory import MEMORY_TOOLS
from tradeagent.tools.notifications import NOTIFICATION_TOOLS
from tradeagent.tools.portfolio import PORTFOLIO_TOOLS
from tradeagent.tools.research import NEWS_TOOLS
from tradeagent.tools.routines import ROUTINE_TOOLS
from tradeagent.tools.skills import SKILL_TOOLS
from tradeagent.tools.trading import ENTRY_TOOLS, TRADING_TOOLS

MOST_SHOWN = 16
FIND = "find_tools"


def _by_name(*groups: Iterable[Tool]) -> dict[str, Tool]:
    return {tool.name: tool for group in groups for tool in group}


TOOLS: dict[str, Tool] = _by_name(
    MARKET_TOOLS,
    MORE_MARKET_TOOLS,
    PORTFOLIO_TOOLS,
    TRADING_TOOLS,
    EXECUTOR_TOOLS,
    JOURNAL_TOOLS,
    CONFIG_TOOLS,
    NOTIFICATION_TOOLS,
    ROUTINE_TOOLS,
    NEWS_TOOLS,
)
DESK: dict[str, Tool] = _by_name(
    FIND_TOOLS,
    MARKET_TOOLS,
    MORE_MARKET_TOOLS,
    DESK_PORTFOLIO_TOOLS,
    WATCHLIST_TOOLS,
    ALGO_TOOLS,
    BACKTEST_TOOLS,
    STUDY_TOOLS,
    DEPLOYMENT_TOOLS,
    ACTION_TOOLS,
    DRAFT_TOOLS,
    RESEARCH_TOOLS,
    MEMORY_TOOLS,
    SKILL_TOOLS,
)
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
# find_tools is of no family: it is always there.
DESK_FAMILIES: dict[str, tuple[str, ...]] = {
    family: tuple(tool.name for tool in DESK.values() if tool.family == family)
    for family in dict.fromkeys(tool.family for tool in DESK.values() if tool.name != FIND)
}
DEFAULT_TOOLS = ("market", "portfolio", "journal", "list_executors", "propose_order", "modify_protection", "close_position", "cancel_order")
_ENTERS = ENTRY_TOOLS | EXECUTOR_ENTRY_TOOLS
# What a mode begins with, the most needed first: families that are loaded push the last ones out.
MODE_TOOLS: Mapping[Mode, tuple[str, ...]] = {
    Mode.RESEARCH: (
        "run_backtest", "get_backtest_results", "optimize", "get_optimization", "rolling_cv_backtest", "list_algorithms",
        "show_algorithm", "create_algorithm", "deploy_algo_to_wallet", "get_algo_wallets_overview", "get_candles",
        "compare_backtests", "memory_search", "explore_indicator", "get_ticker",
    ),
    Mode.AUTHORING: (
        "set_basics", "set_strategy", "set_risk", "set_schedule", "set_tools", "set_context", "show_draft", "prepare_action",
        "list_algorithms", "show_algorithm", "search_markets", "memory_search", "get_ticker", "list_skills", "stack_push",
    ),
    Mode.COACH: (
        "get_portfolio", "get_account_overview", "get_round_trips", "get_decisions", "show_deployments", "get_ticker",
        "get_upcoming_events", "get_candles", "get_funding", "get_algo_wallets_overview", "memory_search", "memory_append",
        "get_news", "chart", "get_usage",
    ),
    Mode.OPS: (
        "show_deployments", "get_account_overview", "get_portfolio", "prepare_action", "get_decisions", "stop_algo_run",
        "deploy_algo_to_wallet", "get_algo_wallets_overview", "get_round_trips", "get_usage", "get_upcoming_events",
        "get_ticker", "list_algorithms", "get_backtest_results", "memory_search",
    ),
}  # fmt: skip
_IN_SCOPE: Mapping[TokenScope, frozenset[str]] = {
    TokenScope.READ: frozenset({"read"}),
    TokenScope.ALGO: frozenset({"read", "algo", "memory"}),
    TokenScope.TRADE: frozenset({"read", "algo", "memory", "trade", "ops"}),
}


def desk_tools(
    mode: Mode, loaded: Collection[str] = (), outside: Mapping[str, tuple[Tool, ...]] = MappingProxyType({})
) -> tuple[Tool, ...]:
    """What the assistant sees: `find_tools`, the families and single tools loaded in this conversation, the newest of them first, and
    as many of the mode's own as there is room for; at most 16, in registry order. A server in `outside` is a family like any."""
    there = DESK | {tool.name: tool for tools in outside.values() for tool in tools}
    families = DESK_FAMILIES | {server: tuple(tool.name for tool in tools) for server, tools in outside.items()}
    added = [name for family in reversed(list(loaded)) for name in families.get(family, (family,))]
    wanted = dict.fromkeys([FIND, *added, *MODE_TOOLS[mode]])
    chosen = frozenset([name for name in wanted if name in there][:MOST_SHOWN])
    return tuple(tool for name, tool in there.items() if name in chosen)


def tools_in_scope(scope: TokenScope) -> tuple[Tool, ...]:
    """What a program over MCP may call: all of the desk's tools of its scope, so there is nothing to find."""
    return tuple(tool for tool in DESK.values() if tool.scope in _IN_SCOPE[scope] and tool.name != FIND)


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
