"""The desk's tools to an official client, in one process: what each scope lists and may do, and what every call answers."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any
from unittest import mock

import pytest
from mcp import Client

from tradeagent.domain.names import CardState, JobState, Mode, TokenScope
from tradeagent.ledger import cards, jobs, notes, runs
from tradeagent.llm.contract import Tool, ToolResult
from tradeagent.mcp import server as front
from tradeagent.mcp.server import Front
from tradeagent.runtime.assembly import Place
from tradeagent.runtime.assistant import desk_of
from tradeagent.runtime.wallets import WalletRequest, create_wallet
from tradeagent.tools.desk import DeskContext
from tradeagent.tools.registry import DESK, tools_in_scope

RANGES = {"fast.length": "5:20", "slow.length": "30:90"}
MODES = pytest.mark.parametrize("mode", ["auto", "legacy"])


@asynccontextmanager
async def client_of(place: Place, scope: TokenScope, mode: str = "auto") -> AsyncIterator[Client]:
    async with Client(Front(place, desk_of(place), lambda _: scope).server(), mode=mode) as client:
        yield client


async def answer(client: Client, name: str, **arguments: Any) -> dict[str, Any]:
    """The structured answer, which the text repeats word for word."""
    result = await client.call_tool(name, arguments)
    assert result.structured_content is not None
    assert json.loads(result.content[0].text) == result.structured_content
    assert result.is_error == ("error" in result.structured_content)
    return result.structured_content


@MODES
@pytest.mark.parametrize("scope", TokenScope)
async def test_a_scope_lists_its_tools_as_the_registry_has_them(place: Place, scope: TokenScope, mode: str) -> None:
    async with client_of(place, scope, mode) as client:
        listed = (await client.list_tools()).tools
    assert [tool.name for tool in listed] == [tool.name for tool in tools_in_scope(scope)]
    for tool in listed:
        assert tool.input_schema == DESK[tool.name].spec.parameters
        assert tool.description == DESK[tool.name].description
        assert tool.annotations is not None
        assert tool.annotations.read_only_hint == (DESK[tool.name].scope == "read")


def test_each_scope_has_what_the_one_before_has_and_none_trades() -> None:
    read, algo, trade = ({tool.name for tool in tools_in_scope(scope)} for scope in TokenScope)
    assert read < algo <= trade
    assert {"run_backtest", "memory_write", "remember"} <= algo - read
    assert not trade & {"propose_order", "close_position", "create_executor", "place_twap", "modify_protection", "cancel_order"}


async def test_a_backtest_runs_and_answers_in_figures(place: Place) -> None:
    async with client_of(place, TokenScope.ALGO) as client:
        found = await answer(client, "run_backtest", algo="sma_cross", market="BTC", interval="1h")
        again = await answer(client, "get_backtest_results", backtest=found["backtest"])
    assert found["metrics"]["trades"] > 0
    assert again["metrics"] == found["metrics"]


@MODES
async def test_a_narrow_scope_is_told_which_one_it_needs_and_nothing_happens(place: Place, mode: str) -> None:
    outside = [tool for tool in DESK.values() if tool.scope not in ("read",)]
    async with client_of(place, TokenScope.READ, mode) as client:
        for tool in outside:
            error = (await answer(client, tool.name))["error"]
            assert error["code"] == "not_permitted" and "tradeagent token new --scope" in error["hint"], tool.name
        denied = await answer(client, "memory_write", path="research/a.md", text="x")
    assert denied["error"]["code"] == "not_permitted"
    assert not list(place.workspace.root.glob("memory/research/*"))


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ({"market": 1}, "invalid_arguments"),
        ({}, "invalid_arguments"),
        ({"market": "BTC", "mode": "live"}, "invalid_arguments"),
        ({"market": "BTC" * 500}, "invalid_arguments"),
        ({"market": "NOSUCH"}, None),
    ],
)
async def test_arguments_are_checked_as_in_a_turn(place: Place, arguments: dict[str, Any], code: str | None) -> None:
    async with client_of(place, TokenScope.ALGO) as client:
        error = (await answer(client, "get_candles", **arguments))["error"]
    assert error["message"] and error["hint"]
    assert code is None or error["code"] == code


async def test_an_unknown_tool_is_an_error_that_says_what_to_do(place: Place) -> None:
    async with client_of(place, TokenScope.TRADE) as client:
        for name in ("propose_order", "find_tools", "get_ticker\u200b", "__class__", "x" * 5_000):
            error = (await answer(client, name))["error"]
            assert error["code"] == "unknown_tool" and len(error["message"]) < 120


@pytest.mark.parametrize("scope", TokenScope)
async def test_what_is_seen_follows_from_the_scope(place: Place, scope: TokenScope) -> None:
    mode = Mode.OPS if scope is TokenScope.TRADE else Mode.RESEARCH
    seen: list[DeskContext] = []

    async def look(_arguments: Any, context: DeskContext) -> ToolResult:
        seen.append(context)
        return ToolResult({})

    async with _with_tool(place, scope, look) as client:
        await answer(client, "get_watchlist")
    assert (seen[0].mode, seen[0].session) == (mode, None)


@asynccontextmanager
async def _with_tool(place: Place, scope: TokenScope, handler: Any) -> AsyncIterator[Client]:
    """A client of a server whose `get_watchlist` is `handler`."""
    tool: Tool = replace(DESK["get_watchlist"], handler=handler)
    with mock.patch.object(front, "tools_in_scope", lambda _: (tool,)):
        async with client_of(place, scope) as client:
            yield client


async def test_a_tool_that_fails_inside_tells_the_caller_nothing_and_a_person_where(place: Place) -> None:
    async def fail(_arguments: Any, _context: DeskContext) -> ToolResult:
        raise KeyError("hush-inside")

    async with _with_tool(place, TokenScope.READ, fail) as client:
        found = await answer(client, "get_watchlist")
    assert found["error"]["code"] == "internal" and "hush-inside" not in json.dumps(found)
    with place.ledger.reading() as tx:
        (incident,) = notes.list_incidents(tx)
    assert "get_watchlist failed over MCP" in incident["message"] and "KeyError" in incident["message"]


async def test_many_calls_at_once_each_get_their_own_answer(place: Place) -> None:
    async with client_of(place, TokenScope.ALGO) as client:
        written = [answer(client, "memory_write", path=f"research/n{n}.md", text=f"note {n}") for n in range(20)]
        await asyncio.gather(*written)
        read = await asyncio.gather(*(answer(client, "memory_read", path=f"research/n{n}.md") for n in range(20)))
    assert all(f"note {n}" in json.dumps(found) for n, found in enumerate(read))


async def test_long_work_tells_how_far_it_is_and_ends_with_its_result(place: Place) -> None:
    told: list[tuple[float, float | None]] = []

    async def hear(progress: float, total: float | None, _message: str | None) -> None:
        told.append((progress, total))

    arguments = {"algo": "sma_cross", "market": "BTC", "interval": "1h", "n_trials": 12, "params": RANGES, "wait_s": 60}
    async with client_of(place, TokenScope.ALGO) as client:
        result = await client.call_tool("optimize", arguments, progress_callback=hear)
    assert not result.is_error, result.structured_content
    assert told and told == sorted(told)


async def test_a_caller_who_gives_up_ends_the_job(place: Place) -> None:
    arguments = {"algo": "sma_cross", "market": "BTC", "interval": "1h", "n_trials": 2_000, "params": RANGES, "wait_s": 60}
    async with client_of(place, TokenScope.ALGO) as client:
        calling = asyncio.ensure_future(client.call_tool("optimize", arguments))
        await _until(lambda: any(row.state == JobState.RUNNING for row in _jobs(place)))
        calling.cancel()
        await _until(lambda: all(row.state == JobState.CANCELLED for row in _jobs(place)))
    assert calling.cancelled()


def _jobs(place: Place) -> list[jobs.JobRow]:
    with place.ledger.reading() as tx:
        return jobs.listed(tx)


async def _until(is_so: Any) -> None:
    async with asyncio.timeout(60):
        while not is_so():
            await asyncio.sleep(0.05)


async def test_a_deployment_over_mcp_ends_in_a_card_that_only_a_person_confirms(place: Place) -> None:
    create_wallet(place.workspace, place.config, place.ledger, place.clock, WalletRequest("systematic", group="algo"))
    async with client_of(place, TokenScope.TRADE) as client:
        found = await answer(client, "deploy_algo_to_wallet", algo="sma_cross", wallet="systematic", market="BTC", interval="1h")
    assert "error" not in found, found
    with place.ledger.reading() as tx:
        (card,) = cards.listed(tx)
        assert runs.all_deployments(tx) == []
    assert card.state == CardState.WAITING and card.id in json.dumps(found)
