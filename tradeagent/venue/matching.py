"""When a live order executes and what a fill does to the other orders: triggers, trailing, children, siblings, reduce-only rules."""

from collections.abc import Collection
from dataclasses import replace

from tradeagent.domain.names import ExitReason, Liquidity, OrderState, Side, Tif
from tradeagent.venue.book import Book
from tradeagent.venue.margin import can_carry, slipped, trade_fee
from tradeagent.venue.state import Order, Phase

NO_LIQUIDITY = "No liquidity available for market order."
IOC_CANCELLED = "Order could not immediately match against any resting orders."
REDUCE_ONLY_CANCELLED = "reduceOnlyCanceled"
RATE_UNIT = 10**8


def reached(book: Book, order: Order, price: int) -> bool:
    """Whether `price` executes an order that waits for a level: triggers by touch, resting limits by a trade through of one tick."""
    level = level_of(book, order)
    return level is not None and (price <= level[1] if level[0] else price >= level[1])


def level_of(book: Book, order: Order) -> tuple[bool, int] | None:
    """(executes at or below?, level) of an order, None while it waits for something else.

    A target of an entry that filled on the way counts from the next bar; a resting limit waits when the bar's volume is used up; an order
    that was placed while the bar ran waits for the next one.
    """
    if book.is_late(order):
        return None
    if order.phase is Phase.ARMED and order.trigger is not None:
        if order.hold_ms >= book.hold_ms > 0:
            return None
        return (order.side is Side.SELL) is order.type.is_stop, order.trigger
    if order.phase is Phase.RESTING and order.price is not None and book.volume_left.get(order.market) != 0:
        tick = book.config.markets[order.market].tick(order.price)
        return (True, order.price - tick) if order.side is Side.BUY else (False, order.price + tick)
    return None


def is_marketable(order_side: Side, limit: int, price: int) -> bool:
    """Whether a limit would trade at once at `price`."""
    return limit >= price if order_side is Side.BUY else limit <= price


def priority(order: Order) -> tuple[int, int]:
    """At one price: trailing stop, then stop, target, entry; then the older order."""
    kind = 3 if not order.reduce_only else 0 if order.trailed else 1 if order.type.is_stop else 2
    return kind, order.oid


def ratchet(book: Book, markets: Collection[str]) -> None:
    """At a path point: let the trailing stops of `markets` follow their marks."""
    for order in list(book.orders.values()):
        if order.trails and order.phase is Phase.ARMED and order.market in markets and not book.is_late(order):
            book.orders[order.oid] = trailing(order, book.marks[order.market])


def trailing(order: Order, mark: int) -> Order:
    """The order with its level at `mark` ∓ its trail where that is tighter; as it was before its activation is reached."""
    sign = order.side.sign
    if order.trail_rate is not None:
        level = sign * (sign * mark * (RATE_UNIT + sign * order.trail_rate) // RATE_UNIT)
    elif order.trail is not None:
        level = mark + sign * order.trail
    else:
        return order
    is_active = order.activation is None or (mark - order.activation) * sign <= 0
    is_tighter = order.trigger is None or (level - order.trigger) * sign < 0
    return replace(order, trigger=level, trailed=True) if is_active and is_tighter and level > 0 else order


def touch(book: Book, order: Order) -> None:
    """Execute an order whose level the mark has reached: a resting limit as maker at its price, a trigger from the mark."""
    if order.phase is Phase.RESTING and order.price is not None:
        execute(book, order, order.price, Liquidity.MAKER)
        return
    mark = book.marks[order.market]
    if order.price is None or not order.type.has_price:
        if order.price is not None and not is_marketable(order.side, order.price, mark):
            refuse(book, order, IOC_CANCELLED)
        else:
            take(book, order)
        return
    resting = replace(order, phase=Phase.RESTING, triggered=True)
    book.put(resting)
    trim_reduce_only(book, resting)
    if order.type.is_stop and is_marketable(order.side, order.price, mark):
        take(book, resting)
    elif reached(book, resting, mark):
        execute(book, resting, order.price, Liquidity.MAKER)


def refuse(book: Book, order: Order, text: str) -> None:
    """End an order the venue had taken with one of its error texts; of one that got a part the rest is cancelled."""
    if order.filled:
        book.finish(order, OrderState.CANCELLED, "canceled")
    else:
        book.finish(order, OrderState.REJECTED, book.config.markets[order.market].error(text))


def take(book: Book, order: Order, *, capped: bool = True) -> None:
    """Fill as taker at the mark ± slippage, no worse than the order's price."""
    price = slipped(book.marks[order.market], order.side, book.config.slippage_tenth_bps)
    if order.price is not None:
        price = min(price, order.price) if order.side is Side.BUY else max(price, order.price)
    execute(book, order, price, Liquidity.TAKER, capped=capped)


def execute(book: Book, order: Order, price: int, liquidity: Liquidity, *, capped: bool = True) -> None:
    """Fill what reduce-only, margin and volume allow at `price`, then settle what follows from it."""
    before = book.size(order.market)
    lots = _reducible(order, before)
    if lots == 0:
        book.finish(order, OrderState.CANCELLED, REDUCE_ONLY_CANCELLED)
        return
    left = book.volume_left.get(order.market) if capped else None
    if left is not None:
        lots = min(lots, left)
        book.volume_left[order.market] = left - lots
    if lots == 0:
        _wait_for_volume(book, order)
        return
    if not order.reduce_only and not _affordable(book, order, lots, price, liquidity):
        if order.filled:
            _arm_children(book, order.oid)
        book.finish(order, OrderState.CANCELLED, "marginCanceled")
        return
    if liquidity is Liquidity.TAKER:
        _cancel_crossed(book, order, price)
    book.trade(order, lots, price, liquidity, _exit_reason(order))
    after = book.size(order.market)
    order = replace(order, filled=order.filled + lots, value=order.value + lots * price)
    is_done = order.remaining == 0 or (order.reduce_only and after == 0)
    if is_done:
        _complete(book, order)
    else:
        _leave_rest(book, order)
    _resize_whole(book, order.market, after)
    if before * after <= 0 and before:
        _drop_reduce_only(book, order.market)
    if is_done:
        _arm_children(book, order.oid)


def _cancel_crossed(book: Book, taker: Order, price: int) -> None:
    """Cancel own resting orders better than `price` that `taker` would trade with; at the same price others stand before them."""
    for own in list(book.orders.values()):
        is_opposite = own.phase is Phase.RESTING and own.market == taker.market and own.side is not taker.side
        if is_opposite and own.price is not None and (own.price - price) * own.side.sign > 0:
            book.finish(own, OrderState.CANCELLED, "selfTradeCanceled")


def _reducible(order: Order, held: int) -> int:
    """Lots an order may fill: a reduce-only one at most the position it reduces."""
    if not order.reduce_only:
        return order.remaining
    return min(order.remaining, abs(held)) if held * order.side.sign < 0 else 0


def _affordable(book: Book, order: Order, lots: int, price: int, liquidity: Liquidity) -> bool:
    rate = book.config.taker_rate if liquidity is Liquidity.TAKER else book.config.maker_rate
    mark = book.marks[order.market]
    return can_carry(book, book.config, order.market, lots * order.side.sign, price, mark, trade_fee(price, lots, rate))


def _exit_reason(order: Order) -> ExitReason | None:
    if order.exit_reason is not None or not (order.reduce_only and order.type.is_trigger):
        return order.exit_reason
    if order.trailed:
        return ExitReason.TRAILING_STOP
    return ExitReason.STOP if order.type.is_stop else ExitReason.TARGET


def _wait_for_volume(book: Book, order: Order) -> None:
    """No volume is left in this bar: a limit rests, a protective trigger goes on at the next open, all else was immediate-or-cancel."""
    if order.type.has_price and order.tif is not Tif.IOC:
        if order.phase is not Phase.RESTING:
            book.put(replace(order, phase=Phase.RESTING))
    elif order.type.is_trigger and order.reduce_only:
        if order.phase is not Phase.QUEUED:
            book.put(replace(order, phase=Phase.QUEUED, triggered=True))
    else:
        refuse(book, order, NO_LIQUIDITY if not order.type.has_price else IOC_CANCELLED)


def _complete(book: Book, order: Order) -> None:
    book.finish(order, OrderState.FILLED, "filled")
    if order.parent_oid is not None:
        for sibling in book.family(order.parent_oid):
            book.finish(sibling, OrderState.CANCELLED, "siblingFilledCanceled")


def _leave_rest(book: Book, order: Order) -> None:
    """After a partial fill: limits rest, a protective trigger goes on at the next open, everything else is immediate-or-cancel."""
    if order.type.has_price and order.tif is not Tif.IOC:
        book.put(replace(order, phase=Phase.RESTING))
    elif order.type.is_trigger and order.reduce_only:
        book.put(replace(order, phase=Phase.QUEUED, triggered=True))
    else:
        book.finish(order, OrderState.CANCELLED, "canceled")


def _resize_whole(book: Book, market: str, held: int) -> None:
    """Let the orders that cover the whole position of `market` follow its size; what has no position left is dropped after this."""
    for order in list(book.orders.values()):
        if order.whole and order.market == market and order.remaining != abs(held) and held * order.side.sign < 0:
            book.put(replace(order, size=order.filled + abs(held)))


def _drop_reduce_only(book: Book, market: str) -> None:
    """Cancel what can no longer reduce the position of `market`, which went flat or flipped."""
    held = book.size(market)
    for order in list(book.orders.values()):
        if order.market == market and order.reduce_only and order.phase is not Phase.PARENT and not _reducible(order, held):
            book.finish(order, OrderState.CANCELLED, REDUCE_ONLY_CANCELLED)


def _arm_children(book: Book, parent_oid: int) -> None:
    """Make the children of an entry live when it has filled, or was cancelled for margin after a part (hyperliquid.md §3.1).

    The stop comes first; one already passed executes at once at the mark.
    """
    children = sorted(book.family(parent_oid), key=priority)
    for child in children:
        if not _reducible(child, book.size(child.market)):
            book.finish(child, OrderState.CANCELLED, REDUCE_ONLY_CANCELLED)
            continue
        live = replace(child, phase=Phase.ARMED, hold_ms=book.hold_ms if child.type.is_target else 0)
        armed = trailing(live, book.marks[live.market])
        book.put(armed)
        trim_reduce_only(book, armed)
    for child in children:
        waiting = book.orders.get(child.oid)
        if waiting is not None and reached(book, waiting, book.marks[waiting.market]):
            touch(book, waiting)


def trim_reduce_only(book: Book, newest: Order) -> None:
    """Cancel the older reduce-only orders of the same kind that together with `newest` exceed the position.

    Kinds are stops and targets that wait for their trigger, and whatever rests in the book: one of each may cover the whole position.
    """
    if not newest.reduce_only:
        return
    kind = _reducing_kind(newest)
    peers = [
        order
        for order in book.orders.values()
        if order.market == newest.market
        and order.reduce_only
        and order.phase in (Phase.ARMED, Phase.RESTING)
        and _reducing_kind(order) == kind
        and order.oid != newest.oid
    ]
    excess = newest.remaining + sum(order.remaining for order in peers) - abs(book.size(newest.market))
    for order in sorted(peers, key=lambda peer: peer.oid):
        if excess <= 0:
            return
        excess -= order.remaining
        book.finish(order, OrderState.CANCELLED, REDUCE_ONLY_CANCELLED)


def _reducing_kind(order: Order) -> str:
    if order.phase is Phase.RESTING:
        return "resting"
    return "stop" if order.type.is_stop else "target"
