"""`deploy`: an agent or an algo on a wallet, in the foreground or in the background; `up`: whatever should run."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from tradeagent.cli.complete import agents, algos, deployments, wallets
from tradeagent.cli.output import pairs, table
from tradeagent.cli.run import Detach, From, MaxTicks, Seed, Speed, To, execute, expect_end, pace, run_here, summary
from tradeagent.cli.session import session

if TYPE_CHECKING:
    from tradeagent.ledger.runs import DeploymentRow
    from tradeagent.runtime.deploy import DeployRequest

app = typer.Typer(help="Put an agent or an algo on a wallet of its own, on paper.", no_args_is_help=True)
Wallet = Annotated[str, typer.Option("--wallet", help="a wallet of its group, which nothing else runs on", autocompletion=wallets)]
Mode = Annotated[str, typer.Option(help="once | loop")]
Replay = Annotated[str | None, typer.Option(help="VENUE:MARKET:INTERVAL of stored bars; without it the newest ones, by the wall clock")]


def register(root: typer.Typer) -> None:
    root.add_typer(app, name="deploy")
    root.command()(up)


@app.command(name="agent")
def agent_(
    agent: Annotated[str, typer.Argument(help="agent folder in trading_agents/", autocompletion=agents)],
    wallet: Wallet,
    mode: Mode = "loop",
    replay: Replay = None,
    from_: From = None,
    to: To = None,
    speed: Speed = "max",
    max_ticks: MaxTicks = None,
    seed: Seed = 0,
    detach: Detach = False,
) -> None:
    """Deploy an agent on a wallet: it runs there until you stop it, and `tradeagent up` starts it again after a crash.

    Example: tradeagent deploy agent btc_momentum --wallet main --detach
    """
    from tradeagent.runtime.deploy import DeployRequest

    asked = pace(mode, replay, from_, to, speed, max_ticks, seed)
    _deploy(DeployRequest("agent", agent, wallet, pace=asked), detach=detach)


@app.command()
def algo(
    algo: Annotated[str, typer.Argument(help="saved name, NAME@VERSION or built-in", autocompletion=algos)],
    wallet: Wallet,
    market: Annotated[str, typer.Option("--market", "-m", help="market, like BTC; the algo's own without it")] = "",
    interval: Annotated[str, typer.Option("--interval", "-i", help="bar interval, like 1h; the algo's own without it")] = "",
    param: Annotated[list[str] | None, typer.Option("--param", "-p", help="a parameter of the algo, NAME=VALUE; repeat")] = None,
    leverage: Annotated[int | None, typer.Option(min=1, help="leverage of the position; the algo's own without it")] = None,
    limits: Annotated[str, typer.Option(help="algo, or a FILE with limits of this deployment over the defaults of algos")] = "algo",
    mode: Mode = "loop",
    replay: Replay = None,
    from_: From = None,
    to: To = None,
    speed: Speed = "max",
    max_ticks: MaxTicks = None,
    seed: Seed = 0,
    venue: Annotated[str, typer.Option(help="venue of the stored bars")] = "hyperliquid",
    unsafe_python: Annotated[
        bool, typer.Option("--unsafe-python", help="let a Python algo run where this system cannot lock it up")
    ] = False,
    detach: Detach = False,
) -> None:
    """Deploy a version of an algo on a wallet of group algo: it decides at each close of its interval, and trades through the door.

    Example: tradeagent deploy algo sma_cross --wallet trend --market BTC --interval 1h --param fast=10 --detach
    """
    from tradeagent.runtime.deploy import DeployRequest

    request = DeployRequest(
        kind="algo",
        name=algo,
        wallet=wallet,
        market=market,
        interval=interval,
        venue=venue,
        params=tuple(param or ()),
        leverage=leverage,
        limits=limits,
        pace=pace(mode, replay, from_, to, speed, max_ticks, seed),
        unsafe_python=unsafe_python,
    )
    _deploy(request, detach=detach)


@app.command()
def resume(
    deployment: Annotated[str, typer.Argument(help="deployment id like sma_cross_a1", autocompletion=deployments)],
    detach: Detach = False,
) -> None:
    """Go on with a deployment that was stopped or interrupted, from where its wallet is."""
    from tradeagent.runtime.deploying import resumable, start

    place = session().writable()
    row = resumable(place, deployment)
    if detach:
        _tell(start(place, row.wallet, ["deploy", "resume", row.id], row.id))
        return
    _run_row(row)


def up(
    most: Annotated[int, typer.Option("--max-restarts", min=0, help="after so many crashes in a row a deployment is left to you")] = 8,
) -> None:
    """Keep running what is deployed: one process each, started again after a crash, until Ctrl-C.

    What was stopped stays stopped. Ctrl-C lets each finish its tick, and the next `up` goes on with it.
    """
    import signal

    from tradeagent.runtime.supervisor import Supervisor

    current = session()
    supervisor = Supervisor(current.writable(), current.output.say, most_restarts=most)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: supervisor.interrupt())
    rows = supervisor.run()
    columns = ["deployment", "kind", "wallet", "state", "starts", "crashes", "ended_with"]
    text = table(rows, columns, right=("starts", "crashes"), empty="nothing is deployed: `tradeagent deploy algo sma_cross --wallet W`")
    current.output.document({"deployments": rows}, text)


def _deploy(request: "DeployRequest", *, detach: bool) -> None:
    from tradeagent.domain.errors import InvalidInput
    from tradeagent.domain.names import RunMode
    from tradeagent.runtime.deploy import deploy

    if request.pace.mode is RunMode.DRY_RUN:
        raise InvalidInput("--mode: a dry run trades nothing, so it is not deployed", hint="`tradeagent run AGENT --mode dry-run`")
    place = session().writable()
    if detach:
        _tell(deploy(place, request))
    elif request.kind == "agent":
        from tradeagent.runtime.agent_deploying import checked_agent

        document, code = execute(place, checked_agent(place, request))
        session().output.document(document, summary(document))
        raise typer.Exit(code)
    else:
        from tradeagent.runtime.deploying import freed_on_error, recorded

        row = recorded(place, request)
        with freed_on_error(place, row):
            _run_row(row)


def _run_row(row: "DeploymentRow") -> None:
    """Run a deployment here to its end."""
    from tradeagent.domain.names import Actor

    if row.kind == Actor.AGENT.value:
        from tradeagent.runtime.agent_deploying import resumed_request

        document, code = execute(session().place, resumed_request(row))
        session().output.document(document, summary(document))
        raise typer.Exit(code)
    from tradeagent.runtime.algo_assembly import assembled_algo
    from tradeagent.runtime.algo_report import algo_report
    from tradeagent.runtime.report import exit_code

    asked = expect_end()
    with assembled_algo(session().place, row.id) as run:
        tally, why = run_here(run, run.launch.pace.max_ticks or 0, lambda step: step.action, asked)
        document = algo_report(run, tally, why)
        session().output.document(document, algo_summary(document))
    raise typer.Exit(exit_code(run, tally, why))


def algo_summary(document: dict[str, Any]) -> str:
    """The report for a person."""
    apart = ("rejected", "blocked", "failed")
    lines = [pairs({key: value for key, value in document.items() if key not in apart})]
    if document["rejected"]:
        lines.append("rejected: " + ", ".join(f"{rule} {count}" for rule, count in document["rejected"].items()))
    troubles = [(key, document[key]) for key in ("blocked", "failed") if document[key]]
    return "\n".join([*lines, *(f"{key}: {' '.join(map(str, found.values()))}" for key, found in troubles)])


def _tell(document: dict[str, Any]) -> None:
    name = document["deployment"]
    text = f"{pairs(document)}\n\n`tradeagent logs {name} --follow` shows what it does, `tradeagent stop {name}` ends it"
    session().output.document(document, text)
