"""Cross margin in integers: equity, initial and maintenance margin, fees, and what an account can carry (hyperliquid.md §6).

Margin sums are exact fractions, given as numerator and denominator over 10^-6 USDC; domain.margin.Account is the same in decimals.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from math import lcm
from typing import Protocol

from tradeagent.domain.money import div_half_even
from tradeagent.domain.names import Side
from tradeagent.venue.state import DEFAULT_LEVERAGE, Holding, MarketSpec, VenueConfig

FEE_UNIT = 10**8
RATE_UNIT = 10**10
SLIPPAGE_UNIT = 10**5
TRANSFER_PARTS = 10


class Balances(Protocol):
    """What margin is computed from: a state, or the working copy of one."""

    @property
    def cash(self) -> int: ...
    @property
    def holdings(self) -> Mapping[str, Holding]: ...
    @property
    def marks(self) -> Mapping[str, int]: ...
    @property
    def leverage(self) -> Mapping[str, int]: ...


@dataclass(frozen=True, slots=True)
class AccountView:
    """An account at its marks, 10^-6 USDC; margins are rounded up, `free` = max(0, equity − initial margin).

    `withdrawable` is at most that, and leaves a tenth of the notional (the transfer rule of hyperliquid.md §6).
    """

    cash: int
    equity: int
    notional: int
    initial_margin: int
    maintenance: int
    free: int
    withdrawable: int


def account(balances: Balances, config: VenueConfig) -> AccountView:
    """Equity and margins of the whole cross account."""
    worth = equity(balances)
    initial = _round_up(*initial_margin(balances, config))
    notional = sum(abs(held.size) * balances.marks[market] for market, held in balances.holdings.items())
    return AccountView(
        cash=balances.cash,
        equity=worth,
        notional=notional,
        initial_margin=initial,
        maintenance=_round_up(*maintenance(balances, config)),
        free=max(0, worth - initial),
        withdrawable=max(0, worth - max(initial, _round_up(notional, TRANSFER_PARTS))),
    )


def _round_up(numerator: int, denominator: int) -> int:
    return -(-numerator // denominator)


def equity(balances: Balances) -> int:
    """Cash + Σ (size × mark − cost), exact."""
    marks = balances.marks
    return balances.cash + sum(held.size * marks[market] - held.cost for market, held in balances.holdings.items())


def leverage_of(balances: Balances, spec: MarketSpec) -> int:
    """The market's leverage setting: cross 20x or the market's maximum until it is set."""
    return balances.leverage.get(spec.market) or min(DEFAULT_LEVERAGE, spec.max_leverage)


def initial_margin(balances: Balances, config: VenueConfig) -> tuple[int, int]:
    """Σ |size| × mark / leverage as an exact fraction."""
    numerator, denominator = 0, 1
    for market, held in balances.holdings.items():
        part = abs(held.size) * balances.marks[market]
        numerator, denominator = _add(numerator, denominator, part, leverage_of(balances, config.markets[market]))
    return numerator, denominator


def maintenance(balances: Balances, config: VenueConfig, *, without: str | None = None) -> tuple[int, int]:
    """Σ maintenance margin by tier as an exact fraction; `without` leaves one market out."""
    numerator, denominator = 0, 1
    for market, held in balances.holdings.items():
        if market != without:
            part, unit = maintenance_of(config.markets[market], abs(held.size) * balances.marks[market])
            numerator, denominator = _add(numerator, denominator, part, unit)
    return numerator, denominator


def maintenance_of(spec: MarketSpec, notional: int) -> tuple[int, int]:
    """Maintenance margin of one position as an exact fraction; at a bound the higher tier applies."""
    unit, tiers = _maintenance_table(spec.tiers)
    rate, deduction = next((rate, deduction) for bound, rate, deduction in tiers if notional >= bound)
    return notional * rate - deduction, unit


@lru_cache
def _maintenance_table(tiers: tuple[tuple[int, int], ...]) -> tuple[int, tuple[tuple[int, int, int], ...]]:
    """Common denominator and (lower bound, rate, deduction) from the highest tier down; rate = 1 / (2 · max leverage)."""
    unit = lcm(*(2 * max_leverage for _, max_leverage in tiers))
    rows: list[tuple[int, int, int]] = []
    for bound, max_leverage in tiers:
        rate = unit // (2 * max_leverage)
        deduction = rows[-1][2] + bound * (rate - rows[-1][1]) if rows else 0
        rows.append((bound, rate, deduction))
    return unit, tuple(reversed(rows))


def _add(numerator: int, denominator: int, part: int, unit: int) -> tuple[int, int]:
    if unit == denominator:
        return numerator + part, denominator
    common = lcm(denominator, unit)
    return numerator * (common // denominator) + part * (common // unit), common


def is_liquidatable(balances: Balances, config: VenueConfig) -> bool:
    """Equity below maintenance margin, exactly."""
    required, unit = maintenance(balances, config)
    return equity(balances) * unit < required


def is_backstopped(balances: Balances, config: VenueConfig) -> bool:
    """Equity below two thirds of maintenance margin: the venue takes the whole cross account."""
    required, unit = maintenance(balances, config)
    return 3 * equity(balances) * unit < 2 * required


def can_carry(balances: Balances, config: VenueConfig, market: str, signed: int, price: int, mark: int, fee: int) -> bool:
    """Whether equity covers initial margin after `signed` lots at `price`, the new part valued at `mark`; a reduction always passes."""
    held = balances.holdings.get(market)
    before = held.size if held else 0
    after = before + signed
    if abs(after) <= abs(before):
        return True
    kept = abs(before) if before * after > 0 else 0
    change = (abs(after) - kept) * mark - (abs(before) - kept) * balances.marks.get(market, mark)
    used, unit = _add(*initial_margin(balances, config), change, leverage_of(balances, config.markets[market]))
    return (equity(balances) + signed * (mark - price) - fee) * unit >= used


def trade_fee(price: int, size: int, rate: int) -> int:
    """price × size × rate truncated toward zero to 10^-6 USDC; a negative rate is a rebate."""
    return truncated(price * size * rate, FEE_UNIT)


def truncated(numerator: int, denominator: int) -> int:
    """Integer division toward zero; `denominator` > 0."""
    return numerator // denominator if numerator >= 0 else -(-numerator // denominator)


def slipped(price: int, side: Side, tenth_bps: int) -> int:
    """`price` moved against the trader and rounded to the storage grid against the trader; exact at 0; a sell never below 1."""
    if side is Side.BUY:
        return _round_up(price * (SLIPPAGE_UNIT + tenth_bps), SLIPPAGE_UNIT)
    return max(1, price * (SLIPPAGE_UNIT - tenth_bps) // SLIPPAGE_UNIT)


def booked(held: Holding | None, signed: int, price: int) -> tuple[Holding | None, int]:
    """The position after a fill of `signed` lots (None when flat) and its gross realised PnL; equal to domain.position.apply_fill."""
    if held is None:
        return Holding(signed, signed * price), 0
    if (held.size > 0) == (signed > 0):
        return Holding(held.size + signed, held.cost + signed * price), 0
    direction = 1 if held.size > 0 else -1
    closed = min(abs(signed), abs(held.size))
    released = direction * div_half_even(abs(held.cost) * closed, abs(held.size))
    realised = direction * closed * price - released
    after = held.size + signed
    if after * direction > 0:
        return Holding(after, held.cost - released), realised
    return (Holding(after, after * price) if after else None), realised
