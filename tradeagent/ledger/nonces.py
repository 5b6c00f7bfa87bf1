"""Nonces of a signer: close to the wall clock, and strictly increasing whatever the clock does and however many processes take them."""

from sqlalchemy import Connection, func
from sqlalchemy.dialects.sqlite import insert as upsert

from tradeagent.ledger.direct import Write
from tradeagent.ledger.schema import nonces

_INSERT = upsert(nonces)
_TAKE = Write(
    _INSERT.on_conflict_do_update(index_elements=["signer"], set_={"last": func.max(nonces.c.last + 1, _INSERT.excluded.last)}).returning(
        nonces.c.last
    )
)


def take(tx: Connection, signer: str, now_ms: int) -> int:
    """The next nonce: the time in ms, or one more than the last when the clock has not moved on (hyperliquid.md §2.4)."""
    return int(_TAKE.returning(tx, {"signer": signer, "last": now_ms}))
