"""`drafts`: agents and algorithms that are being written with the assistant."""

from typing import TYPE_CHECKING, Annotated

import typer

from tradeagent.cli.complete import drafts as draft_names
from tradeagent.cli.group import lists
from tradeagent.cli.output import pairs, table
from tradeagent.cli.session import session

if TYPE_CHECKING:
    from tradeagent.assistant.drafts import Bench

app = typer.Typer(help="Agents and algorithms that are being written; saving makes a version.")
Reference = Annotated[str, typer.Argument(metavar="DRAFT", help="id, or the end of it", autocompletion=draft_names)]


@lists(app)
def list_(limit: Annotated[int, typer.Option(min=1, max=300, help="how many, last changed first")] = 50) -> None:
    """Drafts, last changed first."""
    from tradeagent.assistant.drafts import draft_dict
    from tradeagent.domain.clock import iso
    from tradeagent.ledger import drafts

    bench = _bench()
    with bench.ledger.reading() as tx:
        found = drafts.listed(tx, limit)
    rows = [draft_dict(bench, row) | {"session": row.session, "changed": iso(row.updated_ms)} for row in found]
    columns = ["draft", "kind", "name", "revision", "ready", "saved", "changed"]
    session().output.document(rows, table(rows, columns, empty='no drafts: tradeagent chat --mode authoring "draft an agent"'))


@app.command()
def show(draft: Reference) -> None:
    """One draft: how each section stands, and the text."""
    from tradeagent.assistant.drafts import draft_dict
    from tradeagent.ledger import drafts

    bench = _bench()
    with bench.ledger.reading() as tx:
        row = drafts.get(tx, draft)
    found = draft_dict(bench, row, with_text=True)
    head = pairs({key: value for key, value in found.items() if key not in ("chips", "text")})
    sections = table([{"section": name, **chip} for name, chip in found["chips"].items()], ["section", "state", "why"])
    session().output.document(found, f"{head}\n\n{sections}\n\n{found['text']}")


@app.command()
def save(draft: Reference) -> None:
    """Check everything and write it: an agent's folder or an algo's next version."""
    from tradeagent.assistant.drafts import save as save_draft

    bench = _bench()
    bench.workspace.require_writable()
    saved = save_draft(bench, draft)
    next_one = f"tradeagent run {saved.name} --mode dry-run" if saved.kind == "agent" else f"tradeagent backtest run {saved.name}"
    session().output.document(saved.as_dict(), f"saved {saved.kind} {saved.name}, version {saved.version}; next: {next_one}")


@app.command()
def rm(draft: Reference) -> None:
    """Delete a draft; what it was saved as stays."""
    from tradeagent.cli.confirm import confirmed
    from tradeagent.ledger import drafts

    current = session()
    current.workspace.require_writable()
    with current.ledger.reading() as tx:
        row = drafts.get(tx, draft)
    if row.saved is None:
        confirmed(f"delete draft {row.name}, which is not saved")
    with current.ledger.transaction() as tx:
        drafts.remove(tx, row)
    current.output.document({"draft": row.id, "removed": True}, f"removed draft {row.name}")


def _bench() -> "Bench":
    from tradeagent.runtime.cards import bench_of

    return bench_of(session().place)
