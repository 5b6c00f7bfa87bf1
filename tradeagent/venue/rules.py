"""Why the venue refuses an order: its rules in the order they are checked, and its error texts (hyperliquid.md §1, §3, §4)."""

from collections.abc import Sequence

from tradeagent.domain.money import plain
from tradeagent.domain.names import OrderType, Side, Tif
from tradeagent.venue.book import Book
from tradeagent.venue.events import VenueOrder
from tradeagent.venue.margin import can_carry, leverage_of, slipped, trade_fee
from tradeagent.venue.matching import NO_LIQUIDITY, is_marketable
from tradeagent.venue.state import MarketSpec, Phase

BAD_TRIGGER = "Invalid TP/SL price."
NO_MARGIN = "Insufficient margin to place order."
WOULD_INCREASE = "Reduce only order would increase position."
TOO_FAR = "Order price cannot be more than 80% away from the reference price"
BEYOND_TIER = "Order would cause position to exceed margin tier limit at current leverage"
TOO_MANY = "Too many open orders."
OPEN_ORDERS, MOST_OPEN_ORDERS = 1_000, 5_000
VOLUME_PER_ORDER = 5_000_000 * 10**6


def batch_objection(book: Book, orders: Sequence[VenueOrder]) -> str | None:
    """Why every order of a batch is refused before any is looked at alone: one limit price is too far from the mark."""
    return TOO_FAR if any(_is_too_far(asked, book.marks.get(asked.market)) for asked in orders) else None


def group_objection(book: Book, orders: Sequence[VenueOrder]) -> str | None:
    """Why an entry and its children are refused together."""
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
    if spec is None:
        return None
    reference = entry.price if entry.type.has_price else book.marks.get(entry.market)
    for child in children:
        text = _shape_objection(spec, child) or _trigger_objection(child, reference) or _count_objection(book, child)
        if text is not None:
            return spec.error(text)
    return None


def position_objection(orders: Sequence[VenueOrder]) -> str | None:
    """Why orders that are to cover a position are refused together: they are reduce-only triggers, one of a kind."""
    if not orders or len({asked.type.is_stop for asked in orders}) != len(orders):
        return "Unexpected number of trigger orders"
    return None if all(asked.type.is_trigger and asked.reduce_only for asked in orders) else BAD_TRIGGER


def order_objection(book: Book, asked: VenueOrder) -> str | None:
    """The error text an order is refused with, None when it may be placed."""
    spec = book.config.markets.get(asked.market)
    if spec is None:
        return f"Unknown market {asked.market}."
    mark = book.marks.get(asked.market)
    if mark is None and asked.at_mark:
        return spec.error(NO_LIQUIDITY)
    text = (
        _shape_objection(spec, asked)
        or _count_objection(book, asked)
        or _trigger_objection(asked, mark)
        or _reduce_only_objection(book, asked)
        or _value_objection(book, spec, asked, mark)
        or _post_only_objection(spec, asked, mark)
        or _tier_objection(book, spec, asked, mark)
        or _margin_objection(book, asked, mark)
    )
    return None if text is None else spec.error(text)


def _is_too_far(asked: VenueOrder, mark: int | None) -> bool:
    """A trigger waits, so its prices may lie anywhere; §1 has the band for order prices."""
    if asked.type is not OrderType.LIMIT or asked.price is None or asked.price <= 0 or mark is None:
        return False
    return 5 * abs(asked.price - mark) > 4 * mark


def _shape_objection(spec: MarketSpec, asked: VenueOrder) -> str | None:
    is_bounded = asked.type.is_trigger and asked.price is not None
    prices = [asked.price] if asked.type.has_price or is_bounded else []
    if asked.type.is_trigger and (asked.trigger is not None or (asked.trail is None and asked.trail_rate is None)):
        prices.append(asked.trigger)
    for price in prices:
        if price is None or price <= 0:
            return "Order has invalid price."
        if price % spec.tick(price):
            return "Price must be divisible by tick size."
    if asked.size < 0:
        return "Order has invalid size."
    return None if asked.size else "Order has zero size."


def _count_objection(book: Book, asked: VenueOrder) -> str | None:
    """1,000 open orders, one more per 5 million traded; from 1,000 on nothing reduce-only and no trigger (§3.2)."""
    if len(book.orders) < OPEN_ORDERS:
        return None
    live = sum(order.phase is not Phase.PARENT for order in book.orders.values())
    limit = min(MOST_OPEN_ORDERS, OPEN_ORDERS + book.traded // VOLUME_PER_ORDER)
    is_late_comer = live >= OPEN_ORDERS and (asked.reduce_only or asked.type.is_trigger)
    return TOO_MANY if live >= limit or is_late_comer else None


def _trigger_objection(asked: VenueOrder, reference: int | None) -> str | None:
    """A trigger lies on the side of `reference` not reached yet, with its bound behind it; only a reduce-only stop can trail."""
    if not _trails_well(asked):
        return BAD_TRIGGER
    if not asked.type.is_trigger or asked.trigger is None:
        return None
    if not asked.type.has_price and asked.price is not None and (asked.price - asked.trigger) * asked.side.sign < 0:
        return BAD_TRIGGER
    if reference is None:
        return None
    is_below = (asked.side is Side.SELL) is asked.type.is_stop
    return None if (asked.trigger < reference if is_below else asked.trigger > reference) else BAD_TRIGGER


def _trails_well(asked: VenueOrder) -> bool:
    if asked.trail is None and asked.trail_rate is None:
        return asked.activation is None
    is_stop = asked.type is OrderType.STOP_MARKET and asked.reduce_only and asked.price is None
    distance = asked.trail if asked.trail_rate is None else asked.trail_rate
    is_one = asked.trail is None or asked.trail_rate is None
    return is_stop and is_one and distance is not None and distance > 0 and (asked.activation is None or asked.activation > 0)


def _reduce_only_objection(book: Book, asked: VenueOrder) -> str | None:
    return WOULD_INCREASE if asked.reduce_only and book.size(asked.market) * asked.side.sign >= 0 else None


def _value_objection(book: Book, spec: MarketSpec, asked: VenueOrder, mark: int | None) -> str | None:
    price = _reference(asked, mark)
    if price is None:
        return None
    value = asked.size * price
    most = spec.max_market_notional * (10 if asked.type.has_price else 1)
    if value > most:
        return f"Order value too large. Max is ${most // 10**6}."
    closes_all = asked.reduce_only and asked.size >= abs(book.size(asked.market))
    return None if closes_all or value >= spec.min_notional else f"Order must have minimum value of ${spec.min_notional // 10**6}."


def _reference(asked: VenueOrder, mark: int | None) -> int | None:
    """The price an order is valued at: its limit, else its trigger, else the mark."""
    if asked.type.has_price:
        return asked.price
    return asked.trigger if asked.type.is_trigger and asked.trigger is not None else mark


def _post_only_objection(spec: MarketSpec, asked: VenueOrder, mark: int | None) -> str | None:
    if asked.tif is not Tif.ALO or asked.type is not OrderType.LIMIT or asked.price is None or mark is None:
        return None
    if not is_marketable(asked.side, asked.price, mark):
        return None
    text = plain(spec.price_out(mark))
    return f"Post only order would have immediately matched, bbo was {text}@{text}."


def _tier_objection(book: Book, spec: MarketSpec, asked: VenueOrder, mark: int | None) -> str | None:
    """A larger position has a lower maximum leverage; the market's setting must still be allowed for what the order leads to."""
    reference = _reference(asked, mark)
    before = book.size(asked.market)
    after = abs(before + asked.size * asked.side.sign)
    if asked.reduce_only or reference is None or after <= abs(before):
        return None
    return BEYOND_TIER if leverage_of(book, spec) > spec.leverage_at(after * reference) else None


def _margin_objection(book: Book, asked: VenueOrder, mark: int | None) -> str | None:
    reference = _reference(asked, mark)
    if asked.reduce_only or reference is None:
        return None
    price = slipped(reference, asked.side, book.config.slippage_tenth_bps) if asked.type is OrderType.MARKET else reference
    fee = trade_fee(price, asked.size, book.config.taker_rate)
    is_carried = can_carry(book, book.config, asked.market, asked.size * asked.side.sign, price, reference, fee)
    return None if is_carried else NO_MARGIN
