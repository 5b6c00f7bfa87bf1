"""`run`: one agent in the foreground, as a dry run, once, or in a loop."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from tradeagent.cli.complete import agents, wallets
from tradeagent.cli.output import pairs
from tradeagent.cli.session import session

if TYPE_CHECKING:
    from collections.abc import Callable
    from decimal import Decimal
    from threading import Event

    from tradeagent.domain.names import RunMode
    from tradeagent.runtime.assembly import RunRequest
    from tradeagent.runtime.ground import Pace, R, Runnable
    from tradeagent.runtime.place import Place
    from tradeagent.runtime.stops import StopReason
    from tradeagent.runtime.tally import Tally
    from tradeagent.turns.record import TickRecord


From = Annotated[str | None, typer.Option("--from", help="where the replay starts, like 2025-03-15 or 2025-03-15T12:00Z")]
To = Annotated[str | None, typer.Option(help="where it ends")]
Speed = Annotated[str, typer.Option(help="market time per wall time, or max")]
MaxTicks = Annotated[int | None, typer.Option(min=0, help="stop after this many ticks; 0 = no end")]
Seed = Annotated[int, typer.Option(help="seed of everything random")]
Detach = Annotated[bool, typer.Option("--detach", "-d", help="in the background: it outlives this terminal")]


def register(app: typer.Typer) -> None:
    app.command(name="run")(run)


def run(
    agent: Annotated[str, typer.Argument(help="agent folder in trading_agents/", autocompletion=agents)],
    mode: Annotated[str, typer.Option(help="dry-run (no order is possible) | once | loop")] = "loop",
    wallet: Annotated[
        str | None, typer.Option(help="default: a paper wallet named after the agent, made on first use", autocompletion=wallets)
    ] = None,
    cash: Annotated[str | None, typer.Option(help="first deposit of a new wallet, USDC")] = None,
    replay: Annotated[str | None, typer.Option(help="VENUE:MARKET:INTERVAL of imported bars, comma-separated for several")] = None,
    from_: From = None,
    to: To = None,
    speed: Speed = "max",
    max_ticks: MaxTicks = None,
    seed: Seed = 0,
    detach: Detach = False,
) -> None:
    """Run an agent. Paper by default; the market data are the imported bars.

    Examples: tradeagent run btc_momentum --mode dry-run --replay hyperliquid:BTC:5m
    or: tradeagent run btc_momentum --replay hyperliquid:BTC:5m --max-ticks 500
    """
    from tradeagent.runtime.assembly import RunRequest

    current = session()
    current.workspace.require_writable()
    request = RunRequest(agent, pace(mode, replay, from_, to, speed, max_ticks, seed), wallet, cash)
    place = current.place
    if detach:
        _in_background(place, request)
        return
    document, code = execute(place, request)
    current.output.document(document, summary(document))
    raise typer.Exit(code)


def execute(place: "Place", request: "RunRequest") -> tuple[dict[str, Any], int]:
    """Run to the end with progress on stderr; the report and the exit code."""
    from tradeagent.runtime.assembly import assembled
    from tradeagent.runtime.report import exit_code, run_report

    asked = expect_end()
    with assembled(place, request) as run:
        most = request.pace.max_ticks or run.stage.agent.definition.max_ticks
        tally, why = run_here(run, most, _told, asked)
        return run_report(run, tally, why), exit_code(run, tally, why)


def expect_end() -> "Event":
    """From here on SIGTERM is remembered: whoever asks a run to end while it starts gets a run that ends, not a dead process."""
    import signal
    from threading import Event

    asked = Event()
    signal.signal(signal.SIGTERM, lambda *_: asked.set())
    return asked


def run_here(run: "Runnable[R]", most: int, told: "Callable[[R], str]", asked: "Event") -> "tuple[Tally[R], StopReason]":
    """Drive an assembled run to its end, with progress on stderr; Ctrl-C and SIGTERM let it finish its tick."""
    import asyncio
    import signal

    from tradeagent.cli.progress import Progress
    from tradeagent.runtime.runner import Runner

    progress = Progress(session().output)
    progress.begin(run.row.id, most)

    async def drive() -> "tuple[Tally[R], StopReason]":
        runner = Runner(run, lambda record: progress.tick(record.number, told(record)))
        loop = asyncio.get_running_loop()
        for name in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(name, runner.interrupt)
        if asked.is_set():
            runner.interrupt()
        why = await runner.run()
        return runner.tally, why

    tally, why = asyncio.run(drive())
    progress.end()
    return tally, why


def _told(record: "TickRecord") -> str:
    return f"{record.state.value} {record.action}" if record.rule is None else f"blocked {record.rule}"


def _in_background(place: "Place", request: "RunRequest") -> None:
    from tradeagent.domain.errors import InvalidInput
    from tradeagent.domain.names import RunMode
    from tradeagent.runtime.agent_deploying import agent_command
    from tradeagent.runtime.deploying import start

    if request.pace.mode is RunMode.DRY_RUN:
        raise InvalidInput("--detach: a dry run owns no wallet, and its answer is what it prints", hint="leave --detach out")
    wallet = request.wallet or request.slug
    document = start(place, wallet, agent_command(request), wallet)
    session().output.document(document, f"{pairs(document)}\n\n`tradeagent logs {document['deployment']} --follow` shows what it does")


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


def pace(mode: str, replay: str | None, from_: str | None, to: str | None, speed: str, max_ticks: int | None, seed: int) -> "Pace":
    """How a run shall go, as the options of `run` and `deploy` say it. InvalidInput names the option."""
    from tradeagent.domain.errors import InvalidInput
    from tradeagent.runtime.ground import Pace

    found, from_ms, to_ms = _mode(mode), _instant(from_, "--from"), _instant(to, "--to")
    asked = Pace(found, replay, from_ms, to_ms, _speed(speed), max_ticks, seed)
    if replay is None and (from_ms is not None or to_ms is not None):
        raise InvalidInput("--from and --to need --replay", hint="--replay hyperliquid:BTC:5m")
    if from_ms is not None and to_ms is not None and to_ms <= from_ms:
        raise InvalidInput("--to must be after --from", hint="--from 2025-03-15 --to 2025-03-16")
    return asked


def _mode(text: str) -> "RunMode":
    from tradeagent.domain.errors import InvalidInput
    from tradeagent.domain.names import RunMode

    modes = {"dry-run": RunMode.DRY_RUN, "once": RunMode.RUN_ONCE, "loop": RunMode.LOOP}
    if text not in modes:
        raise InvalidInput(f"--mode: {text!r} is not a mode", hint="one of dry-run, once, loop")
    return modes[text]


def _speed(text: str) -> "Decimal":
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
