"""Who may call over MCP: a token is shown once and kept as its SHA-256, so that reading the ledger lets nobody in."""

import hashlib
import hmac
import secrets
from dataclasses import asdict, dataclass

from sqlalchemy import Connection, insert, select, update

from tradeagent.domain.clock import MINUTE_MS
from tradeagent.domain.errors import InvalidInput, NotFound, RefusedError
from tradeagent.domain.names import Actor, EventKind, TokenScope
from tradeagent.ledger import events
from tradeagent.ledger.minds_schema import tokens
from tradeagent.ledger.reference import ending

PREFIX = "tat_"
_SECRET_BYTES = 32
_LONGEST_NAME = 60


@dataclass(frozen=True, slots=True)
class TokenRow:
    """A token without itself. Times UTC ms; `used_ms` is right to the minute."""

    id: str
    name: str
    scope: str
    hash: str
    created_ms: int
    used_ms: int | None = None
    revoked_ms: int | None = None


def issue(tx: Connection, token_id: str, name: str, scope: TokenScope, now_ms: int) -> str:
    """Make a token; the only time it is seen. InvalidInput for a name that is no short line of text."""
    if len(name) > _LONGEST_NAME or not name.isprintable():
        raise InvalidInput(f"name: not one line of at most {_LONGEST_NAME} characters", hint="name who will use it, like --name inspector")
    token = PREFIX + secrets.token_urlsafe(_SECRET_BYTES)
    row = TokenRow(token_id, name, scope.value, _hash(token), now_ms)
    tx.execute(insert(tokens).values(**asdict(row)))
    _say(tx, row, "made", now_ms)
    return token


def listed(tx: Connection) -> list[TokenRow]:
    """Newest first, revoked ones too."""
    return [TokenRow(**row._mapping) for row in tx.execute(select(tokens).order_by(tokens.c.created_ms.desc(), tokens.c.id.desc()))]


def get(tx: Connection, reference: str) -> TokenRow:
    """A token by its id or an unambiguous end of it. NotFound, which repeats nothing: what was given may be the token itself."""
    found = ending(tx, select(tokens), reference)
    if len(found) != 1:
        many = "more than one token ends so" if found else "there is no token of that id"
        raise NotFound(f"id: {many}", hint="`tradeagent token list` shows all ids")
    return TokenRow(**found[0]._mapping)


def revoke(tx: Connection, row: TokenRow, now_ms: int) -> None:
    """Let nobody in with it any more. RefusedError when it is revoked already."""
    still = tokens.c.revoked_ms.is_(None)
    if not tx.execute(update(tokens).where(tokens.c.id == row.id, still).values(revoked_ms=now_ms)).rowcount:
        raise RefusedError(f"token {row.id} is revoked already", hint="`tradeagent token list`", code="gate_failed")
    _say(tx, row, "revoked", now_ms)


def holder(tx: Connection, token: str) -> TokenRow | None:
    """Whose token this is; None for one that was never issued or is revoked. It takes as long for either."""
    given = _hash(token)
    found = None
    for row in tx.execute(select(tokens).where(tokens.c.revoked_ms.is_(None))):
        if hmac.compare_digest(row.hash, given):
            found = TokenRow(**row._mapping)
    return found


def touch(tx: Connection, row: TokenRow, now_ms: int) -> None:
    """Note that it was used."""
    tx.execute(update(tokens).where(tokens.c.id == row.id).values(used_ms=now_ms))


def is_touched(row: TokenRow, now_ms: int) -> bool:
    """Whether its last use is noted well enough."""
    return row.used_ms is not None and now_ms - row.used_ms < MINUTE_MS


def _say(tx: Connection, row: TokenRow, state: str, now_ms: int) -> None:
    data = {"token": state, "name": row.name, "scope": row.scope}
    events.append(tx, EventKind.CONFIG_CHANGED, now_ms, actor=Actor.MANUAL, subject=row.id, data=data)


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
