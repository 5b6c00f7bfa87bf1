"""agent.md: every key, every default, and errors that name file, line, field and fix."""

from decimal import Decimal
from pathlib import Path

import pytest

from tradeagent.agents.folder import Known, agent_of_payload, list_agents, load_agent, new_agent, parse_config
from tradeagent.agents.template import TEMPLATE
from tradeagent.domain.errors import InvalidConfig, InvalidInput, NotFound, TradeAgentError, UnknownKey

KNOWN = Known(
    tools={"market", "portfolio", "propose_order", "executors", "journal", "get_ticker"},
    offline_policies={"momentum", "mean_reversion", "hold"},
    intervals=("1m", "5m", "15m", "1h", "4h", "1d"),
    markets={"BTC", "ETH"},
)
LEAST = "name: A\nmodel: offline/hold\nmarkets: [BTC]\ntick_interval: 5m\n"
FULL = """\
---
name: BTC momentum
description: Trades BTC pullbacks in the direction of the 4h trend.
model: offline/momentum
fallback_models: [openai/some-model]
markets: [BTC]
cron: "*/15 * * * *"
timezone: Europe/Berlin
tick_timeout: 2m
max_ticks: 10
tools: [market, portfolio, propose_order, executors, journal]
mcp_servers: {notes: {command: notes-server --stdio, env: {A: b}, tools: [read]}}
strategy:
  mode: thesis
  leash: balanced
  horizon: intraday
  look_for: pullbacks
  avoid: news
context: {bars: {interval: 1h, lookback: 24}, news: 5, funding: false, events: true, memory: none}
configs: {risk_per_trade_pct: 0.1, trend_interval: 4h, aggressive: false}
limits:
  max_position_size_quote: 500
  max_single_order_quote: 80
  require_stops: true
budget: {max_cost_per_day_usd: 2.5, max_tokens_per_turn: 1000, max_tool_calls_per_turn: 3}
approval: copilot
on_kill_switch: keep_all
---

# Strategy

Buy low.
"""


def folder(tmp_path: Path, head: str, config: str | None = None, name: str = "btc") -> Path:
    made = tmp_path / name
    made.mkdir(exist_ok=True)
    (made / "agent.md").write_text(head if head.startswith("---") else f"---\n{head}---\nbody\n")
    if config is not None:
        (made / "config.yml").write_text(config)
    return made


def refused(tmp_path: Path, head: str, config: str | None = None) -> TradeAgentError:
    with pytest.raises((InvalidConfig, UnknownKey, InvalidInput)) as caught:
        load_agent(folder(tmp_path, head, config), KNOWN)
    return caught.value


def test_a_full_definition_is_read_to_the_letter(tmp_path: Path) -> None:
    agent = load_agent(folder(tmp_path, FULL), KNOWN)
    definition = agent.definition
    assert (definition.name, definition.model, definition.markets) == ("BTC momentum", "offline/momentum", ("BTC",))
    assert (definition.cron, definition.zone, definition.interval_ms, definition.timeout_ms) == (
        "*/15 * * * *",
        "Europe/Berlin",
        None,
        120_000,
    )
    assert definition.fallback_models == ("openai/some-model",)
    assert definition.mcp_servers["notes"].command == "notes-server --stdio"
    assert definition.strategy.look_for == "pullbacks"
    assert definition.context.bars is not None
    assert (definition.context.bars.interval, definition.context.bars.lookback, definition.context.news) == ("1h", 24, 5)
    assert definition.budget.max_cost_per_day_usd == Decimal("2.5")
    assert (definition.approval, definition.on_kill_switch) == ("copilot", "keep_all")
    assert agent.configs == {"risk_per_trade_pct": Decimal("0.1"), "trend_interval": "4h", "aggressive": False}
    assert agent.limits.number("max_single_order_quote") == 80
    assert agent.limits.number("max_open_executors") == 5
    assert agent.body == "# Strategy\n\nBuy low.\n"


def test_what_is_not_written_has_the_documented_default(tmp_path: Path) -> None:
    agent = load_agent(folder(tmp_path, LEAST), KNOWN)
    definition = agent.definition
    assert (definition.interval_ms, definition.timeout_ms, definition.max_ticks, definition.tools) == (300_000, 600_000, 0, None)
    assert (definition.approval, definition.on_kill_switch, definition.zone) == ("auto", "flatten_all", "UTC")
    assert (definition.budget.max_cost_per_day_usd, definition.budget.max_tokens_per_turn) == (Decimal(5), 20_000)
    assert definition.budget.max_tool_calls_per_turn == 12
    assert agent.limits.number("max_position_size_quote") == 500
    assert agent.configs == {}


def with_line(line: str) -> str:
    """The least definition with one more or one other line."""
    key = line.split(":", maxsplit=1)[0]
    kept = [row for row in LEAST.rstrip("\n").split("\n") if row.split(":")[0] != key]
    return "\n".join([*kept, line]) + "\n"


@pytest.mark.parametrize(
    ("line", "field", "words", "hint"),
    [
        ("modle: x", "modle", "unknown key 'modle'", "'model'"),
        ("strategy: {leesh: strict}", "strategy.leesh", "unknown key", "'leash'"),
        ("context: {bars: {lookbck: 3}}", "context.bars.lookbck", "unknown key", "'lookback'"),
        ("mcp_servers: {a: {comand: x}}", "mcp_servers.a.comand", "unknown key", "'command'"),
        ("limits: {max_leverge: 3}", "limits.max_leverge", "unknown limit", "'max_leverage'"),
        ("limits: {max_leverage: 51}", "limits.max_leverage", "above the paper ceiling 50", "50"),
        ("limits: {max_leverage: lots}", "limits.max_leverage", "is not a number", "0.25"),
        ("limits: {max_drawdown_pct: 20, halt_drawdown_pct: 10}", "limits.halt_drawdown_pct", "below max_drawdown_pct 20", "20"),
        ("tools: [market, propose_ordr]", "tools.1", "unknown tool 'propose_ordr'", "'propose_order'"),
        ("tools: [market, market]", "tools", "'market' is there twice", "remove"),
        ("model: offline/momentun", "model", "unknown offline policy 'momentun'", "'offline/momentum'"),
        ("model: offline/", "model", "no model id", "offline/momentum"),
        ("model: 'acp:'", "model", "no model id", "acp:"),
        ("model: 'two words'", "model", "no model id", "LiteLLM"),
        ("fallback_models: [offline/nope]", "fallback_models.0", "unknown offline policy", "offline/"),
        ("markets: [BTC, ETHH]", "markets.1", "unknown market 'ETHH'", "'ETH'"),
        ("markets: []", "markets", "at least 1 item", "[BTC]"),
        ("markets: BTC", "markets", "must be a list", "[BTC]"),
        ("tick_interval: 4s", "", "tick_interval 4s is below 5s", "5s"),
        ("tick_interval: 300", "tick_interval", "300 has no unit", "300s"),
        ("tick_interval: soon", "tick_interval", "'soon' is not a duration", "5m"),
        ("tick_timeout: 0s", "tick_timeout", "is not a duration", "5m"),
        ("cron: '* * * * *'", "", "both tick_interval and cron", "keep one"),
        ("timezone: UTC", "", "timezone is given without cron", "cron"),
        ("max_ticks: -1", "max_ticks", "greater than or equal to 0", "max_ticks: 0"),
        ("max_ticks: many", "max_ticks", "must be a whole number, not 'many'", "max_ticks: 0"),
        ("approval: always", "approval", "'always' is not allowed", "'auto' or 'copilot'"),
        ("on_kill_switch: nothing", "on_kill_switch", "not allowed", "flatten_all"),
        ("budget: {max_cost_per_day_usd: -1}", "budget.max_cost_per_day_usd", "greater than or equal to 0", "budget"),
        ("context: {news: 5.5}", "context.news", "must be a whole number", "context"),
        ("context: {bars: {interval: 7m}}", "context.bars.interval", "no bars of '7m'", "15m"),
        ("configs: {max_leverage: 3}", "configs.max_leverage", "is a limit", "limits"),
        ("configs: {Risk: 3}", "configs.Risk", "is no key", "a-z"),
        ("configs: {a: [1]}", "configs.a", "is not a text, a number", "one value"),
        ("configs: {risk_per_trade_pct: 0.6}", "configs.risk_per_trade_pct", "above limits.max_risk_per_trade_pct 0.5", "0.5"),
        ("mcp_servers: {a: {command: x, url: y}}", "mcp_servers.a", "either command or url", "command"),
        ("name: ''", "name", "one line", "name: BTC momentum"),
        ("name:", "name", "must be a text", "name: BTC momentum"),
    ],
)
def test_a_wrong_key_names_file_line_field_and_fix(tmp_path: Path, line: str, field: str, words: str, hint: str) -> None:
    error = refused(tmp_path, with_line(line))
    first = error.details["problems"][0]
    assert words in error.message
    assert hint in error.hint
    assert first["field"] == field
    assert "agent.md" in error.message
    if field:
        number = with_line(line).count("\n") + 1
        assert error.details["line"] == number
        assert f"agent.md:{number}:" in error.message


def test_an_unknown_key_has_its_own_code(tmp_path: Path) -> None:
    assert refused(tmp_path, LEAST + "modle: x\n").code == "unknown_key"
    assert refused(tmp_path, LEAST + "max_ticks: x\n").code == "invalid_config"


def test_all_problems_are_listed_unknown_keys_first_then_by_line(tmp_path: Path) -> None:
    error = refused(tmp_path, "name: A\nmodel: offline/hold\nmarkets: [BTC]\ntick_interval: 5m\nfoo: 1\nmax_ticks: x\nbar: 2\n")
    assert [problem["line"] for problem in error.details["problems"]] == [6, 8, 7]
    assert error.details["field"] == "foo"


def test_missing_keys_say_what_to_add(tmp_path: Path) -> None:
    error = refused(tmp_path, "name: A\n")
    assert {problem["field"] for problem in error.details["problems"]} == {"model", "markets"}
    assert "add model: offline/momentum" in error.hint


@pytest.mark.parametrize("cron", ["* * * *", "61 * * * *", "hourly", "* * * * * *"])
def test_a_wrong_cron_line_is_refused(tmp_path: Path, cron: str) -> None:
    head = LEAST.replace("tick_interval: 5m", f'cron: "{cron}"')
    assert "cron line of five fields" in refused(tmp_path, head).message


def test_a_wrong_time_zone_comes_with_the_nearest(tmp_path: Path) -> None:
    head = LEAST.replace("tick_interval: 5m", "cron: 0 * * * *\ntimezone: Europe/Berln")
    error = refused(tmp_path, head)
    assert "Europe/Berlin" in error.hint


def test_neither_interval_nor_cron_is_an_error(tmp_path: Path) -> None:
    assert "neither tick_interval nor cron" in refused(tmp_path, LEAST.replace("tick_interval: 5m\n", "")).message


def test_a_half_saved_definition_is_called_that(tmp_path: Path) -> None:
    assert "half-saved" in refused(tmp_path, "---\nname: BTC mom").message


def test_config_yml_overrides_only_what_may_be_suggested(tmp_path: Path) -> None:
    head = LEAST + "configs: {risk_per_trade_pct: 0.1, trend_interval: 4h, calm: true}\n"
    agent = load_agent(folder(tmp_path, head, "risk_per_trade_pct: 0.3\ncalm: false\n"), KNOWN)
    assert agent.configs == {"risk_per_trade_pct": Decimal("0.3"), "trend_interval": "4h", "calm": False}


@pytest.mark.parametrize(
    ("config", "code", "words", "hint"),
    [
        ("x: 1\nrisk_per_trade: 0.1\n", "unknown_key", "config.yml:1: unknown config key 'x'", "known: risk_per_trade_pct, trend_interval"),
        ("risk_per_trade: 0.1\n", "unknown_key", "config.yml:1", "'risk_per_trade_pct'"),
        ("max_leverage: 50\n", "invalid_config", "max_leverage is a limit: only the user changes it", "limits"),
        ("\nlimits: {max_leverage: 50}\n", "invalid_config", "config.yml:2: limits is a limit", "limits"),
        ("risk_per_trade_pct: high\n", "invalid_config", "'high' is not a number", "0.1"),
        ("trend_interval: 4\n", "invalid_config", "4 is not a text", "4h"),
        ("risk_per_trade_pct: true\n", "invalid_config", "true is not a number", "0.1"),
        ("risk_per_trade_pct: 0.9\n", "invalid_config", "above limits.max_risk_per_trade_pct", "0.5"),
    ],
)
def test_a_wrong_config_yml_is_refused(tmp_path: Path, config: str, code: str, words: str, hint: str) -> None:
    head = LEAST + "configs: {risk_per_trade_pct: 0.1, trend_interval: 4h}\n"
    error = refused(tmp_path, head, config)
    assert error.code == code
    assert words in error.message
    assert hint in error.hint


def test_a_suggestion_for_a_limit_is_refused_with_a_reason() -> None:
    with pytest.raises(InvalidConfig, match="only the user"):
        parse_config("max_single_order_quote", 5000, {"a": 1})


def test_ceilings_of_the_workspace_apply(tmp_path: Path) -> None:
    known = Known(KNOWN.tools, KNOWN.offline_policies, KNOWN.intervals, ceilings={"max_leverage": "2"})
    with pytest.raises(InvalidConfig, match="above the paper ceiling 2"):
        load_agent(folder(tmp_path, LEAST + "limits: {max_leverage: 3}\n"), known)


def test_a_version_restores_the_files_to_the_letter(tmp_path: Path) -> None:
    config = "# mine\nrisk_per_trade_pct: 0.2\n"
    agent = load_agent(folder(tmp_path, FULL, config), KNOWN)
    again = agent_of_payload(agent.folder, agent.payload, KNOWN)
    assert (again.agent_text, again.config_text) == (FULL, config)
    assert again.payload_hash == agent.payload_hash
    assert again == agent


def test_the_hash_changes_with_either_file_and_with_nothing_else(tmp_path: Path) -> None:
    one = load_agent(folder(tmp_path, FULL, name="a"), KNOWN)
    same = load_agent(folder(tmp_path, FULL, name="b"), KNOWN)
    body = load_agent(folder(tmp_path, FULL + "more\n", name="c"), KNOWN)
    config = load_agent(folder(tmp_path, FULL, "risk_per_trade_pct: 0.2\n", name="d"), KNOWN)
    assert one.payload_hash == same.payload_hash
    assert len({one.payload_hash, body.payload_hash, config.payload_hash}) == 3
    assert one.config_hash == body.config_hash != config.config_hash
    assert one.agent_hash == config.agent_hash != body.agent_hash


def test_a_missing_agent_names_the_nearest(tmp_path: Path) -> None:
    folder(tmp_path, LEAST, name="btc_momentum")
    with pytest.raises(NotFound) as caught:
        load_agent(tmp_path / "btc_momentun", KNOWN)
    assert "'btc_momentum'" in caught.value.hint
    with pytest.raises(NotFound) as caught:
        load_agent(tmp_path / "none" / "x", KNOWN)
    assert "tradeagent agent new" in caught.value.hint
    with pytest.raises(InvalidInput):
        load_agent(tmp_path / "..", KNOWN)


def test_agents_are_listed_by_name_and_a_broken_one_too(tmp_path: Path) -> None:
    for name in ("b", "a", "_draft", ".hidden"):
        folder(tmp_path, LEAST, name=name)
    folder(tmp_path, "---\nbroken", name="c")
    (tmp_path / "empty").mkdir()
    assert [path.name for path in list_agents(tmp_path)] == ["a", "b", "c"]
    assert list_agents(tmp_path / "nowhere") == []


def test_a_new_agent_from_the_template_runs_at_once(tmp_path: Path) -> None:
    made = new_agent(tmp_path / "trading_agents", 'My "first": agent', TEMPLATE)
    assert made.name == "my_first_agent"
    agent = load_agent(made, KNOWN)
    assert agent.definition.name == 'My "first": agent'
    with pytest.raises(InvalidInput, match="exists already"):
        new_agent(tmp_path / "trading_agents", "My first agent", TEMPLATE)
    with pytest.raises(InvalidInput, match="no letter or digit"):
        new_agent(tmp_path / "trading_agents", "???", TEMPLATE)
