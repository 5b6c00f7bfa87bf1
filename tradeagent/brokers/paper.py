"""Paper trading: one simulated venue per wallet, kept in a SQLite file of its own, never in the ledger.

Every call is one transaction that first reloads what another process wrote, so the crash protocol is as real as with a venue across the
network. A bar that changes nothing is not written while nothing is at stake: playing it again gives the same state. With a position or
an order it is, without waiting for the disk, so that a kill from another process closes at the newest price.
"""

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path

from tradeagent.brokers.paper_store import PaperStore
from tradeagent.brokers.protocol import Activity, BrokerAccount, BrokerOrder, CashFlow, Liquidation, OrderChange
from tradeagent.domain.bars import Bar
from tradeagent.domain.clock import Clock
from tradeagent.domain.costs import FeeSchedule
from tradeagent.domain.errors import InvalidInput, RefusedError, VenueError
from tradeagent.domain.instrument import Instrument
from tradeagent.domain.money import ZERO
from tradeagent.domain.names import OrderState
from tradeagent.domain.order import Fill, FundingPayment, OrderReport, OrderRequest
from tradeagent.venue import MarketSpec, VenueConfig, VenueOrder, VenueState, account, events, order_status, step
from tradeagent.venue.book import report
from tradeagent.venue.state import Order, Phase

EXPIRED = "Action already expired"
_RATE_UNITS = 10**8


class PaperBroker:
    """The venue in process. `file` is created on first use; `durable` False (replays) leaves fsync to the operating system.

    `clock` is the wallet's: an order is in the book from the first open after it was placed. `volume_cap` is the share of a bar's volume
    that fills at most, in whole hundredths.
    """

    def __init__(
        self,
        file: Path,
        instruments: Mapping[str, Instrument],
        clock: Clock,
        *,
        fees: FeeSchedule | None = None,
        slippage_bps: Decimal = Decimal(2),
        path: str = "adverse",
        volume_cap: Decimal | None = None,
        durable: bool = True,
    ) -> None:
        fees = fees or FeeSchedule()
        self._config = VenueConfig(
            markets={symbol: MarketSpec.of(instrument) for symbol, instrument in instruments.items()},
            taker_rate=int(fees.taker * _RATE_UNITS),
            maker_rate=int(fees.maker * _RATE_UNITS),
            slippage_tenth_bps=int(slippage_bps * 10),
            path="nearest" if path == "nearest" else "adverse",
            volume_cap_pct=None if volume_cap is None else max(1, int(volume_cap * 100)),
        )
        self._store = PaperStore(file, durable=durable)
        self._clock = clock
        self._state = VenueState()

    def close(self) -> None:
        self._store.close()

    def account(self) -> BrokerAccount:
        state = self._fresh()
        specs = self._config.markets
        return BrokerAccount(
            cash=_usd(state.cash),
            positions={m: (specs[m].size_out(h.size), _usd(h.cost)) for m, h in state.holdings.items() if h.size},
            open_cloids=frozenset(order.cloid for order in state.orders.values()),
            leverage=dict(state.leverage),
        )

    @property
    def played_ms(self) -> int:
        """The newest instant of the market that was played, UTC ms; 0 before the first."""
        return self._fresh().clock_ms

    @property
    def delivers_late(self) -> bool:
        """A call has happened when it ends, and one whose caller died never will."""
        return False

    def open_orders(self) -> Sequence[BrokerOrder]:
        state = self._fresh()
        return [self._open(order, report(order, state.clock_ms)) for order in state.orders.values()]

    def free(self) -> Decimal:
        """Margin that could be withdrawn, quote units."""
        return _usd(account(self._fresh(), self._config).withdrawable)

    def order_status(self, cloid: str) -> OrderReport | None:
        found = order_status(self._fresh(), cloid)
        return self._report(found) if found else None

    def activity_since(self, cursor: int) -> Sequence[Activity]:
        with self._explained():
            return self._store.activity_since(cursor)

    def place(self, orders: Sequence[OrderRequest]) -> list[OrderReport]:
        now = self._clock.now_ms()
        refusal = self._refusal(orders, now)
        if refusal:
            return [OrderReport(order.cloid, None, OrderState.REJECTED, ZERO, None, refusal) for order in orders]
        grouped = any(order.parent_cloid for order in orders)
        event = events.Place(tuple(self._venue_order(order) for order in orders), "normal_tpsl" if grouped else "na", now)
        self._write(event)
        return [self._known(order.cloid) for order in orders]

    def cancel(self, cloid: str) -> OrderReport:
        for outcome in self._write(events.Cancel(cloid=cloid)):
            if isinstance(outcome, events.Refused):
                raise RefusedError(outcome.text, code="venue_rejected")
        return self._known(cloid)

    def set_leverage(self, market: str, leverage: int) -> None:
        self._ask(events.SetLeverage(market, leverage))

    def transfer(self, amount: Decimal) -> None:
        self._ask(events.Flow(int(amount.scaleb(6))))

    def play_open(self, time_ms: int, bars: Mapping[str, Bar], funding: Sequence[tuple[str, int, int]]) -> None:
        self._play(events.OpenBars(time_ms, bars, _funding_rows(funding)))

    def play_close(self, time_ms: int, bars: Mapping[str, Bar], funding: Sequence[tuple[str, int, int]]) -> None:
        self._play(events.CloseBars(time_ms, bars, _funding_rows(funding)))

    def _fresh(self) -> VenueState:
        with self._explained():
            loaded = self._store.reload()
        if loaded is not None:
            self._state = loaded
        return self._state

    def _ask(self, event: events.Event) -> None:
        refused = next((o for o in self._write(event) if isinstance(o, events.Refused)), None)
        if refused is not None:
            raise RefusedError(refused.text, code="venue_rejected", details={key: str(value) for key, value in refused.details.items()})

    def _write(self, event: events.Event) -> tuple[events.Outcome, ...]:
        """One transaction: reload, step, record what happened, commit. The memory moves only after the commit."""
        with self._explained(), self._store.transaction():
            state, outcomes = step(self._fresh(), event, self._config)
            self._store.save(state, [item for outcome in outcomes if (item := self._item(outcome)) is not None], _finished(outcomes))
        self._state = state
        return outcomes

    def _play(self, event: events.OpenBars | events.CloseBars) -> None:
        state, outcomes = step(self._fresh(), event, self._config)
        if all(isinstance(outcome, events.Marked) for outcome in outcomes):
            with self._explained():
                is_current = not (state.holdings or state.orders) or self._store.note(state)
            if is_current:
                self._state = state
                return
        self._write(event)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise VenueError(f"the paper account did not answer: {error}", hint="check the disk; nothing was sent twice") from error

    def _known(self, cloid: str) -> OrderReport:
        found = order_status(self._state, cloid)
        if found is None:
            raise VenueError(f"the paper account does not know order {cloid}")
        return self._report(found)

    def _refusal(self, orders: Sequence[OrderRequest], now: int) -> str:
        """Why an action does not even reach the venue's order book; a repeated one is always let through, to get its answer again."""
        for order in orders:
            spec = self._config.markets.get(order.market)
            if spec is None:
                return f"Unknown market {order.market}."
            try:
                spec.size_in(order.size)
            except InvalidInput:
                return "Order has invalid size."
            try:
                [spec.price_in(price) for price in (order.price, order.trigger) if price is not None]
            except InvalidInput:
                return "Price must be divisible by tick size."
        is_late = any(order.expires_ms is not None and order.expires_ms < now for order in orders)
        return EXPIRED if is_late and not any(order_status(self._fresh(), order.cloid) for order in orders) else ""

    def _venue_order(self, order: OrderRequest) -> VenueOrder:
        spec = self._config.markets[order.market]
        return VenueOrder(
            cloid=order.cloid,
            market=order.market,
            side=order.side,
            type=order.type,
            size=spec.size_in(order.size),
            price=None if order.price is None else spec.price_in(order.price),
            trigger=None if order.trigger is None else spec.price_in(order.trigger),
            tif=order.tif,
            reduce_only=order.reduce_only,
            at_mark=order.at_mark,
            exit_reason=order.exit_reason,
            trail=None if order.trail is None else spec.price_in(order.trail),
            activation=None if order.activation is None else spec.price_in(order.activation),
            trail_rate=None if order.trail_rate is None else int(order.trail_rate * _RATE_UNITS),
        )

    def _open(self, order: Order, now: events.OrderUpdate) -> BrokerOrder:
        spec = self._config.markets[order.market]
        return BrokerOrder(
            cloid=order.cloid,
            oid=order.oid,
            market=order.market,
            side=order.side,
            type=order.type,
            size=spec.size_out(order.size),
            filled=spec.size_out(order.filled),
            price=None if order.price is None else spec.price_out(order.price),
            trigger=None if order.trigger is None else spec.price_out(order.trigger),
            tif=order.tif,
            reduce_only=order.reduce_only,
            waits=order.phase is Phase.PARENT,
            state=now.state,
            reason=now.reason,
        )

    def _report(self, update: events.OrderUpdate) -> OrderReport:
        spec = self._config.markets[update.market]
        filled = spec.size_out(update.filled)
        average = _usd(update.value) / filled if filled else None
        return OrderReport(update.cloid, update.oid, update.state, filled, average, update.reason)

    def _item(self, outcome: events.Outcome) -> Fill | FundingPayment | CashFlow | Liquidation | OrderChange | None:
        if isinstance(outcome, events.OrderUpdate):
            return OrderChange(outcome.time_ms, self._report(outcome))
        if isinstance(outcome, events.Filled):
            return self._fill(outcome)
        if isinstance(outcome, events.FundingPaid):
            spec = self._config.markets[outcome.market]
            rate = Decimal(outcome.rate).scaleb(-10)
            size, oracle = spec.size_out(outcome.size), spec.price_out(outcome.oracle)
            return FundingPayment(outcome.payment_id, outcome.time_ms, outcome.market, size, oracle, rate, _usd(outcome.payment))
        if isinstance(outcome, events.Flowed):
            return CashFlow(outcome.time_ms, _usd(outcome.amount))
        if isinstance(outcome, events.Liquidated):
            return Liquidation(outcome.time_ms, outcome.market, outcome.kind, _usd(outcome.amount))
        return None

    def _fill(self, filled: events.Filled) -> Fill:
        spec = self._config.markets[filled.market]
        return Fill(
            trade_id=filled.trade_id,
            time_ms=filled.time_ms,
            market=filled.market,
            side=filled.side,
            size=spec.size_out(filled.size),
            price=spec.price_out(filled.price),
            fee=_usd(filled.fee),
            liquidity=filled.liquidity,
            oid=filled.oid,
            cloid=filled.cloid,
            realised_pnl=_usd(filled.realised),
            reason=filled.reason,
        )


def _usd(micro: int) -> Decimal:
    return Decimal(micro).scaleb(-6)


def _funding_rows(rows: Sequence[tuple[str, int, int]]) -> tuple[events.FundingRow, ...]:
    return tuple(events.FundingRow(market, hour_ms, rate) for market, hour_ms, rate in rows)


def _finished(outcomes: Sequence[events.Outcome]) -> list[events.OrderUpdate]:
    return [o for o in outcomes if isinstance(o, events.OrderUpdate) and not o.state.is_live]
