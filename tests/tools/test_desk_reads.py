"""Accounts, runs and markets as the desk's tools tell them: the ledger's own figures, with units, and only what the mode may see."""

import statistics
from datetime import datetime
from decimal import Decimal
from pathlib import Path

import pytest
from desk_stage import AGENT_CASH, AGENT_RUN, AGENT_SIZE, AGENT_WALLET, ALGO_RUN, ALGO_WALLET, MANUAL_SIZE, NOW, Stage, opened

from tradeagent.domain.clock import DAY_MS, HOUR_MS, SimulatedClock, iso, to_ms
from tradeagent.domain.errors import DataError, InvalidInput
from tradeagent.domain.names import Actor, Mode
from tradeagent.hyperliquid.loopback import InfoServer, Served, recorded_answers
from tradeagent.ledger import runs, trading
from tradeagent.runtime import lease
from tradeagent.runtime.workspace import init_workspace
from tradeagent.tools.context import ToolContext
from tradeagent.tools.desk_market import Book, Chart, Explore, chart, explore_indicator, get_orderbook

D = Decimal


async def test_equity_is_cash_plus_what_is_held_at_the_mark(shared: Stage) -> None:
    found = await shared.call("get_account_overview")
    rows = {row["wallet"]: row for row in found["wallets"]}
    assert set(rows) == {AGENT_WALLET, ALGO_WALLET}
    assert D(rows[AGENT_WALLET]["equity_usdc"]) == D(AGENT_CASH) + 100 * D(AGENT_SIZE)
    assert rows[AGENT_WALLET]["cash_usdc"] == AGENT_CASH and rows[AGENT_WALLET]["running"] is None, "no process is behind the row"
    assert D(found["total_by_network"]["paper"]["equity_usdc"]) == sum(D(row["equity_usdc"]) for row in rows.values())


async def test_positions_say_who_holds_them_and_how_far_liquidation_is(shared: Stage) -> None:
    found = await shared.call("get_portfolio", wallet=ALGO_WALLET)
    sizes = {row["held_by"]: row["size_base"] for row in found["positions"]}
    assert sizes == {ALGO_RUN: "0.05", "manual": MANUAL_SIZE}
    row = next(row for row in found["positions"] if row["held_by"] == ALGO_RUN)
    assert (row["entry_usdc"], row["mark_usdc"], row["leverage"]) == ("117000", "117100", 3)
    assert D(row["unrealised_usdc"]) == D("0.05") * 100
    assert row["liquidation_distance_pct"] is None or D(row["liquidation_distance_pct"]) > 0
    assert len(found["open_orders"]) == 2 == found["count"]["open_orders"]


async def test_round_trips_are_those_of_the_wallet_or_run_asked_for(shared: Stage) -> None:
    every = await shared.call("get_round_trips")
    assert every["of"] == 3
    one = await shared.call("get_round_trips", deployment=ALGO_RUN)
    assert [row["net_pnl_usdc"] for row in one["round_trips"]] == ["12.5"] and one["net_pnl_usdc"] == "12.5"
    assert (await shared.call("get_round_trips", wallet=ALGO_WALLET, count=1))["of"] == 2
    assert (await shared.call("get_round_trips", wallet="none"))["error"]["code"] == "not_found"


async def test_algo_wallets_say_what_runs_on_them_and_what_it_earned(shared: Stage) -> None:
    told = await shared.call("get_algo_wallets_overview", Mode.RESEARCH)
    (row,) = told["algo_wallets"]
    assert (row["wallet"], row["algo"], row["closed_trades"], row["net_pnl_usdc"]) == (ALGO_WALLET, "sma_cross@1", 1, "12.5")
    assert (row["vacant"], row["run"], row["metrics"]) == (True, None, None), "its process is gone"
    assert told["summary"] == {"wallets": 1, "vacant": 1}
    total, free, used, equity, unrealised = (D(row[key]) for key in ("total", "free", "used", "equity", "unrealised"))
    assert (total, unrealised) == (D(5_000), (D("0.05") + D("0.66613")) * 100)
    assert equity == total + unrealised and free == max(D(0), equity - used) and used > 0


async def test_a_live_run_of_an_algo_wallet_has_its_figures(stage: Stage) -> None:
    with stage.ledger.transaction() as tx:
        for day, nav in ((0, "1"), (1, "1.1"), (3, "1.045"), (4, "1.2")):
            for hour in (1, 2):
                trading.add_equity_point(tx, ALGO_WALLET, day * DAY_MS + hour * HOUR_MS, D(5_000), D(5_000), D(nav) if hour == 2 else D(9))
    held = lease.take(stage.workspace, stage.ledger, ALGO_WALLET, ALGO_RUN, stage.clock)
    told = await stage.call("get_algo_wallets_overview")
    held.release()
    (row,) = told["algo_wallets"]
    assert (row["vacant"], row["run"], told["summary"]["vacant"]) == (False, ALGO_RUN, 0)
    returns = [1.1 - 1, 0.0, 1.045 / 1.1 - 1, 1.2 / 1.045 - 1]
    sharpe = statistics.mean(returns) / statistics.stdev(returns) * 365**0.5
    assert row["metrics"] == {
        "pnl_usdc": "17.5",  # 12.5 of its closed trade and 0.05 BTC at 100 more than they cost; a person's part is not its own
        "sharpe": f"{sharpe:.2f}",
        "drawdown_pct": "0",
        "win_rate_pct": "100.0",
        "closed_trades": 1,
    }


async def test_without_an_algo_wallet_the_answer_says_how_to_make_one(tmp_path: Path) -> None:
    init_workspace(tmp_path / "ws")
    empty = opened(tmp_path / "ws")
    told = await empty.call("get_algo_wallets_overview")
    empty.ledger.close()
    assert told["algo_wallets"] == []
    assert told["summary"]["message"].endswith("`tradeagent wallet new --group algo --cash 10000 NAME` makes one")


async def test_a_built_in_algorithm_has_no_version_in_its_name(stage: Stage) -> None:
    with stage.ledger.transaction() as tx:
        runs.update_deployment(tx, ALGO_RUN, version=0)
    (row,) = (await stage.call("get_algo_wallets_overview"))["algo_wallets"]
    (run,) = (await stage.call("show_deployments", Mode.RESEARCH))["deployments"]
    assert (row["algo"], run["runs"]) == ("sma_cross", "sma_cross")


async def test_usage_adds_up_by_who_used_it(shared: Stage) -> None:
    rows = {row["of"]: row["cost_usd"] for row in (await shared.call("get_usage"))["usage"]}
    assert rows == {"quokka": "7.7713", "assistant": "0.25"}
    assert [row["of"] for row in (await shared.call("get_usage", Mode.RESEARCH))["usage"]] == ["assistant"]


async def test_a_run_without_a_process_is_interrupted_and_its_decisions_are_told(shared: Stage) -> None:
    rows = {row["deployment"]: row for row in (await shared.call("show_deployments", Mode.OPS))["deployments"]}
    assert {row["state"] for row in rows.values()} == {"interrupted"} and set(rows) == {AGENT_RUN, ALGO_RUN}
    assert (await shared.call("show_deployments", Mode.OPS, running_only=True))["deployments"] == []
    told = await shared.call("get_decisions", Mode.OPS, deployment="quokka")
    assert told["deployment"] == AGENT_RUN
    tick, refused = told["decisions"]
    assert tick["said"].startswith(f"<untrusted origin={AGENT_RUN}>\nokapi said sell") and tick["tick"] == 3
    assert (refused["rule"], refused["message"]) == ("DAILY_TRADES", "12 of 12 entries are used today")


async def test_stored_bars_of_any_market_are_served_at_the_desk(shared: Stage) -> None:
    for market in ("BTC", "ETH"):
        candles = await shared.call("get_candles", market=market, interval="1h", count=3)
        assert [row[0] for row in candles["rows"]] == ["2025-07-26T01:00:00Z", "2025-07-26T02:00:00Z", "2025-07-26T03:00:00Z"]
        ticker = await shared.call("get_ticker", market=market)
        assert ticker["low_24h_usdc"] <= ticker["last_usdc"] <= ticker["high_24h_usdc"]
        assert ticker["as_of"] == "2025-07-26T04:55:00Z"
    mark = await shared.call("get_mark_price", market="BTC")
    assert (mark["mark_usdc"], mark["age_s"]) == ("117524", (NOW - 1_753_505_700_000) // 1000)
    rates = (await shared.call("get_funding", market="BTC", hours=4))["rates"]
    assert [row["hour"] for row in rates] == ["2025-07-26T02:00:00Z", "2025-07-26T03:00:00Z"]
    assert (await shared.call("get_ticker", market="DOGE"))["error"]["hint"] == "bars are there of BTC, ETH"


async def test_how_often_a_condition_held_is_counted_on_the_bars(shared: Stage) -> None:
    asked = {"market": "BTC", "interval": "1h", "indicator": "rsi", "params": {"length": 14}, "bars": 2_000}
    found = await shared.call("explore_indicator", condition="rsi < 30", **asked)
    told, values = found["condition"], found["values"]["rsi"]
    assert found["bars"] == 2_000 and 0 < told["true_bars"] < 1_986 and 0 < told["times_it_began"] <= told["true_bars"]
    assert values["lowest"] < 30 < values["mean"]
    both = await shared.call("explore_indicator", condition="rsi >= 30", **asked)
    assert both["condition"]["true_bars"] + told["true_bars"] == 2_000 - found["warmup_bars"]
    assert "condition" not in await shared.call("explore_indicator", **asked)
    wrong = await shared.call("explore_indicator", **{**asked, "indicator": "rsii"})
    assert wrong["error"]["hint"] == "did you mean 'rsi'?"


async def test_a_chart_is_text_and_on_request_a_picture(shared: Stage) -> None:
    found = await shared.call("chart", market="ETH", interval="4h", bars=60, png=True)
    assert len(found["chart"].splitlines()) == 24 and "█" in found["chart"]
    picture = shared.workspace.state_dir / "charts" / "ETH-4h.png"
    assert found["png"] == str(picture) and picture.read_bytes().startswith(b"\x89PNG")


async def test_the_venue_is_asked_for_book_and_open_interest(shared: Stage, shared_data: Path) -> None:
    sides = [[{"px": str(100 - step), "sz": "0.5", "n": 1} for step in range(8)], [{"px": "102", "sz": "2", "n": 1}]]
    folder = shared_data.parent / "fixtures" / "hyperliquid" / "info"
    if not folder.is_dir():
        pytest.skip("no recorded answers of the venue")
    answers = recorded_answers(folder)
    answers["l2Book"] = {"coin": "BTC", "time": NOW, "levels": sides}
    with InfoServer(Served(lambda: NOW, answers=answers)) as server:
        at = {"hyperliquid.url": server.url}
        book = await shared.call("get_orderbook", settings=at, market="BTC", levels=2)
        interest = await shared.call("get_open_interest", settings=at, market="BTC")
        unknown = await shared.call("get_open_interest", settings=at, market="NOPE")
    assert book["bids"] == [["100", "0.5"], ["99", "0.5"]] and book["asks"] == [["102", "2"]]
    assert (book["mid_usdc"], book["spread_bps"], book["as_of"]) == ("101", "198.02", iso(NOW))
    value = D(interest["open_interest_base"]) * D(interest["mark_usdc"])
    assert abs(D(interest["open_interest_usdc"]) - value) <= D("0.5") and value > 0
    assert unknown["error"]["code"] == "not_found"


@pytest.mark.parametrize("tool", ["get_orderbook", "get_open_interest"])
async def test_a_venue_that_is_not_there_is_a_named_error(shared: Stage, tool: str) -> None:
    found = await shared.call(tool, settings={"hyperliquid.url": "http://127.0.0.1:9"}, market="BTC")
    assert found["error"]["code"] == "venue_error" and found["error"]["hint"]


async def test_a_run_at_another_time_sees_neither_the_venue_nor_later_bars(shared: Stage) -> None:
    desk = shared.context()
    then = 1_750_000_000_000
    replay = ToolContext(Actor.AGENT, SimulatedClock(then), shared.ledger, desk.feed)
    with pytest.raises(DataError, match="can only be asked about now"):
        await get_orderbook(Book(market="BTC"), replay)
    found = (await explore_indicator(Explore(market="BTC", indicator="sma", bars=100), replay)).content
    last = datetime.fromisoformat(found["last_close"])
    assert then - 3_600_000 < to_ms(last) <= then
    drawn = (await chart(Chart(market="BTC", bars=20), replay)).content
    assert "png" not in drawn
    with pytest.raises(InvalidInput, match="no pictures"):
        await chart(Chart(market="BTC", png=True), replay)
