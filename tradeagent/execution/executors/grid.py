"""The grid executor: limit entries spread over a range, each with its own profit and the grid's limit price as its stop."""

from decimal import Decimal

from tradeagent.domain.money import ZERO, plain
from tradeagent.domain.names import CloseType, ExitReason, OrderState, OrderType
from tradeagent.execution.executors.arithmetic import average, grid_rungs
from tradeagent.execution.executors.children import Child
from tradeagent.execution.executors.design import Design, mark_of, on_grid
from tradeagent.execution.executors.specs import GridSpec
from tradeagent.execution.executors.work import ENTRY_PAUSE_MS, Work
from tradeagent.execution.state import MarketState


def design(spec: GridSpec, market: MarketState) -> Design:
    """Levels laid out once; the limit price counts as the stop."""
    side = spec.direction
    mark_of(market)
    rungs = grid_rungs(spec, market.instrument)
    more = {
        "levels": [[plain(made.price), plain(made.size)] for made in rungs],
        "take_profit": plain(spec.take_profit),
        "max_open_orders": spec.max_open_orders,
        "far_end": plain(spec.end_price if side.sign > 0 else spec.start_price),
    }
    size = sum((made.size for made in rungs), ZERO)
    stop = on_grid(market, side, spec.limit_price, is_stop=True)
    return Design(side, spec.total_amount_quote, size, average(rungs), None, stop, None, spec.leverage, more=more)


def unsent(work: Work) -> Decimal:
    """The whole but what rests or is held: a level that took its profit may enter again."""
    return sum((Decimal(size) for number, (_, size) in enumerate(work.layout["levels"]) if not _is_taken(work, number)), ZERO)


def _is_taken(work: Work, number: int) -> bool:
    return number in work.state.get("off", []) or any(plan["tag"] == f"level:{number}" for plan in work.state.get("children", []))


def step(work: Work) -> None:
    """End at the limit price or above the range; else book the levels and keep the nearest entries resting."""
    limit, far_end = Decimal(work.layout["stop"]), Decimal(work.layout["far_end"])
    stopped = any((stop := child.leg("stop")) is not None and stop.filled for child in work.children)
    if stopped or (work.mark - limit) * work.sign <= 0:
        work.end(CloseType.STOP_LOSS, f"the limit price {plain(limit)} was reached", exit_reason=ExitReason.STOP)
        return
    _book(work)
    if work.state.get("rounds") and work.held == 0 and (work.mark - far_end) * work.sign >= 0:
        work.end(CloseType.TAKE_PROFIT, f"the market left the range with {work.state['rounds']} profits taken")
        return
    if len(work.state.get("off", [])) == len(work.layout["levels"]):
        work.end(CloseType.EARLY_STOP, "no level is left to trade", keep=True)
        return
    _rest(work)
    if work.held > sum((order.size - order.filled for order in work.levels("stop")), ZERO):
        work.protect(limit, None)


def _book(work: Work) -> None:
    """Forget the levels that are through: a profit counts a round, a refusal pauses entries, a withdrawn level stays off."""
    for child in list(work.children):
        number = int(child.tag.partition(":")[2])
        if child.refusal:
            work.save(child, blocked_until=work.now_ms + ENTRY_PAUSE_MS, refusal=child.refusal)
        elif child.is_lost or (number in work.state.get("moving", []) and not child.is_live and not child.filled):
            work.save(child, moving=[one for one in work.state.get("moving", []) if one != number])
        elif child.is_live or _is_open(child):
            continue
        elif (target := child.leg("target")) is not None and target.filled:
            work.save(child, rounds=int(work.state.get("rounds", 0)) + 1)
        else:
            work.save(child, off=[*work.state.get("off", []), number])


def _is_open(child: Child) -> bool:
    """Whether its stop or target still waits."""
    return any(order.leg != "entry" and OrderState(order.state).is_live for order in child.orders)


def _rest(work: Work) -> None:
    """Keep the idle levels nearest to the mark resting, at most max_open_orders; the farther ones give way."""
    band, taken = work.terms.limits.number("price_band_pct"), {child.tag: child for child in work.children}
    waiting = {}
    for number, (price, _) in enumerate(work.layout["levels"]):
        child, at = taken.get(f"level:{number}"), Decimal(price)
        is_idle = child is None or (child.is_live and not child.filled)
        is_passive = (work.mark - at) * work.sign > 0
        is_near = band is None or abs(at - work.mark) <= band / 100 * work.mark
        if is_idle and is_passive and is_near and number not in work.state.get("off", []):
            waiting[number] = abs(work.mark - at)
    wanted = sorted(waiting, key=lambda number: (waiting[number], number))[: work.layout["max_open_orders"]]
    for child in list(work.children):
        number = int(child.tag.partition(":")[2])
        if child.is_live and not child.filled and number not in wanted:
            work.save(moving=[*work.state.get("moving", []), number])
            work.cancel(child)
    resting = sum(1 for child in work.children if child.is_live)
    for number in wanted:
        if f"level:{number}" in taken or work.is_waiting or resting >= work.layout["max_open_orders"]:
            continue
        resting += 1
        _enter(work, number)


def _enter(work: Work, number: int) -> None:
    price, size = (Decimal(text) for text in work.layout["levels"][number])
    gain = Decimal(work.layout["take_profit"])
    target = price * (1 + work.sign * gain)
    tag = f"level:{number}"
    work.place(tag, size, type=OrderType.LIMIT, price=price, stop=work.level("stop"), target=target)
    child = work.child(tag)
    if child is not None and child.refusal:
        _book(work)
