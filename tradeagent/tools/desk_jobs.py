"""Long work from the desk: a row asks for one command of this product, whoever hosts the turn starts it, and the tool waits a while."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from tradeagent.domain.names import JobState
from tradeagent.llm.contract import ToolResult
from tradeagent.tools.desk import DeskContext

if TYPE_CHECKING:
    from tradeagent.ledger.jobs import JobRow

LOOK_EVERY_S = 0.2
WaitS = Annotated[int, Field(ge=0, le=60, description="seconds to wait for the result; after that its job id is the answer")]
Shape = Callable[[Mapping[str, Any]], dict[str, Any]]


async def in_a_job(context: DeskContext, kind: str, argv: Sequence[str], wait_s: int, shape: Shape) -> ToolResult:
    """Queue `tradeagent ARGV` and wait up to `wait_s`; `shape` makes a tool's answer of its JSON document."""
    from tradeagent.ledger import jobs

    job = context.clock.new_id()

    def add() -> None:
        with context.ledger.transaction() as tx:
            jobs.add(tx, job, kind, context.session, {"argv": list(argv)}, context.clock.now_ms())

    await asyncio.to_thread(add)
    until = context.clock.monotonic() + wait_s
    while True:
        with context.ledger.reading() as tx:
            row = jobs.get(tx, job)
        if context.watch_job is not None:
            await context.watch_job(row)
        if JobState(row.state) not in (JobState.QUEUED, JobState.RUNNING) or context.clock.monotonic() >= until:
            return job_answer(row, shape)
        await context.clock.sleep(LOOK_EVERY_S)


def job_answer(row: "JobRow", shape: Shape) -> ToolResult:
    """The result of a job that is done, what became of one that is not, or how far it is."""
    state = JobState(row.state)
    result = row.result or {}
    if state is JobState.DONE and "error" not in result:
        return ToolResult({"job": row.id, **shape(result)})
    if state in (JobState.QUEUED, JobState.RUNNING):
        progress = {} if row.progress is None else {"progress": row.progress}
        ask = "get_optimization" if row.kind in ("optimize", "cv") else "get_backtest_results"
        return ToolResult({"job": row.id, "state": row.state, **progress, "next": f"{ask} with this job id, a little later"})
    error = result.get("error")
    hint = f"tradeagent jobs show {row.id}"
    if not isinstance(error, Mapping):
        return ToolResult.error("job_failed", f"job {row.id} is {row.state}", hint)
    return ToolResult.error(str(error.get("code", "job_failed")), str(error.get("message", "")), str(error.get("hint") or hint))


def find_job(context: DeskContext, reference: str) -> "JobRow | None":
    """The job of that id, None when it is the id of something else."""
    from tradeagent.domain.errors import NotFound
    from tradeagent.ledger import jobs

    try:
        with context.ledger.reading() as tx:
            return jobs.get(tx, reference)
    except NotFound:
        return None
