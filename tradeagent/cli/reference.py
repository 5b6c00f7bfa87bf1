"""Pages that are made from the code: `python -m tradeagent.cli.reference` writes them, `--check` fails when one differs.

A page is either whole (references, config.example.yml) or one marked part of a page that people write (the tables in risk-limits.md
and agents.md).
"""

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

from tradeagent.cli.output import Output, fail
from tradeagent.cli.reference_algos import functions_table, indicators_table
from tradeagent.cli.reference_tools import tools_page
from tradeagent.domain.errors import DataError, TradeAgentError
from tradeagent.domain.limits import LIMITS, Value
from tradeagent.domain.money import plain
from tradeagent.domain.names import Rule
from tradeagent.workspace.config_text import render_example, render_reference
from tradeagent.workspace.files import read_text, write_atomic

REPOSITORY = Path(__file__).parents[2]
NOTICE = "<!-- Made by `make docs` from the code; edit the code, not this page. -->"
HELP_WIDTH = 100

RULES: Mapping[Rule, str] = {
    Rule.SHAPE: "numbers are finite and above 0, the market is known, price and size fit its steps, at least 10 USDC unless it closes all",
    Rule.LEASE: "this process still owns the wallet: its fencing token is the newest",
    Rule.SCOPE: "the market and the controller are the proposer's own",
    Rule.LIVE_GATE: "a wallet with real money needs its live conditions; this version has none that pass",
    Rule.KILL_SWITCH: "the kill switch is off",
    Rule.HALTED: "neither wallet nor deployment is halted",
    Rule.PAUSED: "the deployment is neither paused nor being stopped, and the disk has trading.min_free_disk_mib left",
    Rule.RECONCILING: "ledger and venue agree, and no order in this market has an unknown outcome",
    Rule.SESSION_HOURS: "inside trading.session_hours of config.yml",
    Rule.NEWS_LOCKOUT: "no high-impact event of the calendar is within trading.news_lockout_min, and the calendar can be read",
    Rule.FRESHNESS: "the newest closed bar is at most 3 intervals + 30 s old; not decided before the machine slept",
    Rule.SANITY: "the limit price is within price_band_pct of the mark, and the last bar is not wilder than its interval allows",
    Rule.PROTECTION: "nobody else on the other side; levels where required, on their side, before liquidation, worth risk and cost",
    Rule.CONFIDENCE: "stated confidence is at least min_confidence; of a risk trade its conviction, min_conviction",
    Rule.SINGLE_ORDER: "planned quote is at most max_single_order_quote",
    Rule.POSITION_CAP: "worst case in this market (max_position_pct) and of the deployment (max_position_size_quote)",
    Rule.EXPOSURE_CAP: "worst case over the wallet, max_total_exposure_pct; long and short in two markets do not offset",
    Rule.LEVERAGE: "leverage setting and total notional over equity, max_leverage and the venue's own maximum",
    Rule.MARGIN: "free margin covers initial margin and fees",
    Rule.OPEN_EXECUTORS: "executors alive, max_open_executors",
    Rule.OPEN_POSITIONS: "markets with a position (max_open_positions), entries in this one (max_positions_per_market)",
    Rule.TRADE_RISK: "distance to the stop × size, max_risk_per_trade_pct of equity",
    Rule.PORTFOLIO_RISK: "open risk of everything plus this, under the portfolio cap after its loss penalty",
    Rule.MARKET_RISK: "the same in one market, max_market_risk_pct of that cap",
    Rule.DAILY_LOSS: "the day's PnL is above −max_daily_loss_quote and −max_daily_loss_pct",
    Rule.DRAWDOWN: "drawdown is below max_drawdown_pct",
    Rule.LOCKOUT: "no drawdown lockout is latched",
    Rule.COOLDOWN: "cooldown_minutes have passed since this market went flat",
    Rule.DAILY_TRADES: "entries since 00:00 UTC, max_daily_trades",
    Rule.BUDGET: "model spend today is within max_cost_per_day_usd",
    Rule.APPROVAL: "a person said yes, in copilot mode",
    Rule.DRY_RUN: "not a rule of the door: what the broker of a dry run answers to everything that would be sent",
}

# Key of agent.md → (what it does, what is refused beyond its type).
FRONT_MATTER: Mapping[str, tuple[str, str]] = {
    "name": ("what people see; the folder's name is the identity", "more than one line"),
    "description": ("one sentence for people", ""),
    "model": (
        "[`offline/<policy>`, any LiteLLM model id, or `acp:<command>`](models.md)",
        "an unknown policy; a missing key or program when it runs",
    ),
    "fallback_models": ("asked in this order when the model fails or stays silent before its first token", "an unknown policy"),
    "markets": ("all it may trade", "none, one twice, one without an instrument"),
    "tick_interval": ("time from tick to tick, like `30s`, `5m`, `1h`", "no unit, below `5s`, or beside `cron`"),
    "cron": ('instead of `tick_interval`: five fields, like `"*/15 * * * *"`', "another number of fields; beside `tick_interval`"),
    "timezone": ("zone of the cron line, exact over daylight saving; without it UTC", "an unknown zone, or no `cron`"),
    "tick_timeout": ("longest time the model has for one tick", "no unit"),
    "max_ticks": ("ticks of a loop, 0 = no end; `--max-ticks` goes before it", ""),
    "tools": ("tools or families the model may call; without it the default set below", "an unknown tool, one twice"),
    "mcp_servers": ("[other programs](mcp.md) whose tools it may use, once you have approved them", ""),
    "mcp_servers.<name>.command": ("program to start, as one line", "beside `url`, or neither"),
    "mcp_servers.<name>.url": ("address of a server", "beside `command`, or neither"),
    "mcp_servers.<name>.env": ("environment the program may see; `env:NAME` stands for a variable of yours", ""),
    "mcp_servers.<name>.tools": ("only these of the approved tools", "one twice"),
    "strategy": ("said to the model before the body, as it is written", ""),
    "strategy.mode": ("how much the body binds", ""),
    "strategy.leash": ("how far the model may go beyond it", ""),
    "strategy.horizon": ("how long trades last, in your words", ""),
    "strategy.look_for": ("what makes a trade", ""),
    "strategy.avoid": ("what does not", ""),
    "context": ("what the prompt shows", ""),
    "context.bars": ("the table of closed bars; `null` leaves it out", ""),
    "context.bars.interval": ("one of 1m, 5m, 15m, 30m, 1h, 4h, 1d; made from finer imported bars", "another one"),
    "context.bars.lookback": ("newest so many bars", ""),
    "context.news": ("number of headlines of the last three days, about its markets or all of them", ""),
    "context.funding": ("`not yet`: the prompt shows the funding rate wherever it is imported", ""),
    "context.events": ("whether the calendar's events of the next seven days are shown", ""),
    "context.memory": ("`none` leaves learnings, reflection, canvas, earlier decisions and trades out", ""),
    "configs": ("your own values for the strategy, shown to the model; `config.yml` goes before them", "a limit, or a value above one"),
    "limits": ("your limits, by name: [risk-limits.md](risk-limits.md)", "an unknown limit, a value above its ceiling"),
    "budget": ("what the model may cost", ""),
    "budget.max_cost_per_day_usd": ("model spend from 00:00 UTC that blocks ticks and entries; `null` = no cap", ""),
    "budget.max_tokens_per_turn": ("output tokens of one tick", ""),
    "budget.max_tool_calls_per_turn": ("tool calls of one tick", ""),
    "approval": ("`copilot`: each entry waits 120 s for your yes, then it is declined", ""),
    "on_kill_switch": ("what `tradeagent kill` does with orders and positions", ""),
}


def limits_table() -> str:
    """Every limit with its default by proposer and its ceilings, as markdown; – is off."""
    rows = ["| limit | meaning | agent | algo | engine | manual | ceiling paper / live |", "|---|---|---|---|---|---|---|"]
    for spec in LIMITS:
        defaults = " | ".join(map(_shown, spec.defaults))
        rows.append(f"| `{spec.key}` | {_cell(spec.meaning)} | {defaults} | {' / '.join(map(_shown, spec.ceilings))} |")
    return "\n".join(rows)


def rules_table() -> str:
    """Every rule in the order of checking, whom it concerns in this version, and what passes it."""
    from tradeagent.execution.rules import CHECKS

    concerns = {rule: "entries" if entry_only else "everything" for rule, entry_only, _ in CHECKS}
    concerns |= {Rule.SHAPE: "everything", Rule.APPROVAL: "entries", Rule.DRY_RUN: "dry runs"}
    rows = ["| | rule | checked for | passes when |", "|---|---|---|---|"]
    rows += [f"| {n} | `{rule}` | {concerns[rule]} | {RULES[rule]} |" for n, rule in enumerate(Rule, start=1)]
    return "\n".join(rows)


def front_matter_table() -> str:
    """Every key of agent.md with its type, default, meaning and what is refused, from the model that checks it."""
    from tradeagent.agents.definition import AgentDefinition

    rows = ["| key | type | default | what it does | refused |", "|---|---|---|---|---|"]
    for key, kind, default in _keys(AgentDefinition.model_json_schema()):
        meaning, refused = FRONT_MATTER[key]
        rows.append(f"| `{key}` | {_cell(kind)} | {default} | {_cell(meaning)} | {_cell(refused)} |")
    return "\n".join(rows)


def tools_table() -> str:
    """Every tool by family with its arguments; optional ones in brackets."""
    from tradeagent.tools.registry import TOOLS

    rows = ["| tool | family | what it does | arguments |", "|---|---|---|---|"]
    for tool in TOOLS.values():
        required = tool.spec.parameters.get("required", ())
        names = [name if name in required else f"[{name}]" for name in tool.spec.parameters["properties"]]
        rows.append(f"| `{tool.name}` | `{tool.family}` | {_cell(tool.description)} | {' '.join(names) or '–'} |")
    return "\n".join(rows)


def default_tools() -> str:
    """The set an agent without `tools` gets, and the families whose tools this version does not have."""
    from tradeagent.tools.registry import DEFAULT_TOOLS, FAMILIES

    empty = [name for name, tools in FAMILIES.items() if not tools]
    return (
        f"Without `tools` an agent gets {_listed(DEFAULT_TOOLS)}. A family's name stands for all of it. "
        f"The families {_listed(empty)} may be named and are empty in this version."
    )


def config_page() -> str:
    return f"# Settings\n\n{NOTICE}\n\nSet them with `tradeagent config set KEY VALUE`, or in `config.yml`.\n\n{render_reference()}"


def cli_page() -> str:
    """Every command with its arguments and options, from the command tree itself."""
    import typer

    from tradeagent.cli.app import app

    sections = _commands(typer.main.get_command(app), "tradeagent", None)
    return "\n".join([f"# Commands\n\n{NOTICE}\n", *sections])


WHOLE_PAGES: Mapping[str, Callable[[], str]] = {
    "config.example.yml": render_example,
    "docs/reference/config.md": config_page,
    "docs/reference/cli.md": cli_page,
    "docs/reference/tools.md": lambda: tools_page(NOTICE),
}
PARTS: Mapping[tuple[str, str], Callable[[], str]] = {
    ("docs/risk-limits.md", "limits"): limits_table,
    ("docs/risk-limits.md", "rules"): rules_table,
    ("docs/agents.md", "front-matter"): front_matter_table,
    ("docs/agents.md", "tools"): tools_table,
    ("docs/agents.md", "default-tools"): default_tools,
    ("docs/algorithms.md", "functions"): functions_table,
    ("docs/algorithms.md", "indicators"): indicators_table,
}


def pages(root: Path) -> dict[Path, str]:
    """Every generated file under `root` with the text it should have, parts where their page is. DataError when a page lost its markers."""
    found = {root / name: render() for name, render in WHOLE_PAGES.items()}
    for (name, part), render in PARTS.items():
        file = root / name
        if not file.exists():
            continue
        found[file] = with_part(found.get(file) or read_text(file), part, render(), name)
    return found


def with_part(text: str, part: str, content: str, name: str) -> str:
    """The page with what stands between its `part` markers replaced."""
    begin, end = f"<!-- {part}:begin -->", f"<!-- {part}:end -->"
    head, opened, rest = text.partition(begin)
    _, closed, tail = rest.partition(end)
    if not opened or not closed:
        raise DataError(f"{name} has no part {begin} … {end}", hint="put the two markers back, then `make docs`")
    return f"{head}{begin}\n{content}\n{end}{tail}"


def main(arguments: list[str], root: Path = REPOSITORY) -> int:
    """Write the pages that differ, or with --check only name them; the exit code."""
    output = Output()
    try:
        stale = {file: text for file, text in pages(root).items() if not file.exists() or read_text(file) != text}
        if "--check" in arguments:
            for file in stale:
                output.say(f"{file.relative_to(root)} differs from the code: run `make docs`")
            return 1 if stale else 0
        for file, text in stale.items():
            file.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(file, text, durable=False)
            output.say(f"wrote {file.relative_to(root)}")
    except TradeAgentError as error:
        return fail(error, output)
    return 0


def _shown(value: Value) -> str:
    if value is None:
        return "–"
    return plain(value) if isinstance(value, Decimal) else str(value).lower()


def _keys(schema: Mapping[str, Any], section: Mapping[str, Any] | None = None, prefix: str = "") -> Iterator[tuple[str, str, str]]:
    """(dotted key, type, default) of a JSON schema, a section before its own keys."""
    section = schema if section is None else section
    for name, spec in section["properties"].items():
        key, alternatives = f"{prefix}{name}", spec.get("anyOf", [spec])
        known = next((found for found in alternatives if found.get("type") != "null"), spec)
        inner, below = _section(schema, known), ".<name>." if "additionalProperties" in known else "."
        default = "needed" if name in section.get("required", ()) else _default(spec)
        yield key, "section" if inner else _type(known), default
        if inner:
            yield from _keys(schema, inner, f"{key}{below}")


def _section(schema: Mapping[str, Any], spec: Mapping[str, Any]) -> Any:
    """The schema of the keys below this one, None where there are none."""
    more = spec.get("additionalProperties")
    reference = spec.get("$ref") or (more.get("$ref") if isinstance(more, Mapping) else None)
    return schema["$defs"][reference.rpartition("/")[2]] if reference else None


def _type(spec: Mapping[str, Any]) -> str:
    if "enum" in spec:
        return " | ".join(f"`{choice}`" for choice in spec["enum"])
    if spec.get("type") == "array":
        return "list"
    if spec.get("type") == "integer":
        return f"whole number, {spec['minimum']:,} to {spec['maximum']:,}"
    names = {"string": "text", "boolean": "true or false", "object": "section"}
    kind = names.get(spec.get("type", ""), f"number, at least {spec['ge']}" if "ge" in spec else "number")
    return f"{kind}, at most {spec['maxLength']} characters" if "maxLength" in spec else kind


def _default(spec: Mapping[str, Any]) -> str:
    default = spec.get("default")
    return "–" if default in (None, "", []) else f"`{str(default).lower() if isinstance(default, bool) else default}`"


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _commands(command: Any, name: str, parent: Any) -> Iterator[str]:
    """One section a command, depth first. Typed loosely because Typer's own copy of Click is private."""
    import typer

    context = typer.Context(command, parent=parent, info_name=name, terminal_width=HELP_WIDTH)
    yield f"## `{context.command_path}`\n\n{(command.help or '').strip()}\n"
    children = getattr(command, "commands", {})
    if not children:
        yield f"    {context.command_path} {' '.join(command.collect_usage_pieces(context))}\n"
    records = [record for parameter in command.params if (record := parameter.get_help_record(context)) and "--help" not in record[0]]
    if records:
        rows = [f"| `{_cell(names)}` | {_cell(meaning)} |" for names, meaning in records]
        yield "\n".join(["| argument or option | meaning |", "|---|---|", *rows, ""])
    for child in children.values():
        if not child.hidden:
            yield from _commands(child, child.name, context)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
