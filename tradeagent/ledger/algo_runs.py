"""What the ledger knows of an algo's runs that its state machine is rebuilt from: the last exit, and the last entry asked for since."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from sqlalchemy import Connection, func, select

from tradeagent.domain.names import IntentKind, OrderType
from tradeagent.ledger.schema import deployments, fills, intents, orders, round_trips

WITHDRAWN = "canceled"


@dataclass(frozen=True, slots=True)
class LastExit:
    """How the newest position of a controller ended; `price` is that of the fill that ended it."""

    time_ms: int
    direction: str
    reason: str
    price: Decimal


def last_exit(tx: Connection, wallet: str, market: str, controllers: Sequence[str]) -> LastExit | None:
    """The newest exit of any of these runs in a market."""
    trips = round_trips.c
    query = select(trips.closed_ms, trips.direction, trips.exit_reason, trips.exit_price).where(
        trips.wallet == wallet, trips.market == market, trips.controller_id.in_(controllers)
    )
    found = tx.execute(query.order_by(trips.seq.desc()).limit(1)).first()
    if found is None:
        return None
    ending = select(fills.c.price).where(fills.c.wallet == wallet, fills.c.market == market, fills.c.time_ms == found.closed_ms)
    price = tx.execute(ending.order_by(fills.c.seq.desc()).limit(1)).scalar_one_or_none()
    return LastExit(found.closed_ms, found.direction, found.exit_reason, found.exit_price if price is None else price)


def last_limit(tx: Connection, controller: str, market: str, since_ms: int) -> Decimal | None:
    """The price of the newest entry asked for since an instant, when that was a limit order that has neither filled nor been withdrawn;
    one that was refused counts, so that it is not asked for again at every close."""
    query = select(intents.c.id, intents.c.proposal).where(
        intents.c.controller_id == controller,
        intents.c.market == market,
        intents.c.kind.in_((IntentKind.OPEN.value, IntentKind.INCREASE.value)),
        intents.c.created_ms >= since_ms,
    )
    found = tx.execute(query.order_by(intents.c.created_ms.desc(), intents.c.id.desc()).limit(1)).first()
    if found is None or found.proposal.get("type") != OrderType.LIMIT.value:
        return None
    entry = select(orders.c.filled, orders.c.reason).where(orders.c.intent_id == found.id, orders.c.leg == "entry")
    order = tx.execute(entry).first()
    is_done = order is not None and (order.filled > 0 or order.reason == WITHDRAWN)
    return None if is_done else Decimal(found.proposal["price"])


def runs_of(tx: Connection, name: str, wallet: str) -> list[str]:
    """Ids of every run of an algo on a wallet."""
    query = select(deployments.c.id).where(deployments.c.kind == "algo", deployments.c.slug == name, deployments.c.wallet == wallet)
    return [row[0] for row in tx.execute(query)]


def next_number(tx: Connection, name: str) -> int:
    """The number of the next run of an algo."""
    query = select(func.max(deployments.c.number)).where(deployments.c.kind == "algo", deployments.c.slug == name)
    return (tx.execute(query).scalar() or 0) + 1
