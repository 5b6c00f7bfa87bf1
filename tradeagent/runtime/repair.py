"""Starting is recovering, for files: what an interrupted run committed is rendered, what it began and lost is said."""

import os
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from tradeagent.agents.folder import Agent, Known, load_agent
from tradeagent.agents.sessions import Session, SessionStatus, list_sessions, read_status, write_status
from tradeagent.agents.snapshots import list_snapshots
from tradeagent.agents.suggestions import settle_open
from tradeagent.agents.versions import finish_restore
from tradeagent.domain.clock import Clock, iso
from tradeagent.domain.errors import InvalidConfig
from tradeagent.domain.money import plain
from tradeagent.domain.names import Actor, CommandState, DeploymentState, IncidentCode, Level, RunMode
from tradeagent.execution.engine import ExecutionEngine
from tradeagent.execution.executors.desk import adopt
from tradeagent.execution.state import MANUAL_CONTROLLER, belongs_to
from tradeagent.ledger import executors, notes, runs, trading
from tradeagent.ledger.runs import DeploymentRow
from tradeagent.ledger.store import Ledger
from tradeagent.ledger.trading import NET
from tradeagent.runtime.lease import is_held
from tradeagent.turns.files import AgentFiles
from tradeagent.turns.record import TickRecord, TickState
from tradeagent.workspace.paths import Workspace

_LIVE = tuple(state.value for state in DeploymentState if state.is_live)
_WRITER = re.compile(r"\.(\d+)-\d+-\d+\.tmp$")


def repair(
    workspace: Workspace, ledger: Ledger, clock: Clock, agent: Agent, wallet: str, files: Callable[[Session | None], AgentFiles]
) -> list[str]:
    """Finish the files of every run of this agent that has no process any more; their ids. The caller owns `wallet`."""
    with ledger.reading() as tx:
        left = [row for row in _runs_of(tx, agent) if row.state in _LIVE and row.ended_ms is None]
    # A dry run owns no wallet and leaves nothing to finish; a run on another wallet may be alive.
    left = [row for row in left if row.mode != RunMode.DRY_RUN and (row.wallet == wallet or not is_held(workspace, row.wallet))]
    sessions = {session.agent_id: session for session in list_sessions(agent.folder)}
    for row in left:
        if row.id in sessions:
            _finish_files(ledger, row, sessions[row.id], files(sessions[row.id]), clock)
        _mark_interrupted(ledger, row, clock)
    with ledger.reading() as tx:
        over = [row for row in _runs_of(tx, agent) if _is_over(row) and row.id in sessions]
        troubled = {row.id for row in over if notes.has_incident(tx, IncidentCode.TICK_FAILED, row.id)}
    for row in over:
        if row.id in troubled:
            _finish_late(ledger, row, sessions[row.id], files(sessions[row.id]), clock)
        _tell(sessions[row.id], row)
    _sweep(agent.folder)
    return [row.id for row in left]


def _runs_of(tx: Connection, agent: Agent) -> list[DeploymentRow]:
    """The newest runs of an agent; an algo may have its name."""
    return [row for row in runs.all_deployments(tx, slug=agent.slug, limit=50) if row.kind == Actor.AGENT.value]


def settled_agent(ledger: Ledger, clock: Clock, folder: Path, known: Known) -> Agent:
    """The agent, once what a person's command on its files was killed in is finished: a restore, an approval. Errors as `load_agent`."""
    finish_restore(ledger, clock, folder)
    agent = load_agent(folder, known)
    settle_open(ledger, clock, agent)
    return agent


def _is_over(row: DeploymentRow) -> bool:
    """Whether a run has ended, or never came so far as to begin."""
    return row.ended_ms is not None or row.state == DeploymentState.ERROR.value


def drop_commands(ledger: Ledger, clock: Clock, wallet: str, before_ms: int) -> None:
    """Fail what was asked of a runner that is gone: what it took may be done already, and nothing is done twice or hours late."""
    now = clock.now_ms()
    with ledger.reading() as tx:
        left = [row for row in runs.queued_commands(tx, wallet) if row["created_ms"] < before_ms]
    for row in left:
        taken = row["state"] == CommandState.ACKED.value
        message = "the runner ended while it did this" if taken else "the runner ended before it took this"
        answer = {"code": "interrupted", "message": message, "hint": "see `tradeagent status` and `tradeagent fills`, then give it again"}
        with ledger.transaction() as tx:
            runs.move_command(tx, row, CommandState.FAILED, now, result=answer)


def adopt_directives(ledger: Ledger, clock: Clock, slug: str, to: str) -> None:
    """What a person told an earlier run of this agent and it never read is for this run."""
    with ledger.reading() as tx:
        earlier = [row.id for row in runs.all_deployments(tx, slug=slug, limit=50) if row.id != to and _is_over(row)]
        left = [row for deployment in earlier for row in runs.waiting_directives(tx, deployment)]
    if left:
        with ledger.transaction() as tx:
            runs.deliver_directives(tx, [row["id"] for row in left], 0)
            for row in left:
                runs.add_directive(tx, clock.new_id(), to, row["text"], row["created_ms"])


def write_session_status(session: Session, row: DeploymentRow, *, durable: bool = True) -> None:
    """The copy for people of what the ledger says about a run."""
    status = SessionStatus(row.state, row.id, row.boot_id, row.pid, iso(row.created_ms), iso(row.ended_ms), row.ticks)
    write_status(session, status, durable=durable)


def _tell(session: Session, row: DeploymentRow) -> None:
    """Correct a status.json that a run did not live to write."""
    try:
        told = read_status(session)
    except InvalidConfig:
        told = None
    if told is None or told.state != row.state:
        write_session_status(session, row)


def _sweep(folder: Path) -> None:
    """Remove what a writer that died left beside the file it was replacing."""
    for pattern in ("", "dry_runs/", "sessions/*/", "sessions/*/snapshots/"):
        for path in folder.glob(f"{pattern}.*.tmp"):
            writer = _WRITER.search(path.name)
            if writer is not None and not _is_alive(int(writer[1])):
                path.unlink(missing_ok=True)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _finish_files(ledger: Ledger, row: DeploymentRow, session: Session, files: AgentFiles, clock: Clock) -> None:
    with ledger.reading() as tx:
        ticks = runs.ticks_of(tx, row.id, after=max(0, row.ticks - 100), with_record=True)
    written = {number for number, _ in list_snapshots(session.folder)}
    for tick in ticks:
        if tick["record"] is not None and (tick["number"] not in written or tick is ticks[-1]):
            record = TickRecord.from_bytes(tick["record"])
            files.write(replace(record, canvas={}, reflection={}) if record.number in written else record)
        _finish_tick(ledger, tick, files, clock)


def _finish_late(ledger: Ledger, row: DeploymentRow, session: Session, files: AgentFiles, clock: Clock) -> None:
    """What a disk kept from being written in a run that went on and ended: its ticks, less what a later one rewrote."""
    with ledger.reading() as tx:
        ticks = runs.ticks_of(tx, row.id, after=max(0, row.ticks - 100), with_record=True)
    written = {number for number, _ in list_snapshots(session.folder)}
    records = [TickRecord.from_bytes(tick["record"]) for tick in ticks if tick["record"] is not None]
    missing = [record for record in records if record.number not in written and files.keeps(record.number, row.ticks)]
    for record in missing:
        files.write(record if record.number > max(written, default=0) else replace(record, canvas={}, reflection={}))
    if missing:
        files.close(records[-1], row.state)
    for tick in ticks:
        _finish_tick(ledger, tick, files, clock)


def _finish_tick(ledger: Ledger, tick: dict[str, Any], files: AgentFiles, clock: Clock) -> None:
    """Say of a tick that began and was never recorded that it was interrupted."""
    if tick["state"] == TickState.RUNNING.value:
        files.note("error", tick["started_ms"], f"tick {tick['number']} was interrupted before it could be recorded")
        with ledger.transaction() as tx:
            runs.finish_tick(tx, tick["id"], state=TickState.INTERRUPTED.value, ended_ms=clock.now_ms(), action="interrupted")


def _mark_interrupted(ledger: Ledger, row: DeploymentRow, clock: Clock) -> None:
    now = clock.now_ms()
    with ledger.transaction() as tx:
        runs.change_state(tx, row, DeploymentState.INTERRUPTED, now, ended_ms=now, stopped_because=row.stopped_because or "interrupted")
        message = f"{row.id} ended without saying so; its orders and positions were taken over"
        incident = notes.Incident(IncidentCode.INTERRUPTED, Level.WARNING, message, row.wallet, row.id)
        notes.open_incident(tx, clock.new_id(), incident, now)


def stands_in_for(ledger: Ledger, row: DeploymentRow) -> str:
    """The run whose inventory a dry run sees and is judged by, since it takes none over: the newest one of its agent that left some on
    the wallet, or itself."""
    with ledger.reading() as tx:
        holding = {one.controller_id.partition("/")[0] for one in trading.positions_of(tx, row.wallet) if one.size}
        holding |= {order.controller_id.partition("/")[0] for order in trading.live_orders(tx, row.wallet)}
        holding |= {one.deployment for one in executors.live(tx, row.wallet)}
        known = [one.id for one in runs.all_deployments(tx, wallet=row.wallet, slug=row.slug) if one.kind == row.kind]
    return next((name for name in known if name in holding), row.id)


def take_over(engine: ExecutionEngine, deployment: DeploymentRow, tell: Callable[[str, int, str], None]) -> None:
    """Give a new run the inventory that ended runs of the same agent or algo left, with its stops, and say so; name what nobody manages."""
    now, wallet = engine.clock.now_ms(), engine.wallet.name
    earlier = re.compile(rf"{re.escape(deployment.slug)}_[ae]?\d+")
    with engine.ledger.reading() as tx:
        runs_before = [row.id for row in runs.all_deployments(tx, slug=deployment.slug)]
    adopted = adopt(engine, runs_before, deployment.id)
    others = [row for row in engine.book.rows if row.size and row.controller_id not in (NET, MANUAL_CONTROLLER)]
    left = [row for row in others if not belongs_to(row.controller_id, deployment.id)]
    with engine.transaction() as tx:
        notes.close_incidents(tx, IncidentCode.UNMANAGED_POSITION, now, wallet=wallet)
        for row in left:
            if earlier.fullmatch(row.controller_id):
                engine.book.hand_over(tx, row, deployment.id, now)
            else:
                message = f"{row.controller_id} left {row.market} {plain(row.size)} open and nobody manages it"
                details = {"market": row.market, "fix": f"tradeagent position close {row.market} --wallet {wallet}"}
                incident = notes.Incident(IncidentCode.UNMANAGED_POSITION, Level.WARNING, message, wallet, deployment.id, details)
                notes.open_incident(tx, engine.clock.new_id(), incident, now)
        engine.book.flush(tx)
    for row in left:
        if earlier.fullmatch(row.controller_id):
            tell("taken_over", now, f"{row.market} {plain(row.size)} from {row.controller_id}, with its stop and target")
    if adopted:
        tell("taken_over", now, f"executors {', '.join(adopted)} go on")
