"""The venue's word taken over into the ledger: answers that were never recorded, and orders, positions and leverage of another hand."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection

from tradeagent.brokers.protocol import BrokerOrder
from tradeagent.domain.money import plain
from tradeagent.domain.names import Actor, EventKind, IncidentCode, IntentKind, IntentState, Level, OrderState
from tradeagent.domain.order import OrderReport
from tradeagent.execution.book import UNMANAGED
from tradeagent.execution.engine import ExecutionEngine
from tradeagent.execution.levels import UNKNOWN_THERE
from tradeagent.execution.orders import expiry_ms, is_held
from tradeagent.ledger import events, notes, trading
from tradeagent.ledger.trading import OrderRow

CLOCKS_APART_MS = 5_000
MOST_INCIDENTS = 20
NEVER_CAME = "never reached the venue"


@dataclass(frozen=True, slots=True)
class View:
    """What the venue says about the orders of a wallet; `statuses` are of those that are not open there."""

    open: Mapping[str, BrokerOrder]
    statuses: Mapping[str, OrderReport | None]

    def report(self, cloid: str) -> OrderReport | None:
        there = self.open.get(cloid)
        if there is not None:
            return OrderReport(cloid, there.oid, there.state, there.filled, None, there.reason)
        return self.statuses.get(cloid)


def venue_key(order: BrokerOrder) -> str:
    """The name of a venue order in the ledger: its cloid, or its oid when it was placed without one."""
    return order.cloid or f"oid-{order.oid}"


def in_flight(engine: ExecutionEngine, created_ms: int) -> bool:
    """Whether an order written down then may still arrive at a venue that has not seen it."""
    return engine.broker.delivers_late and engine.clock.now_ms() <= expiry_ms(created_ms) + CLOCKS_APART_MS


def resolve(engine: ExecutionEngine, tx: Connection, intent: dict[str, Any], view: View) -> str:
    """An intent whose answer was never recorded: adopt what the venue knows; what never arrived is cancelled, not sent again."""
    rows, now = trading.orders_of_intent(tx, str(intent["id"])), engine.clock.now_ms()
    reports = {order.cloid: view.report(order.cloid) for order in rows if not is_held(order)}
    known = [report for report in reports.values() if report is not None]
    is_booked = any(order.filled for order in rows)  # the news told before a lagging answer did
    if is_booked and not known:
        return _end(engine, tx, intent, _counted(engine, intent), "resolved by its fills")
    if reports and not known and in_flight(engine, intent["created_ms"]):
        engine.is_unresolved = True
        if intent["state"] != IntentState.UNKNOWN.value:
            _end(engine, tx, intent, IntentState.UNKNOWN, "the venue does not know it yet")
        return ""
    for order in rows:
        report = reports.get(order.cloid)
        if report is not None:
            values = {"state": report.state.value, "filled": report.filled, "reason": report.reason, "oid": report.oid}
            trading.update_order(tx, order.cloid, **values)
        elif (not known or order.cloid in reports) and OrderState(order.state).is_live:
            trading.update_order(tx, order.cloid, state=OrderState.CANCELLED.value, reason=NEVER_CAME, updated_ms=now)
    state = IntentState.CANCELLED
    if known:
        is_refused = any(report.state is OrderState.REJECTED for report in known[:1])
        state = IntentState.VENUE_REJECTED if is_refused else _counted(engine, intent)
    return _end(engine, tx, intent, state, "resolved by asking the venue")


def _counted(engine: ExecutionEngine, intent: dict[str, Any]) -> IntentState:
    """Executed; an entry counts among those of today."""
    if intent["kind"] in (IntentKind.OPEN.value, IntentKind.INCREASE.value):
        actor = Actor(str(intent["actor"]))
        engine.count_entry(actor if actor in engine.terms else Actor.SYSTEM)
    return IntentState.EXECUTED


def _end(engine: ExecutionEngine, tx: Connection, intent: dict[str, Any], state: IntentState, why: str) -> str:
    trading.set_intent_state(tx, str(intent["id"]), state, engine.clock.now_ms(), {"message": why})
    data = {"state": state.value, "market": intent["market"], "kind": intent["kind"], "message": why}
    wallet, deployment, subject = engine.wallet.name, intent["deployment"], str(intent["id"])
    events.append(tx, EventKind.INTENT_STATE, engine.clock.now_ms(), wallet=wallet, deployment=deployment, subject=subject, data=data)
    return f"{intent['kind']} {intent['market']}: {state.value}, {why}"


def adopt_state(engine: ExecutionEngine, tx: Connection, order: OrderRow, view: View) -> str:
    """Take the venue's word on a live order of the ledger."""
    there, report = view.open.get(order.cloid), view.report(order.cloid)
    if is_held(order) or (report is None and in_flight(engine, order.created_ms)):
        return ""
    if report is None:
        told: dict[str, Any] = {"state": OrderState.CANCELLED.value, "reason": UNKNOWN_THERE}
    else:
        told = {"state": report.state.value, "filled": report.filled, "reason": report.reason, "oid": report.oid}
    if there is not None:
        told |= {"size": there.size, "price": there.price, "trigger": there.trigger}
    changed = {name: value for name, value in told.items() if getattr(order, name) != value}
    if not changed:
        return ""
    now = engine.clock.now_ms()
    trading.update_order(tx, order.cloid, **changed, updated_ms=now)
    data = {"market": order.market, "leg": order.leg, "state": told["state"], "filled": plain(told.get("filled", order.filled))}
    data |= {"reason": told["reason"]}
    wallet, deployment = engine.wallet.name, order.deployment
    events.append(tx, EventKind.ORDER_STATE, now, wallet=wallet, deployment=deployment, subject=order.cloid, data=data)
    return f"{order.leg} {order.market} {order.cloid}: {', '.join(sorted(changed))} as at the venue"


def adopt_strangers(engine: ExecutionEngine, tx: Connection, view: View) -> list[str]:
    """Orders at the venue that nobody here placed: known from now on as unmanaged, with an incident each, or one for many."""
    known = {order.cloid for order in trading.orders_named(tx, list(view.open))}
    strange = {cloid: order for cloid, order in view.open.items() if cloid not in known}
    done = [_adopt_order(engine, tx, cloid, order) for cloid, order in strange.items()]
    wallet = engine.wallet.name
    if len(done) > MOST_INCIDENTS:
        details: dict[str, Any] = {"orders": [order.oid for order in strange.values()], "fix": f"tradeagent order list --wallet {wallet}"}
        _report(engine, tx, Level.WARNING, f"{len(done)} orders were placed by another hand; they are unmanaged now", details)
        return done
    for message, (cloid, order) in zip(done, strange.items(), strict=True):
        details = {"order_id": str(order.oid), "market": order.market, "fix": f"tradeagent order cancel {cloid}"}
        _report(engine, tx, Level.INFO if order.reduce_only else Level.WARNING, message, details)
    return done


def _adopt_order(engine: ExecutionEngine, tx: Connection, cloid: str, order: BrokerOrder) -> str:
    now, wallet, intent_id = engine.clock.now_ms(), engine.wallet.name, engine.clock.new_id()
    kind = IntentKind.REDUCE if order.reduce_only else IntentKind.OPEN
    leg = "stop" if order.type.is_stop else "target" if order.type.is_target else "close"
    row = OrderRow(
        cloid=cloid,
        intent_id=intent_id,
        wallet=wallet,
        deployment=None,
        controller_id=UNMANAGED,
        oid=order.oid,
        market=order.market,
        side=order.side.value,
        type=order.type.value,
        leg=leg if order.reduce_only else "entry",
        size=order.size,
        filled=order.filled,
        price=order.price,
        trigger=order.trigger,
        tif=order.tif.value,
        reduce_only=order.reduce_only,
        parent_cloid=None,
        state=order.state.value,
        reason=order.reason,
        created_ms=now,
        updated_ms=now,
    )
    at = order.price if order.price is not None else order.trigger
    what = f"{order.side.value} {plain(order.size)} {order.market}" + (f" at {plain(at)}" if at is not None else "")
    message = f"{what} (order {order.oid}) was placed by another hand; it is unmanaged now"
    record_intent(engine, tx, row, kind, IntentState.EXECUTED, message)
    data = {"market": row.market, "leg": row.leg, "state": row.state, "filled": plain(row.filled), "reason": row.reason}
    events.append(tx, EventKind.ORDER_STATE, now, wallet=wallet, subject=cloid, data=data)
    return message


def _report(engine: ExecutionEngine, tx: Connection, level: Level, message: str, details: dict[str, Any]) -> None:
    """An incident about what somebody else has done at the venue."""
    incident = notes.Incident(IncidentCode.RECONCILE_MISMATCH, level, message, engine.wallet.name, _deployment(engine), details)
    notes.open_incident(tx, engine.clock.new_id(), incident, engine.clock.now_ms())


def record_intent(
    engine: ExecutionEngine,
    tx: Connection,
    row: OrderRow,
    kind: IntentKind,
    state: IntentState,
    message: str,
    trailing: Mapping[str, Decimal] | None = None,
) -> None:
    """The intent of an order that no proposal asked for, with its order."""
    said = {"market": row.market, "side": row.side, "type": row.type, "size": plain(row.size), "reason": message}
    values: dict[str, Any] = {
        "id": row.intent_id,
        "wallet": row.wallet,
        "deployment": row.deployment,
        "controller_id": row.controller_id,
        "actor": Actor.SYSTEM.value,
        "kind": kind.value,
        "market": row.market,
        "state": state.value,
        "proposal": said | {name: plain(value) for name, value in (trailing or {}).items()},
        "checks": [],
        "detail": {"message": message},
        "cloid": row.cloid,
        "fencing_token": engine.token,
        "created_ms": row.created_ms,
        "updated_ms": row.updated_ms,
    }
    trading.add_intent(tx, values, None, [row])


def name_unmanaged(engine: ExecutionEngine, tx: Connection, before: Mapping[str, Decimal]) -> None:
    """An incident for every position that somebody else opened; once for each size."""
    wallet = engine.wallet.name
    for row in engine.book.rows:
        if row.controller_id != UNMANAGED or not row.size or row.size == before.get(row.market):
            continue
        message = f"{row.market} {plain(row.size)} was opened by another hand and nobody manages it"
        details = {"market": row.market, "fix": f"tradeagent position close {row.market} --wallet {wallet}"}
        incident = notes.Incident(IncidentCode.UNMANAGED_POSITION, Level.WARNING, message, wallet, _deployment(engine), details)
        notes.open_incident(tx, engine.clock.new_id(), incident, engine.clock.now_ms())


def adopt_leverage(engine: ExecutionEngine, tx: Connection, there: Mapping[str, int], asking: set[str]) -> list[str]:
    """Leverage that another hand has set counts from now on; one of our own that was not written down does so silently."""
    done = []
    for market, leverage in there.items():
        known = engine.book.leverage(market)
        if known is None or known == leverage:
            continue
        engine.book.set_leverage(market, leverage)
        if market in asking:
            continue
        done.append(f"leverage of {market} is {leverage} at the venue, {known} in the ledger; the venue's counts")
        _report(engine, tx, Level.WARNING, done[-1], {"market": market})
    return done


def _deployment(engine: ExecutionEngine) -> str | None:
    return engine.terms[Actor.SYSTEM].scope.deployment
