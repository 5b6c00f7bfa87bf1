"""`run`: one agent in the foreground, as a dry run, once, or in a loop."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from tradeagent.cli.complete import agents
from tradeagent.cli.output import pairs
from tradeagent.cli.session import session

if TYPE_CHECKING:
    from tradeagent.runtime.assembly import Place, RunRequest
    from tradeagent.turns.record import TickRecord


def register(app: typer.Typer) -> None:
    app.command(name="run")(run)


def run(
    agent: Annotated[str, typer.Argument(help="agent folder in trading_agents/", autocompletion=agents)],
    mode: Annotated[str, typer.Option(help="dry-run (no order is possible) | once | loop")] = "loop",
    wallet: Annotated[str | None, typer.Option(help="default: a paper wallet named after the agent, made on first use")] = None,
    cash: Annotated[str | None, typer.Option(help="first deposit of a new wallet, USDC")] = None,
    replay: Annotated[str | None, typer.Option(help="VENUE:MARKET:INTERVAL of imported bars, comma-separated for several")] = None,
    from_: Annotated[str | None, typer.Option("--from", help="where the replay starts, like 2025-03-15 or 2025-03-15T12:00Z")] = None,
    to: Annotated[str | None, typer.Option(help="where it ends")] = None,
    speed: Annotated[str, typer.Option(help="market time per wall time, or max")] = "max",
    max_ticks: Annotated[int | None, typer.Option(min=0, help="stop after this many ticks; 0 = no end")] = None,
    seed: Annotated[int, typer.Option(help="seed of everything random")] = 0,
) -> None:
    """Run an agent. Paper by default; the market data are the imported bars.

    Examples: tradeagent run btc_momentum --mode dry-run --replay hyperliquid:BTC:5m
    or: tradeagent run btc_momentum --replay hyperliquid:BTC:5m --max-ticks 500
    """
    from tradeagent.runtime.assembly import Place, RunRequest

    current = session()
    current.workspace.require_writable()
    request = RunRequest(
        slug=agent,
        mode=_mode(mode),
        wallet=wallet,
        cash=cash,
        replay=replay,
        from_ms=_instant(from_, "--from"),
        to_ms=_instant(to, "--to"),
        speed=_speed(speed),
        max_ticks=max_ticks,
        seed=seed,
    )
    _only_with_replay(request)
    document, code = execute(Place(current.workspace, current.config, current.ledger, current.clock), request)
    current.output.document(document, summary(document))
    raise typer.Exit(code)


def execute(place: "Place", request: "RunRequest") -> tuple[dict[str, Any], int]:
    """Run to the end with progress on stderr; the report and the exit code."""
    import asyncio
    import signal

    from tradeagent.cli.progress import Progress
    from tradeagent.runtime.assembly import assembled
    from tradeagent.runtime.report import exit_code, run_report
    from tradeagent.runtime.runner import Runner

    progress = Progress(session().output)

    with assembled(place, request) as run:
        most = request.max_ticks or run.stage.agent.definition.max_ticks
        progress.begin(run.row.id, most)

        def show(record: "TickRecord") -> None:
            progress.tick(record.number, f"{record.state.value} {record.action}" if record.rule is None else f"blocked {record.rule}")

        async def drive() -> Any:
            runner = Runner(run, show)
            loop = asyncio.get_running_loop()
            for name in (signal.SIGINT, signal.SIGTERM):
                loop.add_signal_handler(name, runner.interrupt)
            why = await runner.run()
            return runner.tally, why

        tally, why = asyncio.run(drive())
        progress.end()
        return run_report(run, tally, why), exit_code(run, tally, why)


def summary(document: dict[str, Any]) -> str:
    """The report for a person."""
    apart = ("model", "files", "rejected", "blocked", "failed", "would_have", "agent_id")
    shown = {key: value for key, value in document.items() if key not in apart}
    lines = [pairs(shown)]
    if document["rejected"]:
        lines.append("rejected: " + ", ".join(f"{rule} {count}" for rule, count in document["rejected"].items()))
    if document["blocked"]:
        lines.append(f"blocked: {document['blocked']['rule']}: {document['blocked']['message']}")
        if document["blocked"]["rule"] == "FRESHNESS":
            lines.append("  fix: import newer bars, or replay the ones there are: --replay hyperliquid:BTC:5m")
    if document["failed"]:
        lines.append(f"failed: {document['failed']['reason']}: {document['failed']['message']}")
    for order in document["would_have"]:
        levels = "".join(f", {name} {order[name]}" for name in ("stop", "target") if order.get(name))
        lines.append(f"would have sent: {order['side']} {order['size']} {order['market']} at {order['entry']}{levels}")
    model = document["model"]
    label = " (rule-based)" if model["rule_based"] else ""
    cost = "unknown" if model["cost_usd"] is None else model["cost_usd"]
    asked = f"{model['calls']} calls, {model['tokens']} tokens, cost {cost} USD" if model["calls"] else "not asked"
    lines.append(f"model: {model['id']}{label}, {asked}")
    lines += [f"{name}: {path}" for name, path in document["files"].items() if path]
    return "\n".join(lines)


def _mode(text: str) -> Any:
    from tradeagent.domain.errors import InvalidInput
    from tradeagent.domain.names import RunMode

    modes = {"dry-run": RunMode.DRY_RUN, "once": RunMode.RUN_ONCE, "loop": RunMode.LOOP}
    if text not in modes:
        raise InvalidInput(f"--mode: {text!r} is not a mode", hint="one of dry-run, once, loop")
    return modes[text]


def _speed(text: str) -> Any:
    from tradeagent.domain.errors import InvalidInput
    from tradeagent.domain.money import parse_decimal

    if text == "max":
        return parse_decimal("0", "--speed")
    speed = parse_decimal(text, "--speed")
    if speed <= 0:
        raise InvalidInput(f"--speed: {text} must be above 0", hint="a number like 60, or max")
    return speed


def _instant(text: str | None, field: str) -> int | None:
    from tradeagent.cli.parsing import instant

    return None if text is None else instant(text, field)


def _only_with_replay(request: "RunRequest") -> None:
    from tradeagent.domain.errors import InvalidInput

    if request.replay is None and (request.from_ms is not None or request.to_ms is not None):
        raise InvalidInput("--from and --to need --replay", hint="--replay hyperliquid:BTC:5m")
    if request.from_ms is not None and request.to_ms is not None and request.to_ms <= request.from_ms:
        raise InvalidInput("--to must be after --from", hint="--from 2025-03-15 --to 2025-03-16")
