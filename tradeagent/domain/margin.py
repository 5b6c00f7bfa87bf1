"""Cross margin: equity, initial and maintenance margin by tier, and the liquidation price (hyperliquid.md §6, execution.md §2)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from tradeagent.domain.instrument import Instrument, MarginTier
from tradeagent.domain.money import ZERO
from tradeagent.domain.position import Position


@dataclass(frozen=True, slots=True)
class Maintenance:
    """Rate r and deduction d of one tier: maintenance margin = notional · rate − deduction."""

    lower_bound: Decimal
    rate: Decimal
    deduction: Decimal


def maintenance_tiers(tiers: Sequence[MarginTier]) -> tuple[Maintenance, ...]:
    """rate_n = 1 / (2 · max leverage_n); deduction_n = deduction_{n−1} + bound_n · (rate_n − rate_{n−1})."""
    result: list[Maintenance] = []
    for tier in tiers:
        rate = Decimal(1) / (2 * tier.max_leverage)
        deduction = result[-1].deduction + tier.lower_bound * (rate - result[-1].rate) if result else ZERO
        result.append(Maintenance(tier.lower_bound, rate, deduction))
    return tuple(result)


def maintenance_margin(tiers: Sequence[MarginTier], notional: Decimal) -> Decimal:
    """Maintenance margin of a position of `notional` quote units; at a bound the higher tier applies."""
    tier = _tier_at(maintenance_tiers(tiers), notional)
    return notional * tier.rate - tier.deduction


def _tier_at(tiers: Sequence[Maintenance], notional: Decimal) -> Maintenance:
    return next(tier for tier in reversed(tiers) if notional >= tier.lower_bound)


@dataclass(frozen=True, slots=True)
class Account:
    """A cross-margin account at given marks, all in quote units. `cash` is C of execution.md §2."""

    cash: Decimal
    positions: tuple[Position, ...]
    marks: Mapping[str, Decimal]
    instruments: Mapping[str, Instrument]

    @property
    def unrealised(self) -> Decimal:
        return sum((p.unrealised(self.marks[p.market]) for p in self.positions), ZERO)

    @property
    def equity(self) -> Decimal:
        return self.cash + self.unrealised

    @property
    def notional(self) -> Decimal:
        return sum((p.notional(self.marks[p.market]) for p in self.positions), ZERO)

    @property
    def initial_margin(self) -> Decimal:
        """Σ |q| mark / leverage."""
        return sum((p.notional(self.marks[p.market]) / p.leverage for p in self.positions), ZERO)

    @property
    def free(self) -> Decimal:
        """max(0, equity − initial margin)."""
        return max(ZERO, self.equity - self.initial_margin)

    @property
    def maintenance(self) -> Decimal:
        return sum(
            (maintenance_margin(self.instruments[p.market].tiers, p.notional(self.marks[p.market])) for p in self.positions),
            ZERO,
        )

    @property
    def is_liquidatable(self) -> bool:
        return bool(self.positions) and self.equity < self.maintenance

    def liquidation_price(self, market: str) -> Decimal | None:
        """Price of `market` at which equity = maintenance, other marks held; None when no positive price does it.

        Exactly one tier is self-consistent because E − M is monotone in the price; at a bound the higher tier wins.
        """
        position = next((p for p in self.positions if p.market == market), None)
        if position is None or position.is_flat:
            return None
        mark = self.marks[market]
        tiers = self.instruments[market].tiers
        equity_others = self.equity - position.unrealised(mark)
        maintenance_others = self.maintenance - maintenance_margin(tiers, position.notional(mark))
        return liquidation_price(position, tiers, equity_others - maintenance_others)


def liquidation_price(position: Position, tiers: Sequence[MarginTier], available_others: Decimal) -> Decimal | None:
    """`available_others` = E' − M', equity and maintenance without this position's own unrealised and maintenance.

    long p = (cost − available − d) / (|q| (1 − r)); short p = (|cost| + available + d) / (|q| (1 + r)).
    """
    size, cost = abs(position.size), abs(position.cost)
    for tier in reversed(maintenance_tiers(tiers)):
        if position.size > 0:
            price = (cost - available_others - tier.deduction) / (size * (1 - tier.rate))
        else:
            price = (cost + available_others + tier.deduction) / (size * (1 + tier.rate))
        if price > 0 and _tier_at(maintenance_tiers(tiers), size * price).rate == tier.rate:
            return price
    return None
