"""Arguments for every tool of the desk, by name where a tool needs sense, else from its schema; so that a new tool is covered by itself."""

from typing import Any

from tradeagent.llm.contract import Tool

ON_BARS = {"algo": "sma_cross", "market": "BTC", "interval": "4h", "start": "2025-06-01"}
_SENSE: dict[str, list[dict[str, Any]]] = {
    "find_tools": [{"query": "portfolio"}],
    "get_orderbook": [{"market": "BTC"}],
    "explore_indicator": [{"market": "BTC", "indicator": "rsi", "condition": "rsi < 30", "bars": 500}],
    "chart": [{"market": "ETH"}],
    "show_algorithm": [{"algo": "sma_cross"}],
    "create_algorithm": [{"name": "sampled", "template": "breakout"}],
    "add_indicator": [{"algo": "sampled", "name": "slow", "kind": "sma", "params": {"length": 50}}],
    "set_entry_exit": [{"algo": "sampled", "part": "entry", "required": ["close > open"]}],
    "set_stop_take_profit": [{"algo": "sampled", "stop_loss": {"kind": "pct", "value": 2}}],
    "validate_algorithm": [{"algo": "breakout"}],
    "run_backtest": [ON_BARS],
    "compare_backtests": [{"backtests": ["last", "last"]}],
    "rolling_cv_backtest": [{**ON_BARS, "n_trials": 2, "wait_s": 0}],
    "optimize": [{**ON_BARS, "n_trials": 2, "wait_s": 0}],
    "deploy_algo_to_wallet": [{"algo": "sma_cross", "wallet": "systematic", "market": "BTC", "interval": "4h"}],
    "prepare_action": [
        {"kind": "stop", "deployment": "sma_cross_2"},
        {"kind": "deploy", "algo": "sma_cross", "wallet": "systematic", "market": "BTC", "interval": "4h"},
        {"kind": "rebalance"},
        {"kind": "start_backtest", "algo": "sma_cross", "market": "BTC", "interval": "4h"},
        {"kind": "save_draft"},
    ],
    "set_basics": [{"name": "Sampled", "model": "offline/hold", "markets": ["BTC"], "begin": True}],
    "set_strategy": [{"text": "Wait.", "mode": "thesis"}],
    "set_risk": [{"limits": {"max_leverage": 2}}],
    "set_schedule": [{"tick_interval": "5m"}],
    "set_tools": [{"tools": ["market"]}],
    "set_context": [{"news": 3}],
    "web_fetch": [{"url": "https://example.invalid/page"}],
}
_BY_NAME = {"market": "BTC", "wallet": "systematic", "deployment": "sma_cross_2", "words": "bitcoin", "query": "news"}


def samples(tool: Tool) -> list[dict[str, Any]]:
    """What may be asked of a tool."""
    return _SENSE.get(tool.name) or [_from_schema(tool, {})]


def named_arguments(tool: Tool, word: str) -> dict[str, Any]:
    """The same with a word in every place where a text may be anything."""
    first = samples(tool)[0]
    if tool.family == "drafts":  # what a draft says is the question's own words, and shown again later
        return first | {"draft": word}
    texts = {name: word for name, spec in tool.spec.parameters["properties"].items() if _takes_any_text(spec)}
    return first | {name: value for name, value in texts.items() if name in first or name in ("wallet", "deployment", "words", "query")}


def _from_schema(tool: Tool, given: dict[str, Any]) -> dict[str, Any]:
    schema = tool.spec.parameters
    found = dict(given)
    for name in schema.get("required", ()):
        found.setdefault(name, _value(name, schema["properties"][name], schema))
    return found


def _value(name: str, spec: dict[str, Any], schema: dict[str, Any]) -> Any:
    """A small value that fits a schema, as far as tools use schemas."""
    if "$ref" in spec:
        inner = schema["$defs"][spec["$ref"].rpartition("/")[2]]
        return {key: _value(key, inner["properties"][key], schema) for key in inner.get("required", ())} if "properties" in inner else 0
    if "enum" in spec:
        return spec["enum"][0]
    if "const" in spec:
        return spec["const"]
    if "anyOf" in spec:
        return _value(name, spec["anyOf"][0], schema)
    kind = spec.get("type")
    if kind == "array":
        return [_value(name, spec.get("items", {}), schema)] * spec.get("minItems", 0)
    by_kind: dict[Any, Any] = {"integer": spec.get("minimum", 1), "number": spec.get("minimum", 1), "boolean": False, "object": {}}
    return by_kind.get(kind, _BY_NAME.get(name, "a word"))


def _takes_any_text(spec: dict[str, Any]) -> bool:
    return any(each.get("type") == "string" and "pattern" not in each and "enum" not in each for each in spec.get("anyOf", [spec]))
