"""Commands to a deployment: stop, pause, resume, flatten, snapshot, clear-halt, directive, reconcile. Only people give them.

What concerns the wallet itself (flatten, clear-halt, reconcile) may also name the wallet, so that one traded by hand needs no run.
"""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Annotated, Any

import typer

from tradeagent.cli.complete import deployments, deployments_and_wallets
from tradeagent.cli.confirm import confirmed
from tradeagent.cli.session import session
from tradeagent.domain.errors import BusyError, DataError

Name = Annotated[str, typer.Argument(help="deployment id like btc_momentum_3, or an agent for its newest run", autocompletion=deployments)]
Owner = Annotated[
    str,
    typer.Argument(
        help="deployment id like btc_momentum_3, an agent for its newest run, or a wallet", autocompletion=deployments_and_wallets
    ),
]


def register(app: typer.Typer) -> None:
    app.command()(stop)
    app.command()(pause)
    app.command()(resume)
    app.command()(flatten)
    app.command()(snapshot)
    app.command(name="clear-halt")(clear_halt)
    app.command()(directive)
    app.command()(reconcile)


def stop(
    deployment: Name,
    unwind: Annotated[
        bool | None, typer.Option("--unwind/--keep", help="close positions, or keep them with the stops they have, if any")
    ] = None,
) -> None:
    """End a run after the tick it is in. Entries that rest are cancelled; positions stay with their stops unless you say --unwind.

    Refused while a position has no stop, until you say which: --unwind closes it, --keep leaves it as it is.
    """
    with naming_kill(deployment) if unwind else nullcontext():
        _give("stop", deployment, {"unwind": unwind is True, "keep": unwind is False})


def pause(deployment: Name) -> None:
    """No model turns and no new exposure; stops stay. Survives a restart of the screen, not of the run."""
    _give("pause", deployment)


def resume(deployment: Name) -> None:
    """Go on after a pause."""
    _give("resume", deployment)


def flatten(deployment: Owner) -> None:
    """Cancel every order, close every position at the market, then pause."""
    from tradeagent.workspace.latch import make_room

    with naming_kill(deployment):
        make_room(session().workspace.kill_dir)  # on a full disk even looking at the ledger needs some
        _require("flatten", deployment)
        confirmed(f"flatten {deployment}: cancel all orders and close all positions")
        _give("flatten", deployment)


def snapshot(deployment: Name) -> None:
    """Take an equity point of a running deployment now."""
    _give("snapshot", deployment)


def clear_halt(deployment: Owner) -> None:
    """Reopen entries after a halt or lockout. What was breached is measured from now: that is a new allowance, and yours to give."""
    _require("clear_halt", deployment)
    confirmed(f"clear the halt of {deployment}: losses are counted from now")
    _give("clear_halt", deployment)


def directive(deployment: Name, text: Annotated[str, typer.Argument(help="one instruction for the next tick")]) -> None:
    """Tell an agent something once: it is in its next prompt, and in the journal."""
    _give("directive", deployment, {"text": text})


def reconcile(deployment: Owner) -> None:
    """Compare ledger and venue now and put right what differs; exit 1 when they still differ."""
    result = _commanded("reconcile", deployment, None)
    words = [f"reconcile {_whose(result)}: {result['phase']}, {result['repaired']} repaired in {result['elapsed_s']} s"]
    session().output.document(result, "\n".join([*words, *result["repairs"], *result["differences"]]))
    if result["phase"] != "consistent":
        raise typer.Exit(1)


@contextmanager
def naming_kill(name: str) -> Iterator[None]:
    """Where a position cannot be closed because ledger or runner do not answer, name what needs neither."""
    try:
        yield
    except (BusyError, DataError) as error:
        error.hint = f"{error.hint}; `tradeagent kill {name}` closes everything without ledger and runner"
        raise


def _require(kind: str, deployment: str) -> None:
    """NotFound before anybody is asked about a name that nothing has."""
    from tradeagent.domain.names import CommandKind
    from tradeagent.runtime.control import addressed

    addressed(session().place, deployment, CommandKind(kind))


def _commanded(kind: str, deployment: str, payload: dict[str, Any] | None) -> dict[str, Any]:
    from tradeagent.domain.names import CommandKind
    from tradeagent.runtime.control import command
    from tradeagent.workspace.latch import make_room

    current = session()
    if (payload or {}).get("unwind"):
        make_room(current.workspace.kill_dir)
    return command(current.writable(), deployment, CommandKind(kind), payload)


def _give(kind: str, deployment: str, payload: dict[str, Any] | None = None) -> None:
    result = _commanded(kind, deployment, payload)
    if not result.get("flat", True):
        from tradeagent.domain.errors import RefusedError

        why = "; ".join(verdict["detail"]["message"] for verdict in result["closed"] if verdict["detail"]) or "it waits for the next trade"
        hint = "what is still open keeps its stops; `tradeagent position list` shows it"
        message = f"{kind} {_whose(result)}: not everything could be closed: {why}"
        raise RefusedError(message, hint=hint, code="not_flat", details=result)
    words = [f"{kind.replace('_', '-')} {_whose(result)}: {result['state']}"]
    if "latency_ms" in result:
        words.append(f"acknowledged in {result['latency_ms']} ms")
    words += [f"now {result['deployment_state']}"] if "deployment_state" in result else []
    if result.get("deployment_state") == "stopping":
        words.append("it enters nothing more and ends with the tick under way")
    words += result.get("rebased", [])
    if "closed" in result:
        words.append(f"{len(result['closed'])} position(s) closed")
    if result.get("cancelled"):
        words.append(f"{result['cancelled']} resting entry order(s) cancelled")
    session().output.document(result, "; ".join(words))


def _whose(result: dict[str, Any]) -> str:
    return str(result["deployment"] or result["wallet"])
