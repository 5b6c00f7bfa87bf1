"""One netted position: signed size and signed cost. Average entry is derived, so no rounding accumulates in it."""

from dataclasses import dataclass, replace
from decimal import Decimal

from tradeagent.domain.money import ZERO, share_of_cost
from tradeagent.domain.names import Direction, Side


@dataclass(frozen=True, slots=True)
class Position:
    """`size` > 0 is long, < 0 short, base units; `cost` = Σ size × price of what is held, signed like `size`, quote units."""

    market: str
    size: Decimal = ZERO
    cost: Decimal = ZERO
    leverage: int = 1

    @property
    def is_flat(self) -> bool:
        return self.size == 0

    @property
    def direction(self) -> Direction | None:
        if self.size == 0:
            return None
        return Direction.LONG if self.size > 0 else Direction.SHORT

    @property
    def entry_price(self) -> Decimal | None:
        """Average entry, unrounded; None when flat."""
        return self.cost / self.size if self.size else None

    def unrealised(self, mark: Decimal) -> Decimal:
        """q (p − e) = q p − cost, exact; quote units, gross."""
        return self.size * mark - self.cost

    def notional(self, mark: Decimal) -> Decimal:
        return abs(self.size) * mark


@dataclass(frozen=True, slots=True)
class Booked:
    """Effect of one fill: the position after it, gross realised PnL, and the size that closed and opened."""

    position: Position
    realised_pnl: Decimal
    closed: Decimal
    opened: Decimal


def apply_fill(position: Position, side: Side, size: Decimal, price: Decimal) -> Booked:
    """Book a fill of `size` > 0 at `price`. A reduce realises its share of the cost; a flip closes, then opens at the price.

    Σ realised + unrealised = Σ cash flows of the fills, exactly (execution.md §2).
    """
    signed = size * side.sign
    if position.size == 0 or (position.size > 0) == (signed > 0):
        grown = replace(position, size=position.size + signed, cost=position.cost + signed * price)
        return Booked(grown, ZERO, ZERO, size)
    closed = min(size, abs(position.size))
    direction = 1 if position.size > 0 else -1
    released = share_of_cost(abs(position.cost), closed, abs(position.size)) * direction
    realised = direction * closed * price - released
    opened = size - closed
    if opened:
        left = replace(position, size=side.sign * opened, cost=side.sign * opened * price)
    else:
        left = replace(position, size=position.size - direction * closed, cost=position.cost - released)
    return Booked(left, realised, closed, opened)
