"""Agents and algorithms that are being written: a draft is changed in place, and its revision counts the changes."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Connection, delete, insert, select, update

from tradeagent.ledger.minds_schema import drafts
from tradeagent.ledger.reference import the_one

MOST = 200


@dataclass(frozen=True, slots=True)
class DraftRow:
    """`kind` is agent or algo; `saved` names the version it was last saved as. Times UTC ms."""

    id: str
    session: str | None
    kind: str
    name: str
    body: dict[str, Any]
    revision: int
    saved: str | None
    created_ms: int
    updated_ms: int


def add(tx: Connection, row: DraftRow) -> None:
    """Begin a draft; beyond MOST the oldest that was saved goes."""
    tx.execute(insert(drafts).values(**asdict(row)))
    spare = select(drafts.c.id).where(drafts.c.saved.is_not(None)).order_by(drafts.c.updated_ms.desc()).offset(MOST)
    tx.execute(delete(drafts).where(drafts.c.id.in_(spare)))


def get(tx: Connection, reference: str) -> DraftRow:
    """A draft by its id or an unambiguous end of it. NotFound names it."""
    return DraftRow(**the_one(tx, select(drafts), reference, "draft", "`tradeagent drafts` lists them")._mapping)


def newest(tx: Connection, session: str | None, kind: str) -> DraftRow | None:
    """The draft of that kind which a conversation changed last."""
    query = select(drafts).where(drafts.c.kind == kind).order_by(drafts.c.updated_ms.desc(), drafts.c.id.desc()).limit(1)
    found = tx.execute(query.where(drafts.c.session == session)).first()
    return None if found is None else DraftRow(**found._mapping)


def listed(tx: Connection, limit: int = 50) -> list[DraftRow]:
    """Last changed first."""
    query = select(drafts).order_by(drafts.c.updated_ms.desc(), drafts.c.id.desc()).limit(limit)
    return [DraftRow(**row._mapping) for row in tx.execute(query)]


def change(tx: Connection, row: DraftRow, body: Mapping[str, Any], now_ms: int, *, name: str | None = None) -> DraftRow:
    """A new revision of a draft."""
    values = {"body": dict(body), "name": name or row.name, "revision": row.revision + 1, "updated_ms": now_ms}
    tx.execute(update(drafts).where(drafts.c.id == row.id).values(**values))
    return get(tx, row.id)


def saved(tx: Connection, row: DraftRow, version: str, now_ms: int) -> None:
    """Say which version a draft became."""
    tx.execute(update(drafts).where(drafts.c.id == row.id).values(saved=version, updated_ms=now_ms))


def remove(tx: Connection, row: DraftRow) -> None:
    tx.execute(delete(drafts).where(drafts.c.id == row.id))
