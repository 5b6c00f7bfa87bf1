"""Commands of people: a row that the runner of the wallet executes, or done here when nobody runs it. No tool imports this room."""

import asyncio
from dataclasses import dataclass, replace
from typing import Any

from tradeagent.domain.errors import BusyError, Defect, InvalidInput, NotFound, RefusedError, TradeAgentError, VenueError
from tradeagent.domain.money import plain
from tradeagent.domain.names import Actor, CommandKind, CommandState, DeploymentState, ExitReason, Rule, VerdictKind
from tradeagent.domain.order import Proposal, Verdict
from tradeagent.execution.engine import ExecutionEngine
from tradeagent.execution.halts import clear_halt, close_market, flatten, reopen
from tradeagent.execution.orders import proposal_dict
from tradeagent.execution.protection import cancel_entries, cancel_order, take_back_entries
from tradeagent.execution.reading import tenant_of
from tradeagent.execution.reconcile import reconcile
from tradeagent.execution.repairs import naked
from tradeagent.execution.state import belongs_to
from tradeagent.ledger import events, runs, wallets
from tradeagent.ledger.runs import DeploymentRow
from tradeagent.runtime.lease import is_held
from tradeagent.runtime.place import Place
from tradeagent.runtime.proposals import proposal_in
from tradeagent.runtime.status import live_state
from tradeagent.runtime.stops import StopReason
from tradeagent.runtime.wallets import owned_door

ACK_TIMEOUT_S = 10.0
END_TIMEOUT_S = 2.0
LEFT_BEHIND = (DeploymentState.INTERRUPTED, DeploymentState.HALTED)
POLL_S = 0.02
ON_WALLETS = frozenset({CommandKind.CLEAR_HALT, CommandKind.FLATTEN, CommandKind.RECONCILE})
"""Commands that a wallet may be named for, since its halt, its positions and its books are there without any run."""
TOO_LATE = {"code": BusyError.code, "message": "nobody answered in time; the order was taken back", "hint": "give it again"}
_ERRORS: dict[int, type[TradeAgentError]] = {error.exit_code: error for error in (Defect, InvalidInput, RefusedError, NotFound, VenueError)}


@dataclass(frozen=True, slots=True)
class Addressed:
    """What a command is for: a wallet and the run on it, if there is one; and whether its runner can be asked."""

    wallet: str
    run: DeploymentRow | None
    is_running: bool


def command(place: Place, name: str, kind: CommandKind, payload: dict[str, Any] | None = None) -> dict[str, Any]:
    """Give a command to a deployment, or one of `ON_WALLETS` to a wallet, and wait for its result.

    The result is `{deployment, wallet, command, state, …}`; NotFound when nothing has that name.
    """
    target = addressed(place, name, kind)
    if target.run is not None and kind is CommandKind.DIRECTIVE:
        return _directive(place, target.run, (payload or {}).get("text", ""))
    if target.run is not None and target.is_running:
        answer = send(place, target.wallet, target.run.id, kind, payload or {})
        return answer | {"deployment_state": _end_of(place, target.run.id)} if kind is CommandKind.STOP else answer
    return _without_runner(place, target, kind, payload or {})


def addressed(place: Place, name: str, kind: CommandKind) -> Addressed:
    """What is meant: a run by its id, the run of this agent that is alive, else its newest; else the wallet, with what was left on it.

    NotFound when nothing has that name.
    """
    with place.ledger.reading() as tx:
        named = runs.find_deployment(tx, name)
        rows = [named] if named else runs.all_deployments(tx, slug=name)
        is_wallet = not rows and kind in ON_WALLETS and wallets.find(tx, name) is not None
        if is_wallet:
            rows = runs.all_deployments(tx, wallet=name)
        elif not rows:
            rows = [runs.get_deployment(tx, name)]
        owners = {row.wallet: runs.lease(tx, row.wallet) for row in rows}
    owned = [row for row in rows if (lease := owners[row.wallet]) is not None and lease["deployment"] == row.id]
    alive = next((row for row in owned if is_held(place.workspace, row.wallet)), None)
    if alive is not None:
        return Addressed(alive.wallet, alive, is_running=True)
    if is_wallet:
        return Addressed(name, next((row for row in rows[:1] if live_state(place.workspace, row) in LEFT_BEHIND), None), is_running=False)
    return Addressed(rows[0].wallet, rows[0], is_running=False)


def send(place: Place, wallet: str, deployment: str | None, kind: CommandKind, payload: dict[str, Any]) -> dict[str, Any]:
    """Queue a command for the runner that owns the wallet, and wait until it is done. BusyError when nobody answers."""
    command_id, now = place.clock.new_id(), place.clock.now_ms()
    with place.ledger.transaction() as tx:
        runs.add_command(tx, command_id, wallet, deployment, kind, payload, now)
    try:
        row = asyncio.run(_outcome(place, wallet, command_id))
    except BusyError as busy:
        if is_entry(kind, payload) and _taken_back(place, command_id):
            raise BusyError(f"{busy.message}; the order was taken back", hint="see `tradeagent status`, then give it again") from None
        raise
    result = dict(row["result"] or {})
    if row["state"] == CommandState.FAILED.value:
        error = _ERRORS.get(result.get("exit_code", 0), BusyError)
        raise error(result.get("message", "the command failed"), hint=result.get("hint", ""), code=result.get("code"))
    latency_ms = (row["acked_ms"] or now) - now
    return {"deployment": deployment, "wallet": wallet, "command": kind.value, "state": row["state"], "latency_ms": latency_ms, **result}


def _end_of(place: Place, deployment: str) -> str:
    """The state of a run that obeyed a stop, once it has written its end; `stopping` when the tick under way takes longer."""

    async def ended() -> str:
        deadline = place.clock.monotonic() + END_TIMEOUT_S
        while True:
            with place.ledger.reading() as tx:
                row = runs.get_deployment(tx, deployment)
            if row.ended_ms is not None or place.clock.monotonic() > deadline:
                return row.state
            await place.clock.sleep(POLL_S)

    return asyncio.run(ended())


async def _outcome(place: Place, wallet: str, command_id: str) -> dict[str, Any]:
    deadline = place.clock.monotonic() + ACK_TIMEOUT_S
    while True:
        with place.ledger.reading() as tx:
            row = runs.command(tx, command_id)
        if row["state"] in (CommandState.DONE.value, CommandState.FAILED.value):
            return row
        if place.clock.monotonic() > deadline:
            raise BusyError(
                f"the runner did not answer within {ACK_TIMEOUT_S:g} s", hint=f"`tradeagent audit --wallet {wallet}` tells when it was done"
            )
        await place.clock.sleep(POLL_S)


def is_entry(kind: CommandKind, payload: dict[str, Any]) -> bool:
    """Whether a command is an order that may open something: late, it is not what the person wanted any more."""
    proposal = payload.get("proposal", {})
    return kind is CommandKind.SUBMIT and not (proposal.keys() & {"reduce_only", "whole_position", "order_id"})


def is_late(row: dict[str, Any], now_ms: int) -> bool:
    """Whether whoever asked for an entry has been told that nobody answered."""
    return is_entry(CommandKind(row["kind"]), row["payload"]) and now_ms - row["created_ms"] > ACK_TIMEOUT_S * 1000


def _taken_back(place: Place, command_id: str) -> bool:
    now = place.clock.now_ms()
    with place.ledger.transaction() as tx:
        row = runs.command(tx, command_id)
        return runs.move_command(tx, row, CommandState.FAILED, now, before=CommandState.QUEUED, result=TOO_LATE)


def _directive(place: Place, deployment: DeploymentRow, text: str) -> dict[str, Any]:
    if deployment.kind == Actor.ALGO.value:
        raise InvalidInput(f"directive: {deployment.id} runs an algo, which reads no words", hint="directives are for agents")
    clean = " ".join(text.split())
    if not clean:
        raise InvalidInput("directive: the text is empty", hint='tradeagent directive AGENT "stay flat over the weekend"')
    with place.ledger.transaction() as tx:
        runs.add_directive(tx, place.clock.new_id(), deployment.id, clean[:2000], place.clock.now_ms())
    return {"deployment": deployment.id, "command": CommandKind.DIRECTIVE.value, "state": CommandState.QUEUED.value, "text": clean}


def _without_runner(place: Place, target: Addressed, kind: CommandKind, payload: dict[str, Any]) -> dict[str, Any]:
    """Nobody owns the wallet: settle what the command means for a run that is not there, or for the wallet alone."""
    run = target.run
    if run is not None and kind in (CommandKind.PAUSE, CommandKind.RESUME, CommandKind.SNAPSHOT):
        state = live_state(place.workspace, run).value
        command = f"deploy resume {run.id}" if run.kind == Actor.ALGO.value else f"run {run.slug} --mode loop"
        raise InvalidInput(f"{run.id} is not running ({state})", hint=f"start it with `tradeagent {command}`", details={"state": state})
    with place.ledger.reading() as tx:
        wallet = wallets.get(tx, target.wallet)
    ended = live_state(place.workspace, run) if run else None
    name = run.id if run else None
    with owned_door(place.workspace, place.config, place.ledger, place.clock, wallet, tenant_of(run) if run else None) as door:
        if kind is CommandKind.RECONCILE:  # opening the door was that
            with place.ledger.reading() as tx:
                result = events.last_reconciliation(tx, target.wallet)
        else:
            result = execute_row(door.engine, {"kind": kind.value, "payload": payload, "deployment": name})
    answer = {"deployment": name, "wallet": target.wallet, "command": kind.value, "state": CommandState.DONE.value}
    if run is None or ended is None or kind is CommandKind.RECONCILE:
        return answer | result
    return answer | {"deployment_state": _settled(place, run, ended, kind).value} | result


def _settled(place: Place, run: DeploymentRow, ended: DeploymentState, kind: CommandKind) -> DeploymentState:
    """A run without a process has ended with this command, if it had not before."""
    ended = DeploymentState.STOPPED if ended in LEFT_BEHIND else ended
    values: dict[str, Any] = {"state": ended.value}
    if kind in (CommandKind.STOP, CommandKind.FLATTEN):  # nobody starts it again
        values |= {"stopped_because": StopReason.COMMAND.value, "ended_ms": run.ended_ms or place.clock.now_ms()}
    with place.ledger.transaction() as tx:
        runs.update_deployment(tx, run.id, **values)
    return ended


def submit(place: Place, wallet: str, deployment: str | None, proposal: Proposal) -> dict[str, Any]:
    """A person's order, close or cancel on a running wallet: its runner puts it through the door."""
    answer = send(place, wallet, deployment, CommandKind.SUBMIT, {"proposal": proposal_dict(proposal)})
    return dict(answer["verdict"])


def execute_proposal(engine: ExecutionEngine, proposal: Proposal) -> Verdict:
    """A person's proposal at the door of its wallet."""
    if proposal.order_id is not None:
        return cancel_order(engine, proposal.order_id, Actor.MANUAL)
    if proposal.whole_position and proposal.market in engine.markets:
        taken_back = take_back_entries(engine, proposal.market, Actor.MANUAL)
        if proposal.market in engine.book.held_markets:
            return close_market(engine, proposal.market, Actor.MANUAL, ExitReason.MANUAL)
        return taken_back[-1] if taken_back else Verdict(VerdictKind.NOOP, message=f"nothing is held in {proposal.market}")
    return engine.submit_now(replace(proposal, exit_reason=ExitReason.MANUAL), Actor.MANUAL)


def execute_row(engine: ExecutionEngine, row: dict[str, Any]) -> dict[str, Any]:
    """What a runner does for a command that touches money; the result for its row."""
    kind = CommandKind(row["kind"])
    if kind is CommandKind.SUBMIT:
        return {"verdict": execute_proposal(engine, proposal_in(row["payload"]["proposal"])).as_dict()}
    if kind is CommandKind.CLEAR_HALT and row["payload"].get("kill"):
        reopen(engine, whole=engine.gate.latched() is Rule.HALTED)
        return {"rebased": []}
    if kind is CommandKind.CLEAR_HALT:
        return {"rebased": clear_halt(engine)}
    if kind is CommandKind.FLATTEN or row["payload"].get("unwind"):
        return _flattened(engine)
    if kind is CommandKind.STOP:
        return {"cancelled": _stopped(engine, row["deployment"], keep=bool(row["payload"].get("keep")))}
    return reconcile(engine).as_dict() if kind is CommandKind.RECONCILE else {}


def _stopped(engine: ExecutionEngine, deployment: str, *, keep: bool) -> int:
    """Cancel the entries of a run; how many. RefusedError PROTECTION while a position of its has no stop, unless that is to be kept."""
    with engine.ledger.reading() as tx:
        lacks = [] if keep else naked(engine, tx, engine.broker.open_orders(), everyone=True)
    bare = [one for one in lacks if belongs_to(one.controller_id, deployment)]
    if bare:
        what = ", ".join(f"{one.market} {plain(one.size)}" for one in bare)
        raise RefusedError(
            f"stop {deployment}: no stop rests for {what}",
            hint=f"`tradeagent stop {deployment} --unwind` closes what it holds, --keep leaves it without; or place a stop first",
            code=Rule.PROTECTION.value,
            details={"markets": sorted({one.market for one in bare})},
        )
    return cancel_entries(engine, deployment)


def _flattened(engine: ExecutionEngine) -> dict[str, Any]:
    """Flatten; `flat` is what came of it."""
    verdicts = flatten(engine, Actor.MANUAL, ExitReason.FLATTEN)
    return {"closed": [verdict.as_dict() for verdict in verdicts], "flat": not engine.book.held_markets}


def failure(error: TradeAgentError) -> dict[str, Any]:
    """An error as a command row keeps it."""
    return {"code": error.code, "message": error.message, "hint": error.hint, "exit_code": error.exit_code}
