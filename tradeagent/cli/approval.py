"""`approval`: entries of a copilot agent that wait for your answer."""

from typing import Annotated

import typer

from tradeagent.cli.output import table
from tradeagent.cli.session import session

app = typer.Typer(help="Answer a copilot agent: its entries wait two minutes for a yes.", no_args_is_help=True)
Id = Annotated[str, typer.Argument(help="approval id")]


@app.command(name="list")
def list_() -> None:
    """What waits for an answer, oldest first."""
    from tradeagent.domain.clock import iso
    from tradeagent.ledger import approvals

    with session().ledger.reading() as tx:
        found = approvals.waiting(tx)
    rows = [{"id": a["id"], "deployment": a["deployment"], "plan": a["plan"], "expires_at": iso(a["expires_ms"])} for a in found]
    keys = ("market", "side", "size", "entry", "stop", "target", "notional")
    shown = [{**row, **{key: row["plan"].get(key) for key in keys}} for row in rows]
    session().output.document(rows, table(shown, ["id", "deployment", *keys, "expires_at"], right=keys[2:], empty="nothing waits for you"))


@app.command()
def approve(approval_id: Id) -> None:
    """Let an entry go to the door, where every rule runs again on fresh prices."""
    _decide(approval_id, "approved")


@app.command()
def decline(approval_id: Id) -> None:
    """Refuse an entry; the agent is told so."""
    _decide(approval_id, "declined")


def _decide(approval_id: str, answer: str) -> None:
    from tradeagent.domain.names import ApprovalState
    from tradeagent.ledger import approvals

    current = session()
    current.workspace.require_writable()
    with current.ledger.transaction() as tx:
        row = approvals.decide(tx, approval_id, ApprovalState(answer), current.clock.now_ms())
    current.output.document({"id": row["id"], "state": row["state"]}, f"{row['id']} {row['state']}")
