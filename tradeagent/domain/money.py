"""Exact decimal arithmetic: truncation, half-even division, and quantisation that never raises risk.

Prices, sizes and cash are `Decimal`. Every product price × size is a whole number of 10⁻⁶ quote units on a perp grid
(hyperliquid.md §1), so sums are exact; the only roundings are the ones named here.
"""

from decimal import ROUND_CEILING, ROUND_DOWN, ROUND_FLOOR, ROUND_HALF_EVEN, Decimal

from tradeagent.domain.errors import InvalidInput
from tradeagent.domain.instrument import Instrument
from tradeagent.domain.names import Direction, Side

MICRO = Decimal("0.000001")
ZERO = Decimal(0)
SIGNIFICANT_FIGURES = 5


def parse_decimal(text: str | int | Decimal, field: str) -> Decimal:
    """A finite Decimal from plain ASCII digits, or InvalidInput naming `field`. Floats are refused by type."""
    raw = str(text).strip()
    if not raw.isascii() or any(c not in "0123456789+-.eE" for c in raw):
        raise InvalidInput(f"{field}: {raw!r} is not a number", hint=f"write {field} like 0.25")
    try:
        return Decimal(raw)
    except ArithmeticError:
        raise InvalidInput(f"{field}: {raw!r} is not a number", hint=f"write {field} like 0.25") from None


def trunc_micro(value: Decimal) -> Decimal:
    """Truncate toward zero to 10⁻⁶ (fees and funding, hyperliquid.md §6)."""
    return value.quantize(MICRO, rounding=ROUND_DOWN)


def round_micro(value: Decimal) -> Decimal:
    """Round half-even to 10⁻⁶."""
    return value.quantize(MICRO, rounding=ROUND_HALF_EVEN)


def div_half_even(numerator: int, denominator: int) -> int:
    """Integer division rounded half to even; `denominator` > 0, any sign of `numerator`."""
    quotient, remainder = divmod(numerator, denominator)
    twice = 2 * remainder
    if twice > denominator or (twice == denominator and quotient % 2 == 1):
        quotient += 1
    return quotient


def share_of_cost(cost: Decimal, part: Decimal, whole: Decimal) -> Decimal:
    """`cost · part / whole` rounded half-even to 10⁻⁶, computed in integers so that the venue core agrees exactly."""
    places = max(_places(part), _places(whole))
    micro = int(cost.scaleb(6))
    return Decimal(div_half_even(micro * int(part.scaleb(places)), int(whole.scaleb(places)))).scaleb(-6)


def _places(value: Decimal) -> int:
    exponent = value.as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0


def plain(value: Decimal) -> str:
    """Decimal as text without exponent or trailing zeros: `0.5`, `64000`, `-0.000001`."""
    if not value.is_finite():
        return str(value)
    if value == 0:
        return "0"
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def size_down(instrument: Instrument, size: Decimal) -> Decimal:
    """Largest size on the lot grid not above `size` (base units, ≥ 0); may be 0, which no order may carry."""
    return size.quantize(instrument.lot, rounding=ROUND_FLOOR)


def price_step(instrument: Instrument, price: Decimal) -> Decimal:
    """Tick of an order price near `price`: 5 significant figures and the instrument's decimals; integers always pass."""
    if price <= 0:
        raise InvalidInput(f"price {price} is not positive")
    by_figures = price.adjusted() - (SIGNIFICANT_FIGURES - 1)
    return Decimal(1).scaleb(min(0, max(by_figures, -instrument.price_decimals)))


def price_floor(instrument: Instrument, price: Decimal) -> Decimal:
    """Largest valid order price not above `price`."""
    return price.quantize(price_step(instrument, price), rounding=ROUND_FLOOR)


def price_ceil(instrument: Instrument, price: Decimal) -> Decimal:
    """Smallest valid order price not below `price`."""
    up = price.quantize(price_step(instrument, price), rounding=ROUND_CEILING)
    return up.quantize(price_step(instrument, up), rounding=ROUND_CEILING)


def limit_price(instrument: Instrument, side: Side, price: Decimal) -> Decimal:
    """A limit price rounded to the passive side: a buy down, a sell up."""
    return price_floor(instrument, price) if side is Side.BUY else price_ceil(instrument, price)


def protective_price(instrument: Instrument, direction: Direction, price: Decimal, *, is_stop: bool) -> Decimal:
    """A stop or target rounded toward the entry: a long's stop up and target down, a short's mirrored."""
    toward_up = (direction is Direction.LONG) == is_stop
    return price_ceil(instrument, price) if toward_up else price_floor(instrument, price)


def on_price_grid(instrument: Instrument, price: Decimal) -> bool:
    """Whether `price` is a valid order price."""
    return price > 0 and price == price.quantize(price_step(instrument, price))


def on_size_grid(instrument: Instrument, size: Decimal) -> bool:
    """Whether `size` is a whole number of lots."""
    return size == size_down(instrument, size)
