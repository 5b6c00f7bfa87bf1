"""How an executor ends: its orders taken back, what it holds unwound or kept by whoever made it, its figures written, once."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

from tradeagent.domain.money import ZERO
from tradeagent.domain.names import ExecutorStatus, IntentKind
from tradeagent.execution.executors.records import announce, figures, reservation_of
from tradeagent.execution.executors.work import Work
from tradeagent.ledger import executors, trading


def wind_down(work: Work) -> None:
    """One step toward the end that the state names. Called again until it is there; each part finds out whether it was done."""
    ending = work.state["stopping"]
    for child in [child for child in work.children if child.tag != "exit" and child.is_live]:
        work.cancel(child)
    if any(child.tag != "exit" and child.is_live for child in work.children):
        work.changed = False  # the venue has not said yet what became of it
    elif work.layout["reduce_only"] or ending["keep"]:
        _finish(work, ending, keep=True)
    elif work.held == 0:
        _finish(work, ending, keep=False)
    else:
        _exit(work, ending)


def _exit(work: Work, ending: dict[str, Any]) -> None:
    """Close at the market; a refused close is tried again at the next step, not in a circle."""
    present = work.child("exit")
    if present is not None and present.is_live:
        return
    if present is not None:
        work.save(present)
        if present.refusal:
            work.changed = False
            return
    work.place("exit", work.held, kind=IntentKind.CLOSE, exit_reason=ending["exit_reason"])


def _finish(work: Work, ending: dict[str, Any], *, keep: bool) -> None:
    """Hand over or clear away, then write the end in one transaction."""
    row, book, now = work.row, work.engine.book, work.now_ms
    is_own = not work.layout["reduce_only"]
    if is_own and not work.held:
        _clear_levels(work)
    position = work.position
    with work.engine.transaction() as tx:
        pnl, fees, volume = figures(tx, row, position, work.mark if position.size else None)
        if is_own and keep and position.size:
            book.hand_over(tx, position, row.deployment, now)
        ended = replace(
            row,
            status=ExecutorStatus.TERMINATED.value,
            close_type=ending["type"],
            detail=ending["detail"] or row.detail,
            net_pnl_quote=pnl or ZERO,
            fees_paid_quote=fees,
            volume_quote=volume,
            ended_ms=now,
            updated_ms=now,
        )
        names = ("status", "close_type", "detail", "net_pnl_quote", "fees_paid_quote", "volume_quote", "ended_ms", "updated_ms")
        executors.save(tx, row.id, **{name: getattr(ended, name) for name in names})
        if is_own:
            executors.keep_reserved(tx, reservation_of(row), Decimal(0), Decimal(0))
        announce(tx, ended, now)
        book.flush(tx)
    work.row = ended


def _clear_levels(work: Work) -> None:
    """Stops and targets of a position that is gone; the venue keeps them while another controller holds the market."""
    with work.engine.ledger.reading() as tx:
        live = trading.live_orders(tx, work.row.wallet)
    for order in live:
        if order.controller_id == work.row.controller_id and order.market == work.row.market:
            work.cancel_order(order.cloid)
