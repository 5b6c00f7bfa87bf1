"""What the venue reported in an event-driven backtest, added up in the columns of `Run`: round trips flat to flat, costs, counts."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

import numpy as np

from tradeagent.domain.instrument import Instrument
from tradeagent.domain.money import div_half_even
from tradeagent.domain.names import ExitReason, Liquidity
from tradeagent.domain.order import Fill, FundingPayment
from tradeagent.research.run import EXIT_REASONS, Run, Trades
from tradeagent.venue.margin import SLIPPAGE_UNIT, slipped

COLUMNS = tuple(Trades.__dataclass_fields__)


@dataclass(slots=True)
class Trip:
    """One round trip in integers: values are Σ price × size. `low` and `high` bound its unrealised result while it was held."""

    leg: int
    direction: int
    entry_row: int
    stop: int = 0
    entry_size: int = 0
    entry_value: int = 0
    exit_size: int = 0
    exit_value: int = 0
    size: int = 0
    largest: int = 0
    cost: int = 0
    gross: int = 0
    fees: int = 0
    funding: int = 0
    low: int = 0
    high: int = 0
    exit_row: int = 0
    reason: ExitReason = ExitReason.SIGNAL
    late: tuple[int, tuple[int, ...]] = (-1, ())

    def see(self, price: int) -> None:
        """Follow the excursions to a price at which the whole present size was held."""
        result = self.gross + self.direction * (self.size * price - self.cost)
        self.low, self.high = min(self.low, result), max(self.high, result)

    def hold(self, row: int, high: int, low: int) -> None:
        """Held to the close of a bar: its extremes count, or in a bar that it began in only what came after that."""
        for price in self.late[1] if self.late[0] == row else (low, high):
            self.see(price)

    def row(self, mark: int | None = None) -> tuple[int, ...]:
        """The columns of `Trades`; an open trip is valued at `mark` and exits nowhere."""
        gross = self.gross if mark is None else self.gross + self.direction * (self.size * mark - self.cost)
        return (
            self.leg,
            self.direction,
            self.entry_row,
            div_half_even(self.entry_value, self.entry_size),
            self.exit_row,
            div_half_even(self.exit_value, self.exit_size) if mark is None else mark,
            self.largest,
            gross,
            self.fees,
            self.funding,
            -self.low,
            self.high,
            self.stop,
            EXIT_REASONS.index(self.reason),
        )


@dataclass(slots=True)
class Facts:
    """Sums of a run as it goes, 10⁻⁶ USDC; one open trip a market at most."""

    instruments: Sequence[Instrument]
    slippage_tenth_bps: int
    open: dict[str, Trip] = field(default_factory=dict)
    closed: list[Trip] = field(default_factory=list)
    fees: int = 0
    funding: int = 0
    slippage: int = 0
    slack: int = 0
    turnover: int = 0
    exposed: int = 0
    max_leverage: int = 0
    counts: Counter[str] = field(default_factory=Counter)

    def fill(self, fill: Fill, row: int, reference: int | None, levels: tuple[int, int]) -> None:
        """One execution in the bar of `row`. `reference` is the price before slippage where it is known; `levels` are the trigger of
        the order, which it may be on the way through a bar, and the stop that goes with an entry."""
        leg, known = next((place, one) for place, one in enumerate(self.instruments) if one.symbol == fill.market)
        size, price = int(fill.size.scaleb(known.size_decimals)), int(fill.price.scaleb(known.price_decimals))
        fee = micro(fill.fee)
        self.fees += fee
        self.turnover += size * price
        before, among = self._reference(fill, price, reference, levels[0])
        self.slippage += size * abs(price - before)
        self.slack += size * among
        sign = fill.side.sign
        trip = self.open.get(fill.market)
        if trip is None:
            trip = self.open[fill.market] = Trip(leg, sign, row, levels[1])
        trip.fees += fee
        if sign == trip.direction:
            trip.entry_size, trip.entry_value = trip.entry_size + size, trip.entry_value + size * price
            trip.size, trip.cost = trip.size + size, trip.cost + size * price
            trip.largest = max(trip.largest, trip.size)
            return
        if trip.late[0] == row and fill.reason is ExitReason.TRAILING_STOP:
            trip.hold(row, price, price)
        trip.see(price)
        gross = micro(fill.realised_pnl)
        trip.gross += gross
        trip.cost -= trip.direction * (trip.direction * size * price - gross)
        trip.size -= size
        trip.exit_size, trip.exit_value = trip.exit_size + size, trip.exit_value + size * price
        if trip.size == 0:
            trip.exit_row, trip.reason = row, fill.reason or ExitReason.SIGNAL
            self.closed.append(self.open.pop(fill.market))

    def enter_on_path(self, market: str, row: int, points: tuple[int, ...]) -> None:
        """A position that began on the way through a bar: only the path `points` after that count."""
        self.open[market].late = (row, points)

    def pay(self, payment: FundingPayment) -> None:
        """Funding of one hour."""
        amount = micro(payment.payment)
        self.funding += amount
        if payment.market in self.open:
            self.open[payment.market].funding += amount

    def run(self, equity: np.ndarray[tuple[int], np.dtype[np.int64]], marks: Mapping[str, int]) -> Run:
        """The finished run; what is still open is valued at `marks`."""
        still = [trip.row(marks[market]) for market, trip in sorted(self.open.items(), key=lambda item: item[1].leg)]
        return Run(
            equity=equity,
            trades=_columns([trip.row() for trip in self.closed]),
            open_trades=_columns(still),
            fees=self.fees,
            funding=self.funding,
            slippage=self.slippage,
            turnover=self.turnover,
            exposed=self.exposed,
            max_leverage=self.max_leverage,
            counts=dict(self.counts),
        )

    def _reference(self, fill: Fill, price: int, known: int | None, trigger: int) -> tuple[int, int]:
        """The price before slippage, and by how many ticks' worth it may be another one: the trigger if it slips to the fill's, else the
        nearest price that does (rounding takes two to one); a maker's is its own."""
        if fill.liquidity is Liquidity.MAKER:
            return price, 0
        if known is not None:
            return known, 0
        if slipped(trigger, fill.side, self.slippage_tenth_bps) == price:
            return trigger, 0
        guess = price * SLIPPAGE_UNIT // (SLIPPAGE_UNIT + fill.side.sign * self.slippage_tenth_bps)
        near = [guess + step for step in (0, 1, -1, 2, -2) if slipped(guess + step, fill.side, self.slippage_tenth_bps) == price]
        return (near[0], max(near) - min(near)) if near else (price, 0)


def micro(amount: Decimal) -> int:
    """Quote units → 10⁻⁶."""
    return int(amount.scaleb(6))


def _columns(rows: list[tuple[int, ...]]) -> Trades:
    table = np.array(rows, dtype=np.int64).reshape(len(rows), len(COLUMNS))
    return Trades(*(table[:, place].copy() for place in range(len(COLUMNS))))
