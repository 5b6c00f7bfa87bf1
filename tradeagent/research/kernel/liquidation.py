"""Liquidation of the cross account in int64: where on a leg of the path it starts, steps, backstop; the twin of venue/liquidation.py."""

from tradeagent.domain.names import ExitReason
from tradeagent.research.kernel import fields as f
from tradeagent.research.kernel.fields import Table, argument
from tradeagent.research.kernel.money import equity, maintenance, maintenance_of, slipped
from tradeagent.research.kernel.native import native
from tradeagent.research.kernel.trips import fill
from tradeagent.research.run import EXIT_REASONS

STEP_NOTIONAL = 100_000_000_000
STEP_PARTS = 5
LIQUIDATED = argument(EXIT_REASONS.index(ExitReason.LIQUIDATION))


@native
def is_liquidatable(m: Table) -> bool:
    """Equity below maintenance margin, exactly."""
    return equity(m) * m[f.MAINTENANCE_UNIT] < maintenance(m, f.NOBODY)


@native
def first_breach(m: Table, leg: int, end: int) -> int:
    """First price from the mark of `leg` to `end` at which equity < maintenance, other marks held; -1 when there is none."""
    start, size = m[leg + f.MARK], m[leg + f.SIZE]
    others = equity(m) - size * start
    required = maintenance(m, leg)
    if _is_short(m, leg, others, required, start):
        return start
    if not _is_short(m, leg, others, required, end):
        return -1
    safe, short = start, end
    while abs(short - safe) > 1:
        middle = (safe + short) // 2
        if _is_short(m, leg, others, required, middle):
            short = middle
        else:
            safe = middle
    return short


@native
def _is_short(m: Table, leg: int, others: int, required: int, price: int) -> bool:
    own = maintenance_of(m, leg, abs(m[leg + f.SIZE]) * price)
    return (others + m[leg + f.SIZE] * price) * m[f.MAINTENANCE_UNIT] < required + own


@native
def liquidate(m: Table) -> None:
    """While equity < maintenance at the marks: cancel all orders, close the largest position that trades in steps, or backstop."""
    if not is_liquidatable(m) or _largest(m) == 0:
        return
    m[f.LIQUIDATIONS] += 1
    for leg in range(f.WIDTH, m[f.BEYOND], f.WIDTH):
        m[leg + f.STOP] = 0
        m[leg + f.TARGET] = 0
        m[leg + f.TRAIL_KIND] = 0
        m[leg + f.CLOSE_WAITS] = 0
        m[leg + f.ENTRY_SIDE] = 0
        m[leg + f.ENTRY_RESTS] = 0
    while is_liquidatable(m):
        if 3 * equity(m) * m[f.MAINTENANCE_UNIT] < 2 * maintenance(m, f.NOBODY):
            _backstop(m)
            return
        leg = _largest(m)
        if leg == 0:
            return
        _close_step(m, leg)


@native
def _largest(m: Table) -> int:
    """The leg with the largest notional among those that trade; 0 when none holds a position."""
    found, most = f.NOBODY, 0
    for leg in range(f.WIDTH, m[f.BEYOND], f.WIDTH):
        notional = abs(m[leg + f.SIZE]) * m[leg + f.MARK]
        if m[leg + f.IS_TRADING] != 0 and notional > most:
            found, most = leg, notional
    return found


@native
def _close_step(m: Table, leg: int) -> None:
    """A fifth (rounded up) of a position above 100,000 USDC, else all of it, as taker without a further fee."""
    size, mark = m[leg + f.SIZE], m[leg + f.MARK]
    side = -1 if size > 0 else 1
    lots = (abs(size) + STEP_PARTS - 1) // STEP_PARTS if abs(size) * mark > STEP_NOTIONAL else abs(size)
    fill(m, leg, side * lots, slipped(mark, side, m[f.SLIP]), mark, m[f.TAKER], LIQUIDATED)


@native
def _backstop(m: Table) -> None:
    """The venue takes every position at its mark, free of fees, and the cash that is left or missing."""
    for leg in range(f.WIDTH, m[f.BEYOND], f.WIDTH):
        if m[leg + f.SIZE] != 0:
            fill(m, leg, -m[leg + f.SIZE], m[leg + f.MARK], m[leg + f.MARK], f.FREE, LIQUIDATED)
    m[f.CASH] = 0
