"""Levels that the venue does not keep for an entry: of one that filled in part, and of a trigger entry, which it takes no children with.

Children sent with an entry sleep until it has filled whole and end with one that did not, so what is filled meanwhile gets a stop of its
own, which grows with the fills. The ledger says who is not covered, so that a crash in between is made good by the next comparison.
"""

from dataclasses import replace
from decimal import Decimal

from sqlalchemy import Connection

from tradeagent.domain.errors import RefusedError, VenueError
from tradeagent.domain.money import ZERO, plain
from tradeagent.domain.names import Actor, ExitReason, IncidentCode, IntentKind, Level, OrderState, Side, VerdictKind
from tradeagent.domain.order import Proposal, Verdict
from tradeagent.execution.book import REDUCE_ONLY_CANCELLED
from tradeagent.execution.engine import ExecutionEngine
from tradeagent.execution.orders import cloid_of, is_held, order_request, trailing_of
from tradeagent.ledger import notes, trading
from tradeagent.ledger.trading import NET, OrderRow

UNKNOWN_THERE = "the venue does not know it"
REPLACED = "replaced"
PENDING = OrderState.PENDING.value


def cover(engine: ExecutionEngine) -> list[str]:
    """Place the levels that recent fills call for; what was done, in words. Costs nothing when there are none."""
    return [words for intent_id in engine.book.take_partial() for words in cover_intent(engine, intent_id)]


def uncovered(engine: ExecutionEngine, tx: Connection) -> list[str]:
    """Intents whose entry may lack its levels, as the ledger tells it."""
    live = trading.live_orders(tx, engine.wallet.name)
    found = [order.intent_id for order in live if is_held(order) or (order.leg == "entry" and order.filled)]
    for row in engine.book.rows:
        if row.trip is not None and row.controller_id != NET:
            entries = trading.entries_since(tx, engine.wallet.name, row.market, row.controller_id, row.trip["opened_ms"])
            found += [entry.intent_id for entry in entries if entry.filled]
    return list(dict.fromkeys(found))


def cover_intent(engine: ExecutionEngine, intent_id: str) -> list[str]:
    """Give what an entry has filled its stop, and its target once it fills no more; what was done, in words.

    Each part is covered once: one whose level the venue refused has been given up, and is not what its controller holds since.
    """
    with engine.ledger.reading() as tx:
        family = trading.orders_of_intent(tx, intent_id)
    entry = next((order for order in family if order.leg == "entry"), None)
    if entry is None or not entry.filled:
        return []
    sign, net = Side(entry.side).sign, engine.book.net(entry.market).size
    held = engine.book.held_by(entry.market, entry.controller_id) * sign
    done = []
    for leg in ("stop", "target"):
        rows = [order for order in family if order.leg == leg]
        child = next((order for order in rows if order.parent_cloid == entry.cloid), None)
        own = [o for o in rows if o.parent_cloid is None and o.reason != REPLACED and (o.oid is not None or _is_live(o))]
        refused = [o for o in rows if o.parent_cloid is None and o.state == OrderState.REJECTED.value]
        if child is None:
            continue
        cared_for = sum((order.size for order in own + refused), ZERO)
        guarded = sum((order.size - order.filled for order in own if _is_live(order)), ZERO)
        lack = min(entry.filled - cared_for, held - guarded, max(ZERO, net * sign) - guarded)
        if held <= 0:
            _drop_held(engine, entry, child)
        elif lack > 0 and _is_called_for(engine, entry, child):
            level = _level(engine, entry, child, lack, guarded, cared_for)
            done.append(_placed(engine, entry, level))
            _withdraw_replaced(engine, own if level.size > lack else [])
        elif _is_awake(entry, child):
            _withdraw_replaced(engine, own)
    return done


def send_level(engine: ExecutionEngine, level: OrderRow) -> str:
    """Write a level down, send it and book the answer; the venue's words when it would not take it."""
    with engine.transaction() as tx:
        asked = trading.intent(tx, level.intent_id)
        if trading.order(tx, level.cloid) is None:
            trading.add_orders(tx, [level])
        else:
            trading.update_order(
                tx, level.cloid, size=level.size, state=PENDING, reason="", created_ms=level.created_ms, updated_ms=level.updated_ms
            )
    trailing = trailing_of(asked["proposal"]) if asked is not None and level.leg == "stop" else {}
    request = replace(order_request(level), parent_cloid=None, trail=trailing.get("trail"), trail_rate=trailing.get("trail_rate"))
    try:
        with engine.gate.sending(reduces=True):
            report = engine.broker.place([request])[0]
        refused = report.reason if report.state is OrderState.REJECTED else ""
    except RefusedError as error:
        refused = error.message
    except VenueError:
        engine.is_unresolved = True
        return ""
    with engine.transaction() as tx:
        engine.sync(tx)
        if refused:
            trading.update_order(tx, level.cloid, state=OrderState.REJECTED.value, reason=refused)
        engine.book.flush(tx)
    return refused


def withdraw(engine: ExecutionEngine, cloid: str) -> None:
    """Cancel an order that another has replaced; one that is gone already is what was wanted."""
    try:
        with engine.gate.touching():
            engine.broker.cancel(cloid)
    except RefusedError:
        pass
    except VenueError:
        engine.is_unresolved = True
        return
    with engine.transaction() as tx:
        engine.sync(tx)
        engine.book.flush(tx)


def give_up(engine: ExecutionEngine, market: str, controller_id: str, size: Decimal, why: str) -> str:
    """Close what cannot have its stop at once, with an incident; what was done, in words. What stays bare is tried again at every bar."""
    closed = _close(engine, market, controller_id, size, why)
    is_closed = closed.kind is VerdictKind.EXECUTED
    engine.is_bare |= not is_closed
    end = "closed at the market" if is_closed else f"and it could not be closed: {closed.message or closed.rule or closed.kind}"
    message = f"{market} {plain(size)} of {controller_id} had no stop ({why}): {end}"
    note(engine, IncidentCode.NAKED_POSITION, Level.ERROR if is_closed else Level.CRITICAL, message, market)
    return message


def note(engine: ExecutionEngine, code: IncidentCode, level: Level, message: str, market: str) -> None:
    """Open an incident on this wallet."""
    deployment = engine.terms[Actor.SYSTEM].scope.deployment
    with engine.transaction() as tx:
        incident = notes.Incident(code, level, message, engine.wallet.name, deployment, {"market": market})
        notes.open_incident(tx, engine.clock.new_id(), incident, engine.clock.now_ms())


def _is_called_for(engine: ExecutionEngine, entry: OrderRow, child: OrderRow) -> bool:
    """Whether the venue does not keep a level for what an entry has filled; a target waits until it fills no more."""
    is_over = not _is_live(entry)
    if child.leg == "target" and not is_over:
        return False
    never_came = child.oid is None and child.reason == UNKNOWN_THERE
    is_lost = child.state == OrderState.CANCELLED.value and is_over and (entry.filled < entry.size or never_came)
    sleeps = child.state == PENDING and (not is_over or is_held(child))
    return sleeps or (is_lost and not _was_moved(engine, entry, child))


def _level(engine: ExecutionEngine, entry: OrderRow, child: OrderRow, lack: Decimal, guarded: Decimal, cared_for: Decimal) -> OrderRow:
    """The level for what is not covered yet, or for all that is guarded too when that alone is too small for an order.

    Its name follows from the entry and how much of it is cared for then, so that trying again after a crash is no second one.
    """
    now = engine.clock.now_ms()
    too_small = lack * (child.trigger or ZERO) < engine.markets[entry.market].instrument.min_notional
    level = replace(child, size=lack + guarded if too_small else lack, reason="", created_ms=now, updated_ms=now)
    if is_held(child) and not _is_live(entry):
        return level
    cloid = cloid_of(entry.intent_id, f"{child.leg}/{plain(cared_for + lack)}")
    return replace(level, cloid=cloid, filled=ZERO, oid=None, parent_cloid=None, state=PENDING)


def _withdraw_replaced(engine: ExecutionEngine, older: list[OrderRow]) -> None:
    """Cancel the levels of parts that one for more has replaced."""
    for order in older:
        if _is_live(order):
            withdraw(engine, order.cloid)
        with engine.transaction() as tx:
            trading.update_order(tx, order.cloid, reason=REPLACED)


def _is_live(order: OrderRow) -> bool:
    return OrderState(order.state).is_live


def _was_moved(engine: ExecutionEngine, entry: OrderRow, child: OrderRow) -> bool:
    """Whether the owner has placed another level since, for all that it holds."""
    with engine.ledger.reading() as tx:
        newest = trading.newest_level(tx, entry.wallet, entry.market, entry.controller_id, child.leg, Side(child.side))
    return newest is not None and newest.intent_id != entry.intent_id and newest.parent_cloid is None


def _is_awake(entry: OrderRow, child: OrderRow) -> bool:
    """Whether the venue has put a child to work, so that it covers the whole entry."""
    return not _is_live(entry) and _is_live(child) and child.state != PENDING


def _placed(engine: ExecutionEngine, entry: OrderRow, level: OrderRow) -> str:
    refused = send_level(engine, level)
    where = f"{level.leg} of {plain(level.size)} {level.market} at {plain(level.trigger or ZERO)}"
    if not refused:
        return f"{where} placed for what has filled"
    if level.leg == "target":
        return f"{where} refused: {refused}"
    if _is_live(entry):
        withdraw(engine, entry.cloid)  # what it fills from here on could not be protected either
    return give_up(engine, level.market, level.controller_id, level.size, f"venue: {refused}")


def _drop_held(engine: ExecutionEngine, entry: OrderRow, child: OrderRow) -> None:
    """Forget a held level when nothing is left of what its entry bought."""
    if is_held(child) and not _is_live(entry):
        with engine.transaction() as tx:
            trading.update_order(tx, child.cloid, state=OrderState.CANCELLED.value, reason=REDUCE_ONLY_CANCELLED)


def _close(engine: ExecutionEngine, market: str, controller_id: str, size: Decimal, why: str) -> Verdict:
    """Close one controller's inventory: at the mark, unless others hold this market too and their part would be taken."""
    holders = {row.controller_id for row in engine.book.rows if row.market == market and row.size and row.controller_id != NET}
    owner = next((actor for actor, terms in engine.terms.items() if terms.scope.controller_id == controller_id), Actor.SYSTEM)
    actor = owner if len(holders) > 1 and owner in (Actor.AGENT, Actor.ALGO) else Actor.SYSTEM
    _show_mark(engine, market)
    proposal = Proposal(
        market=market,
        side=Side.SELL if engine.book.held_by(market, controller_id) > 0 else Side.BUY,
        controller_id=engine.terms[actor].scope.controller_id,
        kind=IntentKind.CLOSE,
        size=size,
        reduce_only=True,
        exit_reason=ExitReason.STOP,
        reason=f"no stop: {why}",
    )
    return engine.submit_now(proposal, actor)


def _show_mark(engine: ExecutionEngine, market: str) -> None:
    """At a start no bar has been played yet: the mark that the ledger knows is what an exit is judged by."""
    seen, row = engine.markets[market], engine.book.net(market)
    if seen.mark is None and row.mark is not None:
        engine.markets[market] = replace(seen, mark=row.mark, mark_ms=row.mark_ms or 0)
