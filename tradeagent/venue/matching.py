"""When a live order executes and what a fill does to the other orders: triggers, children, siblings, reduce-only rules."""

from dataclasses import replace

from tradeagent.domain.names import ExitReason, Liquidity, OrderState, OrderType, Side, Tif
from tradeagent.venue.book import Book
from tradeagent.venue.margin import can_carry, slipped, trade_fee
from tradeagent.venue.state import Order, Phase

NO_LIQUIDITY = "No liquidity available for market order."
IOC_CANCELLED = "Order could not immediately match against any resting orders."
REDUCE_ONLY_CANCELLED = "reduceOnlyCanceled"


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
    """At one price: stop, then target, then entry; then the older order."""
    kind = 2 if not order.reduce_only else 0 if order.type.is_stop else 1
    return kind, order.oid


def touch(book: Book, order: Order) -> None:
    """Execute an order whose level the mark has reached: a resting limit as maker at its price, a trigger from the mark."""
    if order.phase is Phase.RESTING and order.price is not None:
        execute(book, order, order.price, Liquidity.MAKER)
        return
    mark = book.marks[order.market]
    if order.price is None:
        if book.volume_left.get(order.market) == 0:
            book.put(replace(order, phase=Phase.QUEUED, triggered=True))
        else:
            take(book, order)
        return
    resting = replace(order, phase=Phase.RESTING, triggered=True)
    book.put(resting)
    if order.type.is_stop and is_marketable(order.side, order.price, mark):
        take(book, resting)
    elif reached(book, resting, mark):
        execute(book, resting, order.price, Liquidity.MAKER)


def take(book: Book, order: Order, *, capped: bool = True) -> None:
    """Fill as taker at the mark ± slippage, a limit no worse than its price."""
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
    book.trade(order, lots, price, liquidity, _exit_reason(order))
    after = book.size(order.market)
    order = replace(order, filled=order.filled + lots, value=order.value + lots * price)
    is_done = order.remaining == 0 or (order.reduce_only and after == 0)
    if is_done:
        _complete(book, order)
    else:
        _leave_rest(book, order)
    if before * after <= 0 and before:
        _drop_reduce_only(book, order.market)
    if is_done:
        _arm_children(book, order.oid)


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
    return ExitReason.STOP if order.type.is_stop else ExitReason.TARGET


def _wait_for_volume(book: Book, order: Order) -> None:
    if order.type is OrderType.MARKET:
        book.finish(order, OrderState.REJECTED, NO_LIQUIDITY)
    elif order.tif is Tif.IOC and order.type is OrderType.LIMIT:
        book.finish(order, OrderState.REJECTED, IOC_CANCELLED)
    elif order.price is not None and order.phase is not Phase.RESTING:
        book.put(replace(order, phase=Phase.RESTING))


def _complete(book: Book, order: Order) -> None:
    book.finish(order, OrderState.FILLED, "filled")
    if order.parent_oid is not None:
        for sibling in book.family(order.parent_oid):
            book.finish(sibling, OrderState.CANCELLED, "siblingFilledCanceled")


def _leave_rest(book: Book, order: Order) -> None:
    """After a partial fill: limits rest, a protective trigger goes on at the next open, everything else is immediate-or-cancel."""
    if order.price is not None and not (order.tif is Tif.IOC and order.type is OrderType.LIMIT):
        book.put(replace(order, phase=Phase.RESTING))
    elif order.type.is_trigger and order.reduce_only:
        book.put(replace(order, phase=Phase.QUEUED, triggered=True))
    else:
        book.finish(order, OrderState.CANCELLED, "canceled")


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
        armed = replace(child, phase=Phase.ARMED, hold_ms=book.hold_ms if child.type.is_target else 0)
        book.put(armed)
        trim_reduce_only(book, armed)
    for child in children:
        live = book.orders.get(child.oid)
        if live is not None and reached(book, live, book.marks[live.market]):
            touch(book, live)


def trim_reduce_only(book: Book, newest: Order) -> None:
    """Cancel the older reduce-only orders of the same kind (stops, targets, limits) that together with `newest` exceed the position."""
    if not newest.reduce_only:
        return
    kind = (newest.type.is_stop, newest.type.is_target)
    peers = [
        order
        for order in book.orders.values()
        if order.market == newest.market
        and order.reduce_only
        and order.phase in (Phase.ARMED, Phase.RESTING)
        and (order.type.is_stop, order.type.is_target) == kind
        and order.oid != newest.oid
    ]
    excess = newest.remaining + sum(order.remaining for order in peers) - abs(book.size(newest.market))
    for order in sorted(peers, key=lambda peer: peer.oid):
        if excess <= 0:
            return
        excess -= order.remaining
        book.finish(order, OrderState.CANCELLED, REDUCE_ONLY_CANCELLED)
