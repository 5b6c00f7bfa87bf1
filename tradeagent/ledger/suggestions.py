"""What agents ask to have changed in their config, and what a person answered. A row changes nothing: config.yml does, once approved."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from sqlalchemy import Connection, bindparam, insert, select, update

from tradeagent.domain.errors import NotFound
from tradeagent.domain.names import Actor, EventKind, SuggestionState
from tradeagent.ledger import events
from tradeagent.ledger.direct import Read
from tradeagent.ledger.minds_schema import suggestions

_UNTOLD = Read(
    select(suggestions)
    .where(
        suggestions.c.slug == bindparam("the_slug"),
        suggestions.c.state != SuggestionState.OPEN.value,
        suggestions.c.told_ms.is_(None),
    )
    .order_by(suggestions.c.created_ms, suggestions.c.id)
)


@dataclass(frozen=True, slots=True)
class SuggestionRow:
    """One suggestion; `old` and `new` are values as YAML writes them, `base_version` the hash of the files it was made over."""

    id: str
    slug: str
    deployment: str | None
    tick: int | None
    key: str
    old: str
    new: str
    reason: str
    base_version: str
    state: str
    created_ms: int
    decided_ms: int | None = None
    told_ms: int | None = None
    note: str = ""

    @property
    def is_open(self) -> bool:
        return self.state == SuggestionState.OPEN.value


def add(tx: Connection, row: SuggestionRow) -> None:
    """Queue a suggestion, and say so in the feed."""
    tx.execute(insert(suggestions).values(**asdict(row)))
    _say(tx, row, Actor.AGENT, row.created_ms)


def get(tx: Connection, suggestion_id: str) -> SuggestionRow:
    """By id; NotFound names it."""
    found = tx.execute(select(suggestions).where(suggestions.c.id == suggestion_id)).first()
    if found is None:
        raise NotFound(f"no suggestion {suggestion_id!r}", hint="`tradeagent agent suggestions AGENT` lists them")
    return SuggestionRow(**found._mapping)


def of_agent(tx: Connection, slug: str, *, state: SuggestionState | None = None, limit: int = 200) -> list[SuggestionRow]:
    """Newest first."""
    query = select(suggestions).where(suggestions.c.slug == slug)
    if state is not None:
        query = query.where(suggestions.c.state == state.value)
    newest = query.order_by(suggestions.c.created_ms.desc(), suggestions.c.id.desc()).limit(limit)
    return [SuggestionRow(**row._mapping) for row in tx.execute(newest)]


def settle(tx: Connection, row: SuggestionRow, state: SuggestionState, note: str, now_ms: int, *, actor: Actor = Actor.MANUAL) -> bool:
    """Answer an open suggestion; False when it was answered meanwhile. What voids itself is nothing to tell the agent when replaced."""
    changed = tx.execute(
        update(suggestions)
        .where(suggestions.c.id == row.id, suggestions.c.state == SuggestionState.OPEN.value)
        .values(state=state.value, decided_ms=now_ms, note=note, told_ms=now_ms if actor is Actor.AGENT else None)
    )
    if changed.rowcount:
        _say(tx, SuggestionRow(**{**asdict(row), "state": state.value, "note": note}), actor, now_ms)
    return bool(changed.rowcount)


def untold(tx: Connection, slug: str) -> list[SuggestionRow]:
    """Answered, and the agent has not been shown the answer; oldest first."""
    return [SuggestionRow(**row) for row in _UNTOLD.dicts(tx, {"the_slug": slug})]


def tell(tx: Connection, ids: Sequence[str], now_ms: int) -> None:
    """The agent has been shown these answers."""
    if ids:
        tx.execute(update(suggestions).where(suggestions.c.id.in_(ids)).values(told_ms=now_ms))


def _say(tx: Connection, row: SuggestionRow, actor: Actor, now_ms: int) -> None:
    data = {"agent": row.slug, "key": row.key, "old": row.old, "new": row.new, "state": row.state, "note": row.note}
    events.append(tx, EventKind.SUGGESTION_STATE, now_ms, deployment=row.deployment, actor=actor, subject=row.id, data=data)
