"""The kill command: from any terminal, without the runner, without the ledger."""

from typing import Annotated, Any

import typer

from tradeagent.cli.complete import deployments_and_wallets
from tradeagent.cli.confirm import must_ask
from tradeagent.cli.session import session


def register(app: typer.Typer) -> None:
    app.command()(kill)


def kill(
    deployment: Annotated[
        str | None, typer.Argument(help="deployment id like btc_momentum_3, an agent, or a wallet", autocompletion=deployments_and_wallets)
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="every wallet of the workspace")] = False,
    clear: Annotated[bool, typer.Option("--clear", help="undo a kill, once ledger and venue agree")] = False,
) -> None:
    """Stop all new orders at once, then cancel and close, also when the runner is frozen or the ledger is busy.

    Nothing is undone by time or by a restart: `tradeagent kill NAME --clear` is the only way back. What happens to positions is
    `on_kill_switch` of the agent. Example: tradeagent kill btc_momentum_3
    """
    from tradeagent.domain.errors import InvalidInput
    from tradeagent.runtime.latching import Target, target_of

    if everything == (deployment is not None):
        raise InvalidInput("kill: name one deployment, or say --all", hint="`tradeagent status` lists them")
    current = session()
    target = target_of(current.workspace, deployment) if deployment else Target()
    _confirm(f"kill {'--clear ' if clear else ''}{deployment or '--all'}")
    if clear:
        _clear(target)
    else:
        _kill(target)


def _kill(target: Any) -> None:
    from tradeagent.domain.errors import VenueError
    from tradeagent.runtime.latching import latch_now

    current = session()
    latched = latch_now(current.workspace, current.clock, target)
    from tradeagent.runtime.kill import LATER, wipe  # after the latch: what closes takes half a second to load

    result = wipe(current.workspace, current.clock, target, latched)
    if not result["flat"]:
        hint = "repeat it; `tradeagent position list` shows what is left"
        raise VenueError("kill: latched, but not everything is closed", hint=hint, details=result)
    current.output.document(result, "\n".join(_lines(result, later=result["ledger"] == LATER)))


def _clear(target: Any) -> None:
    from tradeagent.runtime.kill import clear as clear_now

    current = session()
    result = clear_now(current.place, target)
    what = target.deployment or target.wallet or "every wallet"
    current.output.document(result, f"{what}: the kill is undone" if result["cleared"] else f"{what} was not killed")


def _lines(result: dict[str, Any], *, later: bool) -> list[str]:
    lines = [f"latched after {result['latched_ms']} ms: no new order leaves"]
    lines += [f"process {process} held an order and was ended" for process in result["ended_processes"]]
    for row in result["wallets"]:
        closed = ", ".join(f"{one['market']} {one['size']} at {one['price']}" for one in row["closed"]) or "nothing to close"
        flat = "flat" if row["flat"] else "not flat" + ("" if row["policy"] == "flatten_all" else f" (on_kill_switch: {row['policy']})")
        lines.append(f"{row['wallet']}: {row['cancelled']} cancelled, {closed}; {flat} after {row['elapsed_ms']} ms")
    return [*lines, *(["the ledger is busy: it is told later"] if later else [])]


def _confirm(phrase: str) -> None:
    """The phrase, typed; a script says --yes."""
    from tradeagent.domain.errors import InvalidInput

    if not must_ask(phrase):
        return
    typed = typer.prompt(f"type {phrase!r} to do it", default="", show_default=False)
    if typed.strip() != phrase:
        raise InvalidInput("the phrase was not typed: nothing was done", hint=f"type exactly: {phrase}")
