"""The registry: how many tools a mode shows whatever was loaded, what each token scope reaches, and that every tool is well described."""

from dataclasses import replace
from itertools import permutations

import pytest
from desk_stage import Stage

from tradeagent.domain.names import Mode, TokenScope
from tradeagent.llm.contract import Tool
from tradeagent.tools.find import FindTools, find_tools
from tradeagent.tools.registry import DESK, DESK_FAMILIES, FIND, MODE_TOOLS, MOST_SHOWN, TOOLS, desk_tools, tools_for, tools_in_scope
from tradeagent.tools.trading import TRADING_TOOLS

SPECIFIED = """search_markets get_ticker get_candles get_orderbook get_funding get_open_interest get_mark_price explore_indicator chart
    get_portfolio get_account_overview get_algo_wallets_overview get_round_trips get_usage
    get_watchlist add_to_watchlist remove_from_watchlist
    list_algorithms show_algorithm create_algorithm add_indicator set_entry_exit set_stop_take_profit validate_algorithm
    run_backtest get_backtest_results plot_backtest compare_backtests rolling_cv_backtest optimize get_optimization plot_optimization
    deploy_algo_to_wallet stop_algo_run prepare_action show_deployments get_decisions
    memory_read memory_write memory_append memory_list memory_search scratch_read scratch_write scratch_list remember forget
    stack_push stack_pop stack_list list_skills
    get_news search_news search_social get_upcoming_events web_fetch
    set_basics set_strategy set_risk set_schedule set_tools set_context show_draft"""


@pytest.mark.parametrize("mode", Mode)
def test_a_mode_shows_at_most_sixteen_tools_whatever_was_loaded(mode: Mode) -> None:
    families = list(DESK_FAMILIES)
    for count in range(4):
        for loaded in permutations(families, count):
            names = [tool.name for tool in desk_tools(mode, loaded)]
            assert len(names) == len(set(names)) <= MOST_SHOWN
            assert FIND in names
            assert not loaded or set(DESK_FAMILIES[loaded[-1]]) <= set(names), "the newest family is there in full"
    assert len(desk_tools(mode, families)) <= MOST_SHOWN


@pytest.mark.parametrize("mode", Mode)
def test_loading_a_family_pushes_out_what_a_mode_needs_least(mode: Mode) -> None:
    before = [name for name in MODE_TOOLS[mode] if name in DESK]
    after = {tool.name for tool in desk_tools(mode, ["watchlist"])}
    kept = [name for name in before if name in after]
    assert kept == before[: len(kept)]


def test_the_lists_of_modes_and_the_desk_hold_tools_of_the_specification_only() -> None:
    assert {name for names in MODE_TOOLS.values() for name in names} <= set(SPECIFIED.split())
    assert all(len(set(names)) == len(names) == MOST_SHOWN - 1 for names in MODE_TOOLS.values())
    assert set(DESK) - {FIND} <= set(SPECIFIED.split())


def test_an_unknown_family_loads_nothing() -> None:
    assert desk_tools(Mode.OPS, ["trading", "no_such"]) == desk_tools(Mode.OPS)


def test_no_tool_of_the_desk_is_one_that_trades() -> None:
    assert not {tool.name for tool in TRADING_TOOLS} & set(DESK)
    assert {tool.scope for tool in DESK.values()} <= {"read", "algo", "memory", "ops"}


def test_a_token_reaches_more_with_each_scope_and_a_read_token_only_reads() -> None:
    read, algo, trade = (tools_in_scope(scope) for scope in (TokenScope.READ, TokenScope.ALGO, TokenScope.TRADE))
    assert {tool.scope for tool in read} == {"read"}
    assert set(read) < set(algo) <= set(trade)
    assert "run_backtest" not in {tool.name for tool in read} and FIND not in {tool.name for tool in trade}


@pytest.mark.parametrize("tool", [*DESK.values(), *TOOLS.values()], ids=lambda tool: tool.name)
def test_a_tool_says_in_one_line_what_it_does_and_bounds_what_it_takes(tool: Tool) -> None:
    assert 10 <= len(tool.description) <= 140 and "\n" not in tool.description and tool.description.endswith(".")
    schema = tool.spec.parameters
    assert schema["type"] == "object" and schema["additionalProperties"] is False


def test_an_agents_own_tools_stay_without_names_of_wallets() -> None:
    for tool in TOOLS.values():
        assert not {"wallet", "deployment"} & set(tool.spec.parameters["properties"]), tool.name
    assert tools_for(["portfolio"], entries_barred=False)[0].handler is not DESK["get_portfolio"].handler


async def test_find_tools_loads_the_family_that_is_meant(stage: Stage) -> None:
    context = stage.context(Mode.RESEARCH)
    for query, family in (
        ("research", "research"),
        ("news", "research"),
        ("equity of my wallets", "portfolio"),
        ("watchlist", "watchlist"),
    ):
        found = await find_tools(FindTools(query=query), context)
        assert found.content["loaded"] == family
        assert [row["tool"] for row in found.content["tools"]] == list(DESK_FAMILIES[family])
    assert context.loaded == ["research", "portfolio", "watchlist"]
    assert {tool.name for tool in desk_tools(Mode.RESEARCH, context.loaded)} >= set(DESK_FAMILIES["watchlist"])
    assert (await find_tools(FindTools(query="zzz"), context)).is_error and context.loaded == ["research", "portfolio", "watchlist"]


def _large_server() -> dict[str, tuple[Tool, ...]]:
    """A server of 32 tools, of which many names hold others, one is the server's own and one names a family of the desk."""
    names = ["list", "hub", "get_market", *(f"list_things_{n}" for n in range(20)), *(f"{verb}Branch" for verb in "abcdefghi")]
    sample = DESK["get_ticker"]
    tools = [replace(sample, name=f"hub__{name}", description=f"[hub, another program] does {n}") for n, name in enumerate(names)]
    assert len(tools) == 32
    return {"hub": tuple(tools)}


@pytest.mark.parametrize("mode", Mode)
async def test_every_tool_of_a_large_server_is_reached_by_its_name(stage: Stage, mode: Mode) -> None:
    outside = _large_server()
    in_one_talk = replace(stage.context(mode), outside=outside)
    for tool in outside["hub"]:
        for query in (tool.name, f"hub {tool.name.removeprefix('hub__')}"):
            for context in (replace(stage.context(mode), outside=outside), in_one_talk):
                found = await find_tools(FindTools(query=query), context)
                shown = [each.name for each in desk_tools(mode, context.loaded, outside)]
                assert found.content["tools"][0]["tool"] == tool.name
                assert tool.name in shown and FIND in shown and len(shown) <= MOST_SHOWN, (query, shown)
    assert len(in_one_talk.loaded) == len(set(in_one_talk.loaded))


async def test_of_a_large_server_the_query_chooses(stage: Stage) -> None:
    context = replace(stage.context(Mode.RESEARCH), outside=_large_server())
    found = await find_tools(FindTools(query="delete a hub branch"), context)
    listed = [row["tool"] for row in found.content["tools"]]
    assert found.content["loaded"] == "hub" and listed[0] == "hub__aBranch"
    found = await find_tools(FindTools(query="hub: branch"), context)
    assert [row["tool"] for row in found.content["tools"]] == [f"hub__{verb}Branch" for verb in "abcdefghi"]
    assert "hub__list_things_19" in found.content["more_of_it"] and "hub__aBranch" not in found.content["more_of_it"]
    kept = [tool.name for tool in desk_tools(Mode.RESEARCH, context.loaded, context.outside)]
    assert len(kept) == MOST_SHOWN and {f"hub__{verb}Branch" for verb in "abcdefghi"} < set(kept)
    everything = await find_tools(FindTools(query="hub"), replace(stage.context(Mode.RESEARCH), outside=_large_server()))
    assert len(everything.content["tools"]) == MOST_SHOWN - 1
