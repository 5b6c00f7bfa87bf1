"""What a comparison puts right: intents without an answer, orders and positions of another hand, stops that are missing or left over."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection

from tradeagent.brokers.protocol import Activity, BrokerOrder, CashFlow
from tradeagent.domain.money import ZERO, plain
from tradeagent.domain.names import Actor, IncidentCode, IntentKind, IntentState, Level, OrderState, OrderType, Side
from tradeagent.domain.order import Fill
from tradeagent.execution.adoption import (
    View,
    adopt_leverage,
    adopt_state,
    adopt_strangers,
    name_unmanaged,
    record_intent,
    resolve,
    venue_key,
)
from tradeagent.execution.book import UNMANAGED
from tradeagent.execution.engine import ExecutionEngine
from tradeagent.execution.levels import cover_intent, give_up, note, send_level, uncovered, withdraw
from tradeagent.execution.orders import cloid_of, is_held, trailing_of
from tradeagent.execution.reading import limits_in
from tradeagent.execution.state import MANUAL_CONTROLLER
from tradeagent.ledger import runs, trading
from tradeagent.ledger.trading import NET, OrderRow


@dataclass(frozen=True, slots=True)
class Lack:
    """A part of a position without the stop that it must have, base units; `own` are the stops that its controller does have."""

    market: str
    controller_id: str
    size: Decimal
    own: tuple[BrokerOrder, ...] = ()


def repair(engine: ExecutionEngine, suspects: dict[str, tuple[Decimal, Decimal]]) -> list[str]:
    """Book what was missed and put right what differs; what was done, in words.

    A position that no fill explains is adopted when it was among the `suspects` of the cycle before: news and account are two readings, and
    one of them may lag. The suspects of this cycle replace them. Where an order of ours has filled more than is booked, a fill that comes
    late explains it.
    """
    view, news, account = _look(engine)
    unmanaged = {row.market: row.size for row in engine.book.rows if row.controller_id == UNMANAGED}
    with engine.transaction() as tx:
        engine.sync(tx, news)
        done = _told(news)
        asking = trading.open_intents(tx, engine.wallet.name)
        done += filter(None, [resolve(engine, tx, intent, view) for intent in asking])
        done += filter(None, [adopt_state(engine, tx, order, view) for order in trading.live_orders(tx, engine.wallet.name)])
        done += adopt_strangers(engine, tx, view)
        strange = {market: held for market, held in account.positions.items() if held[0] and not engine.book.net(market).size}
        for market, (size, cost) in strange.items():
            if suspects.get(market) == (size, cost) and not _awaits_fills(engine, tx, market):
                engine.book.adopt(tx, market, size, cost, engine.clock.now_ms())
                done.append(f"{market} {plain(size)} adopted: no fill explains it")
        suspects.clear()
        suspects |= strange
        name_unmanaged(engine, tx, unmanaged)
        done += adopt_leverage(engine, tx, account.leverage, {intent["market"] for intent in asking})
        engine.book.flush(tx)
        bare = uncovered(engine, tx)
    for intent_id in bare:
        done += cover_intent(engine, intent_id)
    engine.book.take_partial()
    return done + _withdraw_orphans(engine) + replace_stops(engine)


def naked(engine: ExecutionEngine, tx: Connection, there: Sequence[BrokerOrder], *, everyone: bool = False) -> list[Lack]:
    """The parts of positions whose stop is not really at the venue: right side, size, reduce-only, awake.

    Of those whose limits require a stop, or of `everyone`.
    A part too small for an order of its own counts where it can join a stop of its controller; where there is none, no venue takes one.
    """
    book, found = engine.book, []
    owners = {order.cloid: order.controller_id for order in trading.live_orders(tx, engine.wallet.name)}
    for market in book.held_markets:
        net = book.net(market).size
        rows = [r for r in book.rows if r.market == market and r.size * net > 0 and r.controller_id not in (NET, UNMANAGED)]
        needing = [(row.controller_id, abs(row.size)) for row in rows if everyone or must_have_stop(engine, tx, row.controller_id)]
        guards = [order for order in there if _guards(order, market, net)]
        short = min(abs(net), sum((size for _, size in needing), ZERO)) - sum((o.size - o.filled for o in guards), ZERO)
        for controller_id, size in needing:
            own = tuple(order for order in guards if owners.get(order.cloid) == controller_id)
            lack = min(short, size - sum((order.size - order.filled for order in own), ZERO))
            if lack > 0 and (own or not _is_dust(engine, market, lack)):
                found.append(Lack(market, controller_id, lack, own))
                short -= lack
    return found


def _look(engine: ExecutionEngine) -> tuple[View, Sequence[Activity], Any]:
    """Ask the venue, outside any transaction: its open orders first, so that what fills meanwhile is in the news."""
    there = {venue_key(order): order for order in engine.broker.open_orders()}
    news = engine.news()
    with engine.ledger.reading() as tx:
        rows = list(trading.live_orders(tx, engine.wallet.name))
        for intent in trading.open_intents(tx, engine.wallet.name):
            rows += trading.orders_of_intent(tx, str(intent["id"]))
    asked = dict.fromkeys(order.cloid for order in rows if not is_held(order) and order.cloid not in there)
    return View(there, {cloid: engine.broker.order_status(cloid) for cloid in asked}), news, engine.broker.account()


def _told(news: Sequence[Activity]) -> list[str]:
    """What the news of the venue add to the books."""
    fills = sum(isinstance(one.item, Fill) for one in news)
    flows = [one.item for one in news if isinstance(one.item, CashFlow)]
    return ([f"{fills} missed fill(s) booked"] if fills else []) + [f"flow of {plain(flow.amount)} booked" for flow in flows]


def _withdraw_orphans(engine: ExecutionEngine) -> list[str]:
    """Cancel protection that has nothing to protect, and a stop that could open something."""
    done = []
    there = {venue_key(order): order for order in engine.broker.open_orders()}
    with engine.ledger.reading() as tx:
        rows = {order.cloid: order for order in trading.live_orders(tx, engine.wallet.name)}
    for cloid, order in there.items():
        row = rows.get(cloid)
        if order.waits or row is None or row.leg not in ("stop", "target"):
            continue
        name = f"{row.leg} of {plain(order.size)} {order.market} at {plain(order.trigger or ZERO)}"
        is_orphan = engine.book.net(order.market).size * order.side.sign >= 0
        if not order.reduce_only:
            done.append(f"the {name} was not reduce-only: cancelled")
            note(engine, IncidentCode.MISSING_STOP, Level.ERROR, done[-1], order.market)
        elif not (is_orphan or _is_left_over(engine, row)) or _guards_late_fills(engine, order.market):
            continue
        elif is_orphan:
            done.append(f"the {name} protected nothing: cancelled")
            note(engine, IncidentCode.ORPHAN_STOP, Level.WARNING, done[-1], order.market)
        else:
            done.append(f"the {name} of {row.controller_id} protected nothing of its own: cancelled")
        withdraw(engine, cloid)
    return done


def _guards_late_fills(engine: ExecutionEngine, market: str) -> bool:
    """Whether what a stop guards may be at the venue already, and its fill still to be told."""
    with engine.ledger.reading() as tx:
        return _awaits_fills(engine, tx, market)


def _awaits_fills(engine: ExecutionEngine, tx: Connection, market: str) -> bool:
    return trading.awaits_fills(tx, engine.wallet.name, market, besides=UNMANAGED)


def _is_left_over(engine: ExecutionEngine, row: OrderRow) -> bool:
    """Whether a level's owner holds nothing that it could close; a person's and the system's levels guard the whole."""
    if row.controller_id in (MANUAL_CONTROLLER, UNMANAGED, engine.terms[Actor.SYSTEM].scope.controller_id):
        return False
    return engine.book.held_by(row.market, row.controller_id) * Side(row.side).sign >= 0


def replace_stops(engine: ExecutionEngine, *, is_news: bool = True) -> list[str]:
    """Place a missing stop again at its last known level, or close what cannot have one. What the door did itself is no news."""
    there = engine.broker.open_orders()
    with engine.ledger.reading() as tx:
        lacking = [(lack, _last_stop(engine, tx, lack)) for lack in naked(engine, tx, there)]
    done = []
    for lack, last in lacking:
        size = lack.size
        if _is_dust(engine, lack.market, size):
            size += sum((order.size - order.filled for order in lack.own), ZERO)
            for order in lack.own:
                withdraw(engine, venue_key(order))
        refused = "no level is known" if last is None else _place_again(engine, last, size)
        if refused or last is None:
            done.append(give_up(engine, lack.market, lack.controller_id, lack.size, refused))
            continue
        at = plain(last.trigger or ZERO)
        done.append(f"{lack.market} {plain(lack.size)} of {lack.controller_id} had no stop at the venue: placed again at {at}")
        if is_news:
            note(engine, IncidentCode.MISSING_STOP, Level.ERROR, done[-1], lack.market)
    return done


def _is_dust(engine: ExecutionEngine, market: str, size: Decimal) -> bool:
    """Whether a size is worth less than the venue's smallest order."""
    mark = engine.book.net(market).mark
    return mark is not None and size * mark < engine.markets[market].instrument.min_notional


def _place_again(engine: ExecutionEngine, last: OrderRow, size: Decimal) -> str:
    """A stop like the last one, as an intent of its own; why the venue would not take it."""
    now, intent_id = engine.clock.now_ms(), engine.clock.new_id()
    again = replace(
        last,
        cloid=cloid_of(intent_id, "stop"),
        intent_id=intent_id,
        type=OrderType.STOP_MARKET.value,
        size=size,
        filled=ZERO,
        oid=None,
        price=None,
        parent_cloid=None,
        reduce_only=True,
        state=OrderState.PENDING.value,
        reason="",
        created_ms=now,
        updated_ms=now,
    )
    with engine.transaction() as tx:
        asked = trading.intent(tx, last.intent_id)
        trailing = trailing_of(asked["proposal"]) if asked is not None else {}
        record_intent(engine, tx, again, IntentKind.UPDATE, IntentState.PENDING, "a stop that was missing", trailing)
    refused = send_level(engine, again)
    with engine.transaction() as tx:
        placed = trading.order(tx, again.cloid)
        if refused or (placed is not None and placed.oid is not None):
            state = IntentState.VENUE_REJECTED if refused else IntentState.EXECUTED
            trading.set_intent_state(tx, intent_id, state, now, {"message": refused} if refused else None)
    return f"venue: {refused}" if refused else ""


def _last_stop(engine: ExecutionEngine, tx: Connection, lack: Lack) -> OrderRow | None:
    """The newest stop of a controller in a market that would close what it holds now."""
    side = Side.SELL if engine.book.net(lack.market).size > 0 else Side.BUY
    return trading.newest_level(tx, engine.wallet.name, lack.market, lack.controller_id, "stop", side)


def must_have_stop(engine: ExecutionEngine, tx: Connection, controller_id: str) -> bool:
    """Whether the limits that a controller trades under require stops."""
    for terms in engine.terms.values():
        if terms.scope.controller_id == controller_id:
            return terms.limits.flag("require_stops")
    found = runs.find_deployment(tx, controller_id)
    return found is not None and bool(found.limits) and limits_in(found.limits).flag("require_stops")


def _guards(order: BrokerOrder, market: str, net: Decimal) -> bool:
    """Whether an order protects a net position: a stop, or a close that waits for the next open."""
    is_protection = order.type.is_stop or order.type is OrderType.MARKET
    return order.market == market and order.reduce_only and not order.waits and is_protection and order.side.sign * net < 0
