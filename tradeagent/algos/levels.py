"""Levels and sizes of an entry in integers: where stop, target and buy-back limit lie for a decision price, and how many lots that makes.

Prices are in storage units of the instrument, sizes in lots, money in 10⁻⁶ quote. The backtest kernel compiles these functions, the event
path calls them; the door and the venue round the same way (hyperliquid.md §1, execution.md §2), which the tests compare.
"""

import math
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Decimal

from tradeagent.algos.bars import Floats
from tradeagent.algos.machine import FIRE_LONG, FIRE_SHORT
from tradeagent.algos.signals import Distance, Levels, Signals
from tradeagent.algos.spec import AlgoSpec, LevelKind
from tradeagent.domain.errors import InvalidConfig
from tradeagent.domain.instrument import Instrument

UNIT = 10**8
NONE, RATE, FIXED = 0, 1, 2
FIVE_FIGURES = 100_000
NOISE = 1e-6
FARTHEST = 1e15
UNKNOWN = -1


@dataclass(frozen=True, slots=True, eq=False)
class Reach:
    """A distance ready for integers: RATE `amount` is 10⁻⁸ of the price, FIXED storage units; with `series` it is its row × `factor`.

    It is rounded down, which puts the level toward the entry, and `is_outward` up, which puts a limit on the passive side.
    """

    kind: int = NONE
    amount: int = 0
    factor: float = 0.0
    series: Floats | None = None
    is_outward: bool = False

    def at(self, row: int) -> tuple[int, int]:
        """(kind, amount) for an entry decided at `row`; amount UNKNOWN where the series has no value yet, which means no entry."""
        if self.series is None:
            return self.kind, self.amount
        return self.kind, units_of(float(self.series[row]) * self.factor, self.is_outward)


@dataclass(frozen=True, slots=True, eq=False)
class Reaches:
    """The levels of one side. What is written in R is the stop's distance times R, before either is rounded."""

    stop: Reach
    target: Reach
    trailing: Reach
    buy_back: Reach


def reaches_of(levels: Levels, instrument: Instrument, where: str) -> Reaches:
    """Levels of one side for one instrument. Raises InvalidConfig (naming `where`) for a distance of which nothing is left in whole
    units, and for a target in R or a trailing stop without a stop."""
    stop = _reach(levels.stop, levels.stop, instrument, f"{where}.stop_loss")
    return Reaches(
        stop,
        _reach(levels.target, levels.stop, instrument, f"{where}.take_profit"),
        _reach(levels.trailing, levels.stop, instrument, f"{where}.trailing", starts_at_stop=True),
        _reach(levels.buy_back, None, instrument, f"{where}.buy_back", is_outward=True),
    )


def _reach(
    distance: Distance | None,
    stop: Distance | None,
    instrument: Instrument,
    where: str,
    *,
    starts_at_stop: bool = False,
    is_outward: bool = False,
) -> Reach:
    """One distance; in R it is that multiple of the stop's."""
    if distance is None:
        return Reach()
    if not distance.value.is_finite() or distance.value <= 0:
        raise InvalidConfig(f"{where}: {distance.value} is not a distance", hint="write a number above 0")
    in_stops = distance.kind is LevelKind.RR
    if stop is None and (in_stops or starts_at_stop):
        raise InvalidConfig(f"{where} needs a stop_loss", hint="give the side a stop_loss, or drop it")
    measured, times = (stop, distance.value) if in_stops and stop is not None else (distance, Decimal(1))
    value, rounding = measured.value * times, ROUND_CEILING if is_outward else ROUND_FLOOR
    if measured.kind is LevelKind.ATR and measured.series is not None:
        return Reach(FIXED, factor=float(value.scaleb(instrument.price_decimals)), series=measured.series, is_outward=is_outward)
    if measured.kind in (LevelKind.PCT, LevelKind.ABS):
        kind, places = (RATE, 6) if measured.kind is LevelKind.PCT else (FIXED, instrument.price_decimals)
        amount = scaled(value, places, rounding)
        if amount == 0:
            least = Decimal(1).scaleb(-places)
            raise InvalidConfig(f"{where}: {value:f} is below {least:f}, the least {instrument.symbol} knows", hint="write a larger number")
        return Reach(kind, amount)
    raise InvalidConfig(f"{where}: {measured.kind.value} cannot be measured here", hint="use pct, abs or atr with its series")


def tightening(spec: AlgoSpec, signals: Signals) -> int:
    """The FIRE flags that tighten the stop of a position of their side: an entry with `state` has no signal while one is open, and a
    trailing stop is moved by the price alone."""
    flags = 0
    for flag, rules, levels in ((FIRE_LONG, spec.long, signals.long), (FIRE_SHORT, spec.short, signals.short)):
        if rules is not None and not rules.entry.state and levels.stop is not None and levels.trailing is None:
            flags |= flag
    return flags


def scaled(value: Decimal, places: int, rounding: str = ROUND_HALF_EVEN) -> int:
    """`value` × 10^places as a whole number."""
    return int(value.scaleb(places).quantize(Decimal(1), rounding=rounding))


def units_of(distance: float, is_outward: bool) -> int:
    """A distance in whole storage units, down or outward up; one that only the last digits of a float keep from being whole is whole.

    UNKNOWN when it is no number, or nothing is left of it.
    """
    if not 0.0 < distance < FARTHEST:
        return UNKNOWN
    units = math.ceil(distance - NOISE) if is_outward else math.floor(distance + NOISE)
    return units if units > 0 else UNKNOWN


def tick_of(price: int, decimals: int) -> int:
    """Step of an order price near `price`: 5 significant figures, whole units always pass; as venue.MarketSpec.tick."""
    step, bound, top = 1, FIVE_FIGURES, 10**decimals
    while price >= bound and step < top:
        step *= 10
        bound *= 10
    return step


def level_price(price: int, away: int, up: int, reach: tuple[int, int], decimals: int) -> int:
    """The order price a distance `away` (+1 above, -1 below) from `price`, rounded up or down onto the tick; ≤ 0 when there is none.

    A stop or target is rounded toward the entry (`up` = away < 0), a buy-back limit to the passive side.
    """
    kind, amount = reach
    if kind == RATE:
        value = price * (UNIT + away * amount)
        low = value // UNIT
        high = low if low * UNIT == value else low + 1
    else:
        low = price + away * amount
        high = low
    step = tick_of(low, decimals)
    if up == 0:
        return low // step * step
    high = (high + step - 1) // step * step
    step = tick_of(high, decimals)
    return (high + step - 1) // step * step


def trail_level(best: int, direction: int, reach: tuple[int, int]) -> int:
    """Level of a trailing stop of a long (+1) or short (-1) position whose best price is `best`; storage units, tightened, no tick."""
    kind, amount = reach
    if kind != RATE:
        return best - direction * amount
    value = best * (UNIT - direction * amount)
    return -(-value // UNIT) if direction > 0 else value // UNIT


def is_tighter(stop: int, present: int, price: int, side: int) -> bool:
    """Whether `stop` protects a position of `side` better than its `present` one (0: none, which stays none) and `price` is short of it."""
    return present != 0 and (stop - present) * side > 0 and (price - stop) * side > 0


def share(money: int, percent: int) -> int:
    """`percent` (10⁻⁶ of a percent) of `money` ≥ 0, rounded down; in two steps so that it fits int64 for 10⁹ quote."""
    whole = money // UNIT
    return whole * percent + (money - whole * UNIT) * percent // UNIT


def carried(worth: int, leverage: int, taker: int) -> int:
    """The notional (10⁻⁶ quote) that `worth` ≥ 0 carries at `leverage` with its taker fee (10⁻⁸) when the fill is 1 % worse than decided.

    Automatic sizes are cut to it, as the door cuts them (execution.md §5); in two steps so that it fits int64 for 10⁹ quote.
    """
    margin = worth * 100 // 101 * leverage
    cost = UNIT + leverage * taker
    return margin // cost * UNIT + margin % cost * UNIT // cost
