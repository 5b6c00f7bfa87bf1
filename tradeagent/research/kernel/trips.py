"""Fills in int64: what an execution does to cash, position and round trip, and the row of `Trades` that a trip leaves when it ends."""

from tradeagent.research.kernel import fields as f
from tradeagent.research.kernel.fields import Table
from tradeagent.research.kernel.money import divided, fee_of, part_of
from tradeagent.research.kernel.native import inlined, native

CAPACITY_PARTS = 20
EXIT_ROW, GROSS, FEES, FUNDING, EXIT_REASON = 4, 7, 8, 9, 13


@native
def fill(m: Table, leg: int, signed: int, price: int, reference: int, rate: int, reason: int) -> None:
    """Book `signed` lots at `price`: an entry from flat, or a close of at most what is held; `reference` is the price before slippage."""
    lots = abs(signed)
    fee = fee_of(lots * price, rate)
    m[f.CASH] -= fee
    m[f.FEES] += fee
    m[f.TURNOVER] += lots * price
    m[f.SLIPPAGE] += lots * abs(price - reference)
    if lots * CAPACITY_PARTS > m[leg + f.VOLUME]:
        m[f.OVER_CAPACITY] += 1
    if m[leg + f.SIZE] == 0:
        _begin(m, leg, signed, price, fee)
        return
    m[leg + f.TRIP_FEES] += fee
    see(m, leg, price)
    direction = m[leg + f.TRIP_SIDE]
    released = part_of(abs(m[leg + f.COST]), lots, abs(m[leg + f.SIZE]))
    realised = direction * (lots * price - released)
    m[f.CASH] += realised
    m[leg + f.TRIP_GROSS] += realised
    m[leg + f.TRIP_OUT_VALUE] += lots * price
    m[leg + f.TRIP_OUT_SIZE] += lots
    m[leg + f.SIZE] += signed
    m[leg + f.COST] -= direction * released
    if m[leg + f.SIZE] == 0:
        _end(m, leg, price, reason)


@native
def see(m: Table, leg: int, price: int) -> None:
    """Follow the excursions of a trip to a price at which its present size was held."""
    result = m[leg + f.TRIP_GROSS] + m[leg + f.SIZE] * price - m[leg + f.COST]
    m[leg + f.TRIP_LOW] = min(m[leg + f.TRIP_LOW], result)
    m[leg + f.TRIP_HIGH] = max(m[leg + f.TRIP_HIGH], result)


@inlined
def _begin(m: Table, leg: int, signed: int, price: int, fee: int) -> None:
    m[leg + f.SIZE] = signed
    m[leg + f.COST] = signed * price
    m[leg + f.TRIP_ROW] = m[f.ROW]
    m[leg + f.TRIP_SIDE] = 1 if signed > 0 else -1
    m[leg + f.TRIP_IN_VALUE] = abs(signed) * price
    m[leg + f.TRIP_IN_SIZE] = abs(signed)
    m[leg + f.TRIP_OUT_VALUE] = 0
    m[leg + f.TRIP_OUT_SIZE] = 0
    m[leg + f.TRIP_GROSS] = 0
    m[leg + f.TRIP_FEES] = fee
    m[leg + f.TRIP_FUNDING] = 0
    m[leg + f.TRIP_LOW] = 0
    m[leg + f.TRIP_HIGH] = 0
    m[leg + f.TRIP_STOP] = m[leg + f.ENTRY_STOP]


@inlined
def _end(m: Table, leg: int, price: int, reason: int) -> None:
    """Write the trip down; every order that could only reduce goes with the position, and the machine's timeout begins."""
    write_trip(m, m[f.BEYOND] + f.WIDTH * m[f.TRADES], leg, divided(m[leg + f.TRIP_OUT_VALUE], m[leg + f.TRIP_OUT_SIZE]), reason)
    m[f.TRADES] += 1
    m[leg + f.STOP] = 0
    m[leg + f.TARGET] = 0
    m[leg + f.TRAIL_KIND] = 0
    m[leg + f.CLOSE_WAITS] = 0
    m[leg + f.EXIT_ROW] = m[f.ROW]
    m[leg + f.EXIT_SIDE] = m[leg + f.TRIP_SIDE]
    m[leg + f.EXIT_REASON] = reason
    m[leg + f.WAITS] = 1
    m[leg + f.EXIT_PRICE] = price
    m[leg + f.BEST] = price
    m[leg + f.BUY_BACK_AT] = 0


@native
def write_trip(m: Table, row: int, leg: int, exit_price: int, reason: int) -> None:
    """One row of `Trades`, in the order of its columns, at place `row` of the memory."""
    m[row + 0] = m[leg + f.LEG]
    m[row + 1] = m[leg + f.TRIP_SIDE]
    m[row + 2] = m[leg + f.TRIP_ROW]
    m[row + 3] = divided(m[leg + f.TRIP_IN_VALUE], m[leg + f.TRIP_IN_SIZE])
    m[row + 4] = m[f.ROW]
    m[row + 5] = exit_price
    m[row + 6] = m[leg + f.TRIP_IN_SIZE]
    m[row + 7] = m[leg + f.TRIP_GROSS]
    m[row + 8] = m[leg + f.TRIP_FEES]
    m[row + 9] = m[leg + f.TRIP_FUNDING]
    m[row + 10] = -m[leg + f.TRIP_LOW]
    m[row + 11] = m[leg + f.TRIP_HIGH]
    m[row + 12] = m[leg + f.TRIP_STOP]
    m[row + 13] = reason
