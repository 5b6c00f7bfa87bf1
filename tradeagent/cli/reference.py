"""Pages that are made from the code: `python -m tradeagent.cli.reference` writes them, `--check` fails when one differs.

A page is either whole (references, config.example.yml) or one marked part of a page that people write (the tables in risk-limits.md).
"""

import sys
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

from tradeagent.cli.output import Output, fail
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
    Rule.PAUSED: "the deployment is not paused",
    Rule.RECONCILING: "ledger and venue agree, and no order in this market has an unknown outcome",
    Rule.SESSION_HOURS: "inside the configured hours",
    Rule.NEWS_LOCKOUT: "no high-impact event is near",
    Rule.FRESHNESS: "the newest closed bar is at most 3 intervals + 30 s old",
    Rule.SANITY: "the limit price is within price_band_pct of the mark, and the last bar is not wilder than its interval allows",
    Rule.PROTECTION: "stop and target where required, on the right side, before liquidation, worth the risk and the cost",
    Rule.CONFIDENCE: "stated confidence is at least min_confidence",
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
    concerns |= {Rule.SHAPE: "everything", Rule.DRY_RUN: "dry runs"}
    rows = ["| | rule | checked for | passes when |", "|---|---|---|---|"]
    rows += [f"| {n} | `{rule}` | {concerns.get(rule, 'not yet')} | {RULES[rule]} |" for n, rule in enumerate(Rule, start=1)]
    return "\n".join(rows)


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
}
PARTS: Mapping[tuple[str, str], Callable[[], str]] = {
    ("docs/risk-limits.md", "limits"): limits_table,
    ("docs/risk-limits.md", "rules"): rules_table,
}


def pages(root: Path) -> dict[Path, str]:
    """Every generated file under `root` with the text it should have. DataError when a marked page lost its markers."""
    found = {root / name: render() for name, render in WHOLE_PAGES.items()}
    for (name, part), render in PARTS.items():
        file = root / name
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
