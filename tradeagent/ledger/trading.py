"""Intents with their reservations, orders, fills, positions, funding, flows and round trips."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, Table, bindparam, func, insert, or_, select, update
from sqlalchemy.dialects.sqlite import insert as upsert

from tradeagent.domain.clock import DAY_MS
from tradeagent.domain.money import ZERO
from tradeagent.domain.names import IntentState, OrderState, Side
from tradeagent.domain.order import Fill, FundingPayment
from tradeagent.ledger.direct import Read, Write
from tradeagent.ledger.schema import (
    account_flows,
    equity_points,
    fills,
    funding_payments,
    intents,
    orders,
    positions,
    reservations,
    round_trips,
)

LIVE_ORDER_STATES = tuple(state.value for state in OrderState if state.is_live)
OPEN_INTENT_STATES = (IntentState.PENDING.value, IntentState.SENT.value, IntentState.UNKNOWN.value)
NET = ""


@dataclass(frozen=True, slots=True)
class PositionRow:
    """Inventory of one controller in one market; controller `NET` ("") is the venue's netted position."""

    wallet: str
    market: str
    controller_id: str
    size: Decimal = ZERO
    cost: Decimal = ZERO
    leverage: int = 1
    funding: Decimal = ZERO
    entries: int = 0
    trip: dict[str, Any] | None = None
    mark: Decimal | None = None
    mark_ms: int | None = None
    flat_ms: int | None = None
    updated_ms: int = 0


@dataclass(frozen=True, slots=True)
class Reservation:
    """Risk held for an intent that is not resolved yet."""

    intent_id: str
    wallet: str
    market: str
    controller_id: str
    deployment: str | None
    side: str
    size: Decimal
    price: Decimal
    risk: Decimal
    leverage: int


@dataclass(frozen=True, slots=True)
class OrderRow:
    """An order as the ledger knows it; `leg` is entry, stop, target or close."""

    cloid: str
    intent_id: str
    wallet: str
    deployment: str | None
    controller_id: str
    oid: int | None
    market: str
    side: str
    type: str
    leg: str
    size: Decimal
    filled: Decimal
    price: Decimal | None
    trigger: Decimal | None
    tif: str
    reduce_only: bool
    parent_cloid: str | None
    state: str
    reason: str
    created_ms: int
    updated_ms: int


def _replacing(table: Table, keys: list[str]) -> Any:
    """An upsert that replaces the row of the same key."""
    statement = upsert(table)
    kept = {column.name: statement.excluded[column.name] for column in table.c if column.name not in keys}
    return statement.on_conflict_do_update(index_elements=keys, set_=kept)


is_live_order = or_(*(orders.c.state == state for state in LIVE_ORDER_STATES))

# Statements of the hot path, built once: making one costs more than running it.
_ORDER_COLUMNS = tuple(orders.c[name] for name in OrderRow.__dataclass_fields__)
_OPEN_INTENTS = (
    select(intents).where(intents.c.wallet == bindparam("wallet"), intents.c.state.in_(OPEN_INTENT_STATES)).order_by(intents.c.created_ms)
)
_UNKNOWN_MARKETS = Read(
    select(intents.c.market).where(intents.c.wallet == bindparam("wallet"), intents.c.state == IntentState.UNKNOWN.value),
)
_REJECTIONS = Read(
    select(intents.c.rule, func.count())
    .where(
        intents.c.deployment == bindparam("deployment"),
        intents.c.created_ms >= bindparam("since_ms"),
        intents.c.state == IntentState.REJECTED.value,
    )
    .group_by(intents.c.rule)
)
_ACTIVE_RESERVATIONS = Read(
    select(*(reservations.c[name] for name in Reservation.__dataclass_fields__)).where(
        reservations.c.wallet == bindparam("wallet"), reservations.c.active
    )
)
_LIVE_ORDERS = Read(
    select(*_ORDER_COLUMNS).where(orders.c.wallet == bindparam("wallet"), is_live_order).order_by(orders.c.created_ms, orders.c.cloid)
)
_FILLS_AFTER = Read(
    select(fills.c.seq, fills.c.size, fills.c.price)
    .where(fills.c.deployment == bindparam("deployment"), fills.c.seq > bindparam("seq"))
    .order_by(fills.c.seq)
)
_TRIPS = select(round_trips).order_by(round_trips.c.seq.desc()).limit(bindparam("most"))
_TRIPS_OF_DEPLOYMENT = Read(_TRIPS.where(round_trips.c.deployment == bindparam("deployment")))
_TRIPS_OF_WALLET = Read(_TRIPS.where(round_trips.c.wallet == bindparam("wallet")))
_INTENT = Read(select(intents).where(intents.c.id == bindparam("the_id")))
_SET_INTENT = Write(update(intents).where(intents.c.id == bindparam("the_id")))
_RELEASE = Write(update(reservations).where(reservations.c.intent_id == bindparam("the_intent")).values(active=False))
_ORDER = Read(select(orders).where(orders.c.cloid == bindparam("the_cloid")))
_ORDERS_NAMED = select(*_ORDER_COLUMNS).where(orders.c.cloid.in_(bindparam("cloids", expanding=True)))
_ORDERS_OF_INTENT = Read(select(*_ORDER_COLUMNS).where(orders.c.intent_id == bindparam("the_intent")))
_FILLS_OF_ORDERS = select(fills).where(fills.c.cloid.in_(bindparam("cloids", expanding=True))).order_by(fills.c.seq)
_FILL_COUNT = Read(select(func.count()).where(fills.c.cloid == bindparam("the_cloid")))
_UPDATE_ORDER = Write(update(orders).where(orders.c.cloid == bindparam("the_cloid")))
_ADD_FILL = Write(upsert(fills).on_conflict_do_nothing(index_elements=["wallet", "trade_id"]))
_ADD_FUNDING = Write(upsert(funding_payments).on_conflict_do_nothing(index_elements=["wallet", "payment_id"]))
_ADD_FLOW = Write(upsert(account_flows).on_conflict_do_nothing(index_elements=["wallet", "flow_id"]))
_POSITIONS = Read(select(positions).where(positions.c.wallet == bindparam("wallet")))
_SAVE_POSITION = Write(_replacing(positions, ["wallet", "market", "controller_id"]))
_SAVE_EQUITY = Write(_replacing(equity_points, ["wallet", "time_ms"]))
_ADD_INTENT = Write(insert(intents))
_ADD_RESERVATION = Write(insert(reservations))
_ADD_ORDERS = Write(insert(orders))
_ADD_TRIP = Write(insert(round_trips))


def _columns(row: Any) -> dict[str, Any]:
    return {name: getattr(row, name) for name in row.__dataclass_fields__}


def add_intent(tx: Connection, values: dict[str, Any], reservation: Reservation | None, new_orders: Sequence[OrderRow]) -> None:
    """Insert an intent, the risk it reserves and the orders it will send: the write-ahead of the protocol (execution.md §4)."""
    _ADD_INTENT.one(tx, values)
    if reservation is not None:
        _ADD_RESERVATION.one(tx, {"active": True, **_columns(reservation)})
    _ADD_ORDERS.all(tx, [_columns(order) for order in new_orders])


def set_intent_state(tx: Connection, intent_id: str, state: IntentState, now_ms: int, detail: dict[str, Any] | None = None) -> None:
    """Move an intent on; leaving the open states releases its reservation."""
    values: dict[str, Any] = {"state": state.value, "updated_ms": now_ms}
    if detail is not None:
        values["detail"] = detail
    _SET_INTENT.one(tx, {"the_id": intent_id, **values})
    if state.value not in OPEN_INTENT_STATES:
        _RELEASE.one(tx, {"the_intent": intent_id})


def open_intents(tx: Connection, wallet: str) -> list[dict[str, Any]]:
    """Intents whose outcome is not recorded yet."""
    return [dict(row._mapping) for row in tx.execute(_OPEN_INTENTS, {"wallet": wallet})]


def unknown_markets(tx: Connection, wallet: str) -> frozenset[str]:
    """Markets with an intent whose outcome the venue did not tell."""
    return frozenset(market for (market,) in _UNKNOWN_MARKETS.rows(tx, {"wallet": wallet}))


def intent(tx: Connection, intent_id: str) -> dict[str, Any] | None:
    return next(iter(_INTENT.dicts(tx, {"the_id": intent_id})), None)


def recent_rejections(tx: Connection, deployment: str, since_ms: int) -> dict[str, int]:
    """Rejections by rule since an instant."""
    return {row[0]: row[1] for row in _REJECTIONS.rows(tx, {"deployment": deployment, "since_ms": since_ms})}


def intent_counts(tx: Connection, deployment: str) -> list[tuple[str, str | None, int]]:
    """(state, rule, count) of every intent of a deployment."""
    query = (
        select(intents.c.state, intents.c.rule, func.count())
        .where(intents.c.deployment == deployment)
        .group_by(intents.c.state, intents.c.rule)
    )
    return [(row[0], row[1], row[2]) for row in tx.execute(query)]


def active_reservations(tx: Connection, wallet: str) -> list[Reservation]:
    return [Reservation(**row) for row in _ACTIVE_RESERVATIONS.dicts(tx, {"wallet": wallet})]


def live_orders(tx: Connection, wallet: str) -> list[OrderRow]:
    return [OrderRow(*row) for row in _LIVE_ORDERS.rows(tx, {"wallet": wallet})]


def order(tx: Connection, cloid: str) -> OrderRow | None:
    found = _ORDER.dicts(tx, {"the_cloid": cloid})
    return OrderRow(**found[0]) if found else None


def orders_of_intent(tx: Connection, intent_id: str) -> list[OrderRow]:
    return [OrderRow(*row) for row in _ORDERS_OF_INTENT.rows(tx, {"the_intent": intent_id})]


def orders_named(tx: Connection, cloids: Sequence[str]) -> list[OrderRow]:
    return [OrderRow(*row) for row in tx.execute(_ORDERS_NAMED, {"cloids": cloids})] if cloids else []


def awaits_fills(tx: Connection, wallet: str, market: str, *, besides: str) -> bool:
    """Whether an order of another controller than `besides` has filled more, by the venue's word, than its fills add up to."""
    booked = select(orders.c.cloid, orders.c.filled, fills.c.size).select_from(orders.outerjoin(fills, fills.c.cloid == orders.c.cloid))
    asked = (orders.c.wallet == wallet) & (orders.c.market == market) & (orders.c.controller_id != besides) & (orders.c.filled != ZERO)
    left: dict[str, Decimal] = {}
    for cloid, filled, size in tx.execute(booked.where(asked)):
        left[cloid] = left.get(cloid, filled) - (size or ZERO)
    return any(rest > 0 for rest in left.values())


def update_order(tx: Connection, cloid: str, **values: Any) -> None:
    _UPDATE_ORDER.one(tx, {"the_cloid": cloid, **values})


def update_orders(tx: Connection, changes: Sequence[dict[str, Any]]) -> None:
    """Several changes in this order: the same columns in each, and `the_cloid` of its order."""
    _UPDATE_ORDER.all(tx, changes)


def add_orders(tx: Connection, rows: Sequence[OrderRow]) -> None:
    _ADD_ORDERS.all(tx, [_columns(row) for row in rows])


def newest_level(tx: Connection, wallet: str, market: str, controller_id: str, leg: str, side: Side) -> OrderRow | None:
    """The last stop or target of the same owner, market, leg and side, whatever became of it; refused and sleeping ones do not count."""
    of = {"wallet": wallet, "market": market, "controller_id": controller_id, "leg": leg, "side": side.value}
    same = [orders.c[name] == value for name, value in of.items()]
    query = select(*_ORDER_COLUMNS).where(*same, orders.c.state != OrderState.REJECTED.value)
    found = [OrderRow(*row) for row in tx.execute(query.order_by(orders.c.created_ms.desc(), orders.c.updated_ms.desc()).limit(100))]
    parents = {order.cloid: order for order in orders_named(tx, [o.parent_cloid for o in found if o.parent_cloid is not None])}
    return next((o for o in found if o.parent_cloid not in parents or parents[o.parent_cloid].filled), None)


def entries_since(tx: Connection, wallet: str, market: str, controller_id: str, since_ms: int) -> list[OrderRow]:
    """Entries of a controller in a market that something happened to at or after an instant."""
    of = (orders.c.wallet == wallet, orders.c.market == market, orders.c.controller_id == controller_id, orders.c.leg == "entry")
    return [OrderRow(*row) for row in tx.execute(select(*_ORDER_COLUMNS).where(*of, orders.c.updated_ms >= since_ms))]


def reassign_orders(tx: Connection, wallet: str, market: str, controller_id: str, to: str, deployment: str) -> None:
    """Give a controller's live orders in a market to another controller, of a deployment."""
    live = (orders.c.wallet == wallet, orders.c.market == market, orders.c.controller_id == controller_id)
    tx.execute(update(orders).where(*live, orders.c.state.in_(LIVE_ORDER_STATES)).values(controller_id=to, deployment=deployment))


def add_fill(tx: Connection, wallet: str, fill: Fill, owner: OrderRow | None) -> bool:
    """Record a fill once; False when its trade id is known already."""
    values = {
        "wallet": wallet,
        "trade_id": fill.trade_id,
        "deployment": owner.deployment if owner else None,
        "controller_id": owner.controller_id if owner else "unmanaged",
        "intent_id": owner.intent_id if owner else None,
        "oid": fill.oid,
        "cloid": fill.cloid,
        "market": fill.market,
        "side": fill.side.value,
        "size": fill.size,
        "price": fill.price,
        "fee": fill.fee,
        "liquidity": fill.liquidity.value,
        "realised_pnl": fill.realised_pnl,
        "exit_reason": fill.reason.value if fill.reason else None,
        "time_ms": fill.time_ms,
    }
    return bool(_ADD_FILL.one(tx, values))


def fills_of_orders(tx: Connection, cloids: Sequence[str]) -> list[dict[str, Any]]:
    """Every fill of some orders, oldest first."""
    return [dict(row._mapping) for row in tx.execute(_FILLS_OF_ORDERS, {"cloids": cloids})]


def fill_count(tx: Connection, cloid: str) -> int:
    """How many fills an order has."""
    [[count]] = _FILL_COUNT.rows(tx, {"the_cloid": cloid})
    return int(count)


def fills_of(tx: Connection, *, wallet: str | None = None, deployment: str | None = None, limit: int = 1000) -> list[dict[str, Any]]:
    """Newest `limit` fills, oldest first."""
    query = select(fills)
    if wallet is not None:
        query = query.where(fills.c.wallet == wallet)
    if deployment is not None:
        query = query.where(fills.c.deployment == deployment)
    return [dict(row._mapping) for row in tx.execute(query.order_by(fills.c.seq.desc()).limit(limit))][::-1]


def volume_after(tx: Connection, deployment: str, seq: int) -> tuple[Decimal, int]:
    """Notional of a deployment's fills after `seq`, quote units, and the newest seq."""
    rows = _FILLS_AFTER.rows(tx, {"deployment": deployment, "seq": seq})
    return sum((size * price for _, size, price in rows), ZERO), rows[-1][0] if rows else seq


def positions_of(tx: Connection, wallet: str) -> list[PositionRow]:
    """Every row of a wallet, flat ones too (they remember when the market went flat)."""
    return [PositionRow(**row) for row in _POSITIONS.dicts(tx, {"wallet": wallet})]


def save_positions(tx: Connection, rows: Sequence[PositionRow]) -> None:
    """Write rows whole; one of the same wallet, market and controller is replaced."""
    _SAVE_POSITION.all(tx, [_columns(row) for row in rows])


def add_funding(tx: Connection, wallet: str, payment: FundingPayment, deployment: str | None) -> bool:
    """Record a funding payment once."""
    values = {
        "wallet": wallet,
        "payment_id": payment.payment_id,
        "deployment": deployment,
        "market": payment.market,
        "size": payment.size,
        "oracle_price": payment.oracle_price,
        "rate": payment.rate,
        "payment": payment.payment,
        "time_ms": payment.time_ms,
    }
    return bool(_ADD_FUNDING.one(tx, values))


def add_flow(tx: Connection, wallet: str, flow_id: int, kind: str, amount: Decimal, time_ms: int) -> bool:
    """Record a deposit or withdrawal once."""
    values = {"wallet": wallet, "flow_id": flow_id, "kind": kind, "amount": amount, "time_ms": time_ms}
    return bool(_ADD_FLOW.one(tx, values))


def add_equity_point(tx: Connection, wallet: str, time_ms: int, equity: Decimal, cash: Decimal, nav: Decimal) -> None:
    values = {"wallet": wallet, "time_ms": time_ms, "equity": equity, "cash": cash, "nav": nav}
    _SAVE_EQUITY.one(tx, values)


def equity_points_of(tx: Connection, wallet: str, since_ms: int = 0, limit: int = 500) -> list[dict[str, Any]]:
    query = select(equity_points).where(equity_points.c.wallet == wallet, equity_points.c.time_ms >= since_ms)
    return [dict(row._mapping) for row in tx.execute(query.order_by(equity_points.c.time_ms.desc()).limit(limit))][::-1]


def daily_navs(tx: Connection, wallet: str, since_ms: int) -> list[Decimal]:
    """The last nav of each UTC day from the first equity point to the last, oldest first; a day without a point repeats the one before."""
    points = equity_points
    asked = (points.c.wallet == wallet, points.c.time_ms >= since_ms)
    last = select(func.max(points.c.time_ms)).where(*asked).group_by(points.c.time_ms - points.c.time_ms % DAY_MS)
    found = tx.execute(select(points.c.time_ms, points.c.nav).where(*asked, points.c.time_ms.in_(last)))
    of_day = {time_ms // DAY_MS: nav for time_ms, nav in found}
    navs: list[Decimal] = []
    for day in range(min(of_day), max(of_day) + 1) if of_day else ():
        navs.append(of_day[day] if day in of_day else navs[-1])
    return navs


def add_round_trip(tx: Connection, values: dict[str, Any]) -> None:
    _ADD_TRIP.one(tx, values)


def round_trips_of(tx: Connection, *, deployment: str | None = None, wallet: str | None = None, limit: int = 20) -> list[dict[str, Any]]:
    """Newest `limit` closed trades, oldest first."""
    if deployment is not None:
        rows = _TRIPS_OF_DEPLOYMENT.dicts(tx, {"deployment": deployment, "most": limit})
    else:
        rows = _TRIPS_OF_WALLET.dicts(tx, {"wallet": wallet, "most": limit})
    return rows[::-1]


def count_round_trips(tx: Connection, deployment: str) -> int:
    return int(tx.execute(select(func.count()).select_from(round_trips).where(round_trips.c.deployment == deployment)).scalar_one())
