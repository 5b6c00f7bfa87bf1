"""The calls of the golden transcripts: for each tool one that does what it is for, and one that cannot be.

An argument that begins with `=` is taken from an earlier answer: `=TOOL.key.0.key` from the newest of that tool that was no error.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from desk_samples import ON_BARS
from desk_stage import ALGO_RUN, ALGO_WALLET

from tradeagent.domain.names import Mode

Arguments = Mapping[str, Any]
NOWHERE: Arguments = {"market": "NOPE"}
MORE: Arguments = {"also": 1}


@dataclass(frozen=True)
class Pair:
    """A tool, the call that is good, and the one that is bad."""

    tool: str
    good: Arguments
    bad: Arguments
    mode: Mode = Mode.OPS


_MARKETS = (
    Pair("search_markets", {"query": "BT"}, MORE),
    Pair("get_mark_price", {"market": "BTC"}, NOWHERE),
    Pair("get_ticker", {"market": "BTC"}, NOWHERE),
    Pair("get_candles", {"market": "BTC", "interval": "1h", "count": 2}, {"market": "BTC", "interval": "7x"}),
    Pair("get_funding", {"market": "BTC", "hours": 4}, NOWHERE),
    Pair("get_orderbook", {"market": "BTC", "levels": 2}, {"market": "BTC", "levels": 0}),
    Pair("get_open_interest", {"market": "BTC"}, NOWHERE),
    Pair(
        "explore_indicator",
        {"market": "BTC", "indicator": "rsi", "condition": "rsi < 30", "bars": 500},
        {"market": "BTC", "indicator": "rsii"},
    ),
    Pair("chart", {"market": "ETH", "interval": "4h", "bars": 20}, NOWHERE),
)
_NEWS = (
    Pair("get_news", {"market": "BTC"}, {"hours": 0}),
    Pair("search_news", {"words": "ETF inflows"}, {"words": ""}),
    Pair("get_upcoming_events", {}, {"days": 0}),
)
_ENTRY = {"market": "BTC", "side": "buy", "quote": "90", "stop": "116000", "target": "120000", "reason": "a test of the range"}
_GRID = {"market": "ETH", "side": "buy", "start_price": "3600", "end_price": "3700", "limit_price": "3500", "total_amount_quote": "60"}
_GRID |= {"take_profit": "0.01"}
_TWAP = {"market": "ETH", "side": "buy", "total_amount_quote": "60", "duration_s": 1800, "interval_s": 600, "stop": "3400"}
# One turn of an agent each; what was done in one is there in the next.
AGENT_TICKS: tuple[tuple[Pair, ...], ...] = (
    (
        *_MARKETS,
        *_NEWS,
        Pair("propose_order", _ENTRY, {**_ENTRY, "quote": "9000"}),
        Pair("place_twap", _TWAP, {**_TWAP, "interval_s": 5}),
        Pair("list_executor_types", {}, MORE),
        Pair("describe_executor", {"type": "twap"}, {"type": "iceberg"}),
        Pair("create_executor", {"type": "grid", "fields": _GRID}, {"type": "grid", "fields": {"market": "ETH"}}),
        Pair("journal_action", {"action": "bought BTC", "reasoning": "the range held"}, {"action": "hold"}),
        Pair("add_learning", {"text": "thin hours slip more"}, {"section": "Wishes", "text": "x"}),
        Pair("update_canvas", {"thesis": "the range holds until CPI"}, {"plan": "all in"}),
        Pair("update_reflection", {"sizing": "half of it was enough"}, {"mood": "fine"}),
        Pair("write_note", {"text": "look at funding at eight"}, {"text": ""}),
        Pair("suggest_config", {"key": "risk_pct", "value": 0.2, "reason": "calm"}, {"key": "limits", "value": 9, "reason": "more"}),
        Pair("send_notification", {"text": "BTC is back in its range"}, {"text": "x", "level": "alarm"}),
        Pair("list_routines", {}, {"name": "nosuch"}),
        Pair("run_routine", {"name": "scan", "config": {"bars": 5}}, {"name": "scan", "config": {"bars": 1}}),
    ),
    (
        Pair("get_portfolio", {}, {"wallet": "another"}),
        Pair("get_account_overview", {}, {"wallet": "another"}),
        Pair("modify_protection", {"market": "BTC", "stop": "116500"}, {"market": "BTC", "stop": "100000"}),
        Pair("list_executors", {}, {"ended": "maybe"}),
        Pair(
            "stop_executor",
            {"executor_id": "=create_executor.executor.executor_id", "keep_position": False},
            {"executor_id": "nosuch", "keep_position": True},
        ),
        Pair(
            "propose_risk_trade",
            {"market": "ETH", "side": "buy", "entry": "3600", "stop": "3500", "target": "3900", "conviction": 60, "risk_quote": "2"},
            {"market": "ETH", "side": "buy", "stop": "3900", "target": "3500", "conviction": 60, "risk_quote": "2"},
        ),
    ),
    (
        Pair("cancel_order", {"order_id": "=propose_risk_trade.order.order_id"}, {"order_id": "nosuch"}),
        Pair("close_position", {"market": "BTC", "reason": "enough"}, {"market": "DOGE"}),
    ),
    (
        Pair("get_round_trips", {"count": 2}, {"count": 0}),
        Pair("get_usage", {}, MORE),
        Pair("read_journal", {}, MORE),
    ),
)
_ON_BARS = {**ON_BARS, "end": "2025-07-01"}
_SEARCH = {**_ON_BARS, "params": {"fast": "5:20:5"}, "n_trials": 2, "wait_s": 0}
BEFORE_JOBS: tuple[Pair, ...] = (
    Pair("find_tools", {"query": "watchlist"}, {"query": ""}),
    *_MARKETS,
    Pair("get_account_overview", {"wallet": ALGO_WALLET}, {"wallet": "nosuch"}),
    Pair("get_portfolio", {"wallet": ALGO_WALLET}, {"wallet": "nosuch"}),
    Pair("get_algo_wallets_overview", {}, {"wallet": "nosuch"}),
    Pair("get_round_trips", {"count": 1}, {"deployment": "nosuch"}),
    Pair("get_usage", {"days": 1}, {"days": 0}),
    Pair("add_to_watchlist", {"market": "BTC", "note": "range"}, NOWHERE),
    Pair("get_watchlist", {}, MORE),
    Pair("remove_from_watchlist", {"market": "BTC"}, NOWHERE),
    Pair("list_algorithms", {}, MORE),
    Pair("show_algorithm", {"algo": "sma_cross"}, {"algo": "sma_crss"}),
    Pair("create_algorithm", {"name": "mine", "template": "sma_cross"}, {"name": "mine"}),
    Pair(
        "add_indicator",
        {"algo": "mine", "name": "slowest", "kind": "ema", "params": {"length": 200}},
        {"algo": "mine", "name": "r", "kind": "rsii"},
    ),
    Pair(
        "set_entry_exit",
        {"algo": "mine", "part": "entry", "side": "long", "required": ["close > slowest"]},
        {"algo": "mine", "part": "entry", "required": ["close > nosuch"]},
    ),
    Pair(
        "set_stop_take_profit",
        {"algo": "mine", "stop_loss": {"kind": "pct", "value": 2}, "take_profit": {"kind": "rr", "value": 2}},
        {"algo": "mine", "stop_loss": {"kind": "miles", "value": 2}},
    ),
    Pair("validate_algorithm", {"algo": "mine"}, {"text": "name: x\ndirection: sideways\n"}),
    Pair("run_backtest", _ON_BARS, {**_ON_BARS, "market": "DOGE"}),
    Pair("get_backtest_results", {"trades": 2}, {"backtest": "ZZZZ"}),
    Pair("plot_backtest", {"what": "equity"}, {"what": "profit"}),
    Pair("compare_backtests", {"backtests": ["last", "last"]}, {"backtests": ["last", "ZZZZ"]}),
    Pair("rolling_cv_backtest", {**_SEARCH, "folds": 2}, {**_SEARCH, "folds": 1}),
    Pair("optimize", _SEARCH, {**_SEARCH, "params": {"nosuch": "1:2"}}),
)
AFTER_JOBS: tuple[Pair, ...] = (
    Pair("get_optimization", {"study": "=optimize.job"}, {"study": "ZZZZ"}),
    Pair("plot_optimization", {"study": "=get_optimization.study"}, {"study": "ZZZZ"}),
    Pair("show_deployments", {}, {"count": 0}),
    Pair("get_decisions", {"deployment": ALGO_RUN}, {"deployment": "nosuch"}),
    Pair(
        "deploy_algo_to_wallet",
        {"algo": "sma_cross", "wallet": ALGO_WALLET, "market": "BTC", "interval": "4h"},
        {"algo": "sma_cross", "wallet": "nosuch", "market": "BTC", "interval": "4h"},
    ),
    Pair("stop_algo_run", {"deployment": ALGO_RUN}, {"deployment": "nosuch"}),
    Pair("prepare_action", {"kind": "rebalance"}, {"kind": "stop"}),
    Pair("set_basics", {"name": "Range", "model": "offline/hold", "markets": ["BTC"]}, {"kind": "poem"}, Mode.AUTHORING),
    Pair("set_strategy", {"text": "Wait.", "mode": "thesis"}, {"mode": "hope"}, Mode.AUTHORING),
    Pair("set_schedule", {"tick_interval": "5m"}, {"tick_interval": 5}, Mode.AUTHORING),
    Pair("set_tools", {"tools": ["market", "propose_order"]}, {"tools": "market"}, Mode.AUTHORING),
    Pair("set_context", {"bars_interval": "1h", "lookback": 48}, {"lookback": "many"}, Mode.AUTHORING),
    Pair("show_draft", {}, {"draft": "nosuch"}, Mode.AUTHORING),
    Pair("set_risk", {"limits": {"max_leverage": 2}}, {"limits": {"nosuch": 2}}, Mode.AUTHORING),
    *_NEWS,
    Pair("search_social", {"words": "BTC moon"}, {"words": ""}),
    Pair("web_fetch", {"url": "=SITE"}, {"url": "https://elsewhere.example/"}),
    Pair("memory_write", {"path": "research/btc.md", "text": "# BTC\nThe range holds."}, {"path": "../config.yml", "text": "x"}),
    Pair("memory_append", {"path": "research/btc.md", "text": "Funding is calm."}, {"path": "/etc/x.md", "text": "x"}),
    Pair("memory_read", {"path": "research/btc.md"}, {"path": "nosuch.md"}),
    Pair("memory_search", {"query": "funding"}, {"query": ""}),
    Pair("memory_list", {"folder": "research"}, {"folder": ".."}),
    Pair("scratch_write", {"path": "plan.txt", "text": "1. look"}, {"path": "../plan.txt", "text": "x"}),
    Pair("scratch_read", {"path": "plan.txt"}, {"path": "nosuch.txt"}),
    Pair("scratch_list", {}, MORE),
    Pair("remember", {"fact": "prefers UTC times"}, {"fact": "my key is 0x" + "ab" * 32}),
    Pair("forget", {"id": "=remember.id"}, {"id": "abcdef"}),
    Pair("list_skills", {}, MORE),
    Pair("stack_push", {"skill": "=list_skills.skills.0.skill"}, {"skill": "nosuch"}),
    Pair("stack_list", {}, MORE),
    Pair("stack_pop", {}, MORE),
)
AGENT_PAIRS = tuple(pair for tick in AGENT_TICKS for pair in tick)
DESK_PAIRS = BEFORE_JOBS + AFTER_JOBS
