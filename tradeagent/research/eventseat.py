"""One leg of an event-driven backtest: its machine's memory, what it has sent, and the levels and sizes of its entries."""

import math
from dataclasses import dataclass, field, replace
from decimal import Decimal

from tradeagent.algos import machine
from tradeagent.algos.levels import NONE, RATE, UNIT, Reaches, carried, level_price, reaches_of, scaled, share, tightening
from tradeagent.algos.spec import SizingKind
from tradeagent.domain.instrument import Instrument
from tradeagent.domain.money import protective_price
from tradeagent.domain.names import Direction
from tradeagent.domain.order import Proposal
from tradeagent.research.eventfacts import micro
from tradeagent.research.run import EXIT_REASONS, Leg, Terms

_MODES = {"cooldown_only": machine.COOLDOWN_ONLY, "regular": machine.REGULAR, "strict": machine.STRICT}


@dataclass(slots=True)
class Seat:
    """One leg while it is played: its machine's memory and what it has sent that is not done."""

    leg: Leg
    codes: list[int]
    rules: machine.Rules
    reaches: dict[int, Reaches]
    memory: machine.Memory = field(default_factory=machine.Memory)
    held: int = 0
    entry: str = ""
    entry_side: int = 0
    close: str = ""
    limit: str = ""
    limit_at: int = 0
    limit_queues: bool = False
    best: int = 0

    @property
    def symbol(self) -> str:
        return self.leg.instrument.symbol

    @property
    def standing(self) -> machine.Standing:
        return machine.Standing((self.held > 0) - (self.held < 0), int(bool(self.close)), self.entry_side)

    @property
    def buys_back(self) -> bool:
        return self.memory.exit_side != 0 and self.reaches[self.memory.exit_side].buy_back.kind != NONE

    def levels(self, side: int, basis: int, row: int) -> tuple[Decimal | None, Decimal | None] | None:
        """Stop and target in storage units for an entry at `basis`, before the door rounds them; None when a level has no value yet."""
        reaches = self.reaches[side]
        found: list[Decimal | None] = []
        for reach, away in ((reaches.stop, -side), (reaches.target, side), (reaches.trailing, 0)):
            kind, amount = reach.at(row)
            if amount < 0:
                return None
            distance = Decimal(basis * amount) / UNIT if kind == RATE else Decimal(amount)
            found.append(None if kind == NONE else basis + away * distance)
        return found[0], found[1]

    def stop(self, side: int, basis: int, row: int) -> int:
        """Where the door would place the stop of an entry at `basis`, in storage units; 0 where it has no value."""
        reach = self.reaches[side].stop.at(row)
        return level_price(basis, -side, int(side > 0), reach, self.leg.instrument.price_decimals) if reach[1] >= 0 else 0

    def trail(self, side: int, row: int) -> tuple[Decimal | None, Decimal | None]:
        """How the stop of an entry follows the price: a distance in quote units, or a fraction of the price, or neither."""
        kind, amount = self.reaches[side].trailing.at(row)
        if kind == NONE:
            return None, None
        if kind == RATE:
            return None, Decimal(amount) / UNIT
        return Decimal(amount).scaleb(-self.leg.instrument.price_decimals), None

    def lots(self, equity: int, free: int, basis: int, stop: Decimal | None, row: int, terms: Terms) -> int | None:
        """The size of an entry by the algo's sizing, rounded down; None when it needs a stop or a factor that is not there.

        A share of the equity is cut to what `free`, which other markets leave, carries, unless no order that the venue takes fits there.
        """
        known, sizing = self.leg.instrument, self.leg.spec.sizing
        if terms.fill_qty is not None:
            return int(terms.fill_qty.scaleb(known.size_decimals))
        if sizing.kind is SizingKind.ABS:
            return min(micro(sizing.value), equity) // basis
        percent = self._percent(row)
        if percent is None:
            return None
        if sizing.kind is SizingKind.RISK_PCT:
            distance = 0 if stop is None else abs(basis - _on_tick(known, basis, stop))
            wanted = share(equity, percent) // distance if distance else None
        else:
            wanted = share(equity, percent) // basis
        most = carried(free, terms.leverage or self.leg.spec.leverage, scaled(terms.fees.taker, 8)) // basis
        return wanted if wanted is None or most * basis < micro(known.min_notional) else min(wanted, most)

    def as_wish(self, proposal: Proposal, row: int) -> Proposal:
        """Under limits a share of the equity is a wish, which the door cuts to the tightest cap; a fixed amount stays as it is."""
        sizing = self.leg.spec.sizing
        if sizing.kind is SizingKind.ABS:
            return proposal
        if sizing.kind is SizingKind.RISK_PCT:
            return replace(proposal, size=None, risk_per_trade_pct=sizing.value)
        return replace(proposal, size=None, pct_of_equity=Decimal(self._percent(row) or 0).scaleb(-6))

    def _percent(self, row: int) -> int | None:
        """The sizing's percent of the equity in 10⁻⁶; None when the indicator it goes by has no value."""
        sizing, scale = self.leg.spec.sizing, self.leg.signals.scale
        percent = scaled(sizing.value, 6)
        if sizing.kind is not SizingKind.DYNAMIC:
            return percent
        factor = float(scale[row]) if scale is not None else math.nan
        return round(percent * min(factor, 1.0)) if factor >= 0 else None

    def follow_best(self, high: int, low: int, close: int, row: int) -> None:
        """The best price since the exit, for a buy-back that trails; of the exit's own bar only its close counts."""
        rules = self.leg.spec.long if self.memory.exit_side > 0 else self.leg.spec.short
        if rules is None or rules.entry.buy_back is None or not rules.entry.buy_back.trailing:
            return
        if row == self.memory.exit_row:
            high = low = close
        self.best = max(self.best, high) if self.memory.exit_side > 0 else min(self.best, low)


def seat_of(leg: Leg) -> Seat:
    """A leg at its first bar: in cash, with nothing sent."""
    spec, known = leg.spec, leg.instrument
    armed = [rule.entry.armed_by if rule is not None else None for rule in (spec.long, spec.short)]
    by = [machine.NEVER if reason is None else EXIT_REASONS.index(reason) for reason in armed]
    rules = machine.Rules(_MODES[spec.timeout.mode], spec.timeout.bars, by[0], by[1], tightening(spec, leg.signals))
    reaches = {1: reaches_of(leg.signals.long, known, "exit.long"), -1: reaches_of(leg.signals.short, known, "exit.short")}
    return Seat(leg, leg.signals.codes.tolist(), rules, reaches)


def _on_tick(known: Instrument, basis: int, stop: Decimal) -> int:
    """A stop as the door will place it."""
    direction = Direction.LONG if stop < basis else Direction.SHORT
    return int(protective_price(known, direction, stop.scaleb(-known.price_decimals), is_stop=True).scaleb(known.price_decimals))
