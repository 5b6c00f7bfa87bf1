"""The order executor: one amount, by a market order, a limit, a post-only limit, or a limit that follows the mark."""

from decimal import Decimal

from tradeagent.domain.money import ZERO, limit_price
from tradeagent.domain.names import CloseType, OrderType, Tif
from tradeagent.execution.executors.children import Child
from tradeagent.execution.executors.design import Design, amounts, mark_of, on_grid
from tradeagent.execution.executors.guard import how_it_closed
from tradeagent.execution.executors.specs import OrderSpec
from tradeagent.execution.executors.work import ENTRY_PAUSE_MS, Work
from tradeagent.execution.state import MarketState


def design(spec: OrderSpec, market: MarketState) -> Design:
    """Valued at its limit price, or at the mark (of a chaser: where its limit would rest now)."""
    side, mark = spec.direction, mark_of(market)
    price = spec.price
    if spec.chaser is not None:
        price = mark * (1 - side.sign * spec.chaser.distance)
    price = None if price is None else limit_price(market.instrument, side, price)
    reference = price or mark
    size, quote = amounts(market, spec.amount, spec.amount_quote, reference, closes=spec.reduce_only)
    chaser = {} if spec.chaser is None else {name: f"{value:f}" for name, value in spec.chaser.model_dump().items()}
    return Design(
        side,
        quote,
        size,
        reference,
        price,
        on_grid(market, side, spec.stop, is_stop=True),
        on_grid(market, side, spec.target, is_stop=False),
        spec.leverage,
        spec.reduce_only,
        {"strategy": spec.strategy, **chaser},
    )


def unsent(work: Work) -> Decimal:
    """What is neither filled nor with the venue."""
    with_the_venue = sum((Decimal(plan["size"]) for plan in work.state.get("children", [])), ZERO)
    return Decimal(work.layout["size"]) - work.amount("filled") - with_the_venue


def step(work: Work) -> None:
    """Send what is left, follow the mark when it chases, and complete when nothing worth an order is left."""
    child = work.child("order")
    if child is None:
        if not work.is_waiting:
            _next(work)
    elif child.refusal and child.may_pass_later:
        work.save(child, blocked_until=work.now_ms + ENTRY_PAUSE_MS)
    elif child.refusal:
        work.end(CloseType.FAILED, child.refusal, keep=True)
    elif child.is_live:
        if "distance" in work.layout and _has_moved(work, child):
            work.save(moving=True)
            work.cancel(child)
    elif child.is_lost:
        work.save(child)
    elif (child.order is not None and child.filled == child.order.size) or work.state.get("moving"):
        work.save(child, filled=f"{work.amount('filled') + child.filled:f}", moving=False)
    else:
        work.end(CloseType.EARLY_STOP, "the order ended before it was filled", keep=True)


def _next(work: Work) -> None:
    left = Decimal(work.layout["size"]) - work.amount("filled")
    price = _limit(work)
    if work.amount("filled") and not work.layout["reduce_only"] and work.held == 0:
        work.end(how_it_closed(work), keep=True)
    elif left == 0 or (work.amount("filled") and left * (price or work.mark) < work.instrument.min_notional):
        work.end(CloseType.COMPLETED, keep=True)
    elif work.layout["reduce_only"] and work.held == 0:
        work.end(CloseType.COMPLETED, "nothing is left to reduce", keep=True)
    else:
        kind = OrderType.MARKET if price is None else OrderType.LIMIT
        tif = Tif.ALO if work.layout["strategy"] == "limit_maker" else Tif.GTC
        work.place("order", left, type=kind, price=price, tif=tif, stop=work.level("stop"), target=work.level("target"))


def _limit(work: Work) -> Decimal | None:
    """The limit price now: fixed, or at its distance from the mark."""
    distance = work.level("distance")
    if distance is None:
        return work.level("price")
    return limit_price(work.instrument, work.side, work.mark * (1 - work.sign * distance))


def _has_moved(work: Work, child: Child) -> bool:
    """Whether the mark has left the limit by more than the threshold, so that the limit follows."""
    wanted, present, threshold = _limit(work), Decimal(child.plan["price"]), work.level("refresh_threshold") or ZERO
    return wanted is not None and (wanted - present) * work.sign > threshold * present
