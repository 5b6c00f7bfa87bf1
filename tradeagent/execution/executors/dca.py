"""The dca executor: limit entries at worse and worse prices, and barriers that follow the average entry."""

from decimal import Decimal

from tradeagent.domain.money import ZERO, plain
from tradeagent.domain.names import CloseType, OrderType
from tradeagent.execution.executors.arithmetic import Rung, average, barrier_price, rung
from tradeagent.execution.executors.design import Design, mark_of, on_grid, trailing_layout
from tradeagent.execution.executors.guard import guard, how_it_closed
from tradeagent.execution.executors.specs import AtPrice, Barrier, DcaSpec
from tradeagent.execution.executors.work import ENTRY_PAUSE_MS, Work
from tradeagent.execution.planning import Unshapely
from tradeagent.execution.state import MarketState


def design(spec: DcaSpec, market: MarketState) -> Design:
    """Rungs on the grid; the stop lies beyond the last price, from the first fill on and when everything is filled."""
    side = spec.direction
    mark_of(market)
    parts = zip(spec.prices, spec.amounts_quote, strict=True)
    rungs = [rung(market.instrument, side, price, quote, f"entry {n}") for n, (price, quote) in enumerate(parts, start=1)]
    middle = average(rungs)
    stop = target = None
    if spec.stop_loss is not None:
        stop = barrier_price(side, middle, spec.stop_loss, is_stop=True)
        first = barrier_price(side, rungs[0].price, spec.stop_loss, is_stop=True)
        for level in (stop, first):
            if (rungs[-1].price - level) * side.sign <= 0:
                raise Unshapely(
                    f"the stop {plain(level)} is not beyond the last price {plain(rungs[-1].price)}: it would close before the last entry",
                    value=plain(level),
                )
    if spec.take_profit is not None:
        target = barrier_price(side, middle, spec.take_profit, is_stop=False)
    more = {
        "rungs": [[plain(made.price), plain(made.size)] for made in rungs],
        "stop_loss": _kept(spec.stop_loss),
        "take_profit": _kept(spec.take_profit),
        "time_limit_s": spec.time_limit_s,
        **trailing_layout(spec.trailing_stop),
    }
    return Design(
        side,
        sum(spec.amounts_quote, ZERO),
        sum((made.size for made in rungs), ZERO),
        middle,
        None,
        on_grid(market, side, stop, is_stop=True),
        on_grid(market, side, target, is_stop=False),
        spec.leverage,
        more=more,
    )


def _kept(barrier: Barrier | None) -> str | dict[str, str] | None:
    if isinstance(barrier, AtPrice):
        return {"price": plain(barrier.price)}
    return None if barrier is None else plain(barrier)


def _barrier(work: Work, name: str, reference: Decimal, *, is_stop: bool) -> Decimal | None:
    kept = work.layout.get(name)
    if kept is None:
        return None
    barrier = AtPrice(price=Decimal(kept["price"])) if isinstance(kept, dict) else Decimal(kept)
    return barrier_price(work.side, reference, barrier, is_stop=is_stop)


def unsent(work: Work) -> Decimal:
    """The rungs that are neither with the venue nor done."""
    gone = {plan["tag"] for plan in work.state.get("children", [])} | {f"rung:{number}" for number in work.state.get("done", [])}
    return sum((Decimal(size) for number, (_, size) in enumerate(work.layout["rungs"]) if f"rung:{number}" not in gone), ZERO)


def step(work: Work) -> None:
    """Book finished rungs, place the next ones, guard what is held."""
    if work.state.get("entered") and work.held == 0:
        work.end(how_it_closed(work))
        return
    _book(work)
    limit_s = work.layout.get("time_limit_s")
    if limit_s is not None and work.held == 0 and work.elapsed_ms >= limit_s * 1000:
        work.end(CloseType.TIME_LIMIT)
    elif not work.held and len(work.state.get("done", [])) == len(work.layout["rungs"]):
        work.end(CloseType.EARLY_STOP, "every entry ended without a fill", keep=True)
    else:
        _place(work)
        if work.held:
            middle = work.position.cost / work.position.size
            guard(work, middle, _barrier(work, "stop_loss", middle, is_stop=True), _barrier(work, "take_profit", middle, is_stop=False))


def _book(work: Work) -> None:
    """Note what has filled, what the venue ended and what was refused."""
    if work.held and not work.state.get("entered"):
        work.save(entered=True)
    for child in list(work.children):
        if child.is_live:
            continue
        if child.refusal:
            work.save(child, blocked_until=work.now_ms + ENTRY_PAUSE_MS, refusal=child.refusal)
        elif child.is_lost:
            work.save(child)
        else:
            work.save(child, done=[*work.state.get("done", []), int(child.tag.partition(":")[2])])


def _place(work: Work) -> None:
    """Rest every rung within the price band; the others wait here until the mark comes near."""
    band, done = work.terms.limits.number("price_band_pct"), work.state.get("done", [])
    for number, (price, size) in enumerate(work.layout["rungs"]):
        made, tag = Rung(Decimal(price), Decimal(size)), f"rung:{number}"
        if number in done or work.child(tag) is not None or work.is_waiting:
            continue
        if band is not None and abs(made.price - work.mark) > band / 100 * work.mark:
            continue
        work.place(tag, made.size, type=OrderType.LIMIT, price=made.price, stop=work.level("stop"))
        child = work.child(tag)
        if child is not None and child.refusal:
            _book(work)
