"""What is traded: a perpetual, its grid and its margin tiers. Nothing parses a symbol: the fields say it."""

from dataclasses import dataclass
from decimal import Decimal

PERP_PRICE_DECIMALS = 6
MARKET_ORDER_VALUES = ((25, 30_000_000), (20, 5_000_000), (10, 2_000_000), (0, 500_000))
"""From a maximum leverage on, the largest value of one market order, quote units (hyperliquid.md §1)."""


def max_market_value(max_leverage: int) -> int:
    """Largest value of one market order in a market of that maximum leverage, quote units; a limit order may be ten times that."""
    return next(value for leverage, value in MARKET_ORDER_VALUES if max_leverage >= leverage)


@dataclass(frozen=True, slots=True)
class MarginTier:
    """From `lower_bound` (notional, quote) up, `max_leverage` is allowed and maintenance is half its inverse."""

    lower_bound: Decimal
    max_leverage: int


@dataclass(frozen=True, slots=True)
class Instrument:
    """One market. Sizes have `size_decimals`, prices at most `price_decimals` (and 5 significant figures in an order)."""

    venue: str
    symbol: str
    size_decimals: int
    tiers: tuple[MarginTier, ...]
    kind: str = "perp"
    dex: str = ""
    collateral: str = "USDC"
    min_notional: Decimal = Decimal(10)

    @property
    def price_decimals(self) -> int:
        return PERP_PRICE_DECIMALS - self.size_decimals

    @property
    def max_leverage(self) -> int:
        return self.tiers[0].max_leverage

    @property
    def lot(self) -> Decimal:
        """Smallest size step, base units."""
        return Decimal(1).scaleb(-self.size_decimals)
