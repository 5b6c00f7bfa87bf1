"""The position executor: one entry, and the triple barrier around it: profit, loss, time, with a stop that may trail."""

from decimal import Decimal

from tradeagent.domain.money import ZERO, limit_price
from tradeagent.domain.names import CloseType, OrderType
from tradeagent.execution.executors.arithmetic import barrier_price
from tradeagent.execution.executors.design import Design, amounts, mark_of, on_grid, trailing_layout
from tradeagent.execution.executors.guard import guard, how_it_closed, is_late
from tradeagent.execution.executors.specs import PositionSpec
from tradeagent.execution.executors.work import ENTRY_PAUSE_MS, Work
from tradeagent.execution.state import MarketState


def design(spec: PositionSpec, market: MarketState) -> Design:
    """Barriers are fractions of the decision price: the entry price, else the mark."""
    side, mark = spec.direction, mark_of(market)
    price = None if spec.entry_price is None else limit_price(market.instrument, side, spec.entry_price)
    reference = price or mark
    size, quote = amounts(market, spec.amount, spec.amount_quote, reference)
    wanted = spec.barriers
    stop = None if wanted.stop_loss is None else barrier_price(side, reference, wanted.stop_loss, is_stop=True)
    target = None if wanted.take_profit is None else barrier_price(side, reference, wanted.take_profit, is_stop=False)
    return Design(
        side,
        quote,
        size,
        reference,
        price,
        on_grid(market, side, stop, is_stop=True),
        on_grid(market, side, target, is_stop=False),
        spec.leverage,
        more={"time_limit_s": wanted.time_limit_s, **trailing_layout(wanted.trailing_stop)},
    )


def unsent(work: Work) -> Decimal:
    """The entry is sent whole: before that everything is reserved, after it nothing."""
    return ZERO if work.state.get("entered") or work.state.get("children") else Decimal(work.layout["size"])


def step(work: Work) -> None:
    """Enter; then guard what is held until nothing is."""
    if not work.state.get("entered"):
        _enter(work)
    elif work.held == 0:
        work.end(how_it_closed(work))
    else:
        guard(work, Decimal(work.layout["entry"]), work.level("stop"), work.level("target"))


def _enter(work: Work) -> None:
    entry = work.child("entry")
    if entry is None:
        _send(work)
    elif entry.refusal and entry.may_pass_later:
        work.save(entry, blocked_until=work.now_ms + ENTRY_PAUSE_MS)
    elif entry.refusal:
        work.end(CloseType.FAILED, entry.refusal)
    elif entry.is_lost:
        work.save(entry)
    elif entry.is_live:
        if work.held:
            guard(work, Decimal(work.layout["entry"]), work.level("stop"), None)
        elif is_late(work):
            work.end(CloseType.TIME_LIMIT)
    elif entry.filled:
        work.save(entry, entered=True)
    else:
        work.end(CloseType.EARLY_STOP, "the entry ended without a fill", keep=True)


def _send(work: Work) -> None:
    """Send the entry, unless it waits after a refusal; one that waited past its time is not made any more."""
    if is_late(work):
        work.end(CloseType.TIME_LIMIT)
    elif not work.is_waiting:
        price = work.level("price")
        kind = OrderType.MARKET if price is None else OrderType.LIMIT
        work.place("entry", Decimal(work.layout["size"]), type=kind, price=price, stop=work.level("stop"), target=work.level("target"))
