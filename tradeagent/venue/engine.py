"""The one entrance: a pure function from (state, event) to (state, outcomes)."""

from tradeagent.venue.bars import close_bars, open_bars
from tradeagent.venue.book import Book
from tradeagent.venue.events import Cancel, CloseBars, Event, Flow, Flowed, Modify, OpenBars, Outcome, Place, Refused, SetLeverage
from tradeagent.venue.margin import account, equity, initial_margin, leverage_of
from tradeagent.venue.orders import cancel, modify, place
from tradeagent.venue.state import VenueConfig, VenueState

LOWER_LEVERAGE = (
    "Cross position does not have sufficient margin available to decrease leverage. To decrease leverage, deposit more collateral."
)


def step(state: VenueState, event: Event, config: VenueConfig) -> tuple[VenueState, tuple[Outcome, ...]]:
    """Apply one event. Deterministic; `state` is not changed. Raises InvalidInput for bars or funding that do not fit together."""
    book = Book(state, config)
    match event:
        case CloseBars():
            close_bars(book, event)
        case OpenBars():
            open_bars(book, event)
        case Place():
            place(book, event)
        case Cancel():
            cancel(book, event)
        case Modify():
            modify(book, event)
        case SetLeverage():
            _set_leverage(book, event)
        case Flow():
            _flow(book, event)
    return book.freeze(), tuple(book.outcomes)


def _set_leverage(book: Book, event: SetLeverage) -> None:
    """Set a market's leverage; lowering it under a position needs the margin."""
    spec = book.config.markets.get(event.market)
    if spec is None or not 1 <= event.leverage <= spec.max_leverage:
        book.emit(Refused("Invalid leverage value", {"market": event.market, "leverage": event.leverage}))
        return
    before, kept = leverage_of(book, spec), book.leverage
    book.leverage = {**kept, event.market: event.leverage}
    used, unit = initial_margin(book, book.config)
    if event.leverage < before and event.market in book.holdings and equity(book) * unit < used:
        book.leverage = kept
        book.emit(Refused(LOWER_LEVERAGE, {"market": event.market, "leverage": event.leverage}))


def _flow(book: Book, event: Flow) -> None:
    """Deposit, or withdraw what initial margin and a tenth of the notional leave over (hyperliquid.md §6, transfer rule)."""
    if event.amount < 0:
        most = account(book, book.config).withdrawable
        if -event.amount > most:
            book.emit(Refused("Insufficient free margin to withdraw.", {"amount": -event.amount, "free": most}))
            return
    book.cash += event.amount
    book.emit(Flowed(book.now_ms, event.amount))
