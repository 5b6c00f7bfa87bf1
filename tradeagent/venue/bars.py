"""The bar semantics of execution.md §7: what happens at an open, along a bar's path, and at its close.

Fills at the open carry its time, fills on the path are stamped one millisecond before the close.
"""

from collections.abc import Collection, Mapping, Sequence

from tradeagent.domain.bars import Bar
from tradeagent.domain.errors import InvalidInput
from tradeagent.venue.book import Book
from tradeagent.venue.events import CloseBars, FundingPaid, FundingRow, Marked, OpenBars
from tradeagent.venue.liquidation import first_breach, liquidate
from tradeagent.venue.margin import RATE_UNIT, equity, truncated
from tradeagent.venue.matching import level_of, priority, ratchet, reached, touch
from tradeagent.venue.orders import fill_waiting
from tradeagent.venue.state import Order, Phase


def open_bars(book: Book, event: OpenBars) -> None:
    """Play the opens that were not played yet."""
    bars = _unplayed(book, event.bars)
    if any(bar.open_ms != event.time_ms for bar in bars):
        raise InvalidInput(f"open bars at {event.time_ms}: a bar opens at another time", hint="send bars that open together")
    book.clock_ms = max(book.clock_ms, event.time_ms)
    _play_open(book, bars, event.time_ms, event.funding)


def close_bars(book: Book, event: CloseBars) -> None:
    """Play the opens that were not played yet, then path and close; nothing when every bar was played before."""
    bars = _unplayed(book, event.bars)
    if not bars:
        return
    open_ms = bars[0].open_ms
    if any(bar.close_ms != event.time_ms or bar.open_ms != open_ms for bar in bars):
        raise InvalidInput(
            f"close bars at {event.time_ms}: a bar opens or closes at another time", hint="send bars of one interval together"
        )
    _play_open(book, bars, open_ms, event.funding)
    _play_path(book, bars, event.time_ms)
    for bar in bars:
        book.marks[bar.market] = bar.close
        book.closed[bar.market] = event.time_ms
        book.volume_left.pop(bar.market, None)
    book.clock_ms = max(book.clock_ms, event.time_ms)
    book.emit(Marked(event.time_ms, equity(book)))


def _unplayed(book: Book, bars: Mapping[str, Bar]) -> list[Bar]:
    """Bars of markets in name order, without those whose close was played before, so that replaying is harmless."""
    for market in bars:
        if market not in book.config.markets:
            raise InvalidInput(f"bars: {market} is not a market of this venue")
    return [bars[market] for market in sorted(bars) if bars[market].open_ms >= book.closed.get(market, bars[market].open_ms)]


def _trades(book: Book, bar: Bar) -> bool:
    return book.config.fill_no_volume or not bar.is_outage


def _play_open(book: Book, bars: Sequence[Bar], time_ms: int, funding: Sequence[FundingRow]) -> None:
    """Funding on the positions carried in, then levels the open has passed, then waiting orders in the order they came."""
    book.now_ms = book.bar_ms = time_ms
    fresh = [bar for bar in bars if book.opened.get(bar.market) != time_ms]
    opens = {bar.market: bar.open for bar in fresh}
    for row in funding:
        if row.market in opens:  # a position that opened at this very open was not carried in
            _pay_funding(book, row, time_ms, opens)
    book.marks.update(opens)
    trading = [bar for bar in fresh if _trades(book, bar)]
    if book.outages or len(trading) < len(fresh):
        _note_outages(book, fresh, trading, time_ms)
    for bar in trading:
        book.opened[bar.market] = time_ms
        if book.config.volume_cap_pct is not None:
            book.volume_left[bar.market] = bar.volume * book.config.volume_cap_pct // 100
    markets = [bar.market for bar in trading]
    if book.holdings:
        liquidate(book, markets)
    if book.orders:
        _execute_at_open(book, markets)


def _note_outages(book: Book, fresh: Sequence[Bar], trading: Sequence[Bar], time_ms: int) -> None:
    known = {**book.outages, **{bar.market: time_ms for bar in fresh}}
    trades = {bar.market for bar in trading}
    book.outages = {market: opened for market, opened in known.items() if market not in trades}


def _pay_funding(book: Book, row: FundingRow, time_ms: int, opens: Mapping[str, int]) -> None:
    """One hour on the size carried in: size × oracle × rate truncated toward zero; an hour is paid once."""
    if row.hour_ms > time_ms:
        raise InvalidInput(
            f"funding of {row.market}: hour {row.hour_ms} is after the open {time_ms}", hint="send it with the bar that opens then"
        )
    if row.hour_ms <= book.funded.get(row.market, -1):
        return
    book.funded = {**book.funded, row.market: row.hour_ms}
    size = book.size(row.market)
    if size == 0:
        return
    oracle = row.oracle if row.oracle is not None else opens.get(row.market, book.marks[row.market])
    payment = truncated(size * oracle * row.rate, RATE_UNIT)
    book.cash -= payment
    book.emit(FundingPaid(book.next_payment_id, row.hour_ms, row.market, size, oracle, row.rate, payment))
    book.next_payment_id += 1


def _execute_at_open(book: Book, markets: Sequence[str]) -> None:
    for market in markets:
        _execute_gapped(book, market)
    if _has_trailing(book):
        ratchet(book, markets)
    for order in list(book.orders.values()):
        waits = order.phase is Phase.QUEUED and order.market in markets and not book.is_late(order)
        if waits and book.orders.get(order.oid) is order:
            fill_waiting(book, order)


def _execute_gapped(book: Book, market: str) -> None:
    """Execute at the open every order whose level the open has passed."""
    while True:
        mark = book.marks[market]
        passed = [order for order in book.orders.values() if order.market == market and reached(book, order, mark)]
        if not passed:
            return
        touch(book, min(passed, key=priority))


def _play_path(book: Book, bars: Sequence[Bar], close_ms: int) -> None:
    """Three legs; several markets reach their adverse extremes together."""
    busy = book.holdings.keys() | {order.market for order in book.orders.values()}
    movers = [bar for bar in bars if bar.market in busy and _trades(book, bar)]
    if not movers:
        return
    book.now_ms, book.hold_ms = close_ms - 1, close_ms
    paths = [(bar.market, _path(book, bar)) for bar in movers]
    markets = [bar.market for bar in movers]
    has_trailing = _has_trailing(book)
    for leg in range(3):
        for market, points in paths:
            _walk(book, market, points[leg], markets)
        if len(movers) > 1:
            liquidate(book, markets)
        if has_trailing:
            ratchet(book, markets)


def _has_trailing(book: Book) -> bool:
    return any([order.trails for order in book.orders.values()])


def _path(book: Book, bar: Bar) -> tuple[int, int, int]:
    low_first = _is_low_adverse(book, bar.market)
    if book.config.path == "nearest" and bar.open - bar.low != bar.high - bar.open:
        low_first = bar.open - bar.low < bar.high - bar.open
    return (bar.low, bar.high, bar.close) if low_first else (bar.high, bar.low, bar.close)


def _is_low_adverse(book: Book, market: str) -> bool:
    """Whether the low hurts first: against the position, or against what the oldest entry would become once filled."""
    size = book.size(market)
    if size:
        return size > 0
    for order in book.orders.values():
        if order.market == market and not order.reduce_only and order.phase in (Phase.ARMED, Phase.RESTING):
            return (order.side.sign > 0) is not order.type.is_stop
    return True


def _walk(book: Book, market: str, end: int, tradable: Collection[str]) -> None:
    """Move the mark of one market to `end`, executing what it reaches on the way, nearest first.

    While only this market's position moves, liquidation starts at the exact price; otherwise it is judged at the path points.
    """
    while True:
        start = book.marks[market]
        order, price = _next_on_leg(book, market, end)
        if market in book.holdings and not any(other != market and other in book.holdings for other in tradable):
            breach = first_breach(book, market, end)
            if breach is not None and abs(breach - start) <= abs(price - start):
                book.marks[market] = breach
                liquidate(book, tradable)
                continue
        book.marks[market] = price
        if order is None:
            return
        touch(book, order)


def _next_on_leg(book: Book, market: str, end: int) -> tuple[Order | None, int]:
    """The order whose level comes first between the mark and `end`, and the price it is reached at; (None, end) when none is."""
    start = book.marks[market]
    best: tuple[int, tuple[int, int]] | None = None
    first: Order | None = None
    at = end
    for order in book.orders.values():
        level = level_of(book, order) if order.market == market else None
        if level is None:
            continue
        price = min(start, level[1]) if level[0] else max(start, level[1])
        if (price < end and price < start) or (price > end and price > start):
            continue
        key = (abs(price - start), priority(order))
        if best is None or key < best:
            best, first, at = key, order, price
    return first, at
