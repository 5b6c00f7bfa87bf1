"""Placing and cancelling: the checks of the venue with its error texts, and where an accepted order waits (hyperliquid.md §3–4)."""

from dataclasses import replace

from tradeagent.domain.money import plain
from tradeagent.domain.names import OrderState, OrderType, Side, Tif
from tradeagent.venue.book import Book
from tradeagent.venue.events import Cancel, OrderUpdate, Place, Refused, VenueOrder
from tradeagent.venue.margin import can_carry, slipped, trade_fee
from tradeagent.venue.matching import IOC_CANCELLED, NO_LIQUIDITY, is_marketable, take, trim_reduce_only
from tradeagent.venue.state import MarketSpec, Order, Phase

BAD_TRIGGER = "Invalid TP/SL price."
NO_MARGIN = "Insufficient margin to place order."
WOULD_INCREASE = "Reduce only order would increase position."
MISSING_ORDER = "Order was never placed, already canceled, or filled."


def place(book: Book, event: Place) -> None:
    """Place orders one after the other, or an entry with its children; a known cloid gets its current report instead."""
    book.placing_ms = max(book.now_ms, event.time_ms)
    if event.grouping == "normal_tpsl":
        _place_group(book, event.orders)
        return
    for asked in event.orders:
        known = book.status(asked.cloid)
        if known is not None:
            book.emit(known)
            continue
        text = _objection(book, asked)
        if text is None:
            _route(book, asked, _new_order(book, asked, Phase.QUEUED, None))
        else:
            _refuse(book, asked, OrderState.REJECTED, text)


def cancel(book: Book, event: Cancel) -> None:
    """Cancel a live order and the children that wait for it."""
    for order in book.orders.values():
        if order.oid == event.oid if event.oid is not None else order.cloid == event.cloid:
            book.finish(order, OrderState.CANCELLED, "canceled")
            return
    book.emit(Refused(MISSING_ORDER, {"order": event.oid if event.oid is not None else event.cloid or ""}))


def _place_group(book: Book, orders: tuple[VenueOrder, ...]) -> None:
    known = [book.status(asked.cloid) for asked in orders]
    if any(known):
        for update in known:
            if update is not None:
                book.emit(update)
        return
    text = _group_objection(book, orders)
    if text is not None:
        for asked in orders:
            _refuse(book, asked, OrderState.REJECTED, text)
        return
    entry, *children = orders
    text = _objection(book, entry)
    if text is not None:
        _refuse(book, entry, OrderState.REJECTED, text)
        for asked in children:
            _refuse(book, asked, OrderState.CANCELLED, "canceled")
        return
    parent = _new_order(book, entry, Phase.QUEUED, None)
    for asked in children:
        book.put(_new_order(book, asked, Phase.PARENT, parent.oid))
    _route(book, entry, parent)


def _group_objection(book: Book, orders: tuple[VenueOrder, ...]) -> str | None:
    """Why the whole batch is refused, before any order of it is looked at alone."""
    if not 2 <= len(orders) <= 3:
        return "Unexpected number of trigger orders"
    entry, *children = orders
    if entry.type.is_trigger:
        return "Main order cannot be trigger order."
    kinds = {child.type.is_stop for child in children if child.type.is_trigger}
    fits = all(child.reduce_only and child.market == entry.market and child.side is entry.side.opposite for child in children)
    if entry.reduce_only or len(kinds) != len(children) or not fits:
        return BAD_TRIGGER
    spec = book.config.markets.get(entry.market)
    reference = entry.price if entry.type.has_price else book.marks.get(entry.market)
    if spec is None:
        return None
    return next(filter(None, (_shape_objection(spec, child) or _trigger_objection(child, reference) for child in children)), None)


def _objection(book: Book, asked: VenueOrder) -> str | None:
    """The error text an order is refused with, None when it may be placed."""
    spec = book.config.markets.get(asked.market)
    if spec is None:
        return f"Unknown market {asked.market}."
    mark = book.marks.get(asked.market)
    if mark is None and asked.at_mark:
        return NO_LIQUIDITY
    return (
        _shape_objection(spec, asked)
        or _trigger_objection(asked, mark)
        or _reduce_only_objection(book, asked)
        or _value_objection(book, spec, asked, mark)
        or _post_only_objection(spec, asked, mark)
        or _margin_objection(book, asked, mark)
    )


def _shape_objection(spec: MarketSpec, asked: VenueOrder) -> str | None:
    prices = ([asked.price] if asked.type.has_price else []) + ([asked.trigger] if asked.type.is_trigger else [])
    for price in prices:
        if price is None or price <= 0:
            return "Order has invalid price."
        if price % spec.tick(price):
            return "Price must be divisible by tick size."
    if asked.size < 0:
        return "Order has invalid size."
    return None if asked.size else "Order has zero size."


def _trigger_objection(asked: VenueOrder, reference: int | None) -> str | None:
    """A trigger must lie on the side of `reference` that is not reached yet."""
    if not asked.type.is_trigger or asked.trigger is None or reference is None:
        return None
    is_below = (asked.side is Side.SELL) is asked.type.is_stop
    return None if (asked.trigger < reference if is_below else asked.trigger > reference) else BAD_TRIGGER


def _reduce_only_objection(book: Book, asked: VenueOrder) -> str | None:
    return WOULD_INCREASE if asked.reduce_only and book.size(asked.market) * asked.side.sign >= 0 else None


def _value_objection(book: Book, spec: MarketSpec, asked: VenueOrder, mark: int | None) -> str | None:
    price = _reference(asked, mark)
    closes_all = asked.reduce_only and asked.size >= abs(book.size(asked.market))
    if price is None or closes_all or asked.size * price >= spec.min_notional:
        return None
    return f"Order must have minimum value of ${spec.min_notional // 10**6}."


def _reference(asked: VenueOrder, mark: int | None) -> int | None:
    """The price an order is valued at: its limit, else its trigger, else the mark."""
    if asked.type.has_price:
        return asked.price
    return asked.trigger if asked.type.is_trigger else mark


def _post_only_objection(spec: MarketSpec, asked: VenueOrder, mark: int | None) -> str | None:
    if asked.tif is not Tif.ALO or asked.type is not OrderType.LIMIT or asked.price is None or mark is None:
        return None
    if not is_marketable(asked.side, asked.price, mark):
        return None
    text = plain(spec.price_out(mark))
    return f"Post only order would have immediately matched, bbo was {text}@{text}."


def _margin_objection(book: Book, asked: VenueOrder, mark: int | None) -> str | None:
    reference = _reference(asked, mark)
    if asked.reduce_only or reference is None:
        return None
    price = slipped(reference, asked.side, book.config.slippage_tenth_bps) if asked.type is OrderType.MARKET else reference
    fee = trade_fee(price, asked.size, book.config.taker_rate)
    is_carried = can_carry(book, book.config, asked.market, asked.size * asked.side.sign, price, reference, fee)
    return None if is_carried else NO_MARGIN


def _refuse(book: Book, asked: VenueOrder, state: OrderState, reason: str) -> None:
    book.remember(OrderUpdate(asked.cloid, None, asked.market, book.now_ms, state, reason, asked.size))


def _new_order(book: Book, asked: VenueOrder, phase: Phase, parent_oid: int | None) -> Order:
    return Order(
        oid=book.new_oid(),
        cloid=asked.cloid,
        market=asked.market,
        side=asked.side,
        type=asked.type,
        size=asked.size,
        price=asked.price if asked.type.has_price else None,
        trigger=asked.trigger if asked.type.is_trigger else None,
        tif=asked.tif,
        reduce_only=asked.reduce_only,
        exit_reason=asked.exit_reason,
        phase=phase,
        placed_ms=book.placing_ms,
        parent_oid=parent_oid,
    )


def _route(book: Book, asked: VenueOrder, order: Order) -> None:
    """Arm a trigger, rest a passive limit, and fill the rest now (at the mark, at a current open) or queue it for the next open."""
    has_opened = book.opened.get(order.market) == book.clock_ms and order.placed_ms <= book.clock_ms + book.config.latency_ms
    is_now = asked.at_mark or has_opened
    if order.type.is_trigger:
        _rest(book, order, Phase.ARMED)
    elif order.type is OrderType.MARKET or order.tif is Tif.IOC or not _is_passive(book, order):
        book.orders[order.oid] = order
        if is_now:
            fill_waiting(book, order, capped=not asked.at_mark)
        else:
            book.put(order)
    else:
        _rest(book, order, Phase.RESTING)


def _is_passive(book: Book, order: Order) -> bool:
    mark = book.marks.get(order.market)
    if mark is None or order.price is None:
        return order.tif is Tif.ALO
    return not is_marketable(order.side, order.price, mark)


def _rest(book: Book, order: Order, phase: Phase) -> None:
    live = replace(order, phase=phase)
    book.put(live)
    trim_reduce_only(book, live)


def fill_waiting(book: Book, order: Order, *, capped: bool = True) -> None:
    """Fill a queued order at the mark ± slippage; a limit that is not marketable there rests, or ends when it is IOC."""
    if order.price is None or is_marketable(order.side, order.price, book.marks[order.market]):
        take(book, order, capped=capped)
    elif order.tif is Tif.IOC:
        book.finish(order, OrderState.REJECTED, IOC_CANCELLED)
    else:
        _rest(book, order, Phase.RESTING)
