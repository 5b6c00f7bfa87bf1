"""What an executor is asked to do, by type: the fields, checked as outside text, and how they read back from the ledger.

Amounts in quote units unless a name says otherwise, durations in seconds. A barrier is a fraction of the price it is measured from
(0.02 = 2 %) or `{"price": 61000}`.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from tradeagent.domain.errors import InvalidInput
from tradeagent.domain.names import ExecutorType, Side

MIN_INTERVAL_S = 30
MAX_RUNGS = 20

Amount = Annotated[Decimal, Field(gt=0, allow_inf_nan=False, max_digits=30)]
Fraction = Annotated[Decimal, Field(gt=0, lt=1, allow_inf_nan=False, max_digits=20)]
Seconds = Annotated[int, Field(ge=1, le=366 * 86_400)]
Market = Annotated[str, Field(min_length=1, max_length=40)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class AtPrice(_Strict):
    price: Amount


Barrier = Annotated[Fraction | AtPrice, Field(description='a fraction like 0.02, or {"price": 61000}')]


class Trailing(_Strict):
    activation: Fraction = Field(description="gain from the entry, as a fraction, at which the stop begins to follow")
    delta: Fraction = Field(description="how far the stop stays behind the best price, as a fraction of the entry")


class Barriers(_Strict):
    take_profit: Barrier | None = None
    stop_loss: Barrier | None = None
    time_limit_s: Seconds | None = None
    trailing_stop: Trailing | None = None


class Chaser(_Strict):
    distance: Fraction = Field(description="how far from the mark the limit rests, as a fraction")
    refresh_threshold: Fraction = Field(description="how far the mark moves, as a fraction, before the limit follows")


class _Spec(_Strict):
    market: Market
    side: Literal["buy", "sell"]
    leverage: Annotated[int, Field(ge=1, le=50)] | None = None

    @property
    def direction(self) -> Side:
        return Side(self.side)


class OrderSpec(_Spec):
    """One order, worked until it is filled."""

    amount: Amount | None = Field(default=None, description="base units; state amount or amount_quote")
    amount_quote: Amount | None = None
    strategy: Literal["limit", "limit_maker", "market", "limit_chaser"]
    price: Amount | None = Field(default=None, description="limit price of limit and limit_maker")
    chaser: Chaser | None = None
    stop: Amount | None = None
    target: Amount | None = None
    reduce_only: bool = False

    @model_validator(mode="after")
    def _fits(self) -> "OrderSpec":
        _one_amount(self.amount, self.amount_quote)
        needs_price = self.strategy in ("limit", "limit_maker")
        if needs_price is not (self.price is not None):
            raise ValueError(f"price: strategy {self.strategy} {'needs one' if needs_price else 'takes none'}")
        if (self.strategy == "limit_chaser") is not (self.chaser is not None):
            raise ValueError("chaser: {distance, refresh_threshold} belongs to strategy limit_chaser, and to it only")
        if self.reduce_only and (self.stop is not None or self.target is not None):
            raise ValueError("reduce_only: an order that closes has no stop or target of its own")
        return self


class PositionSpec(_Spec):
    """An entry with barriers; it ends when one of them closes the position."""

    amount: Amount | None = Field(default=None, description="base units; state amount or amount_quote")
    amount_quote: Amount | None = None
    entry_price: Amount | None = Field(default=None, description="limit price of the entry; without it the market")
    barriers: Barriers

    @model_validator(mode="after")
    def _fits(self) -> "PositionSpec":
        _one_amount(self.amount, self.amount_quote)
        return self


class GridSpec(_Spec):
    """Limit entries spread over a range, each with its own profit, until the limit price ends the whole."""

    start_price: Amount
    end_price: Amount
    limit_price: Amount = Field(description="stop of the whole grid: below start for a long, above end for a short")
    total_amount_quote: Amount
    min_spread: Fraction = Decimal("0.0005")
    min_order_quote: Amount = Decimal(12)
    max_open_orders: Annotated[int, Field(ge=1, le=50)] = 5
    take_profit: Fraction = Field(description="profit per level, as a fraction of its price")

    @model_validator(mode="after")
    def _fits(self) -> "GridSpec":
        if self.start_price >= self.end_price:
            raise ValueError(f"start_price {self.start_price} must be below end_price {self.end_price}")
        if self.side == "buy" and self.limit_price >= self.start_price:
            raise ValueError(f"limit_price {self.limit_price} of a long grid must be below start_price {self.start_price}")
        if self.side == "sell" and self.limit_price <= self.end_price:
            raise ValueError(f"limit_price {self.limit_price} of a short grid must be above end_price {self.end_price}")
        return self


class DcaSpec(_Spec):
    """Limit entries at worse and worse prices, with stop and target against the average entry."""

    amounts_quote: Annotated[tuple[Amount, ...], Field(min_length=1, max_length=MAX_RUNGS)]
    prices: Annotated[tuple[Amount, ...], Field(min_length=1, max_length=MAX_RUNGS)]
    take_profit: Barrier | None = None
    stop_loss: Barrier | None = None
    trailing_stop: Trailing | None = None
    time_limit_s: Seconds | None = None

    @model_validator(mode="after")
    def _fits(self) -> "DcaSpec":
        if len(self.amounts_quote) != len(self.prices):
            raise ValueError(f"amounts_quote has {len(self.amounts_quote)} entries, prices {len(self.prices)}: one price for each amount")
        steps = [(after - before) * self.direction.sign for before, after in zip(self.prices, self.prices[1:], strict=False)]
        if any(step >= 0 for step in steps):
            raise ValueError(f"prices: each must be {'below' if self.side == 'buy' else 'above'} the one before it")
        return self


class TwapSpec(_Spec):
    """A total split into equal market orders over time."""

    total_amount_quote: Amount
    duration_s: Seconds
    interval_s: Annotated[int, Field(ge=MIN_INTERVAL_S, le=86_400)]
    price_limit: Amount | None = Field(default=None, description="no slice is sent while the mark is worse than this")
    stop: Amount | None = None
    reduce_only: bool = False

    @model_validator(mode="after")
    def _fits(self) -> "TwapSpec":
        if self.interval_s > self.duration_s:
            raise ValueError(f"interval_s {self.interval_s} is longer than duration_s {self.duration_s}")
        if self.reduce_only and self.stop is not None:
            raise ValueError("reduce_only: a twap that closes has no stop of its own")
        return self


Spec = OrderSpec | PositionSpec | GridSpec | DcaSpec | TwapSpec
SPECS: Mapping[ExecutorType, type[Spec]] = {
    ExecutorType.ORDER: OrderSpec,
    ExecutorType.POSITION: PositionSpec,
    ExecutorType.GRID: GridSpec,
    ExecutorType.DCA: DcaSpec,
    ExecutorType.TWAP: TwapSpec,
}


def parse_spec(kind: ExecutorType, fields: Mapping[str, Any]) -> Spec:
    """A specification from outside; InvalidInput names every field that does not fit."""
    try:
        return SPECS[kind].model_validate(dict(fields))
    except ValidationError as error:
        faults = "; ".join(_fault(one["loc"], one["msg"]) for one in error.errors())
        raise InvalidInput(f"{kind.value} executor: {faults}", hint=f"describe_executor {kind.value} lists its fields") from None


def _fault(place: tuple[int | str, ...], message: str) -> str:
    field = ".".join(str(part) for part in place)
    return f"{field}: {message}" if field else message.removeprefix("Value error, ")


def _one_amount(base: Decimal | None, quote: Decimal | None) -> None:
    if (base is None) is (quote is None):
        raise ValueError("state amount (base units) or amount_quote, one of them")
