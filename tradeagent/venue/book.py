"""The private working copy of a state that one step changes: money is booked here and outcomes are collected."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from tradeagent.domain.names import ExitReason, Liquidity, OrderState, Side
from tradeagent.venue.events import Filled, OrderUpdate, Outcome
from tradeagent.venue.margin import booked, trade_fee
from tradeagent.venue.state import FINISHED_KEPT, Order, Phase, VenueConfig, VenueState


class Book:
    """A mutable account for the length of one step. `now_ms` stamps outcomes; `hold_ms` > 0 while a bar's path is walked (its close).

    `bar_ms` is the open of the bar that is played; an order placed while it ran was not in the book and waits for the next one.
    """

    def __init__(self, state: VenueState, config: VenueConfig) -> None:
        self.config = config
        self.outcomes: list[Outcome] = []
        self.cash = state.cash
        self.holdings = dict(state.holdings)
        self.orders = dict(state.orders)
        self.leverage = state.leverage  # this, `funded` and `outages` change seldom: a change replaces the mapping
        self.marks = dict(state.marks)
        self.opened = dict(state.opened)
        self.closed = dict(state.closed)
        self.funded = state.funded
        self.volume_left = dict(state.volume_left)
        self.outages = state.outages
        self.traded = state.traded
        self.clock_ms = state.clock_ms
        self.now_ms = state.clock_ms
        self.hold_ms = 0
        self.bar_ms: int | None = None
        self.placing_ms = state.clock_ms
        self.next_oid = state.next_oid
        self.next_trade_id = state.next_trade_id
        self.next_payment_id = state.next_payment_id
        self._finished_before = state.finished
        self._finished_now: dict[str, OrderUpdate] = {}

    def freeze(self) -> VenueState:
        """The state after the step."""
        return VenueState(
            cash=self.cash,
            holdings=self.holdings,
            orders=self.orders,
            leverage=self.leverage,
            marks=self.marks,
            opened=self.opened,
            closed=self.closed,
            funded=self.funded,
            volume_left=self.volume_left,
            outages=self.outages,
            traded=self.traded,
            finished=self._finished(),
            clock_ms=self.clock_ms,
            next_oid=self.next_oid,
            next_trade_id=self.next_trade_id,
            next_payment_id=self.next_payment_id,
        )

    def _finished(self) -> Mapping[str, OrderUpdate]:
        before = self._finished_before
        if not self._finished_now:
            return before
        merged = {**before, **self._finished_now}
        return dict(list(merged.items())[-FINISHED_KEPT:]) if len(merged) > FINISHED_KEPT else merged

    def emit(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome)

    def size(self, market: str) -> int:
        """Signed lots held."""
        held = self.holdings.get(market)
        return held.size if held else 0

    def is_late(self, order: Order) -> bool:
        """Whether an order was placed after the bar that is played had opened."""
        return self.bar_ms is not None and order.placed_ms > self.bar_ms + self.config.latency_ms

    def status(self, cloid: str) -> OrderUpdate | None:
        """The current report of an order by its cloid, live or recently finished."""
        return _find(self.orders.values(), cloid, self.now_ms) or self._finished_now.get(cloid) or self._finished_before.get(cloid)

    def new_oid(self) -> int:
        self.next_oid += 1
        return self.next_oid - 1

    def trade(self, order: Order, size: int, price: int, liquidity: Liquidity, reason: ExitReason | None) -> None:
        """Book `size` lots of `order` at `price`: position, realised PnL and fee."""
        rate = self.config.taker_rate if liquidity is Liquidity.TAKER else self.config.maker_rate
        fee = trade_fee(price, size, rate)
        self.book_fill(order, size, price, fee, liquidity, reason)

    def book_fill(self, order: Order, size: int, price: int, fee: int, liquidity: Liquidity, reason: ExitReason | None) -> None:
        market, side = order.market, order.side
        held, realised = booked(self.holdings.get(market), size if side is Side.BUY else -size, price)
        if held is None:
            del self.holdings[market]
        else:
            self.holdings[market] = held
        self.cash += realised - fee
        self.traded += size * price
        trade_id = self.next_trade_id
        self.next_trade_id += 1
        self.emit(Filled(trade_id, order.oid, order.cloid, self.now_ms, market, side, size, price, fee, liquidity, realised, reason))

    def put(self, order: Order) -> None:
        """Store a new or changed live order and report it."""
        self.orders[order.oid] = order
        self.emit(report(order, self.now_ms))

    def finish(self, order: Order, state: OrderState, reason: str) -> None:
        """End an order; one that ends other than filled takes its waiting children with it."""
        self.orders.pop(order.oid, None)
        self.remember(replace(report(order, self.now_ms), state=state, reason=reason))
        if state is not OrderState.FILLED:
            for child in self.family(order.oid):
                if child.phase is Phase.PARENT:
                    self.finish(child, OrderState.CANCELLED, "canceled")

    def remember(self, update: OrderUpdate) -> None:
        """Report an order's end and keep it for a repeated cloid."""
        self._finished_now[update.cloid] = update
        self.emit(update)

    def family(self, parent_oid: int) -> list[Order]:
        """Live orders that came with the entry `parent_oid`."""
        return [order for order in self.orders.values() if order.parent_oid == parent_oid]


def order_status(state: VenueState, cloid: str) -> OrderUpdate | None:
    """The report of a live or recently finished order; None when the venue does not know the cloid."""
    return _find(state.orders.values(), cloid, state.clock_ms) or state.finished.get(cloid)


def _find(orders: Iterable[Order], cloid: str, time_ms: int) -> OrderUpdate | None:
    return next((report(order, time_ms) for order in orders if order.cloid == cloid), None)


def report(order: Order, time_ms: int) -> OrderUpdate:
    """What the venue says of a live order."""
    state, reason = _standing(order)
    return OrderUpdate(order.cloid, order.oid, order.market, time_ms, state, reason, order.size, order.filled, order.value)


def _standing(order: Order) -> tuple[OrderState, str]:
    if order.phase is Phase.PARENT:
        return OrderState.PENDING, "waitingForFill"
    if order.phase is Phase.ARMED:
        return OrderState.OPEN, "waitingForTrigger"
    reason = "queued" if order.phase is Phase.QUEUED else "triggered" if order.triggered else "open"
    if order.filled:
        return OrderState.PARTIALLY_FILLED, reason
    if order.triggered:
        return OrderState.TRIGGERED, reason
    return (OrderState.PENDING if order.phase is Phase.QUEUED else OrderState.OPEN), reason
