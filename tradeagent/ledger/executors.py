"""Executors: one row each with its specification, what was laid out at its creation, and where it stands; and what its fills came to."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, bindparam, func, insert, or_, select, update

from tradeagent.domain.money import ZERO
from tradeagent.domain.names import ExecutorStatus
from tradeagent.ledger.direct import Read, Write
from tradeagent.ledger.schema import executors, fills, orders, reservations, round_trips

LIVE_STATUSES = (ExecutorStatus.CREATED.value, ExecutorStatus.ACTIVE.value)


@dataclass(frozen=True, slots=True)
class ExecutorRow:
    """One executor. `spec` is what was asked for, `layout` what follows from it and the price at its creation and never changes,
    `state` where it stands; money in quote units, the figures as of its last change."""

    id: str
    wallet: str
    deployment: str
    controller_id: str
    type: str
    market: str
    side: str
    status: str
    close_type: str | None
    detail: str
    spec: dict[str, Any]
    layout: dict[str, Any]
    amount_quote: Decimal
    created_ms: int
    updated_ms: int
    state: dict[str, Any] = field(default_factory=dict)
    net_pnl_quote: Decimal = ZERO
    fees_paid_quote: Decimal = ZERO
    volume_quote: Decimal = ZERO
    ended_ms: int | None = None

    @property
    def is_live(self) -> bool:
        return self.status in LIVE_STATUSES


@dataclass(frozen=True, slots=True)
class Turnover:
    """What some fills came to, quote units: gross realised PnL, fees, Σ size × price."""

    realised: Decimal = ZERO
    fees: Decimal = ZERO
    volume: Decimal = ZERO


is_live = or_(*(executors.c.status == status for status in LIVE_STATUSES))
_COLUMNS = tuple(executors.c[name] for name in ExecutorRow.__dataclass_fields__)
_OF_DEPLOYMENT = Read(
    select(*_COLUMNS)
    .where(executors.c.deployment == bindparam("deployment"), is_live | (executors.c.ended_ms >= bindparam("since_ms")))
    .order_by(executors.c.created_ms.desc(), executors.c.id.desc())
    .limit(bindparam("most"))
)
_LIVE = Read(select(*_COLUMNS).where(executors.c.wallet == bindparam("wallet"), is_live).order_by(executors.c.created_ms, executors.c.id))
_FILLS = select(fills.c.realised_pnl, fills.c.fee, fills.c.size, fills.c.price)
_SAVE = Write(update(executors).where(executors.c.id == bindparam("the_id")))
_RESERVE = Write(update(reservations).where(reservations.c.intent_id == bindparam("the_intent")))


def add(tx: Connection, row: ExecutorRow) -> None:
    tx.execute(insert(executors).values(**{name: getattr(row, name) for name in ExecutorRow.__dataclass_fields__}))


def save(tx: Connection, executor_id: str, **values: Any) -> None:
    _SAVE.one(tx, {"the_id": executor_id, **values})


def find(tx: Connection, executor_id: str) -> ExecutorRow | None:
    found = tx.execute(select(*_COLUMNS).where(executors.c.id == executor_id)).first()
    return ExecutorRow(**found._mapping) if found else None


def live(tx: Connection, wallet: str) -> list[ExecutorRow]:
    """Executors of a wallet that have not ended, oldest first."""
    names = tuple(ExecutorRow.__dataclass_fields__)
    return [ExecutorRow(**dict(zip(names, row, strict=True))) for row in _LIVE.rows(tx, {"wallet": wallet})]


def live_count(tx: Connection, deployment: str | None) -> int:
    """How many executors of a deployment have not ended."""
    query = select(func.count()).where(executors.c.deployment == deployment, is_live)
    return int(tx.execute(query).scalar_one())


def of_deployment(tx: Connection, deployment: str, *, ended_since_ms: int = 0, limit: int = 100) -> list[ExecutorRow]:
    """Executors of a deployment, oldest first: the live ones, and those that ended at or after an instant (0 = all)."""
    asked = {"deployment": deployment, "since_ms": ended_since_ms, "most": limit}
    return [ExecutorRow(**row) for row in _OF_DEPLOYMENT.dicts(tx, asked)][::-1]


def keep_reserved(tx: Connection, intent_id: str, size: Decimal, risk: Decimal) -> None:
    """What of its plan an executor still reserves: base units and quote units at risk; nothing ends the reservation."""
    _RESERVE.one(tx, {"the_intent": intent_id, "size": size, "risk": risk, "active": size > 0})


def move_reservation(tx: Connection, intent_id: str, controller_id: str, deployment: str) -> None:
    _RESERVE.one(tx, {"the_intent": intent_id, "controller_id": controller_id, "deployment": deployment})


def closed_trips(tx: Connection, controllers: Sequence[str]) -> list[tuple[Decimal, Decimal]]:
    """(net PnL, fees) of every finished trade of some controllers, quote units."""
    query = select(round_trips.c.pnl, round_trips.c.fees).where(round_trips.c.controller_id.in_(controllers))
    return [(row[0], row[1]) for row in tx.execute(query)]


def turnover_of_controllers(tx: Connection, controllers: Sequence[str]) -> Turnover:
    """What the fills of some controllers' own orders came to."""
    return _turnover(tx, _FILLS.where(fills.c.controller_id.in_(controllers)))


def turnover_of_children(tx: Connection, executor_id: str) -> Turnover:
    """What the fills of an executor's child orders came to, whoever's inventory they moved."""
    own = select(orders.c.cloid).where(orders.c.intent_id > f"{executor_id}.", orders.c.intent_id < f"{executor_id}/")
    return _turnover(tx, _FILLS.where(fills.c.cloid.in_(own)))


def last_fill(tx: Connection, controllers: Sequence[str]) -> dict[str, Any] | None:
    """The newest fill of some controllers' own orders."""
    query = select(fills).where(fills.c.controller_id.in_(controllers)).order_by(fills.c.seq.desc()).limit(1)
    found = tx.execute(query).first()
    return dict(found._mapping) if found else None


def _turnover(tx: Connection, query: Any) -> Turnover:
    rows = tx.execute(query).all()
    realised, fees = sum((row[0] for row in rows), ZERO), sum((row[1] for row in rows), ZERO)
    return Turnover(realised, fees, sum((row[2] * row[3] for row in rows), ZERO))
