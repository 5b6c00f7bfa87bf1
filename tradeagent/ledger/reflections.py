"""Which closed trades of an agent it has not reflected on yet: what its notes say is in its folder, up to where they reach is here."""

from typing import Any

from sqlalchemy import Connection, bindparam, select

from tradeagent.domain.names import Actor
from tradeagent.ledger import notes
from tradeagent.ledger.direct import Read
from tradeagent.ledger.schema import deployments, round_trips

_MOST = 100
_AFTER = Read(
    select(round_trips)
    .join(deployments, deployments.c.id == round_trips.c.deployment)
    .where(deployments.c.slug == bindparam("slug"), deployments.c.kind == Actor.AGENT.value, round_trips.c.seq > bindparam("after"))
    .order_by(round_trips.c.seq.desc())
    .limit(_MOST)
)


def unreflected(tx: Connection, slug: str) -> list[dict[str, Any]]:
    """The newest hundred round trips of an agent's runs, on any wallet, that its notes do not know; oldest first."""
    return _AFTER.dicts(tx, {"slug": slug, "after": notes.setting(tx, _key(slug)) or 0})[::-1]


def reflected(tx: Connection, slug: str, seq: int) -> None:
    """The agent has rewritten its notes, knowing every round trip up to this one."""
    notes.put_setting(tx, _key(slug), seq)


def _key(slug: str) -> str:
    return f"reflected:{slug}"
