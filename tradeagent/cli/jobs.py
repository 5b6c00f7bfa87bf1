"""`jobs`: long work that the assistant or a program asked for, and the worker that does it."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from tradeagent.cli.group import lists
from tradeagent.cli.output import pairs, table
from tradeagent.cli.session import session

if TYPE_CHECKING:
    from tradeagent.ledger.jobs import JobRow

app = typer.Typer(help="Long work asked for in a conversation or over MCP: searches, validations, downloads.")
Reference = Annotated[str, typer.Argument(help="id of the job, or the end of it")]


@lists(app)
def list_(limit: Annotated[int, typer.Option(min=1, max=1000, help="how many, newest first")] = 20) -> None:
    """Jobs, newest first. Example: tradeagent jobs list"""
    from tradeagent.ledger import jobs

    with session().ledger.reading() as tx:
        rows = [_shown(row) for row in jobs.listed(tx, limit)]
    columns = ["id", "kind", "state", "progress", "created", "took_s", "command"]
    lines = [row | {"progress": _far(row["progress"]), "created": row["created"][:16]} for row in rows]
    session().output.document(rows, table(lines, columns, right=("took_s",), empty="no jobs yet: the assistant queues them"))


@app.command()
def show(job: Reference) -> None:
    """One job with the document its command printed."""
    import json

    from tradeagent.ledger import jobs

    with session().ledger.reading() as tx:
        row = jobs.get(tx, job)
    document = _shown(row) | {"result": row.result}
    head = {key: value for key, value in document.items() if key not in ("result", "progress")}
    text = pairs(head | {"progress": _far(row.progress)})
    session().output.document(document, text if row.result is None else f"{text}\n\n{json.dumps(row.result, indent=2)}")


@app.command()
def cancel(job: Reference) -> None:
    """End a job that waits or runs; a search keeps its trials and goes on when it is asked for again."""
    from tradeagent.runtime import jobs

    row = jobs.cancel(session().place, job)
    session().output.document(_shown(row), f"job {row.id} is {row.state}")


@app.command()
def work() -> None:
    """Run the jobs that wait, then end. Started by itself when a conversation or a program queues one."""
    from tradeagent.runtime import jobs

    done = jobs.work(session().place)
    session().output.document({"done": done}, f"jobs run: {done}" if done else "no job waits, or another worker is at it")


def _shown(row: "JobRow") -> dict[str, Any]:
    from tradeagent.domain.clock import iso

    took = None if row.started_ms is None or row.ended_ms is None else round((row.ended_ms - row.started_ms) / 1000, 1)
    return {
        "id": row.id,
        "kind": row.kind,
        "state": row.state,
        "session": row.session,
        "command": " ".join(row.argv),
        "progress": row.progress,
        "created": iso(row.created_ms),
        "started": None if row.started_ms is None else iso(row.started_ms),
        "ended": None if row.ended_ms is None else iso(row.ended_ms),
        "took_s": took,
    }


def _far(progress: dict[str, Any] | None) -> str | None:
    return None if progress is None else f"{progress['done']}/{progress['total']}"
