"""The barriers of what an executor holds: stop and target kept in place, the trailing stop, the time limit, and what ended it."""

from decimal import Decimal

from tradeagent.domain.money import ZERO, protective_price
from tradeagent.domain.names import CloseType, Direction, ExitReason, Side, VerdictKind
from tradeagent.execution.executors.work import Work
from tradeagent.ledger import executors
from tradeagent.ledger.trading import OrderRow

_CLOSED_BY = {
    ExitReason.STOP.value: CloseType.STOP_LOSS,
    ExitReason.TARGET.value: CloseType.TAKE_PROFIT,
    ExitReason.TIME_LIMIT.value: CloseType.TIME_LIMIT,
    ExitReason.TRAILING_STOP.value: CloseType.TRAILING_STOP,
}


def guard(work: Work, reference: Decimal, stop: Decimal | None, target: Decimal | None) -> None:
    """Keep `stop` and `target` in place for all that is held; trailing is measured from `reference`. May begin the end."""
    if is_late(work):
        work.end(CloseType.TIME_LIMIT, exit_reason=ExitReason.TIME_LIMIT)
        return
    trailed = _trailed(work, reference)
    if trailed is not None:
        if (work.mark - trailed) * work.sign <= 0:
            work.end(CloseType.TRAILING_STOP, exit_reason=ExitReason.TRAILING_STOP)
            return
        stop = trailed if stop is None or (trailed - stop) * work.sign > 0 else stop
    _keep(work, _level(work, stop, is_stop=True), _level(work, target, is_stop=False))


def how_it_closed(work: Work) -> CloseType:
    """What closed the position: its own last fill says it; nothing of its own means somebody else did."""
    with work.engine.ledger.reading() as tx:
        last = executors.last_fill(tx, [work.row.controller_id])
    closes = last is not None and last["side"] != work.side.value
    close_type = _CLOSED_BY.get(last["exit_reason"], CloseType.EARLY_STOP) if last is not None and closes else CloseType.EARLY_STOP
    return CloseType.TRAILING_STOP if close_type is CloseType.STOP_LOSS and work.state.get("trails") else close_type


def is_late(work: Work) -> bool:
    """Whether the time limit is over; it counts from the creation."""
    limit = work.layout.get("time_limit_s")
    return limit is not None and work.elapsed_ms >= limit * 1000


def _level(work: Work, price: Decimal | None, *, is_stop: bool) -> Decimal | None:
    if price is None:
        return None
    direction = Direction.LONG if work.side is Side.BUY else Direction.SHORT
    return protective_price(work.instrument, direction, price, is_stop=is_stop)


def _trailed(work: Work, reference: Decimal) -> Decimal | None:
    """Where the trailing stop is; None before its activation. The best price since the entry only gets better."""
    activation, delta = work.level("activation"), work.level("delta")
    if activation is None or delta is None:
        return None
    seen = _best_seen(work)
    before = Decimal(work.state["best"]) if "best" in work.state else seen
    best = max(before, seen) if work.sign > 0 else min(before, seen)
    trails = bool(work.state.get("trails")) or (best - reference) * work.sign >= activation * reference
    if best != before or "best" not in work.state or trails != bool(work.state.get("trails")):
        work.save(best=f"{best:f}", trails=trails)
    return best - work.sign * delta * reference if trails else None


def _best_seen(work: Work) -> Decimal:
    """The best price that was passed since the entry: of a bar it was held through its extreme, else the mark."""
    opened = (work.position.trip or {}).get("opened_ms")
    if work.path is None or opened is None or opened > work.path.open_ms:
        return work.mark
    return work.path.high if work.sign > 0 else work.path.low


def _keep(work: Work, stop: Decimal | None, target: Decimal | None) -> None:
    """Replace stop or target when they are elsewhere, or cover another size."""
    held = work.held
    moved_stop = stop if stop is not None and not _rests(work.levels("stop"), held, stop) else None
    moved_target = target if target is not None and not _rests(work.levels("target"), held, target) else None
    if moved_stop is None and moved_target is None:
        return
    verdict = work.protect(moved_stop, moved_target)
    if verdict.kind is not VerdictKind.REJECTED:
        return
    if stop is not None and (work.mark - stop) * work.sign <= 0:
        work.end(CloseType.STOP_LOSS, f"the stop {stop} was passed", exit_reason=ExitReason.STOP)
    elif target is not None and (target - work.mark) * work.sign <= 0:
        work.end(CloseType.TAKE_PROFIT, f"the target {target} was passed", exit_reason=ExitReason.TARGET)


def _rests(levels: list[OrderRow], held: Decimal, price: Decimal) -> bool:
    covered = sum((order.size - order.filled for order in levels), ZERO)
    return covered == held and all(order.trigger == price for order in levels)
