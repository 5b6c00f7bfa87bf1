"""The markets a person keeps an eye on, each with a word why and who added it."""

from dataclasses import asdict, dataclass

from sqlalchemy import Connection, delete, func, select
from sqlalchemy.dialects.sqlite import insert as upsert

from tradeagent.domain.errors import NotFound, RefusedError
from tradeagent.ledger.minds_schema import watchlist

MOST, LONGEST_NOTE = 200, 200


@dataclass(frozen=True, slots=True)
class WatchRow:
    """One market; `actor` is who added it."""

    market: str
    note: str
    actor: str
    added_ms: int


def add(tx: Connection, row: WatchRow) -> bool:
    """Put a market on the list, or give one that is there its new note; whether it is new. RefusedError when the list is full."""
    known = tx.execute(select(watchlist.c.market).where(watchlist.c.market == row.market)).first() is not None
    if not known and int(tx.execute(select(func.count()).select_from(watchlist)).scalar_one()) >= MOST:
        raise RefusedError(f"watchlist: it holds {MOST} markets, as many as it can", hint="tradeagent watchlist remove MARKET", code="full")
    values = asdict(row)
    tx.execute(upsert(watchlist).values(**values).on_conflict_do_update(index_elements=["market"], set_={"note": row.note}))
    return not known


def remove(tx: Connection, market: str) -> None:
    """NotFound when it is not on the list."""
    if not tx.execute(delete(watchlist).where(watchlist.c.market == market)).rowcount:
        raise NotFound(f"watchlist: {market!r} is not on it", hint="get_watchlist, or `tradeagent watchlist list`, shows what is")


def listed(tx: Connection) -> list[WatchRow]:
    """By the time they were added."""
    query = select(watchlist).order_by(watchlist.c.added_ms, watchlist.c.market)
    return [WatchRow(**row._mapping) for row in tx.execute(query)]
