"""What a pass reads, as arrays that all legs share, and what it is called in the compiled code."""

from typing import NamedTuple

from tradeagent.algos.bars import Floats, Ints
from tradeagent.algos.signals import Codes

PRICE_SCALE, PRICE_UNIT, SIZE_SCALE, HIGHEST_RATE, FIRST_FACTOR = 0, 1, 2, 3, 4
LEVELS_A_SIDE = 4
FACTORS = FIRST_FACTOR + 2 * LEVELS_A_SIDE


class Tape(NamedTuple):
    """Bars as floats in quote and base units, codes and the series that levels are measured by: the `rows` of one after those of another.

    `factors` holds per leg 10^price_decimals, 10^size_decimals, the highest maintenance rate and, for long and short, what turns the series
    of stop, target, trailing and buy-back into storage units. `fund_rows` are the rows that pay, leg after leg, each leg ended by a row
    beyond the last bar.
    """

    rows: int
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats
    codes: Codes
    series: Floats
    factors: Floats
    fund_rows: Ints
    fund_rates: Ints
