"""The append-only event feed: the audit trail, and what every screen follows."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, insert, select

from tradeagent.domain.names import Actor, EventKind, ReconcilePhase
from tradeagent.ledger.direct import Write
from tradeagent.ledger.schema import events

_INSERT = Write(insert(events))


def event(
    kind: EventKind,
    time_ms: int,
    *,
    wallet: str | None = None,
    deployment: str | None = None,
    actor: Actor = Actor.SYSTEM,
    subject: str = "",
    data: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """An event as its row, for `append_all`."""
    return {
        "time_ms": time_ms,
        "kind": kind.value,
        "wallet": wallet,
        "deployment": deployment,
        "actor": actor.value,
        "subject": subject,
        "data": data or {},
    }


def append(
    tx: Connection,
    kind: EventKind,
    time_ms: int,
    *,
    wallet: str | None = None,
    deployment: str | None = None,
    actor: Actor = Actor.SYSTEM,
    subject: str = "",
    data: dict[str, Any] | None = None,
) -> None:
    """Add one event; its `seq` follows commit order because writers are serialised."""
    _INSERT.one(tx, event(kind, time_ms, wallet=wallet, deployment=deployment, actor=actor, subject=subject, data=data))


def append_all(tx: Connection, rows: Sequence[dict[str, Any]]) -> None:
    """Add several events, in this order."""
    _INSERT.all(tx, rows)


def read(
    tx: Connection,
    *,
    after: int = 0,
    wallet: str | None = None,
    deployment: str | None = None,
    kinds: Sequence[str] = (),
    limit: int = 200,
    newest: bool = False,
) -> list[dict[str, Any]]:
    """Events with seq > `after`, oldest first; `newest` takes the last `limit` instead of the first."""
    query = select(events).where(events.c.seq > after)
    if wallet is not None:
        query = query.where(events.c.wallet == wallet)
    if deployment is not None:
        query = query.where(events.c.deployment == deployment)
    if kinds:
        # Of one wallet or deployment by its own index, which SQLite must be told: those of a kind may be mostly of others.
        kind = events.c.kind if wallet is None and deployment is None else events.c.kind.concat("")
        query = query.where(kind.in_(kinds))
    query = query.order_by(events.c.seq.desc() if newest else events.c.seq).limit(limit)
    rows = [dict(row._mapping) for row in tx.execute(query)]
    return rows[::-1] if newest else rows


def last_phase(tx: Connection, wallet: str) -> ReconcilePhase:
    """The phase of the last comparison of ledger and venue; a wallet that never ran has nothing to compare."""
    told = last_reconciliation(tx, wallet)
    return ReconcilePhase(told["phase"]) if told else ReconcilePhase.CONSISTENT


def last_reconciliation(tx: Connection, wallet: str) -> dict[str, Any]:
    """What the newest phase of comparing ledger and venue said: `{phase, cycles, repaired, …}` once it has ended."""
    found = read(tx, wallet=wallet, kinds=(EventKind.RECONCILE_PHASE.value,), limit=1, newest=True)
    return dict(found[0]["data"]) if found else {}
