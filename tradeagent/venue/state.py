"""The venue's memory as frozen values: market rules, configuration, and the state of one account with an exact JSON form.

The mappings inside a state are never changed in place; a step builds new ones. Recent finished orders are part of the state so that a
repeated cloid is answered, but may be stored apart: `to_json(with_finished=False)` leaves them out, `from_json(text, finished)` takes
them back.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import Any, Literal, Self

from tradeagent.domain.errors import InvalidInput
from tradeagent.domain.instrument import PERP_PRICE_DECIMALS, Instrument, max_market_value
from tradeagent.domain.names import ExitReason, OrderState, OrderType, Side, Tif
from tradeagent.venue.events import OrderUpdate

FINISHED_KEPT = 1000
DEFAULT_LEVERAGE = 20
FORMAT = 1


@dataclass(frozen=True, slots=True)
class MarketSpec:
    """Rules of one perpetual. `tiers` are (lower bound in 10^-6 USDC, max leverage), `min_notional` in 10^-6 USDC.

    `asset` is the market's number where it has one: errors of its orders end with it, as the real venue's do.
    """

    market: str
    size_decimals: int
    tiers: tuple[tuple[int, int], ...]
    min_notional: int = 10_000_000
    asset: int | None = None

    @classmethod
    def of(cls, instrument: Instrument) -> Self:
        tiers = tuple((int(tier.lower_bound.scaleb(6)), tier.max_leverage) for tier in instrument.tiers)
        return cls(instrument.symbol, instrument.size_decimals, tiers, int(instrument.min_notional.scaleb(6)))

    @property
    def price_decimals(self) -> int:
        return PERP_PRICE_DECIMALS - self.size_decimals

    @property
    def max_leverage(self) -> int:
        return self.tiers[0][1]

    @property
    def max_market_notional(self) -> int:
        """Largest value of one market order in 10^-6 USDC; a limit order may be ten times that."""
        return max_market_value(self.max_leverage) * 10**6

    def leverage_at(self, notional: int) -> int:
        """Maximum leverage of a position of `notional` (10^-6 USDC); at a bound the higher tier applies."""
        return next(leverage for bound, leverage in reversed(self.tiers) if notional >= bound)

    def error(self, text: str) -> str:
        """An order's error text as the venue words it."""
        return text if self.asset is None else f"{text} asset={self.asset}"

    def tick(self, price: int) -> int:
        """Step of an order price near `price`: 5 significant figures, whole units always pass (hyperliquid.md §1)."""
        return int(10 ** min(self.price_decimals, max(len(str(price)) - 5, 0)))

    def price_in(self, price: Decimal) -> int:
        """Storage units of a price; InvalidInput when it is off the grid."""
        return _whole(price, self.price_decimals, f"{self.market} price")

    def size_in(self, size: Decimal) -> int:
        """Lots of a size; InvalidInput when it is off the grid."""
        return _whole(size, self.size_decimals, f"{self.market} size")

    def price_out(self, price: int) -> Decimal:
        return Decimal(price).scaleb(-self.price_decimals)

    def size_out(self, size: int) -> Decimal:
        return Decimal(size).scaleb(-self.size_decimals)


def _whole(value: Decimal, decimals: int, name: str) -> int:
    scaled = value.scaleb(decimals)
    if scaled != int(scaled):
        raise InvalidInput(f"{name}: {value} has more than {decimals} decimals")
    return int(scaled)


@dataclass(frozen=True, slots=True)
class VenueConfig:
    """How the simulation fills. Rates in 10^-8 of notional, slippage in tenths of a basis point per fill.

    `path` orders the extremes of a bar (execution.md §7.2). An order that comes at most `latency_ms` after an open still belongs to
    it: what was decided on a close takes a moment to arrive. `volume_cap_pct` limits the fills of one bar to that share of its volume.
    """

    markets: Mapping[str, MarketSpec]
    taker_rate: int = 45_000
    maker_rate: int = 15_000
    slippage_tenth_bps: int = 20
    path: Literal["adverse", "nearest"] = "adverse"
    volume_cap_pct: int | None = None
    fill_no_volume: bool = False
    latency_ms: int = 1_000


@dataclass(frozen=True, slots=True)
class Holding:
    """A netted position: signed lots and signed cost (Σ size × price of what is held, 10^-6 USDC)."""

    size: int
    cost: int


class Phase(StrEnum):
    """What a live order waits for."""

    PARENT = "parent"
    QUEUED = "queued"
    ARMED = "armed"
    RESTING = "resting"


@dataclass(frozen=True, slots=True)
class Order:
    """A live order. `value` = Σ price × size filled; until `hold_ms` a target of an entry filled on the way does not count.

    A trailing stop keeps its present level in `trigger`; `trailed` says that it has moved away from where it was placed. The `size` of one
    that is `whole` follows the position.
    """

    oid: int
    cloid: str
    market: str
    side: Side
    type: OrderType
    size: int
    price: int | None
    trigger: int | None
    tif: Tif
    reduce_only: bool
    exit_reason: ExitReason | None
    phase: Phase
    placed_ms: int
    parent_oid: int | None = None
    filled: int = 0
    value: int = 0
    hold_ms: int = 0
    triggered: bool = False
    trail: int | None = None
    activation: int | None = None
    trailed: bool = False
    whole: bool = False
    trail_rate: int | None = None

    @property
    def trails(self) -> bool:
        return self.trail is not None or self.trail_rate is not None

    @property
    def remaining(self) -> int:
        return self.size - self.filled


@dataclass(frozen=True, slots=True)
class VenueState:
    """One account on the venue. `cash` is C of execution.md §2: equity = cash + Σ (size × mark − cost).

    `opened`: open time of the last bar whose open was played, per market; `closed`: close time of the last bar played; `funded`: last hour
    paid; `volume_left`: what the running bar may still fill under a volume cap; `outages`: open time of the newest bar where that is an
    outage; `traded`: value of all fills so far, 10^-6 USDC.
    """

    cash: int = 0
    holdings: Mapping[str, Holding] = field(default_factory=dict)
    orders: Mapping[int, Order] = field(default_factory=dict)
    leverage: Mapping[str, int] = field(default_factory=dict)
    marks: Mapping[str, int] = field(default_factory=dict)
    opened: Mapping[str, int] = field(default_factory=dict)
    closed: Mapping[str, int] = field(default_factory=dict)
    funded: Mapping[str, int] = field(default_factory=dict)
    volume_left: Mapping[str, int] = field(default_factory=dict)
    outages: Mapping[str, int] = field(default_factory=dict)
    finished: Mapping[str, OrderUpdate] = field(default_factory=dict)
    traded: int = 0
    clock_ms: int = 0
    next_oid: int = 1
    next_trade_id: int = 1
    next_payment_id: int = 1

    def to_json(self, *, with_finished: bool = True) -> str:
        """Compact JSON text; `from_json` gives back an equal state."""
        raw: dict[str, Any] = {name: dict(getattr(self, name)) for name in _MAPS} | {name: getattr(self, name) for name in _NUMBERS}
        raw["format"] = FORMAT
        raw["holdings"] = {market: [held.size, held.cost] for market, held in self.holdings.items()}
        raw["orders"] = [_fields(order) for order in self.orders.values()]
        raw["finished"] = [_fields(update) for update in self.finished.values()] if with_finished else []
        return json.dumps(raw, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str, finished: Iterable[OrderUpdate] = ()) -> Self:
        """State from `to_json`; `finished` adds order reports that were stored apart, oldest first."""
        raw = json.loads(text)
        if raw.get("format") != FORMAT:
            raise InvalidInput(f"venue state: format {raw.get('format')} is not {FORMAT}", hint="restore it with the version that wrote it")
        raw = _ADDED | raw
        reports = [*(_update(row) for row in raw["finished"]), *finished]
        return cls(
            holdings={market: Holding(*pair) for market, pair in raw["holdings"].items()},
            orders={order.oid: order for order in map(_order, raw["orders"])},
            finished={update.cloid: update for update in reports},
            **{name: raw[name] for name in (*_MAPS, *_NUMBERS)},
        )


_MAPS = ("leverage", "marks", "opened", "closed", "funded", "volume_left", "outages")
_NUMBERS = ("cash", "traded", "clock_ms", "next_oid", "next_trade_id", "next_payment_id")
_ADDED: dict[str, Any] = {"outages": {}, "traded": 0}  # what a state of this format may lack because an earlier version wrote it


def _fields(value: Order | OrderUpdate) -> list[Any]:
    return [getattr(value, name) for name in value.__slots__]


def _order(row: list[Any]) -> Order:
    """An order from its fields; one written before a field was added is shorter and gets that field's default."""
    named = dict(zip(Order.__slots__, row, strict=False))
    reason = named["exit_reason"]
    return Order(
        **named
        | {
            "side": Side(named["side"]),
            "type": OrderType(named["type"]),
            "tif": Tif(named["tif"]),
            "phase": Phase(named["phase"]),
            "exit_reason": None if reason is None else ExitReason(reason),
        }
    )


def _update(row: list[Any]) -> OrderUpdate:
    named = dict(zip(OrderUpdate.__slots__, row, strict=True))
    return OrderUpdate(**named | {"state": OrderState(named["state"])})
