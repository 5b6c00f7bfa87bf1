"""Stretches of bars on which nothing can happen, for one leg: they are found by comparing floats and their equity is written in one go.

The bounds are drawn wide, so that a bar on which something might happen is always played in full.
"""

import numpy as np

from tradeagent.algos.bars import Ints
from tradeagent.algos.machine import COOLDOWN_ONLY, EXIT_LONG, EXIT_SHORT, FIRE_LONG, FIRE_SHORT
from tradeagent.research.kernel import fields as f
from tradeagent.research.kernel.fields import Table
from tradeagent.research.kernel.money import funding_of
from tradeagent.research.kernel.native import inlined, native
from tradeagent.research.kernel.tape import HIGHEST_RATE, PRICE_SCALE, Tape
from tradeagent.research.kernel.trips import see
from tradeagent.research.kernel.venue import note_leverage

FIRES = FIRE_LONG | FIRE_SHORT
AGAINST_LONG = EXIT_LONG | FIRE_SHORT
AGAINST_SHORT = EXIT_SHORT | FIRE_LONG
MARGIN = 0.6


@inlined
def quiet_until(tape: Tape, m: Table, equity: Ints, row: int, last: int) -> tuple[int, bool]:
    """(row, is it marked): the first row from `row` to `last` that must be played in full, or one whose close calls for a decision.

    The latter is marked: nothing happened on the way to its close. Equity is written up to the row, and at a marked one too.
    """
    if m[1, f.ENTRY_SIDE] != 0 or m[1, f.CLOSE_WAITS] != 0:
        return row, False
    if m[1, f.SIZE] == 0:
        return _flat_until(tape, m, equity, row, last)
    if m[1, f.TRAIL_KIND] != 0:
        return row, False
    return _held_until(tape, m, equity, row, last)


@inlined
def _flat_until(tape: Tape, m: Table, equity: Ints, row: int, last: int) -> tuple[int, bool]:
    side = m[1, f.EXIT_SIDE]
    if side != 0:
        if m[1, f.WAITS] != 0 and m[1, f.TIMEOUT_MODE] != COOLDOWN_ONLY:
            return row, False
        base = f.LONG_LEVELS if side > 0 else f.SHORT_LEVELS
        if m[1, base + f.BUY_BACK_REACH] != 0:
            return row, False
    codes, delay, cash = tape.codes[0], m[0, f.DELAY], m[0, f.CASH]
    at = row
    while at < last and codes[at - delay] & FIRES == 0:
        at += 1
    for quiet in range(row, at + 1):
        equity[quiet] = cash
    m[1, f.CLOSE] = m[1, f.MARK] = int(np.rint(tape.close[0, at] * tape.factors[0, PRICE_SCALE]))
    return at, True


@inlined
def _held_until(tape: Tape, m: Table, equity: Ints, row: int, last: int) -> tuple[int, bool]:
    """With a position: funding is paid on the way; a stretch ends where price, code or the last bar ends it."""
    scale, size = tape.factors[0, PRICE_SCALE], m[1, f.SIZE]
    mask = AGAINST_LONG if size > 0 else AGAINST_SHORT
    is_decided = False
    at = row
    while at < last and not is_decided:
        due = tape.fund_rows[m[1, f.NEXT_FUNDING]]
        if due <= at:
            pay_funding(tape, m, f.ONLY, at, int(np.rint(tape.open[0, at] * scale)))
            due = tape.fund_rows[m[1, f.NEXT_FUNDING]]
        below, above = _bounds(m, scale, tape.factors[0, HIGHEST_RATE])
        first, end, base = at, min(last, due), m[0, f.CASH] - m[1, f.COST]
        low, high, least, most = np.inf, 0.0, np.inf, 0.0
        while at < end and not is_decided:
            lowest, highest, close = tape.low[0, at], tape.high[0, at], tape.close[0, at]
            if lowest <= below or highest >= above:
                break
            low, high = min(low, lowest), max(high, highest)
            least, most = min(least, close), max(most, close)
            equity[at] = base + size * int(np.rint(close * scale))
            is_decided = tape.codes[0, at - m[0, f.DELAY]] & mask != 0
            at += 1
        if at > first:
            _note(m, at - first, (low * scale, high * scale), (least * scale, most * scale))
        if at < end:
            break
    if is_decided:
        at -= 1
        m[1, f.CLOSE] = m[1, f.MARK] = int(np.rint(tape.close[0, at] * scale))
    return at, is_decided


@native
def _note(m: Table, bars: int, extremes: tuple[float, float], closes: tuple[float, float]) -> None:
    """Let the position see the extremes and the highest leverage of the bars it was held through."""
    see(m, f.ONLY, int(np.rint(extremes[0])))
    see(m, f.ONLY, int(np.rint(extremes[1])))
    m[0, f.EXPOSED] += bars
    for close in closes:
        mark = int(np.rint(close))
        note_leverage(m, abs(m[1, f.SIZE]) * mark, m[0, f.CASH] + m[1, f.SIZE] * mark - m[1, f.COST])


@inlined
def pay_funding(tape: Tape, m: Table, leg: int, row: int, opened: int) -> None:
    """Pay what is due at the open of `row` on the position carried in, and move on to the next hour."""
    due = m[leg, f.NEXT_FUNDING]
    while tape.fund_rows[due] <= row:
        if tape.fund_rows[due] == row and m[leg, f.SIZE] != 0:
            paid = funding_of(m[leg, f.SIZE], opened, tape.fund_rates[due])
            m[0, f.CASH] -= paid
            m[0, f.FUNDING] += paid
            m[leg, f.TRIP_FUNDING] += paid
        due += 1
    m[leg, f.NEXT_FUNDING] = due


@native
def _bounds(m: Table, scale: float, rate: float) -> tuple[float, float]:
    """Prices between which neither stop nor target nor liquidation can happen; maintenance is taken at its highest rate."""
    size, stop, target = m[1, f.SIZE], m[1, f.STOP], m[1, f.TARGET]
    below, above = -np.inf, np.inf
    if size > 0:
        below = max((m[1, f.COST] - m[0, f.CASH]) / (size * (1.0 - rate)) + 1.0, float(stop))
        if target != 0:
            above = float(target)
    else:
        above = (m[0, f.CASH] - m[1, f.COST]) / (-size * (1.0 + rate)) - 1.0
        if stop != 0:
            above = min(above, float(stop))
        below = float(target) if target != 0 else 0.0
    return (below + MARGIN) / scale, (above - MARGIN) / scale
