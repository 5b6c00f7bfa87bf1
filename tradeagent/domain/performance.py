"""How an account did: time-weighted nav and drawdown, day PnL, penalty decay, and round trips flat to flat."""

from dataclasses import dataclass, replace
from decimal import ROUND_HALF_EVEN, Decimal

from tradeagent.domain.clock import DAY_MS, HOUR_MS, day_start_ms
from tradeagent.domain.money import ZERO
from tradeagent.domain.names import Direction

_NAV_PLACES = Decimal("1e-12")
PENALTY_HALF_LIFE_MS = DAY_MS
PENALTY_FLOOR = Decimal("0.2")


@dataclass(frozen=True, slots=True)
class Nav:
    """Unit value of an account: starts at 1; flows buy or sell units at the nav before them, so they never move it."""

    units: Decimal = ZERO
    peak: Decimal = Decimal(1)

    def value(self, equity: Decimal) -> Decimal:
        """Equity per unit; 1 before the first deposit."""
        return (equity / self.units).quantize(_NAV_PLACES, rounding=ROUND_HALF_EVEN) if self.units > 0 else Decimal(1)

    def flow(self, amount: Decimal, equity_before: Decimal) -> "Nav":
        """Deposit (> 0) or withdrawal (< 0) of `amount` at `equity_before`.

        A wiped account starts again at 1; one emptied by a withdrawal keeps its drawdown for the next deposit.
        """
        nav, after = self.value(equity_before), equity_before + amount
        if nav <= 0:
            return Nav(units=max(ZERO, after))
        if self.units <= 0:
            return replace(self, units=max(ZERO, after))
        if after <= 0:
            return Nav(ZERO, (self.peak / nav).quantize(_NAV_PLACES, rounding=ROUND_HALF_EVEN))
        return replace(self, units=self.units + amount / nav)

    def sample(self, equity: Decimal) -> "Nav":
        """Remember a new peak."""
        nav = self.value(equity)
        return replace(self, peak=nav) if nav > self.peak else self

    def drawdown(self, equity: Decimal) -> Decimal:
        """1 − nav / peak as a fraction ≥ 0."""
        return max(ZERO, 1 - self.value(equity) / self.peak)

    def rebased(self, equity: Decimal) -> "Nav":
        """Peak := now, which is what clearing a drawdown halt or lockout means."""
        return replace(self, peak=self.value(equity))


@dataclass(frozen=True, slots=True)
class Day:
    """The UTC day an account is in: its equity at the day's start and the flows since; quote units."""

    start_ms: int
    start_equity: Decimal
    flows: Decimal = ZERO

    def pnl(self, equity: Decimal) -> Decimal:
        """E now − E at 00:00 UTC − flows since."""
        return equity - self.start_equity - self.flows

    def at(self, now_ms: int, last_equity: Decimal) -> "Day":
        """Roll to the day of `now_ms`: it starts from the last equity point at or before its midnight."""
        start = day_start_ms(now_ms)
        return Day(start, last_equity) if start > self.start_ms else self


@dataclass(frozen=True, slots=True)
class Penalty:
    """Losses shrink the portfolio risk cap and are forgotten with a half-life of 24 h (execution.md §5)."""

    amount: Decimal = ZERO
    at_ms: int = 0

    def value(self, now_ms: int) -> Decimal:
        elapsed = max(0, now_ms - self.at_ms)
        if elapsed == 0 or self.amount == 0:
            return self.amount
        halves = Decimal(elapsed) / PENALTY_HALF_LIFE_MS
        return (self.amount * Decimal("0.5") ** halves).quantize(_NAV_PLACES, rounding=ROUND_HALF_EVEN)

    def book(self, net_result: Decimal, now_ms: int) -> "Penalty":
        """A closing fill's net result: a loss adds, a gain subtracts, never below 0; time never runs backwards."""
        moment = max(now_ms, self.at_ms)
        return Penalty(max(ZERO, self.value(moment) - net_result), moment)

    def effective_cap(self, base: Decimal, now_ms: int) -> Decimal:
        """max(0.2 · base, base − penalty)."""
        return max(PENALTY_FLOOR * base, base - self.value(now_ms))


@dataclass(frozen=True, slots=True)
class RoundTrip:
    """One trade flat to flat of a (wallet, market, controller). Sizes are base units, money quote units, times ms UTC."""

    market: str
    controller_id: str
    direction: Direction
    opened_ms: int
    entry_size: Decimal = ZERO
    entry_value: Decimal = ZERO
    exit_size: Decimal = ZERO
    exit_value: Decimal = ZERO
    largest_size: Decimal = ZERO
    realised_pnl: Decimal = ZERO
    fees: Decimal = ZERO
    funding: Decimal = ZERO
    mfe: Decimal = ZERO
    mae: Decimal = ZERO
    first_stop: Decimal | None = None
    closed_ms: int | None = None
    entry_reason: str = ""
    exit_reason: str = ""

    @property
    def pnl(self) -> Decimal:
        """Net: gross realised − fees of both legs − funding."""
        return self.realised_pnl - self.fees - self.funding

    @property
    def entry_price(self) -> Decimal:
        return self.entry_value / self.entry_size

    @property
    def exit_price(self) -> Decimal | None:
        return self.exit_value / self.exit_size if self.exit_size else None

    @property
    def r_multiple(self) -> Decimal | None:
        """Net PnL over |average entry − first stop| · largest size; None without a stop or at zero distance."""
        if self.first_stop is None:
            return None
        risk = abs(self.entry_price - self.first_stop) * self.largest_size
        return self.pnl / risk if risk else None

    def entered(self, size: Decimal, price: Decimal, fee: Decimal, held: Decimal) -> "RoundTrip":
        """Add an opening fill; `held` is the size after it."""
        return replace(
            self,
            entry_size=self.entry_size + size,
            entry_value=self.entry_value + size * price,
            largest_size=max(self.largest_size, held),
            fees=self.fees + fee,
        )

    def exited(self, size: Decimal, price: Decimal, fee: Decimal, realised: Decimal) -> "RoundTrip":
        """Add a closing fill."""
        return replace(
            self,
            exit_size=self.exit_size + size,
            exit_value=self.exit_value + size * price,
            realised_pnl=self.realised_pnl + realised,
            fees=self.fees + fee,
        )

    def marked(self, unrealised: Decimal) -> "RoundTrip":
        """Follow the excursions of gross PnL."""
        gross = self.realised_pnl + unrealised
        if self.mae <= gross <= self.mfe:
            return self
        return replace(self, mfe=max(self.mfe, gross), mae=min(self.mae, gross))


def funding_hours(after_ms: int, until_ms: int) -> range:
    """UTC hours h (ms) with after < h ≤ until."""
    first = (after_ms // HOUR_MS + 1) * HOUR_MS
    return range(first, until_ms + 1, HOUR_MS)
