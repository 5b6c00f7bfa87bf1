"""Commands to a deployment: stop, pause, resume, flatten, snapshot, clear-halt, directive, reconcile. Only people give them."""

from typing import Annotated, Any

import typer

from tradeagent.cli.complete import deployments
from tradeagent.cli.output import is_interactive
from tradeagent.cli.session import session

Name = Annotated[str, typer.Argument(help="deployment id like btc_momentum_3, or an agent for its newest run", autocompletion=deployments)]


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
    unwind: Annotated[bool, typer.Option("--unwind/--keep", help="close positions, or keep them with their stops")] = False,
) -> None:
    """End a run after the tick it is in. Entries that rest are cancelled; positions stay with their stops unless you say --unwind."""
    _give("stop", deployment, {"unwind": unwind})


def pause(deployment: Name) -> None:
    """No model turns and no new exposure; stops stay. Survives a restart of the screen, not of the run."""
    _give("pause", deployment)


def resume(deployment: Name) -> None:
    """Go on after a pause."""
    _give("resume", deployment)


def flatten(deployment: Name) -> None:
    """Cancel every order, close every position at the market, then pause."""
    _confirm(f"flatten {deployment}: cancel all orders and close all positions")
    _give("flatten", deployment)


def snapshot(deployment: Name) -> None:
    """Take an equity point of a running deployment now."""
    _give("snapshot", deployment)


def clear_halt(deployment: Name) -> None:
    """Reopen entries after a halt or lockout. What was breached is measured from now: that is a new allowance, and yours to give."""
    _confirm(f"clear the halt of {deployment}: losses are counted from now")
    _give("clear_halt", deployment)


def directive(deployment: Name, text: Annotated[str, typer.Argument(help="one instruction for the next tick")]) -> None:
    """Tell an agent something once: it is in its next prompt, and in the journal."""
    _give("directive", deployment, {"text": text})


def reconcile(deployment: Name) -> None:
    """Compare ledger and venue now and put right what differs; exit 1 when they still differ."""
    result = _commanded("reconcile", deployment, None)
    words = [f"reconcile {result['deployment']}: {result['phase']}, {result['repaired']} repaired in {result['elapsed_s']} s"]
    session().output.document(result, "\n".join([*words, *result["repairs"], *result["differences"]]))
    if result["phase"] != "consistent":
        raise typer.Exit(1)


def _commanded(kind: str, deployment: str, payload: dict[str, Any] | None) -> dict[str, Any]:
    from tradeagent.domain.names import CommandKind
    from tradeagent.runtime.control import Desk, command
    from tradeagent.workspace.latch import make_room

    current = session()
    if kind == "flatten" or (payload or {}).get("unwind"):
        make_room(current.workspace.kill_dir)
    current.workspace.require_writable()
    return command(Desk(current.workspace, current.config, current.ledger, current.clock), deployment, CommandKind(kind), payload)


def _give(kind: str, deployment: str, payload: dict[str, Any] | None = None) -> None:
    result = _commanded(kind, deployment, payload)
    if not result.get("flat", True):
        from tradeagent.domain.errors import RefusedError

        why = "; ".join(verdict["detail"]["message"] for verdict in result["closed"] if verdict["detail"]) or "it waits for the next trade"
        hint = "what is still open keeps its stops; `tradeagent position list` shows it"
        message = f"{kind} {result['deployment']}: not everything could be closed: {why}"
        raise RefusedError(message, hint=hint, code="not_flat", details=result)
    words = [f"{kind.replace('_', '-')} {result['deployment']}: {result['state']}"]
    if "latency_ms" in result:
        words.append(f"acknowledged in {result['latency_ms']} ms")
    words += [f"now {result['deployment_state']}"] if "deployment_state" in result else []
    words += result.get("rebased", [])
    if "closed" in result:
        words.append(f"{len(result['closed'])} position(s) closed")
    if result.get("cancelled"):
        words.append(f"{result['cancelled']} resting entry order(s) cancelled")
    session().output.document(result, "; ".join(words))


def _confirm(what: str) -> None:
    """Ask before something that costs; a script says --yes."""
    from tradeagent.domain.errors import InvalidInput

    if session().flags.yes:
        return
    if not is_interactive():
        raise InvalidInput(f"{what}: needs a confirmation", hint="add --yes")
    typer.confirm(f"{what}?", abort=True)
