"""Drives one simulated account through bars and remembers every outcome. Market ETH: 4 size decimals, prices in cents."""

from collections.abc import Sequence
from typing import Any, TypeVar

from tradeagent.domain.bars import Bar
from tradeagent.domain.names import OrderState, OrderType, Side, Tif
from tradeagent.venue import FundingRow, MarketSpec, Outcome, VenueConfig, VenueOrder, VenueState, account, order_status, step
from tradeagent.venue.events import Cancel, CloseBars, Event, Filled, Flow, OpenBars, Place, Refused

USDC = 10**6
ETH = 10**4
CENT = 100
MINUTE = 60_000
INTERVAL = 5 * MINUTE
HOUR = 60 * MINUTE

MARKETS = {
    "ETH": MarketSpec("ETH", 4, ((0, 25), (100_000_000 * USDC, 15))),
    "SOL": MarketSpec("SOL", 2, ((0, 20), (70_000_000 * USDC, 10))),
}
FREE_OF_COST = VenueConfig(MARKETS, taker_rate=0, maker_rate=0, slippage_tenth_bps=0)

Kind = TypeVar("Kind")


def usd(price: float) -> int:
    """Dollars of ETH in storage units (cents)."""
    return round(price * CENT)


def bar(index: int, prices: Sequence[float], *, volume: int = 10**9, market: str = "ETH", interval: int = INTERVAL) -> Bar:
    """The bar number `index`: open, high, low, close in dollars of ETH; SOL has two more decimals, so 2000 means 20.00 there."""
    opened, high, low, close = (usd(price) for price in prices)
    return Bar(market, index * interval, interval, opened, high, low, close, volume)


def order(cloid: str, side: Side, kind: OrderType = OrderType.MARKET, size: int = ETH, **fields: Any) -> VenueOrder:
    prices = {name: usd(fields.pop(name)) for name in ("price", "trigger") if name in fields}
    return VenueOrder(cloid, fields.pop("market", "ETH"), side, kind, size, **prices, **fields)


def buy(cloid: str = "entry", **fields: Any) -> VenueOrder:
    return order(cloid, Side.BUY, **fields)


def sell(cloid: str = "entry", **fields: Any) -> VenueOrder:
    return order(cloid, Side.SELL, **fields)


def stop(at: float, side: Side = Side.SELL, cloid: str = "stop", **fields: Any) -> VenueOrder:
    return order(cloid, side, OrderType.STOP_MARKET, trigger=at, reduce_only=True, **fields)


def target(at: float, side: Side = Side.SELL, cloid: str = "target", **fields: Any) -> VenueOrder:
    return order(cloid, side, OrderType.TAKE_PROFIT_MARKET, trigger=at, reduce_only=True, **fields)


def limit(cloid: str, side: Side, price: float, **fields: Any) -> VenueOrder:
    return order(cloid, side, OrderType.LIMIT, price=price, tif=fields.pop("tif", Tif.GTC), **fields)


class Exchange:
    """One account. Bars follow each other on a 5-minute grid; `mark` starts the market with a flat bar of volume."""

    def __init__(self, config: VenueConfig = FREE_OF_COST, cash: int = 100_000 * USDC, mark: float | None = 2000) -> None:
        self.config = config
        self.state = VenueState()
        self.outcomes: list[Outcome] = []
        self.index = 0
        self.send(Flow(cash))
        if mark is not None:
            self.bar(mark, mark, mark, mark)

    def send(self, event: Event) -> tuple[Outcome, ...]:
        self.state, outcomes = step(self.state, event, self.config)
        self.outcomes += outcomes
        return outcomes

    def place(self, *orders: VenueOrder) -> tuple[Outcome, ...]:
        return self.send(Place(orders))

    def bracket(self, *orders: VenueOrder) -> tuple[Outcome, ...]:
        return self.send(Place(orders, "normal_tpsl"))

    def cancel(self, cloid: str) -> tuple[Outcome, ...]:
        return self.send(Cancel(cloid))

    def open(self, *prices: float, funding: tuple[FundingRow, ...] = (), volume: int = 10**9) -> tuple[Outcome, ...]:
        """Send only the open of the next bar."""
        opening = bar(self.index, prices, volume=volume)
        return self.send(OpenBars(opening.open_ms, {"ETH": opening}, funding))

    def bar(self, *prices: float, funding: tuple[FundingRow, ...] = (), volume: int = 10**9) -> tuple[Outcome, ...]:
        """Play the next bar: open, high, low, close."""
        return self.bars(bar(self.index, prices, volume=volume), funding=funding)

    def bars(self, *bars: Bar, funding: tuple[FundingRow, ...] = ()) -> tuple[Outcome, ...]:
        self.index += 1
        return self.send(CloseBars(bars[0].close_ms, {each.market: each for each in bars}, funding))

    @property
    def position(self) -> int:
        return self.size("ETH")

    def size(self, market: str) -> int:
        held = self.state.holdings.get(market)
        return held.size if held else 0

    @property
    def equity(self) -> int:
        return account(self.state, self.config).equity

    def all(self, kind: type[Kind]) -> list[Kind]:
        return [outcome for outcome in self.outcomes if isinstance(outcome, kind)]

    def fills(self, cloid: str | None = None) -> list[Filled]:
        return [fill for fill in self.all(Filled) if cloid is None or fill.cloid == cloid]

    def prices(self, cloid: str) -> list[float]:
        """Fill prices of an order in dollars."""
        return [fill.price / CENT for fill in self.fills(cloid)]

    def status(self, cloid: str) -> tuple[OrderState, str]:
        update = order_status(self.state, cloid)
        assert update is not None, f"{cloid} is unknown"
        return update.state, update.reason

    @property
    def refusal(self) -> str:
        return self.all(Refused)[-1].text


def long_account(config: VenueConfig = FREE_OF_COST, size: int = ETH, **fields: Any) -> Exchange:
    """An account that bought `size` lots of ETH at the mark."""
    venue = Exchange(config, **fields)
    venue.place(buy(size=size, at_mark=True))
    assert venue.position == size
    return venue
