"""Names of the columns of a run's memory: one int64 table whose row 0 is the account, the next ones the legs by market name, and from row
BEYOND on the round trips that ended in the running bar (TRADES of them), in the columns of `Trades`.

Money is in 10⁻⁶ USDC, prices in storage units, sizes in lots, fee rates in 10⁻⁸, funding rates in 10⁻¹⁰.
"""

from itertools import count
from typing import Protocol, cast

import numpy as np


class Table(Protocol):
    """The memory as the compiled code sees it, flat: a column of the account is at its own number, one of a leg at `leg` + its number, a
    leg being called by where its row begins."""

    def __getitem__(self, at: int) -> int: ...
    def __setitem__(self, at: int, value: int) -> None: ...


def argument(value: int) -> int:
    """A constant as a numpy integer: a literal argument would make the compiler build a version of the function for each value."""
    return cast(int, np.int64(value))


_account = count()
CASH, FEES, FUNDING, SLIPPAGE, TURNOVER, EXPOSED, MAX_LEVERAGE = (next(_account) for _ in range(7))
AMBIGUOUS, BELOW_MINIMUM, NO_MARGIN, BAD_LEVEL, REFUSED, OUTAGE_WAITS, OVER_CAPACITY, LIQUIDATIONS = (next(_account) for _ in range(8))
TIGHTENED = next(_account)
ROW, TRADES, SEQUENCE, WALKS, OVERFLOW, BEYOND = (next(_account) for _ in range(6))
TAKER, MAKER, SLIP, NEAREST, FILL_NO_VOLUME, DELAY, FIRST_ROW, CLOSE_AT_END = (next(_account) for _ in range(8))
MAINTENANCE_UNIT, MARGIN_UNIT, MONEY_LIMIT = (next(_account) for _ in range(3))

_leg = count()
SIZE, COST, MARK, STOP, TARGET, TARGET_HOLD, TRAIL_KIND, TRAIL_AMOUNT, TRAILED = (next(_leg) for _ in range(9))
CLOSE_WAITS, CLOSE_REASON, CLOSE_SEQUENCE = (next(_leg) for _ in range(3))
ENTRY_SIDE, ENTRY_LOTS, ENTRY_PRICE, ENTRY_RESTS, ENTRY_STOP, ENTRY_TARGET = (next(_leg) for _ in range(6))
ENTRY_TRAIL_KIND, ENTRY_TRAIL_AMOUNT, ENTRY_SEQUENCE, ENTRY_IS_BUY_BACK = (next(_leg) for _ in range(4))
EXIT_ROW, EXIT_SIDE, EXIT_REASON, WAITS, EXIT_PRICE, BEST, BUY_BACK_AT = (next(_leg) for _ in range(7))
TRIP_ROW, TRIP_SIDE, TRIP_IN_VALUE, TRIP_IN_SIZE, TRIP_OUT_VALUE, TRIP_OUT_SIZE = (next(_leg) for _ in range(6))
TRIP_GROSS, TRIP_FEES, TRIP_FUNDING, TRIP_LOW, TRIP_HIGH, TRIP_STOP, TRIP_IS_LATE = (next(_leg) for _ in range(7))
OPEN, HIGH, LOW, CLOSE, VOLUME, IS_TRADING, IS_MOVING, NEXT_FUNDING = (next(_leg) for _ in range(8))
LEG, DECIDES, DECIMALS, LEVERAGE, MARGIN_FACTOR, MIN_NOTIONAL, MOST_NOTIONAL, MOST_LOTS = (next(_leg) for _ in range(8))
SIZING, SIZING_VALUE, SCALE, TIMEOUT_MODE, TIMEOUT_BARS, ARMED_LONG, ARMED_SHORT, TIGHTENS = (next(_leg) for _ in range(8))
LONG_LEVELS = next(_leg)
LEVEL_COLUMNS = 3
SHORT_LEVELS = LONG_LEVELS + 4 * LEVEL_COLUMNS + 1
TIERS = SHORT_LEVELS + 4 * LEVEL_COLUMNS + 1
TIER_COLUMNS = 4
MOST_TIERS = 8
WIDTH = 128

STOP_REACH, TARGET_REACH, TRAIL_REACH, BUY_BACK_REACH = 0, LEVEL_COLUMNS, 2 * LEVEL_COLUMNS, 3 * LEVEL_COLUMNS
BUY_BACK_TRAILS = 4 * LEVEL_COLUMNS

TRADE_COLUMNS = 14
TRIPS_A_BAR = 4

FAR = 2**62
NOBODY, ONLY, NO, YES = (argument(value) for value in (0, WIDTH, 0, 1))
FREE = AT_MARKET = ENTRY = NOBODY
