"""Stretches of bars on which nothing can happen, for one leg: they are found by comparing floats and their equity is written in one go.

The bounds are drawn wide, so that a bar on which something might happen is always played in full.
"""

import numpy as np

from tradeagent.algos.bars import Floats, Ints
from tradeagent.algos.machine import COOLDOWN_ONLY, EXIT_LONG, EXIT_SHORT, FIRE_LONG, FIRE_SHORT
from tradeagent.algos.signals import Codes
from tradeagent.research.kernel import fields as f
from tradeagent.research.kernel.fields import Table, argument
from tradeagent.research.kernel.money import funding_of
from tradeagent.research.kernel.native import flagged, inlined, native, prefetch
from tradeagent.research.kernel.tape import HIGHEST_RATE, PRICE_SCALE, PRICE_UNIT, Tape
from tradeagent.research.kernel.trips import see
from tradeagent.research.kernel.venue import note_leverage

FIRES, AGAINST_LONG, AGAINST_SHORT = (argument(mask) for mask in (FIRE_LONG | FIRE_SHORT, EXIT_LONG | FIRE_SHORT, EXIT_SHORT | FIRE_LONG))
MARGIN = 0.6
HIGHEST_BITS = 2**63 - 1
BLOCK, AHEAD = 32, 512
WORD, EACH_BYTE = 8, 0x0101010101010101


@native
def quiet_until(tape: Tape, m: Table, equity: Ints, row: int, last: int) -> tuple[int, bool]:
    """(row, is it marked): the first row from `row` to `last` that must be played in full, or one whose close calls for a decision.

    The latter is marked: nothing happened on the way to its close. Equity is written up to the row, and at a marked one too. Several
    legs are never quiet.
    """
    if m[f.BEYOND] != f.ONLY + f.WIDTH or m[f.ONLY + f.ENTRY_SIDE] != 0 or m[f.ONLY + f.CLOSE_WAITS] != 0:
        return row, False
    if m[f.ONLY + f.SIZE] == 0:
        return _flat_until(tape, m, equity, row, last)
    if m[f.ONLY + f.TRAIL_KIND] != 0:
        return row, False
    return _held_until(tape, m, equity, row, last)


@inlined
def _flat_until(tape: Tape, m: Table, equity: Ints, row: int, last: int) -> tuple[int, bool]:
    side = m[f.ONLY + f.EXIT_SIDE]
    if side != 0:
        if m[f.ONLY + f.WAITS] != 0 and m[f.ONLY + f.TIMEOUT_MODE] != COOLDOWN_ONLY:
            return row, False
        base = f.LONG_LEVELS if side > 0 else f.SHORT_LEVELS
        if m[f.ONLY + base + f.BUY_BACK_REACH] != 0:
            return row, False
    cash = m[f.CASH]
    told = m[f.DELAY] + _first_code(tape.codes, FIRES, row - m[f.DELAY], last - m[f.DELAY])
    _expect(tape, told + 1)
    for quiet in range(row, told + 1):
        equity[quiet] = cash
    return _decided(tape, m, told), True


@inlined
def _held_until(tape: Tape, m: Table, equity: Ints, row: int, last: int) -> tuple[int, bool]:
    """With a position: a stretch ends where price, code or the last bar ends it.

    Codes are looked for no farther than AHEAD, so that bars which a wide bound has played one by one do not search the whole tape each.
    """
    delay, again = m[f.DELAY], m[f.ONLY + f.TIGHTENS]
    mask = AGAINST_LONG | again & FIRE_LONG if m[f.ONLY + f.SIZE] > 0 else AGAINST_SHORT | again & FIRE_SHORT
    at = row
    while at < last:
        ahead = min(last, at + AHEAD)
        told = delay + _first_code(tape.codes, mask, at - delay, ahead - delay)
        _expect(tape, told + 1)
        end = min(told + 1, ahead)
        at = _held_through(tape, m, equity, at, end)
        if at < end:
            return at, False
        if told < ahead:
            return _decided(tape, m, told), True
    return at, False


@inlined
def _held_through(tape: Tape, m: Table, equity: Ints, start: int, end: int) -> int:
    """The first row from `start` to `end` at which a level is touched, or `end`; funding is paid and equity is written on the way."""
    at = start
    while at < end:
        due = tape.fund_rows[m[f.ONLY + f.NEXT_FUNDING]]
        if due <= at:
            pay_funding(tape, m, f.ONLY, at, int(np.rint(tape.open[at] * tape.factors[PRICE_SCALE])))
            due = tape.fund_rows[m[f.ONLY + f.NEXT_FUNDING]]
        prefetch(tape.open, due)
        until = min(end, due)
        at = _hold(tape, m, equity, at, until)
        if at < until:
            break
    return at


@inlined
def _expect(tape: Tape, row: int) -> None:
    """Ask for the memory of a row that will be played and of which the scan reads only a part: it takes as long as a trade to come."""
    prefetch(tape.open, row)
    prefetch(tape.volume, row)


@inlined
def _decided(tape: Tape, m: Table, row: int) -> int:
    """The row, whose close calls for a decision and is marked."""
    m[f.ONLY + f.CLOSE] = m[f.ONLY + f.MARK] = int(np.rint(tape.close[row] * tape.factors[PRICE_SCALE]))
    return row


@native
def _first_code(codes: Codes, mask: int, start: int, end: int) -> int:
    """The first row from `start` to `end` whose code has a flag of `mask`, or `end`."""
    at, masks = start, mask * EACH_BYTE
    while at + WORD <= end:
        clear = flagged(codes, at, masks)
        if clear < WORD:
            return at + clear
        at += WORD
    while at < end and codes[at] & mask == 0:
        at += 1
    return at


@inlined
def _hold(tape: Tape, m: Table, equity: Ints, start: int, end: int) -> int:
    """The first row from `start` to `end` that touches a level, or `end`. The position sees the extremes and highest leverage before it.

    Whole blocks are looked at and written, because a fixed number of rows needs no loop over what is left: the equity of the rows behind
    is written again when they are played. The rows after the last whole block are played in full.
    """
    scale, size, base = tape.factors[PRICE_SCALE], m[f.ONLY + f.SIZE], m[f.CASH] - m[f.ONLY + f.COST]
    below, above = _bounds(m, tape.factors[PRICE_UNIT], tape.factors[HIGHEST_RATE])
    least_bits, most_bits = _bits(below), _bits(above)
    low, high, close = tape.low, tape.high, tape.close
    lowest, highest, least, most = HIGHEST_BITS, 0, f.FAR, 0
    at = start
    while at < end and at + BLOCK <= tape.rows:
        until = min(at + BLOCK, end)
        bottom, top, first, last = HIGHEST_BITS, 0, f.FAR, 0
        for row in range(at, at + BLOCK):
            mark = int(np.rint(close[row] * scale))
            equity[row] = base + size * mark
            if row < until:
                first, last = min(first, mark), max(last, mark)
                bottom, top = min(bottom, _bits(low[row])), max(top, _bits(high[row]))
        if bottom <= least_bits or top >= most_bits:
            end = _first_touched(low, high, at, below, above)
            continue
        lowest, highest, least, most = min(lowest, bottom), max(highest, top), min(least, first), max(most, last)
        at = until
    _expect(tape, at)
    if at > start:
        see(m, f.ONLY, _units(lowest, scale))
        see(m, f.ONLY, _units(highest, scale))
        m[f.EXPOSED] += at - start
        for mark in (least, most):
            note_leverage(m, abs(size) * mark, base + size * mark)
    return at


@inlined
def _bits(price: float) -> int:
    """Positive floats are ordered as their bits, whose extremes are found several rows at a time."""
    return int(np.float64(price).view(np.int64))


@inlined
def _units(bits: int, scale: float) -> int:
    return int(np.rint(np.int64(bits).view(np.float64) * scale))


@inlined
def _first_touched(low: Floats, high: Floats, start: int, below: float, above: float) -> int:
    """The first row from `start` that touches a level; the caller has seen that there is one."""
    row = start
    while low[row] > below and high[row] < above:
        row += 1
    return row


@native
def pay_funding(tape: Tape, m: Table, leg: int, row: int, opened: int) -> None:
    """Pay what is due at the open of `row` on the position carried in, and move on to the next hour."""
    due = m[leg + f.NEXT_FUNDING]
    while tape.fund_rows[due] <= row:
        if tape.fund_rows[due] == row and m[leg + f.SIZE] != 0:
            paid = funding_of(m[leg + f.SIZE], opened, tape.fund_rates[due])
            m[f.CASH] -= paid
            m[f.FUNDING] += paid
            m[leg + f.TRIP_FUNDING] += paid
        due += 1
    m[leg + f.NEXT_FUNDING] = due


@native
def _bounds(m: Table, unit: float, rate: float) -> tuple[float, float]:
    """Prices between which neither stop nor target nor liquidation can happen; maintenance is taken at its highest rate."""
    size, stop, target = m[f.ONLY + f.SIZE], m[f.ONLY + f.STOP], m[f.ONLY + f.TARGET]
    below, above = -np.inf, np.inf
    if size > 0:
        below = max((m[f.ONLY + f.COST] - m[f.CASH]) / (size * (1.0 - rate)) + 1.0, float(stop))
        if target != 0:
            above = float(target)
    else:
        above = (m[f.CASH] - m[f.ONLY + f.COST]) / (-size * (1.0 + rate)) - 1.0
        if stop != 0:
            above = min(above, float(stop))
        below = float(target) if target != 0 else 0.0
    return (below + MARGIN) * unit, (above - MARGIN) * unit
