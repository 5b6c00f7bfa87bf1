"""The decision to do what a card says. It stands apart, so that the import contract keeps it from whatever a model can reach."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, update

from tradeagent.domain.names import Actor, CardState
from tradeagent.ledger.cards import CardRow, already, get, say
from tradeagent.ledger.minds_schema import cards


def commit(tx: Connection, row: CardRow, now_ms: int, *, said: Mapping[str, Any] | None = None) -> None:
    """Decide a waiting card, once, as `cards.settle` does."""
    waiting = update(cards).where(cards.c.id == row.id, cards.c.state == CardState.WAITING.value)
    if not tx.execute(waiting.values(state=CardState.COMMITTED.value, decided_ms=now_ms)).rowcount:
        raise already(get(tx, row.id))
    say(tx, get(tx, row.id), Actor.MANUAL, now_ms, said)
