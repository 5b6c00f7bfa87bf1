"""Cash in int64: fees, funding, slippage, equity and margin, equal to venue/margin.py to the last unit.

Products that could leave int64 are divided in two steps; MONEY_LIMIT, checked at every entry, keeps the rest inside.
"""

from tradeagent.research.kernel import fields as f
from tradeagent.research.kernel.fields import Table
from tradeagent.research.kernel.native import inlined, native

FEE_UNIT = 10**8
RATE_UNIT = 10**10
SLIPPAGE_UNIT = 10**5


@inlined
def fee_of(notional: int, rate: int) -> int:
    """notional × rate truncated toward zero; a negative rate is a rebate."""
    size = abs(rate)
    whole = notional // FEE_UNIT
    fee = whole * size + (notional - whole * FEE_UNIT) * size // FEE_UNIT
    return fee if rate >= 0 else -fee


@inlined
def funding_of(size: int, oracle: int, rate: int) -> int:
    """size × oracle × rate truncated toward zero; positive = paid."""
    notional, most = abs(size) * oracle, abs(rate)
    whole = notional // RATE_UNIT
    paid = whole * most + (notional - whole * RATE_UNIT) * most // RATE_UNIT
    return paid if (size > 0) == (rate > 0) else -paid


@inlined
def slipped(price: int, side: int, tenth_bps: int) -> int:
    """`price` moved against a buyer (+1) or seller (-1) and rounded against the trader; a sell never below 1."""
    if side > 0:
        return -(-(price * (SLIPPAGE_UNIT + tenth_bps)) // SLIPPAGE_UNIT)
    return max(1, price * (SLIPPAGE_UNIT - tenth_bps) // SLIPPAGE_UNIT)


@inlined
def divided(numerator: int, denominator: int) -> int:
    """`numerator` ≥ 0 over `denominator` > 0, rounded half to even."""
    quotient = numerator // denominator
    rest = 2 * (numerator - quotient * denominator)
    return quotient + 1 if rest > denominator or (rest == denominator and quotient % 2 == 1) else quotient


@native
def part_of(value: int, part: int, whole: int) -> int:
    """value × part / whole rounded half to even, without the product: `value` ≥ 0, 0 ≤ part ≤ whole < 2^61."""
    if part == whole:
        return value
    each = value // whole
    left, quotient, rest = value - each * whole, 0, 0
    for bit in range(60, -1, -1):
        quotient, rest = 2 * quotient, 2 * rest
        if part >> bit & 1:
            rest += left
        while rest >= whole:
            rest -= whole
            quotient += 1
    total = each * part + quotient
    return total + 1 if 2 * rest > whole or (2 * rest == whole and total % 2 == 1) else total


@inlined
def equity(m: Table) -> int:
    """Cash + Σ (size × mark − cost)."""
    worth = m[f.CASH]
    for leg in range(f.WIDTH, m[f.BEYOND], f.WIDTH):
        if m[leg + f.SIZE] != 0:
            worth += m[leg + f.SIZE] * m[leg + f.MARK] - m[leg + f.COST]
    return worth


@inlined
def initial_margin(m: Table) -> int:
    """Σ |size| × mark / leverage over MARGIN_UNIT."""
    used = 0
    for leg in range(f.WIDTH, m[f.BEYOND], f.WIDTH):
        if m[leg + f.SIZE] != 0:
            used += abs(m[leg + f.SIZE]) * m[leg + f.MARK] * m[leg + f.MARGIN_FACTOR]
    return used


@inlined
def maintenance_of(m: Table, leg: int, notional: int) -> int:
    """Maintenance margin of one position over MAINTENANCE_UNIT; at a bound the higher tier applies."""
    at = f.TIERS
    while notional < m[leg + at]:
        at += f.TIER_COLUMNS
    return notional * m[leg + at + 1] - m[leg + at + 2]


@inlined
def maintenance(m: Table, without: int) -> int:
    """Σ maintenance margin over MAINTENANCE_UNIT; `without` leaves one leg out (0: none)."""
    required = 0
    for leg in range(f.WIDTH, m[f.BEYOND], f.WIDTH):
        if leg != without and m[leg + f.SIZE] != 0:
            required += maintenance_of(m, leg, abs(m[leg + f.SIZE]) * m[leg + f.MARK])
    return required


@inlined
def can_carry(m: Table, leg: int, signed: int, price: int, mark: int, fee: int) -> bool:
    """Whether equity covers initial margin after `signed` lots at `price`, valued at `mark`; as venue/margin.can_carry."""
    before = m[leg + f.SIZE]
    after = before + signed
    if abs(after) <= abs(before):
        return True
    kept = abs(before) if before * after > 0 else 0
    change = (abs(after) - kept) * mark - (abs(before) - kept) * m[leg + f.MARK]
    used = initial_margin(m) + change * m[leg + f.MARGIN_FACTOR]
    return (equity(m) + signed * (mark - price) - fee) * m[f.MARGIN_UNIT] >= used
