"""The pass over the bars: quiet stretches of a single leg at once, every bar on which something can happen in full.

What an open has left may be quiet for the rest of its bar too, so a stretch can begin there.
"""

from collections.abc import Callable

import numpy as np

from tradeagent.algos.bars import Ints
from tradeagent.domain.names import ExitReason
from tradeagent.research.kernel import fields as f
from tradeagent.research.kernel.entries import decide_leg
from tradeagent.research.kernel.fields import Table, argument
from tradeagent.research.kernel.native import FINGERPRINT, entrance, inlined, native, pointer
from tradeagent.research.kernel.quiet import pay_funding, quiet_until
from tradeagent.research.kernel.tape import FACTORS, PRICE_SCALE, SIZE_SCALE, Tape
from tradeagent.research.kernel.trips import EXIT_REASON, EXIT_ROW, GROSS, write_trip
from tradeagent.research.kernel.venue import close_all, play_close, play_open, play_path
from tradeagent.research.run import EXIT_REASONS

ENDED = argument(EXIT_REASONS.index(ExitReason.END))


@inlined
def _addresses(tape: Tape) -> Tape:
    return Tape(
        tape.rows,
        pointer(tape.open),
        pointer(tape.high),
        pointer(tape.low),
        pointer(tape.close),
        pointer(tape.volume),
        pointer(tape.codes),
        pointer(tape.series),
        pointer(tape.factors),
        pointer(tape.fund_rows),
        pointer(tape.fund_rates),
    )


@inlined
def _load(tape: Tape, m: Table, row: int) -> None:
    """Put a bar of every leg on the grid, pay the funding due at its open on what is carried in, and mark at the opens."""
    for leg in range(f.WIDTH, m[f.BEYOND], f.WIDTH):
        at = leg // f.WIDTH - 1
        scale = tape.factors[at * FACTORS + PRICE_SCALE]
        opened = int(np.rint(tape.open[at * tape.rows + row] * scale))
        high = int(np.rint(tape.high[at * tape.rows + row] * scale))
        low = int(np.rint(tape.low[at * tape.rows + row] * scale))
        close = int(np.rint(tape.close[at * tape.rows + row] * scale))
        volume = tape.volume[at * tape.rows + row]
        is_outage = volume == 0.0 and opened == high and high == low and low == close
        m[leg + f.OPEN] = opened
        m[leg + f.HIGH] = high
        m[leg + f.LOW] = low
        m[leg + f.CLOSE] = close
        m[leg + f.VOLUME] = 0 if volume == 0.0 else max(1, int(np.rint(float(volume) * tape.factors[at * FACTORS + SIZE_SCALE])))
        m[leg + f.IS_TRADING] = 0 if is_outage and m[f.FILL_NO_VOLUME] == 0 else 1
        m[leg + f.MARK] = opened
        if tape.fund_rows[m[leg + f.NEXT_FUNDING]] <= row:
            pay_funding(tape, m, leg, row, opened)


@native
def _close_at_end(m: Table) -> int:
    """Close at the last close with its cost, in the order in which the legs decide, where the market trades and takes so large an order."""
    for turn in range(f.WIDTH, m[f.BEYOND], f.WIDTH):
        leg = m[turn + f.DECIDES]
        is_taken = m[leg + f.IS_TRADING] != 0 and abs(m[leg + f.SIZE]) * m[leg + f.MARK] <= m[leg + f.MOST_NOTIONAL]
        if m[leg + f.SIZE] != 0 and is_taken:
            close_all(m, leg, ENDED)
    worth = m[f.CASH]
    for leg in range(f.WIDTH, m[f.BEYOND], f.WIDTH):
        worth += m[leg + f.SIZE] * m[leg + f.MARK] - m[leg + f.COST]
    return worth


@inlined
def _write_trips(m: Table, trades: Ints, count: int) -> int:
    """Move the trips that ended in this bar into `trades`; how many there are now."""
    for done in range(m[f.TRADES]):
        for column in range(f.TRADE_COLUMNS):
            trades[column, count] = m[m[f.BEYOND] + f.WIDTH * done + column]
        count += 1
    m[f.TRADES] = 0
    return count


@native
def _write_open(m: Table) -> None:
    """Leave the trips that are still open, valued at the last close, in the memory's rows for trips."""
    for turn in range(f.WIDTH, m[f.BEYOND], f.WIDTH):
        leg = m[turn + f.DECIDES]
        if m[leg + f.SIZE] == 0:
            continue
        trip = m[f.BEYOND] + f.WIDTH * m[f.TRADES]
        write_trip(m, trip, leg, m[leg + f.MARK], ENDED)
        m[trip + EXIT_ROW] = 0
        m[trip + EXIT_REASON] = 0
        m[trip + GROSS] += m[leg + f.SIZE] * m[leg + f.MARK] - m[leg + f.COST]
        m[f.TRADES] += 1


def _entrance(fingerprint: int) -> Callable[[Tape, Ints, Ints, Ints, int], int]:
    """`run` under the name of its sources, so that the disk cache never gives out what was compiled from others."""

    @entrance
    def run(kept: Tape, memory: Ints, trades: Ints, equity: Ints, count: int) -> int:
        """Play the bars from the memory's row on: to the end, to an overflow, or until `trades` (`count` are there) may have no room.

        Returns how many trades there are.
        """
        _ = fingerprint
        tape = _addresses(kept)
        m, worth = pointer(memory), pointer(equity)
        rows, legs = tape.rows, m[f.BEYOND] // f.WIDTH
        last = rows - 1
        row = m[f.ROW]
        while row < rows and m[f.OVERFLOW] == 0 and count + f.TRIPS_A_BAR * legs <= trades.shape[1]:
            row, is_marked = quiet_until(tape, m, worth, row, last)
            m[f.ROW] = row
            if not is_marked:
                _load(tape, m, row)
                play_open(m)
                count = _write_trips(m, trades, count)
                after, is_marked = quiet_until(tape, m, worth, row, last)
                if after > row and not is_marked:
                    row = after
                    continue
                row = m[f.ROW] = after
            if not is_marked:
                play_path(m)
                worth[row] = play_close(m)
            if row < last:
                for turn in range(f.WIDTH, m[f.BEYOND], f.WIDTH):
                    leg = m[turn + f.DECIDES]
                    decide_leg(m, tape, leg, tape.codes[(leg // f.WIDTH - 1) * rows + row - m[f.DELAY]])
            elif m[f.CLOSE_AT_END] != 0:
                worth[row] = _close_at_end(m)
            count = _write_trips(m, trades, count)
            row += 1
        m[f.ROW] = row
        if row == rows:
            _write_open(m)
        return count

    return run


run = _entrance(FINGERPRINT)
