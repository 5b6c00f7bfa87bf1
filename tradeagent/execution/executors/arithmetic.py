"""Slices, levels and rungs: how a total becomes orders (execution.md §10). Pure; prices and sizes end on the grid of their market."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_DOWN, Decimal

from tradeagent.domain.instrument import Instrument
from tradeagent.domain.money import MICRO, ZERO, limit_price, plain, size_down
from tradeagent.domain.names import Side
from tradeagent.execution.executors.specs import AtPrice, GridSpec
from tradeagent.execution.planning import Unshapely

MAX_CARRY = 3
_FINE = Decimal("1e-12")


@dataclass(frozen=True, slots=True)
class Rung:
    """One planned order: limit price and base-unit size, both on the grid."""

    price: Decimal
    size: Decimal

    @property
    def quote(self) -> Decimal:
        return self.price * self.size


def barrier_price(side: Side, reference: Decimal, barrier: Decimal | AtPrice, *, is_stop: bool) -> Decimal:
    """The price of a barrier measured from `reference`: a stop on the losing side of `side`, a profit on the winning one."""
    if isinstance(barrier, AtPrice):
        return barrier.price
    return reference * (1 + side.sign * (-barrier if is_stop else barrier))


def rung(instrument: Instrument, side: Side, price: Decimal, quote: Decimal, what: str) -> Rung:
    """The order that `quote` buys at `price`; Unshapely with the numbers when it falls below the venue's minimum."""
    at = limit_price(instrument, side, price)
    if at <= 0:
        raise Unshapely(f"{what}: the price {plain(price)} rounds to {plain(at)}", value=plain(at))
    made = Rung(at, size_down(instrument, quote / at))
    check_minimum(instrument, made.size, at, what)
    return made


def check_minimum(instrument: Instrument, size: Decimal, price: Decimal, what: str) -> None:
    """Raise Unshapely when an order of `size` at `price` is below the venue's minimum."""
    if size * price < instrument.min_notional:
        raise Unshapely(
            f"{what} is {plain(size)} {instrument.symbol} at {plain(price)} after rounding down = {plain(size * price)} USDC, "
            f"below the minimum of {instrument.min_notional}",
            value=plain(size * price),
        )


def grid_count(spec: GridSpec) -> int:
    """Levels = min(total / min_order_quote, range / (min_spread · mid)), mid in the middle of the range."""
    by_amount = int(spec.total_amount_quote / spec.min_order_quote)
    middle = (spec.start_price + spec.end_price) / 2
    by_spread = int((spec.end_price - spec.start_price) / (spec.min_spread * middle))
    return min(by_amount, by_spread)


def grid_rungs(spec: GridSpec, instrument: Instrument) -> list[Rung]:
    """The levels of a grid from start to end, evenly spread, each with an equal part of the total; Unshapely when none is possible."""
    count = grid_count(spec)
    if count < 1:
        raise Unshapely(
            f"the grid has no level: total {plain(spec.total_amount_quote)} / min_order_quote {plain(spec.min_order_quote)}, "
            f"range {plain(spec.end_price - spec.start_price)} / (min_spread {plain(spec.min_spread)} × mid)"
        )
    span = spec.end_price - spec.start_price
    places = [Decimal(index) / (count - 1) for index in range(count)] if count > 1 else [Decimal("0.5")]
    side, each = spec.direction, spec.total_amount_quote / count
    rungs = [rung(instrument, side, spec.start_price + span * place, each, f"level {n}") for n, place in enumerate(places, start=1)]
    if len({made.price for made in rungs}) < count:
        raise Unshapely(f"{count} levels fall on the same price steps; widen the range or raise min_spread", value=str(count))
    return rungs


def twap_slices(total: Decimal, duration_s: int, interval_s: int) -> list[Decimal]:
    """ceil(duration / interval) equal parts of a total in quote units, rounded down to 10⁻⁶; the last takes the remainder."""
    count = -(-duration_s // interval_s)
    each = (total / count).quantize(MICRO, rounding=ROUND_DOWN)
    return [each] * (count - 1) + [total - each * (count - 1)]


def twap_due(slices: Sequence[Decimal], interval_ms: int, elapsed_ms: int, spent: Decimal) -> Decimal:
    """What may be sent at an instant: the slices whose time has come less what was spent, at most MAX_CARRY × a slice. Quote units."""
    begun = min(len(slices), elapsed_ms // interval_ms + 1)
    return max(ZERO, min(sum(slices[:begun], ZERO) - spent, MAX_CARRY * slices[0]))


def average(rungs: Sequence[Rung]) -> Decimal:
    """The average price of rungs, rounded down at the twelfth decimal."""
    return (sum((made.quote for made in rungs), ZERO) / sum((made.size for made in rungs), ZERO)).quantize(_FINE, rounding=ROUND_DOWN)
