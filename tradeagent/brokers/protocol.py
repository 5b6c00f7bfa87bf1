"""What every broker does, and the record of what happened on the account, in the venue's own order."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Literal, Protocol

from tradeagent.domain.bars import Bar
from tradeagent.domain.names import OrderState, OrderType, Side, Tif
from tradeagent.domain.order import Fill, FundingPayment, OrderReport, OrderRequest


@dataclass(frozen=True, slots=True)
class CashFlow:
    """A deposit (> 0) or withdrawal (< 0), quote units."""

    time_ms: int
    amount: Decimal


@dataclass(frozen=True, slots=True)
class Liquidation:
    """The venue closed a position, or with `backstop` took everything; `amount` of cash taken, quote units."""

    time_ms: int
    market: str | None
    kind: Literal["market", "backstop"]
    amount: Decimal


@dataclass(frozen=True, slots=True)
class OrderChange:
    """An order moved to another state."""

    time_ms: int
    report: OrderReport


@dataclass(frozen=True, slots=True)
class Activity:
    """One thing that happened on the account; `seq` is the cursor to ask for what came after it."""

    seq: int
    item: Fill | FundingPayment | CashFlow | Liquidation | OrderChange

    @property
    def time_ms(self) -> int:
        return self.item.time_ms


@dataclass(frozen=True, slots=True)
class BrokerAccount:
    """What the venue says is there: cash C, and (size, cost) by market, quote and base units; the leverage of markets where it was set."""

    cash: Decimal
    positions: Mapping[str, tuple[Decimal, Decimal]]
    open_cloids: frozenset[str]
    leverage: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class BrokerOrder:
    """An open order as the venue has it, base and quote units; `waits` for its entry to fill, so it protects nothing yet.

    `cloid` is empty for one that somebody placed without.
    """

    cloid: str
    oid: int
    market: str
    side: Side
    type: OrderType
    size: Decimal
    filled: Decimal
    price: Decimal | None
    trigger: Decimal | None
    tif: Tif
    reduce_only: bool
    waits: bool
    state: OrderState
    reason: str


class BrokerReader(Protocol):
    """The half of a broker that changes nothing."""

    @property
    def delivers_late(self) -> bool:
        """Whether an order may still arrive after `place` has ended, so that "not found" is final only when it has expired."""

    def account(self) -> BrokerAccount:
        """Balances and positions now."""

    def open_orders(self) -> Sequence[BrokerOrder]:
        """Every open order, those included that wait for their entry."""

    def order_status(self, cloid: str) -> OrderReport | None:
        """The venue's word on an order, None when it never saw it."""

    def activity_since(self, cursor: int) -> Sequence[Activity]:
        """Everything after `cursor`, in the order it happened."""


class Broker(BrokerReader, Protocol):
    """Orders in, reports out. Raises VenueError when the outcome is unknown; a refusal is a report, not an exception."""

    def place(self, orders: Sequence[OrderRequest]) -> list[OrderReport]:
        """Send orders as one action; the first may be the parent of the others. Sending a known cloid again changes nothing."""

    def cancel(self, cloid: str) -> OrderReport:
        """Cancel one order."""

    def set_leverage(self, market: str, leverage: int) -> None:
        """Set the cross leverage of a market; RefusedError with the venue's words when it will not."""


class SimulatedBroker(Broker, Protocol):
    """A broker whose market is played to it: paper."""

    def play_open(self, time_ms: int, bars: Mapping[str, Bar], funding: Sequence[tuple[str, int, int]]) -> None:
        """Bars that open now. `funding` rows are (market, hour ms, rate in 10⁻¹⁰)."""

    def play_close(self, time_ms: int, bars: Mapping[str, Bar], funding: Sequence[tuple[str, int, int]]) -> None:
        """Bars that close now."""

    def transfer(self, amount: Decimal) -> None:
        """Deposit (> 0) or withdraw (< 0), never beyond free margin: RefusedError."""
