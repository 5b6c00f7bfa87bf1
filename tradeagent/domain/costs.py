"""Fees and funding, truncated as the venue truncates them, and the break-even price that includes them."""

from dataclasses import dataclass
from decimal import Decimal

from tradeagent.domain.money import trunc_micro
from tradeagent.domain.names import Liquidity


@dataclass(frozen=True, slots=True)
class FeeSchedule:
    """Rates as fractions of notional; the defaults are tier 0 (hyperliquid.md §6)."""

    taker: Decimal = Decimal("0.00045")
    maker: Decimal = Decimal("0.00015")

    def rate(self, liquidity: Liquidity) -> Decimal:
        return self.taker if liquidity is Liquidity.TAKER else self.maker


def fee(price: Decimal, size: Decimal, rate: Decimal) -> Decimal:
    """price · |size| · rate truncated to 10⁻⁶; quote units."""
    return trunc_micro(price * abs(size) * rate)


def funding_payment(size: Decimal, oracle_price: Decimal, rate: Decimal) -> Decimal:
    """q · oracle · rate truncated toward zero to 10⁻⁶; positive = paid (longs pay a positive rate)."""
    return trunc_micro(size * oracle_price * rate)


def break_even_price(size: Decimal, cost: Decimal, fees_paid: Decimal, funding_paid: Decimal, taker: Decimal) -> Decimal | None:
    """Price at which closing now at the taker rate makes the trip's net PnL 0; None when flat or unreachable.

    Solves q p − cost − fees − funding − |q| p · taker = 0 for p.
    """
    if size == 0:
        return None
    price = (cost + fees_paid + funding_paid) / (size - abs(size) * taker)
    return price if price > 0 else None
