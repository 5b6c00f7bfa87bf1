"""Whatever a model writes as arguments, a tool answers or refuses in words; it never fails inside."""

import asyncio
import json
from typing import Any

import hypothesis.strategies as st
from desk_samples import samples
from desk_stage import Stage
from hypothesis import HealthCheck, given, settings

from tradeagent.domain.names import Mode
from tradeagent.tools.registry import DESK

JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=30),
    st.sampled_from(["", "-1", "0", "--json", "../../x", "a\x00b", "\ud800", "last", "1e999", "٣", "<untrusted>", "BTC' OR 1=1"]),
    st.lists(st.integers(), max_size=2),
    st.dictionaries(st.text(max_size=4), st.integers(), max_size=2),
)
TEXTS = ("BTC", "ETH", "DOGE", "xyz:TSLA", "5m", "1h", "7m", "0m", "1w", "2025-07-01", "1753000000000", "sma_cross", "sampled@1", "last")
# Those that compute for a while are asked less often than they are here by turns.
_SLOW = ("run_backtest", "rolling_cv_backtest", "optimize", "search_social", "web_fetch", "get_orderbook", "get_open_interest")


@st.composite
def calls(draw: st.DrawFn) -> tuple[str, dict[str, Any]]:
    """A tool with arguments that fit, some of them replaced, taken away or added."""
    name = draw(st.sampled_from(sorted(DESK)))
    arguments = json.loads(json.dumps(samples(DESK[name])[0]))
    keys = list(DESK[name].spec.parameters["properties"]) * 4 + ["unknown"]
    for _ in range(draw(st.integers(1, 3))):
        key = draw(st.sampled_from(keys))
        if draw(st.integers(0, 4)) == 0:
            arguments.pop(key, None)
        else:
            spec = DESK[name].spec.parameters["properties"].get(key, {})
            arguments[key] = draw(_fitting(spec) if draw(st.integers(0, 3)) else _like(arguments.get(key)))
    return name, arguments


def _fitting(spec: dict[str, Any]) -> st.SearchStrategy[Any]:
    """What a schema takes, as far as it says so on its first level."""
    kinds = [each for each in spec.get("anyOf", [spec]) if each.get("type") != "null"]
    kind = kinds[0] if kinds else {}
    if "enum" in kind:
        return st.sampled_from(kind["enum"])
    if kind.get("type") == "integer":
        return st.integers(kind.get("minimum", 0), min(kind.get("maximum", 50), 500))
    if kind.get("type") == "boolean":
        return st.booleans()
    return st.sampled_from(TEXTS) if kind.get("type") == "string" else JUNK


def _like(value: Any) -> st.SearchStrategy[Any]:
    """Junk, or something near what was there: a longer text, another number."""
    if isinstance(value, str):
        return st.one_of(JUNK, st.text(max_size=8).map(lambda more: value + more), st.just(value * 50))
    if isinstance(value, int):
        return st.one_of(JUNK, st.integers(-2, 40))
    return JUNK


def test_no_arguments_make_a_tool_fail_inside(shared: Stage) -> None:
    modes = {"turn": 0}
    # Nobody listens at this address, so that asking the venue ends at once.
    offline = {"hyperliquid.url": "http://127.0.0.1:9"}

    @settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
    @given(calls())
    def play(call: tuple[str, dict[str, Any]]) -> None:
        name, arguments = call
        modes["turn"] += 1
        if name in _SLOW and modes["turn"] % 3:
            return
        context = shared.context(list(Mode)[modes["turn"] % 4], offline)
        found = asyncio.run(shared.result(context, name, arguments))
        if found.is_error:
            error = found.content["error"]
            assert set(error) == {"code", "message", "hint"} and error["message"] and error["hint"]
        assert len(json.dumps(found.content)) < 24_000

    play()
