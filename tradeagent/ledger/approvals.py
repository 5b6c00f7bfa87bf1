"""Entries of a copilot agent that wait for a person: asked, answered once, or expired."""

from typing import Any

from sqlalchemy import Connection, insert, select, update

from tradeagent.domain.errors import NotFound, RefusedError
from tradeagent.domain.names import Actor, ApprovalState, EventKind
from tradeagent.ledger import events
from tradeagent.ledger.schema import approvals


def ask(tx: Connection, values: dict[str, Any]) -> None:
    """Put a question; `values` are the columns of the row less its state."""
    tx.execute(insert(approvals).values(state=ApprovalState.WAITING.value, **values))
    _say(tx, values["created_ms"], {**values, "state": ApprovalState.WAITING.value}, Actor.AGENT)


def waiting(tx: Connection) -> list[dict[str, Any]]:
    """Questions nobody has answered, oldest first."""
    query = select(approvals).where(approvals.c.state == ApprovalState.WAITING.value).order_by(approvals.c.created_ms)
    return [dict(row._mapping) for row in tx.execute(query)]


def get(tx: Connection, approval_id: str) -> dict[str, Any]:
    found = tx.execute(select(approvals).where(approvals.c.id == approval_id)).first()
    if found is None:
        raise NotFound(f"no approval {approval_id!r}", hint="`tradeagent approval list` shows what waits")
    return dict(found._mapping)


def decide(tx: Connection, approval_id: str, state: ApprovalState, now_ms: int, actor: Actor = Actor.MANUAL) -> dict[str, Any]:
    """Answer once; RefusedError when it was answered or has expired."""
    row = get(tx, approval_id)
    if row["state"] != ApprovalState.WAITING.value:
        raise RefusedError(f"approval {approval_id} is {row['state']} already", code="gate_failed")
    tx.execute(update(approvals).where(approvals.c.id == approval_id).values(state=state.value, decided_ms=now_ms))
    row["state"] = state.value
    _say(tx, now_ms, row, actor)
    return row


def _say(tx: Connection, now_ms: int, row: dict[str, Any], actor: Actor) -> None:
    data = {"state": row["state"], "plan": row["plan"], "expires_ms": row["expires_ms"]}
    events.append(
        tx, EventKind.APPROVAL_STATE, now_ms, wallet=row["wallet"], deployment=row["deployment"], actor=actor, subject=row["id"], data=data
    )
