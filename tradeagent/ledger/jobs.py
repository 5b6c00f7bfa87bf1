"""Long work that somebody asked for: a job is one command of this product, run by a worker in a process of its own.

A row outlives whoever asked. `result` is the JSON document the command printed, an error included.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Connection, func, insert, select, update

from tradeagent.domain.errors import BusyError, RefusedError
from tradeagent.domain.names import Actor, EventKind, JobState
from tradeagent.ledger import events
from tradeagent.ledger.minds_schema import jobs
from tradeagent.ledger.reference import the_one

MOST_QUEUED = 100
_OPEN = (JobState.QUEUED.value, JobState.RUNNING.value)


@dataclass(frozen=True, slots=True)
class JobRow:
    """`arguments` is `{"argv": [...]}`; `pid` and `boot_id` name the process while it runs. Times UTC ms."""

    id: str
    kind: str
    session: str | None
    arguments: dict[str, Any]
    state: str
    progress: dict[str, Any] | None
    result: dict[str, Any] | None
    pid: int | None
    boot_id: str | None
    created_ms: int
    started_ms: int | None
    ended_ms: int | None

    @property
    def argv(self) -> list[str]:
        return list(self.arguments["argv"])

    @property
    def is_open(self) -> bool:
        return self.state in _OPEN


def add(tx: Connection, job: str, kind: str, session: str | None, arguments: Mapping[str, Any], now_ms: int) -> None:
    """Queue a job. BusyError when too many wait."""
    waiting = tx.execute(select(func.count()).where(jobs.c.state == JobState.QUEUED.value)).scalar_one()
    if waiting >= MOST_QUEUED:
        raise BusyError(f"{waiting} jobs are waiting already", hint="`tradeagent jobs list`, and `tradeagent jobs cancel ID`")
    row = JobRow(job, kind, session, dict(arguments), JobState.QUEUED.value, None, None, None, None, now_ms, None, None)
    tx.execute(insert(jobs).values(**asdict(row)))
    _say(tx, row, now_ms)


def get(tx: Connection, reference: str) -> JobRow:
    """A job by its id or an unambiguous end of it. NotFound names it."""
    return JobRow(**the_one(tx, select(jobs), reference, "job", "`tradeagent jobs list` shows all of them")._mapping)


def listed(tx: Connection, limit: int = 50, state: JobState | None = None) -> list[JobRow]:
    """Newest first."""
    query = select(jobs).order_by(jobs.c.created_ms.desc(), jobs.c.id.desc()).limit(limit)
    if state is not None:
        query = query.where(jobs.c.state == state.value)
    return [JobRow(**row._mapping) for row in tx.execute(query)]


def waiting(tx: Connection) -> bool:
    """Whether a job waits for a worker, or ran under one that may be gone."""
    return tx.execute(select(jobs.c.id).where(jobs.c.state.in_(_OPEN)).limit(1)).first() is not None


def running(tx: Connection) -> list[JobRow]:
    return [JobRow(**row._mapping) for row in tx.execute(select(jobs).where(jobs.c.state == JobState.RUNNING.value))]


def next_queued(tx: Connection) -> JobRow | None:
    """The job that has waited longest."""
    query = select(jobs).where(jobs.c.state == JobState.QUEUED.value).order_by(jobs.c.created_ms, jobs.c.id).limit(1)
    found = tx.execute(query).first()
    return None if found is None else JobRow(**found._mapping)


def start(tx: Connection, row: JobRow, pid: int, boot_id: str, now_ms: int) -> bool:
    """Say which process runs a queued job; False when it was cancelled meanwhile."""
    values = {"state": JobState.RUNNING.value, "pid": pid, "boot_id": boot_id, "started_ms": now_ms}
    return _move(tx, row, (JobState.QUEUED,), values, now_ms)


def tell(tx: Connection, job: str, progress: Mapping[str, Any]) -> None:
    """How far a running job is."""
    tx.execute(update(jobs).where(jobs.c.id == job, jobs.c.state == JobState.RUNNING.value).values(progress=dict(progress)))


def requeue(tx: Connection, row: JobRow, now_ms: int) -> None:
    """A job whose worker died waits again; what it had done is where its command keeps it."""
    values = {"state": JobState.QUEUED.value, "pid": None, "boot_id": None, "started_ms": None}
    _move(tx, row, (JobState.RUNNING,), values, now_ms)


def finish(tx: Connection, row: JobRow, state: JobState, result: Mapping[str, Any] | None, now_ms: int) -> None:
    """The end of a running job."""
    values = {"state": state.value, "result": None if result is None else dict(result), "ended_ms": now_ms}
    _move(tx, row, (JobState.RUNNING,), values, now_ms)


def cancel(tx: Connection, row: JobRow, now_ms: int) -> None:
    """End a job that has not ended; whoever runs it stops its process. RefusedError when it has."""
    values = {"state": JobState.CANCELLED.value, "ended_ms": now_ms}
    if not _move(tx, row, (JobState.QUEUED, JobState.RUNNING), values, now_ms, Actor.MANUAL):
        raise RefusedError(f"job {row.id} is {row.state} already", code="gate_failed")


def _move(
    tx: Connection, row: JobRow, before: tuple[JobState, ...], values: dict[str, Any], now_ms: int, actor: Actor = Actor.SYSTEM
) -> bool:
    allowed = jobs.c.state.in_([state.value for state in before])
    if not tx.execute(update(jobs).where(jobs.c.id == row.id, allowed).values(**values)).rowcount:
        return False
    _say(tx, get(tx, row.id), now_ms, actor)
    return True


def _say(tx: Connection, row: JobRow, now_ms: int, actor: Actor = Actor.SYSTEM) -> None:
    data = {"kind": row.kind, "state": row.state, "session": row.session}
    events.append(tx, EventKind.JOB_STATE, now_ms, actor=actor, subject=row.id, data=data)
