"""The twap executor: a total in equal market orders over time; what a slice could not do is carried, and never chased at the end."""

from decimal import Decimal

from tradeagent.domain.money import ZERO, plain, size_down
from tradeagent.domain.names import CloseType
from tradeagent.execution.executors.arithmetic import check_minimum, twap_due, twap_slices
from tradeagent.execution.executors.design import Design, mark_of, on_grid
from tradeagent.execution.executors.guard import how_it_closed
from tradeagent.execution.executors.specs import TwapSpec
from tradeagent.execution.executors.work import Work
from tradeagent.execution.state import MarketState


def design(spec: TwapSpec, market: MarketState) -> Design:
    """Slices in quote units, so that a price that moves never makes it spend more than its total."""
    side, mark, total = spec.direction, mark_of(market), spec.total_amount_quote
    slices = twap_slices(total, spec.duration_s, spec.interval_s)
    check_minimum(market.instrument, size_down(market.instrument, slices[0] / mark), mark, f"each of {len(slices)} slices")
    return Design(
        side,
        total,
        size_down(market.instrument, total / mark),
        mark,
        None,
        on_grid(market, side, spec.stop, is_stop=True),
        None,
        spec.leverage,
        spec.reduce_only,
        {
            "total": plain(total),
            "slices": [plain(part) for part in slices],
            "interval_ms": spec.interval_s * 1000,
            "duration_ms": spec.duration_s * 1000,
            "price_limit": None if spec.price_limit is None else plain(spec.price_limit),
        },
    )


def unsent(work: Work) -> Decimal:
    """What the total still buys at the price of its creation."""
    entry = Decimal(work.layout["entry"])
    with_the_venue = sum((Decimal(plan["size"]) * entry for plan in work.state.get("children", [])), ZERO)
    return (Decimal(work.layout["total"]) - work.amount("spent") - with_the_venue) / entry


def step(work: Work) -> None:
    """Book the slice that is done, then send what is due."""
    child = work.child("slice")
    if child is not None:
        if child.is_lost:
            work.save(child, next_slice=int(work.state.get("next_slice", 1)) - 1)
        elif not child.is_live:
            work.save(child, spent=f"{work.amount('spent') + work.value_filled(child):f}")
        return
    left = Decimal(work.layout["total"]) - work.amount("spent")
    if work.layout["reduce_only"]:
        if work.held == 0:
            work.end(CloseType.COMPLETED, "nothing is left to reduce", keep=True)
            return
    elif work.amount("spent") and work.held == 0:
        work.end(how_it_closed(work))
        return
    if left < work.instrument.min_notional:
        work.end(CloseType.COMPLETED, keep=True)
    elif work.elapsed_ms >= work.layout["duration_ms"]:
        work.end(CloseType.TIME_LIMIT, f"{plain(left)} USDC of {work.layout['total']} were not sent", keep=True)
    else:
        _send_due(work)


def _send_due(work: Work) -> None:
    slices, interval_ms = [Decimal(part) for part in work.layout["slices"]], work.layout["interval_ms"]
    number, limit = work.elapsed_ms // interval_ms, work.level("price_limit")
    if number < int(work.state.get("next_slice", 0)) or (limit is not None and (work.mark - limit) * work.sign > 0):
        return
    size = size_down(work.instrument, twap_due(slices, interval_ms, work.elapsed_ms, work.amount("spent")) / work.mark)
    if size * work.mark < work.instrument.min_notional:
        return
    work.place("slice", size, {"next_slice": number + 1}, stop=work.level("stop"))
