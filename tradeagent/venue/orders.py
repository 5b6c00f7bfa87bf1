"""Placing, cancelling and modifying, and where an accepted order waits (hyperliquid.md §3)."""

from dataclasses import replace

from tradeagent.domain.names import OrderState, OrderType, Tif
from tradeagent.venue.book import Book
from tradeagent.venue.events import Cancel, Modify, OrderUpdate, Place, Refused, VenueOrder
from tradeagent.venue.matching import IOC_CANCELLED, is_marketable, refuse, take, trailing, trim_reduce_only
from tradeagent.venue.rules import batch_objection, group_objection, order_objection, position_objection
from tradeagent.venue.state import Order, Phase

MISSING_ORDER = "Order was never placed, already canceled, or filled."
NOT_MODIFIABLE = "Cannot modify canceled or filled order"
ONLY_RESTING = "Modified order must be post only or a resting limit."
NOT_REPLACED = "Error placing new order during modify: "


def place(book: Book, event: Place) -> None:
    """Place orders one after the other, or an entry with its children; a known cloid gets its current report instead."""
    book.placing_ms = max(book.now_ms, event.time_ms)
    if event.grouping == "normal_tpsl":
        _place_group(book, event.orders)
        return
    for_all = batch_objection(book, event.orders)
    is_whole = event.grouping == "position_tpsl"
    if is_whole:
        for_all = for_all or position_objection(event.orders)
    for stated in event.orders:
        asked = replace(stated, size=abs(book.size(stated.market)) or stated.size) if is_whole else stated
        known = book.status(asked.cloid)
        if known is not None:
            book.emit(known)
            continue
        text = for_all or order_objection(book, asked)
        if text is None:
            _route(book, asked, replace(_new_order(book, asked, Phase.QUEUED, None), whole=is_whole))
        else:
            _turn_away(book, asked, OrderState.REJECTED, text)


def cancel(book: Book, event: Cancel) -> None:
    """Cancel a live order and the children that wait for it."""
    order = _live(book, event)
    if order is not None and event.market in (None, order.market):
        book.finish(order, OrderState.CANCELLED, "canceled")
        return
    spec = None if event.market is None else book.config.markets.get(event.market)
    book.emit(Refused(MISSING_ORDER if spec is None else spec.error(MISSING_ORDER), _named(event)))


def modify(book: Book, event: Modify) -> None:
    """Replace a live order. A refusal before the cancel leaves it as it was; one after it leaves neither order (hyperliquid.md §4)."""
    book.placing_ms = max(book.now_ms, event.time_ms)
    old = _live(book, event)
    if old is None:
        book.emit(Refused(NOT_MODIFIABLE, _named(event)))
        return
    asked = replace(event.order, cloid=old.cloid)
    text = batch_objection(book, (asked,))
    if text is None and not event.always_place:
        text = ONLY_RESTING if asked.type is not OrderType.LIMIT or asked.tif is Tif.IOC else None
        asked = replace(asked, tif=Tif.ALO)
    if text is not None:
        book.emit(Refused(text, _named(event)))
        return
    book.finish(old, OrderState.CANCELLED, "canceled")
    text = order_objection(book, asked)
    if text is None:
        _route(book, asked, _new_order(book, asked, Phase.QUEUED, None))
    else:
        book.emit(Refused(NOT_REPLACED + text, _named(event)))


def _live(book: Book, event: Cancel | Modify) -> Order | None:
    if event.oid is not None:
        return book.orders.get(event.oid)
    return next((order for order in book.orders.values() if order.cloid == event.cloid), None)


def _named(event: Cancel | Modify) -> dict[str, int | str]:
    return {"order": event.oid if event.oid is not None else event.cloid or ""}


def _place_group(book: Book, orders: tuple[VenueOrder, ...]) -> None:
    known = [book.status(asked.cloid) for asked in orders]
    if any(known):
        for update in known:
            if update is not None:
                book.emit(update)
        return
    text = batch_objection(book, orders) or group_objection(book, orders)
    if text is not None:
        for asked in orders:
            _turn_away(book, asked, OrderState.REJECTED, text)
        return
    entry, *children = orders
    text = order_objection(book, entry)
    if text is not None:
        _turn_away(book, entry, OrderState.REJECTED, text)
        for asked in children:
            _turn_away(book, asked, OrderState.CANCELLED, "canceled")
        return
    parent = _new_order(book, entry, Phase.QUEUED, None)
    for asked in children:
        book.put(_new_order(book, asked, Phase.PARENT, parent.oid))
    _route(book, entry, parent)


def _turn_away(book: Book, asked: VenueOrder, state: OrderState, reason: str) -> None:
    book.remember(OrderUpdate(asked.cloid, None, asked.market, book.now_ms, state, reason, asked.size))


def _new_order(book: Book, asked: VenueOrder, phase: Phase, parent_oid: int | None) -> Order:
    return Order(
        oid=book.new_oid(),
        cloid=asked.cloid,
        market=asked.market,
        side=asked.side,
        type=asked.type,
        size=asked.size,
        price=None if asked.type is OrderType.MARKET else asked.price,
        trigger=asked.trigger if asked.type.is_trigger else None,
        tif=Tif.GTC if asked.type.is_trigger else asked.tif,
        reduce_only=asked.reduce_only,
        exit_reason=asked.exit_reason,
        phase=phase,
        placed_ms=book.placing_ms,
        parent_oid=parent_oid,
        trail=asked.trail,
        activation=asked.activation,
        trail_rate=asked.trail_rate,
    )


def _route(book: Book, asked: VenueOrder, order: Order) -> None:
    """Arm a trigger, rest a passive limit, and fill the rest now (at the mark, at a current open) or queue it for the next open."""
    is_outage = order.market in book.outages
    has_opened = book.opened.get(order.market) == book.clock_ms and order.placed_ms <= book.clock_ms + book.config.latency_ms
    is_now = has_opened or (asked.at_mark and not is_outage)
    if order.type.is_trigger:
        _rest(book, order, Phase.ARMED)
    elif order.type is OrderType.MARKET or order.tif is Tif.IOC or not _is_passive(book, order):
        book.orders[order.oid] = order
        if is_now:
            fill_waiting(book, order, capped=not asked.at_mark)
        else:
            if is_outage:
                _replace_waiting(book, order)
            book.put(order)
    else:
        _rest(book, order, Phase.RESTING)


def _replace_waiting(book: Book, newest: Order) -> None:
    """In an outage the newest signal counts: entries of the other side that wait for the same open are withdrawn (execution.md §7)."""
    for order in list(book.orders.values()):
        is_waiting_entry = order.phase is Phase.QUEUED and not order.reduce_only and order.market == newest.market
        if is_waiting_entry and order.side is not newest.side:
            book.finish(order, OrderState.CANCELLED, "replacedCanceled")


def _is_passive(book: Book, order: Order) -> bool:
    mark = book.marks.get(order.market)
    if mark is None or order.price is None:
        return order.tif is Tif.ALO
    return not is_marketable(order.side, order.price, mark)


def _rest(book: Book, order: Order, phase: Phase) -> None:
    live = replace(order, phase=phase)
    if live.trails:
        live = trailing(live, book.marks[live.market])
    book.put(live)
    trim_reduce_only(book, live)


def fill_waiting(book: Book, order: Order, *, capped: bool = True) -> None:
    """Fill a queued order at the mark ± slippage; a limit that is not marketable there rests, or ends when it is IOC."""
    if order.price is None or is_marketable(order.side, order.price, book.marks[order.market]):
        take(book, order, capped=capped)
    elif order.tif is Tif.IOC or not order.type.has_price:
        refuse(book, order, IOC_CANCELLED)
    else:
        _rest(book, order, Phase.RESTING)
