"""Commands of people: a row that the runner of the wallet executes, or done here when nobody runs it. No tool imports this room."""

import asyncio
from dataclasses import dataclass
from typing import Any

from tradeagent.domain.clock import Clock
from tradeagent.domain.errors import BusyError, Defect, InvalidInput, NotFound, RefusedError, TradeAgentError, VenueError
from tradeagent.domain.money import plain
from tradeagent.domain.names import Actor, CommandKind, CommandState, DeploymentState, EventKind, ExitReason, Rule, VerdictKind
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
from tradeagent.ledger.store import Ledger
from tradeagent.runtime.lease import is_held
from tradeagent.runtime.proposals import proposal_in
from tradeagent.runtime.status import live_state
from tradeagent.runtime.stops import StopReason
from tradeagent.runtime.wallets import owned_door
from tradeagent.workspace.config import Config
from tradeagent.workspace.paths import Workspace

ACK_TIMEOUT_S = 10.0
POLL_S = 0.02
_ERRORS: dict[int, type[TradeAgentError]] = {error.exit_code: error for error in (Defect, InvalidInput, RefusedError, NotFound, VenueError)}


@dataclass(frozen=True, slots=True)
class Desk:
    """Where a command is given: one workspace with its ledger."""

    workspace: Workspace
    config: Config
    ledger: Ledger
    clock: Clock


def command(desk: Desk, name: str, kind: CommandKind, payload: dict[str, Any] | None = None) -> dict[str, Any]:
    """Give a command to a deployment and wait for its result: `{deployment, command, state, …}`."""
    deployment, is_running = _addressed(desk, name)
    if kind is CommandKind.DIRECTIVE:
        return _directive(desk, deployment, (payload or {}).get("text", ""))
    if is_running:
        return send(desk, deployment.wallet, deployment.id, kind, payload or {})
    return _without_runner(desk, deployment, kind, payload or {})


def _addressed(desk: Desk, name: str) -> tuple[DeploymentRow, bool]:
    """The run that is meant: by id, or the run of this agent that is alive, else its newest; and whether its runner can be asked."""
    with desk.ledger.reading() as tx:
        named = runs.find_deployment(tx, name)
        rows = [named] if named else runs.all_deployments(tx, slug=name) or [runs.get_deployment(tx, name)]
        owners = {row.wallet: runs.lease(tx, row.wallet) for row in rows}
    owned = [row for row in rows if (lease := owners[row.wallet]) is not None and lease["deployment"] == row.id]
    alive = next((row for row in owned if is_held(desk.workspace, row.wallet)), None)
    return (alive, True) if alive else (rows[0], False)


def send(desk: Desk, wallet: str, deployment: str | None, kind: CommandKind, payload: dict[str, Any]) -> dict[str, Any]:
    """Queue a command for the runner that owns the wallet, and wait until it is done. BusyError when nobody answers."""
    command_id, now = desk.clock.new_id(), desk.clock.now_ms()
    with desk.ledger.transaction() as tx:
        runs.add_command(tx, command_id, wallet, deployment, kind, payload, now)
        data = {"kind": kind.value, "state": CommandState.QUEUED.value}
        events.append(
            tx, EventKind.COMMAND_STATE, now, wallet=wallet, deployment=deployment, actor=Actor.MANUAL, subject=command_id, data=data
        )
    row = asyncio.run(_outcome(desk, command_id))
    result = dict(row["result"] or {})
    if row["state"] == CommandState.FAILED.value:
        error = _ERRORS.get(result.get("exit_code", 0), BusyError)
        raise error(result.get("message", "the command failed"), hint=result.get("hint", ""), code=result.get("code"))
    return {"deployment": deployment, "command": kind.value, "state": row["state"], "latency_ms": (row["acked_ms"] or now) - now, **result}


async def _outcome(desk: Desk, command_id: str) -> dict[str, Any]:
    deadline = desk.clock.monotonic() + ACK_TIMEOUT_S
    while True:
        with desk.ledger.reading() as tx:
            row = runs.command(tx, command_id)
        if row["state"] in (CommandState.DONE.value, CommandState.FAILED.value):
            return row
        if desk.clock.monotonic() > deadline:
            raise BusyError(
                f"the runner did not answer within {ACK_TIMEOUT_S:g} s; the command stays queued", hint="`tradeagent status` shows it"
            )
        await desk.clock.sleep(POLL_S)


def _directive(desk: Desk, deployment: DeploymentRow, text: str) -> dict[str, Any]:
    if deployment.kind == Actor.ALGO.value:
        raise InvalidInput(f"directive: {deployment.id} runs an algo, which reads no words", hint="directives are for agents")
    clean = " ".join(text.split())
    if not clean:
        raise InvalidInput("directive: the text is empty", hint='tradeagent directive AGENT "stay flat over the weekend"')
    with desk.ledger.transaction() as tx:
        runs.add_directive(tx, desk.clock.new_id(), deployment.id, clean[:2000], desk.clock.now_ms())
    return {"deployment": deployment.id, "command": CommandKind.DIRECTIVE.value, "state": CommandState.QUEUED.value, "text": clean}


def _without_runner(desk: Desk, deployment: DeploymentRow, kind: CommandKind, payload: dict[str, Any]) -> dict[str, Any]:
    """Nobody owns the wallet: settle what the command means for a run that is not there."""
    state = live_state(desk.workspace, deployment)
    if kind in (CommandKind.PAUSE, CommandKind.RESUME, CommandKind.SNAPSHOT):
        is_algo = deployment.kind == Actor.ALGO.value
        command = f"deploy resume {deployment.id}" if is_algo else f"run {deployment.slug} --mode loop"
        hint = f"start it with `tradeagent {command}`"
        raise InvalidInput(f"{deployment.id} is not running ({state.value})", hint=hint, details={"state": state.value})
    result: dict[str, Any] = {}
    with desk.ledger.reading() as tx:
        wallet = wallets.get(tx, deployment.wallet)
    with owned_door(desk.workspace, desk.config, desk.ledger, desk.clock, wallet, tenant_of(deployment)) as door:
        if kind is CommandKind.RECONCILE:  # opening the door was that
            with desk.ledger.reading() as tx:
                done = events.last_reconciliation(tx, deployment.wallet)
            return {"deployment": deployment.id, "command": kind.value, "state": CommandState.DONE.value, **done}
        if kind is CommandKind.CLEAR_HALT:
            result["rebased"] = clear_halt(door.engine)
        elif kind is CommandKind.FLATTEN or payload.get("unwind"):
            result |= _flattened(door.engine)
        elif kind is CommandKind.STOP:
            result["cancelled"] = _stopped(door.engine, deployment.id)
    ended = DeploymentState.STOPPED if state in (DeploymentState.INTERRUPTED, DeploymentState.HALTED) else state
    values: dict[str, Any] = {"state": ended.value}
    if kind in (CommandKind.STOP, CommandKind.FLATTEN):  # nobody starts it again
        values |= {"stopped_because": StopReason.COMMAND.value, "ended_ms": deployment.ended_ms or desk.clock.now_ms()}
    with desk.ledger.transaction() as tx:
        runs.update_deployment(tx, deployment.id, **values)
    return {"deployment": deployment.id, "command": kind.value, "state": CommandState.DONE.value, "deployment_state": ended.value, **result}


def submit(desk: Desk, wallet: str, deployment: str | None, proposal: Proposal) -> dict[str, Any]:
    """A person's order, close or cancel on a running wallet: its runner puts it through the door."""
    answer = send(desk, wallet, deployment, CommandKind.SUBMIT, {"proposal": proposal_dict(proposal)})
    return dict(answer["verdict"])


def execute_proposal(engine: ExecutionEngine, proposal: Proposal) -> Verdict:
    """A person's proposal at the door of its wallet."""
    if proposal.order_id is not None:
        return cancel_order(engine, proposal.order_id, Actor.MANUAL)
    if proposal.whole_position:
        taken_back = take_back_entries(engine, proposal.market, Actor.MANUAL)
        if proposal.market in engine.book.held_markets:
            return close_market(engine, proposal.market, Actor.MANUAL, ExitReason.MANUAL)
        return taken_back[-1] if taken_back else Verdict(VerdictKind.NOOP, message=f"nothing is held in {proposal.market}")
    return engine.submit_now(proposal, Actor.MANUAL)


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
        return {"cancelled": _stopped(engine, row["deployment"])}
    return reconcile(engine).as_dict() if kind is CommandKind.RECONCILE else {}


def _stopped(engine: ExecutionEngine, deployment: str) -> int:
    """Cancel the entries of a run; how many. RefusedError PROTECTION while a position of its lacks the stop that it must have."""
    with engine.ledger.reading() as tx:
        bare = [one for one in naked(engine, tx, engine.broker.open_orders()) if belongs_to(one.controller_id, deployment)]
    if bare:
        what = ", ".join(f"{one.market} {plain(one.size)}" for one in bare)
        raise RefusedError(
            f"stop {deployment}: no stop rests for {what}, and its limits require one",
            hint=f"`tradeagent stop {deployment} --unwind` closes what it holds; or place a stop first",
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
