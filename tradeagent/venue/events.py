"""What goes into the venue and what comes out of it, as values.

Units everywhere in this room: prices in 10^-price_decimals, sizes in lots of 10^-size_decimals, money in 10^-6 USDC, funding rates in
10^-10, fee rates in 10^-8, times in UTC milliseconds.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from tradeagent.domain.bars import Bar
from tradeagent.domain.names import ExitReason, Liquidity, OrderState, OrderType, Side, Tif

Grouping = Literal["na", "normal_tpsl", "position_tpsl"]


@dataclass(frozen=True, slots=True)
class VenueOrder:
    """One order as it is sent. `at_mark` fills at the current mark instead of waiting for an open; `exit_reason` tags its fills.

    `price` is the limit; with a market trigger it is the worst price it may execute at (None: any). A trigger has no tif.

    `trail` makes a reduce-only stop_market a trailing stop: its level follows the best price since it went live at this distance, and only
    ever tightens; `trail_rate` instead is a distance in 10^-8 of that price. `trigger` is then the level it starts from (None: trail away
    from the mark), `activation` the price it starts to follow at (None: at once).
    """

    cloid: str
    market: str
    side: Side
    type: OrderType
    size: int
    price: int | None = None
    trigger: int | None = None
    tif: Tif = Tif.GTC
    reduce_only: bool = False
    at_mark: bool = False
    exit_reason: ExitReason | None = None
    trail: int | None = None
    activation: int | None = None
    trail_rate: int | None = None


@dataclass(frozen=True, slots=True)
class FundingRow:
    """One hourly rate. `oracle` None lets the open of the bar stand in (execution.md §2)."""

    market: str
    hour_ms: int
    rate: int
    oracle: int | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """Place orders. With `normal_tpsl` the first is the entry, the others its reduce-only stop and/or target.

    With `position_tpsl` all are reduce-only triggers whose size is, whatever they state, that of the position for as long as they live.

    `time_ms` is the instant of placing when it lies after the venue's clock, which stands at the last close: an order is in the book from
    the first open after it was placed.
    """

    orders: tuple[VenueOrder, ...]
    grouping: Grouping = "na"
    time_ms: int = 0


@dataclass(frozen=True, slots=True)
class Cancel:
    """Cancel one live order by cloid or oid; `market`, when given, must be its market."""

    cloid: str | None = None
    oid: int | None = None
    market: str | None = None


@dataclass(frozen=True, slots=True)
class Modify:
    """Cancel one live order, named by cloid or oid, and place `order` under its cloid and a new oid.

    Without `always_place` the new order must be a limit that rests: alo, or gtc, which becomes alo.
    """

    order: VenueOrder
    cloid: str | None = None
    oid: int | None = None
    always_place: bool = False
    time_ms: int = 0


@dataclass(frozen=True, slots=True)
class SetLeverage:
    market: str
    leverage: int


@dataclass(frozen=True, slots=True)
class Flow:
    """Deposit (> 0) or withdrawal (< 0); what stays covers the initial margin and a tenth of the notional."""

    amount: int


@dataclass(frozen=True, slots=True)
class OpenBars:
    """Bars that open at `time_ms`: funding, gapped levels and waiting market orders happen at their opens, nothing later."""

    time_ms: int
    bars: Mapping[str, Bar]
    funding: tuple[FundingRow, ...] = ()


@dataclass(frozen=True, slots=True)
class CloseBars:
    """Bars that close at `time_ms`: the open if it was not sent before, the path, the close."""

    time_ms: int
    bars: Mapping[str, Bar]
    funding: tuple[FundingRow, ...] = ()


Event = Place | Cancel | Modify | SetLeverage | Flow | OpenBars | CloseBars


@dataclass(frozen=True, slots=True)
class OrderUpdate:
    """The state of one order. `value` = Σ price × size of its fills, so the average price is value / filled; oid None when refused.

    `reason` is the venue's status (`waitingForTrigger`, `reduceOnlyCanceled`, …) or, when rejected, its error text.
    """

    cloid: str
    oid: int | None
    market: str
    time_ms: int
    state: OrderState
    reason: str
    size: int
    filled: int = 0
    value: int = 0


@dataclass(frozen=True, slots=True)
class Filled:
    """An execution. `realised` is gross; `cloid` is empty for a liquidation. A fill on a bar's path is stamped close − 1 ms."""

    trade_id: int
    oid: int
    cloid: str
    time_ms: int
    market: str
    side: Side
    size: int
    price: int
    fee: int
    liquidity: Liquidity
    realised: int
    reason: ExitReason | None = None


@dataclass(frozen=True, slots=True)
class FundingPaid:
    """Funding of one hour on the position carried in; positive `payment` = paid."""

    payment_id: int
    time_ms: int
    market: str
    size: int
    oracle: int
    rate: int
    payment: int


@dataclass(frozen=True, slots=True)
class Liquidated:
    """A step of a liquidation, after its fills: `market` closed a position or a fifth of it, `backstop` took every position.

    `amount` is the cash the backstop took with them (< 0: the venue paid what was missing), and 0 for a market step.
    """

    time_ms: int
    market: str | None
    kind: Literal["market", "backstop"]
    amount: int = 0


@dataclass(frozen=True, slots=True)
class Flowed:
    time_ms: int
    amount: int


@dataclass(frozen=True, slots=True)
class Marked:
    """Equity at a bar close."""

    time_ms: int
    equity: int


@dataclass(frozen=True, slots=True)
class Refused:
    """A cancel, modification, leverage change or withdrawal the venue did not do; `text` as hyperliquid.md §3–4 words it where it does."""

    text: str
    details: Mapping[str, int | str] = field(default_factory=dict)


Outcome = OrderUpdate | Filled | FundingPaid | Liquidated | Flowed | Marked | Refused
