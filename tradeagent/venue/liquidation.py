"""Liquidation of the cross account: where on a leg it starts, market closes in steps, and the backstop (hyperliquid.md §6)."""

from collections.abc import Collection

from tradeagent.domain.names import ExitReason, Liquidity, OrderState, OrderType, Side, Tif
from tradeagent.venue.book import Book
from tradeagent.venue.events import Liquidated
from tradeagent.venue.margin import equity, is_backstopped, is_liquidatable, maintenance, maintenance_of, slipped
from tradeagent.venue.state import Order, Phase

STEP_NOTIONAL = 100_000_000_000
STEP_PARTS = 5


def first_breach(book: Book, market: str, end: int) -> int | None:
    """First price from the mark of `market` to `end` at which equity < maintenance, other marks held; None when there is none.

    Equity − maintenance is monotone in one price, so the price is found by bisection on the grid.
    """
    held, start, spec = book.holdings[market], book.marks[market], book.config.markets[market]
    others = equity(book) - held.size * start
    required, unit = maintenance(book, book.config, without=market)
    size = abs(held.size)

    def is_short(price: int) -> bool:
        own, own_unit = maintenance_of(spec, size * price)
        return (others + held.size * price) * unit * own_unit < required * own_unit + own * unit

    if is_short(start):
        return start
    if not is_short(end):
        return None
    safe, short = start, end
    while abs(short - safe) > 1:
        middle = (safe + short) // 2
        safe, short = (safe, middle) if is_short(middle) else (middle, short)
    return short


def liquidate(book: Book, tradable: Collection[str]) -> None:
    """While equity < maintenance at the marks: cancel all orders, close the largest position of a `tradable` market, or backstop.

    A position above 100,000 USDC closes a fifth (rounded up) of what is left per step; in bars the next step follows at the same price.
    """
    if not any(market in tradable for market in book.holdings) or not is_liquidatable(book, book.config):
        return
    for order in list(book.orders.values()):
        if order.oid in book.orders:
            book.finish(order, OrderState.CANCELLED, "liquidatedCanceled")
    while is_liquidatable(book, book.config):
        if is_backstopped(book, book.config):
            _backstop(book)
            return
        open_markets = [market for market in book.holdings if market in tradable]
        if not open_markets:
            return
        market = max(sorted(open_markets), key=lambda name: abs(book.size(name)) * book.marks[name])
        _close_step(book, market)


def _close_step(book: Book, market: str) -> None:
    mark, size = book.marks[market], abs(book.size(market))
    order = _closing_order(book, market)
    lots = -(-size // STEP_PARTS) if size * mark > STEP_NOTIONAL else size
    price = slipped(mark, order.side, book.config.slippage_tenth_bps)
    book.trade(order, lots, price, Liquidity.TAKER, ExitReason.LIQUIDATION)
    book.emit(Liquidated(book.now_ms, market, "market"))


def _backstop(book: Book) -> None:
    """The venue takes every position at its mark, free of fees, and all cash that is left (or covers what is missing)."""
    for market in sorted(book.holdings):
        order = _closing_order(book, market)
        book.book_fill(order, abs(book.size(market)), book.marks[market], 0, Liquidity.TAKER, ExitReason.LIQUIDATION)
    book.emit(Liquidated(book.now_ms, None, "backstop", book.cash))
    book.cash = 0


def _closing_order(book: Book, market: str) -> Order:
    """The venue's own order behind a liquidation fill; it has an oid and no cloid, and never rests."""
    size = book.size(market)
    side = Side.SELL if size > 0 else Side.BUY
    return Order(
        oid=book.new_oid(),
        cloid="",
        market=market,
        side=side,
        type=OrderType.MARKET,
        size=abs(size),
        price=None,
        trigger=None,
        tif=Tif.IOC,
        reduce_only=True,
        exit_reason=ExitReason.LIQUIDATION,
        phase=Phase.QUEUED,
        placed_ms=book.now_ms,
    )
