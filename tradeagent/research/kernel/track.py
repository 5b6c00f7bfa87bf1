"""What a pass needs of a market whatever is traded on it: bars looked at, rows that pay funding. Found once for the same bars."""

from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np

from tradeagent.algos.bars import Bars, Ints, read_only
from tradeagent.domain.clock import HOUR_MS
from tradeagent.domain.errors import InvalidInput
from tradeagent.market.series import funding_series
from tradeagent.research.kernel.check import find_due, look_at
from tradeagent.research.run import Leg

LARGEST_RATE = 9 * 10**8
BEYOND = 2**62


@dataclass(frozen=True, slots=True, eq=False)
class Track:
    """`highest` price; funding as the leg gave it (`hours`, `rates`) and as a pass pays it: rows with their rates, ended by a row beyond
    the last; `missing_hours` counts the payments due between the first and the last open that have no row, 0 where funding is off."""

    highest: float
    hours: Ints
    rates: Ints
    due: Ints
    paid: Ints
    missing_hours: int


_KNOWN: "WeakKeyDictionary[Bars, Track]" = WeakKeyDictionary()


def track_of(leg: Leg) -> Track:
    """The track of a leg's bars and funding. Raises InvalidInput naming the market and the first bar or hour that is wrong."""
    known = _KNOWN.get(leg.bars)
    if known is None or known.hours is not leg.funding_hours or known.rates is not leg.funding_rates:
        highest, is_gapless = _looked_at(leg.bars, leg.instrument.symbol)
        due, paid, missing_hours = _funding(leg, is_gapless=is_gapless)
        known = Track(highest, leg.funding_hours, leg.funding_rates, due, paid, missing_hours)
        _KNOWN[leg.bars] = known
    return known


def _looked_at(bars: Bars, name: str) -> tuple[float, bool]:
    """The highest price, and whether no bar is missing."""
    lengths = {len(getattr(bars, column)) for column in ("time", "open", "high", "low", "close", "volume")}
    if len(lengths) > 1:
        raise InvalidInput(f"{name}: its columns have {', '.join(map(str, sorted(lengths)))} rows", hint="give columns of one length")
    bad, highest, is_gapless = look_at(bars.time, bars.open, bars.high, bars.low, bars.close, bars.volume, bars.interval_ms)
    if bad >= 0:
        raise InvalidInput(
            f"{name}: bar {bad} at {int(bars.time[bad])} is out of order, or a price in it is missing, not positive or out of range",
            hint="run `data verify`, then import the bars again",
        )
    return float(np.int64(highest).view(np.float64)), is_gapless


def _funding(leg: Leg, *, is_gapless: bool) -> tuple[Ints, Ints, int]:
    """Rows that pay with their rates, ended by a row beyond the last, and how many payments have no row."""
    hours, rates, name = leg.funding_hours, leg.funding_rates, leg.instrument.symbol
    if len(hours) != len(rates):
        raise InvalidInput(f"{name}: {len(hours)} funding hours and {len(rates)} rates", hint="give one rate an hour")
    time, interval = leg.bars.time, leg.bars.interval_ms
    due, paid = np.empty((2, len(hours) + 1), np.int64)
    payments, inside, is_whole = find_due(
        time, interval, is_gapless, read_only(np.asarray(hours, np.int64)), read_only(np.asarray(rates, np.int64)), LARGEST_RATE, due, paid
    )
    if payments < 0:
        raise InvalidInput(f"{name}: funding hours are out of order, or a rate is above 9 % an hour", hint="run `data verify`")
    due[payments], paid[payments] = BEYOND, 0
    is_complete = is_whole and inside == time[-1] // HOUR_MS - time[0] // HOUR_MS
    return due[: payments + 1], paid[: payments + 1], 0 if is_complete or not len(hours) else _missing_hours(leg)


def _missing_hours(leg: Leg) -> int:
    hours, time = leg.funding_hours, leg.bars.time
    return funding_series("", leg.instrument.symbol, hours.copy(), np.zeros(len(hours))).missing_hours(int(time[0]), int(time[-1]))
