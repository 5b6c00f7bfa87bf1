"""Actions that were prepared and wait for a person. A card is decided once: committed, dismissed, void or expired.

`committed` is recorded before the action, its result after: a crash in between leaves a card without a result, which is told, not repeated.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Connection, insert, select, update

from tradeagent.domain.errors import Defect, RefusedError
from tradeagent.domain.names import Actor, CardState, EventKind
from tradeagent.ledger import events
from tradeagent.ledger.minds_schema import cards
from tradeagent.ledger.reference import the_one


@dataclass(frozen=True, slots=True)
class CardRow:
    """`action` is what will be done, argument by argument; `seen` the fingerprint of all that `consequences` follow from;
    `hash` covers everything a person reads. Times UTC ms."""

    id: str
    session: str | None
    kind: str
    target: str
    action: dict[str, Any]
    consequences: dict[str, Any]
    seen: str
    hash: str
    state: str
    created_ms: int
    expires_ms: int
    decided_ms: int | None = None
    result: dict[str, Any] | None = None


def add(tx: Connection, row: CardRow) -> None:
    """Put a card before the person."""
    tx.execute(insert(cards).values(**asdict(row)))
    say(tx, row, Actor.SYSTEM, row.created_ms)


def get(tx: Connection, reference: str) -> CardRow:
    """A card by its id or an unambiguous end of it. NotFound names it."""
    return CardRow(**the_one(tx, select(cards), reference, "card", "`tradeagent confirm --list` shows what waits")._mapping)


def listed(tx: Connection, *, state: CardState | None = None, session: str | None = None, limit: int = 50) -> list[CardRow]:
    """Newest first."""
    query = select(cards).order_by(cards.c.created_ms.desc(), cards.c.id.desc()).limit(limit)
    if state is not None:
        query = query.where(cards.c.state == state.value)
    if session is not None:
        query = query.where(cards.c.session == session)
    return [CardRow(**row._mapping) for row in tx.execute(query)]


def settle(
    tx: Connection, row: CardRow, state: CardState, now_ms: int, *, actor: Actor = Actor.MANUAL, said: Mapping[str, Any] | None = None
) -> None:
    """Decide a waiting card against doing it, once; `said` goes into the feed. RefusedError when somebody was faster."""
    if state is CardState.COMMITTED:
        raise Defect("a card is committed by `ledger.card_commits`")
    waiting = update(cards).where(cards.c.id == row.id, cards.c.state == CardState.WAITING.value)
    if not tx.execute(waiting.values(state=state.value, decided_ms=now_ms)).rowcount:
        raise already(get(tx, row.id))
    say(tx, get(tx, row.id), actor, now_ms, said)


def already(row: CardRow) -> RefusedError:
    """Why a card is not decided again."""
    return RefusedError(f"card {row.id} is {row.state} already", hint="ask for a new one", code="gate_failed", details={"state": row.state})


def finish(tx: Connection, row: CardRow, state: CardState, result: Mapping[str, Any], now_ms: int) -> None:
    """What a committed action came to."""
    done = update(cards).where(cards.c.id == row.id, cards.c.state == CardState.COMMITTED.value)
    tx.execute(done.values(state=state.value, result=dict(result)))
    if state is not CardState.COMMITTED:
        say(tx, get(tx, row.id), Actor.SYSTEM, now_ms)


def say(tx: Connection, row: CardRow, actor: Actor, now_ms: int, said: Mapping[str, Any] | None = None) -> None:
    """Put a card's state into the feed."""
    data = {"kind": row.kind, "target": row.target, "state": row.state, "hash": row.hash, **(said or {})}
    events.append(tx, EventKind.CARD_STATE, now_ms, actor=actor, subject=row.id, data=data)
