"""What an executor is going to do, laid out once at the price of its creation: everything later follows from this and its fills."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from tradeagent.domain.money import ZERO, on_size_grid, plain, protective_price, size_down
from tradeagent.domain.names import Direction, Side
from tradeagent.execution.executors.arithmetic import check_minimum
from tradeagent.execution.executors.specs import Trailing
from tradeagent.execution.planning import LARGEST_NUMBER, Unshapely
from tradeagent.execution.state import MarketState


@dataclass(frozen=True, slots=True)
class Design:
    """A planned operation. `quote` is its planned total, `size` the base units it may come to hold, `entry` their average price;
    `price` is the limit price of a single order, `more` what its type remembers."""

    side: Side
    quote: Decimal
    size: Decimal
    entry: Decimal
    price: Decimal | None = None
    stop: Decimal | None = None
    target: Decimal | None = None
    leverage: int | None = None
    reduce_only: bool = False
    more: Mapping[str, Any] = field(default_factory=dict)

    def layout(self, risk: Decimal) -> dict[str, Any]:
        """As the ledger keeps it; `risk` is what the door held for it, quote units."""
        numbers = {"size": self.size, "entry": self.entry, "price": self.price, "stop": self.stop, "target": self.target, "risk": risk}
        stated = {name: f"{value:f}" for name, value in numbers.items() if value is not None}
        return {**stated, "leverage": self.leverage, "reduce_only": self.reduce_only, **self.more}


def mark_of(market: MarketState) -> Decimal:
    """The price everything is measured from; no price, no executor."""
    if market.mark is None:
        raise Unshapely(f"{market.instrument.symbol} has no price yet; import bars first")
    return market.mark


def amounts(
    market: MarketState, amount: Decimal | None, quote: Decimal | None, price: Decimal, *, closes: bool = False
) -> tuple[Decimal, Decimal]:
    """(size, planned quote) of an amount in base or quote units at a price; Unshapely when it is off the step or too small.

    What `closes` may be small, when it is all that is held; the door sees to that.
    """
    instrument = market.instrument
    for value in (amount, quote, price):
        if value is not None and value > LARGEST_NUMBER:
            raise Unshapely(f"{plain(value)} is above {LARGEST_NUMBER:f}", value=plain(value))
    if amount is not None and not on_size_grid(instrument, amount):
        raise Unshapely(f"amount {plain(amount)} is off the step {instrument.lot:f}", max_ok=plain(size_down(instrument, amount)))
    size = amount if amount is not None else size_down(instrument, (quote or ZERO) / price)
    if not closes:
        check_minimum(instrument, size, price, "the order")
    return size, quote if quote is not None else size * price


def on_grid(market: MarketState, side: Side, price: Decimal | None, *, is_stop: bool) -> Decimal | None:
    """A stop or target where an order of it may rest, rounded toward the entry."""
    if price is None:
        return None
    direction = Direction.LONG if side is Side.BUY else Direction.SHORT
    return protective_price(market.instrument, direction, price, is_stop=is_stop)


def trailing_layout(trailing: Trailing | None) -> dict[str, str]:
    """The trailing values as the layout keeps them."""
    return {} if trailing is None else {"activation": f"{trailing.activation:f}", "delta": f"{trailing.delta:f}"}
