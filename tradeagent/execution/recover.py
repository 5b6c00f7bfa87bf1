"""Starting is recovering: settle what was in flight, book what was missed, and compare ledger and venue before anything new."""

from sqlalchemy import Connection

from tradeagent.domain.names import Actor, EventKind, IncidentCode, IntentKind, IntentState, Level, OrderState, ReconcilePhase
from tradeagent.domain.order import OrderReport
from tradeagent.execution.engine import ExecutionEngine
from tradeagent.ledger import events, notes, trading


def recover(engine: ExecutionEngine) -> ReconcilePhase:
    """Resolve open intents by asking the venue, book its news, compare. Entries wait until the answer is `consistent`."""
    engine.phase = ReconcilePhase.RECONCILING
    with engine.transaction() as tx:
        engine.sync(tx)
        resolved = [_resolve(engine, tx, intent) for intent in trading.open_intents(tx, engine.wallet.name)]
        for order in trading.live_orders(tx, engine.wallet.name):
            report = engine.broker.order_status(order.cloid)
            if report is None:
                trading.update_order(tx, order.cloid, state=OrderState.CANCELLED.value, reason="the venue does not know it")
            elif report.state.value != order.state:
                trading.update_order(tx, order.cloid, state=report.state.value, filled=report.filled, reason=report.reason, oid=report.oid)
        engine.book.flush(tx)
        differences = compare(engine)
        engine.phase = ReconcilePhase.FAILED if differences else ReconcilePhase.CONSISTENT
        now = engine.clock.now_ms()
        data = {"phase": engine.phase.value, "resolved": len(resolved), "differences": differences}
        events.append(tx, EventKind.RECONCILE_PHASE, now, wallet=engine.wallet.name, data=data)
        if differences:
            message = "ledger and venue differ: " + "; ".join(differences)
            incident = notes.Incident(IncidentCode.RECONCILE_MISMATCH, Level.CRITICAL, message, engine.wallet.name)
            notes.open_incident(tx, engine.clock.new_id(), incident, now)
        else:
            notes.close_incidents(tx, IncidentCode.RECONCILE_MISMATCH, now, wallet=engine.wallet.name)
            notes.close_incidents(tx, IncidentCode.UNKNOWN_INTENT, now, wallet=engine.wallet.name)
    return engine.phase


def compare(engine: ExecutionEngine) -> list[str]:
    """Differences of cash and positions between ledger and venue, in words; none when they agree to the last unit."""
    venue = engine.broker.account()
    found = []
    if venue.cash != engine.book.risk.cash:
        found.append(f"cash {engine.book.risk.cash} in the ledger, {venue.cash} at the venue")
    for market in sorted(set(venue.positions) | set(engine.book.held_markets)):
        net = engine.book.net(market)
        there = venue.positions.get(market)
        if there is None or there != (net.size, net.cost):
            found.append(f"{market} {net.size} (cost {net.cost}) in the ledger, {there[0] if there else 0} at the venue")
    return found


def _resolve(engine: ExecutionEngine, tx: Connection, intent: dict[str, object]) -> str:
    """An intent whose answer was never recorded: adopt what the venue knows; what never arrived is cancelled, not sent again."""
    intent_id = str(intent["id"])
    reports: list[OrderReport] = []
    for order in trading.orders_of_intent(tx, intent_id):
        report = engine.broker.order_status(order.cloid)
        if report is None:
            trading.update_order(tx, order.cloid, state=OrderState.CANCELLED.value, reason="never reached the venue")
        else:
            reports.append(report)
            trading.update_order(tx, order.cloid, state=report.state.value, filled=report.filled, reason=report.reason, oid=report.oid)
    state = IntentState.CANCELLED
    if reports:
        state = IntentState.VENUE_REJECTED if reports[0].state is OrderState.REJECTED else IntentState.EXECUTED
    if state is IntentState.EXECUTED and intent["kind"] in (IntentKind.OPEN.value, IntentKind.INCREASE.value):
        actor = Actor(str(intent["actor"]))
        engine.count_entry(actor if actor in engine.terms else Actor.SYSTEM)
    trading.set_intent_state(tx, intent_id, state, engine.clock.now_ms(), {"message": "resolved by asking the venue"})
    return state.value
