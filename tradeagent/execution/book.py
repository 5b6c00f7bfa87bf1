"""The account book of one wallet: what the venue reports becomes rows, running totals, trades and events, each exactly once.

The owner of the lease keeps the totals in memory; they are written with the first transaction that needs them. A crash loses at most
marks, which playing the same bars again restores.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from decimal import Decimal

from sqlalchemy import Connection

from tradeagent.brokers.protocol import Activity, CashFlow, Liquidation, OrderChange
from tradeagent.domain.clock import Clock
from tradeagent.domain.money import ZERO, plain, trunc_micro
from tradeagent.domain.names import Direction, EventKind, ExitReason, IncidentCode, Level, OrderType, Side
from tradeagent.domain.order import Fill, FundingPayment, OrderReport
from tradeagent.domain.performance import RoundTrip
from tradeagent.domain.position import Booked, Position, apply_fill
from tradeagent.execution.batch import Batch
from tradeagent.execution.orders import is_held
from tradeagent.execution.trips import closed_trip, split_fill, split_funding, trip_in, trip_out
from tradeagent.ledger import events, notes, trading, wallets
from tradeagent.ledger.trading import NET, OrderRow, PositionRow
from tradeagent.ledger.wallets import RiskRow

UNMANAGED = "unmanaged"
REDUCE_ONLY_CANCELLED = "reduceOnlyCanceled"


class AccountBook:
    """Positions, totals and open trades of one wallet, mirrored in the ledger."""

    def __init__(self, wallet: str, clock: Clock, risk: RiskRow, positions: list[PositionRow]) -> None:
        self.wallet = wallet
        self.risk = risk
        self._clock = clock
        self._rows = {(row.market, row.controller_id): row for row in positions}
        self._dirty: set[tuple[str, str]] = set()
        self._seen: dict[str, tuple[Decimal, int]] = {}
        self._risk_dirty = False
        self._partial: dict[str, None] = {}
        self._may_be_bare = False

    @classmethod
    def load(cls, tx: Connection, wallet: str, clock: Clock) -> "AccountBook":
        return cls(wallet, clock, wallets.risk(tx, wallet), trading.positions_of(tx, wallet))

    @property
    def rows(self) -> tuple[PositionRow, ...]:
        return tuple(self._rows.values())

    @property
    def held_markets(self) -> list[str]:
        return [market for (market, controller), row in self._rows.items() if controller == NET and row.size]

    def net(self, market: str) -> PositionRow:
        return self._rows.get((market, NET)) or PositionRow(self.wallet, market, NET)

    def held_by(self, market: str, controller_id: str) -> Decimal:
        """Inventory of one controller, signed base units."""
        row = self._rows.get((market, controller_id))
        return row.size if row else ZERO

    def equity(self) -> Decimal:
        """Cash + unrealised at the last marks, quote units."""
        rows = (row for (_, controller), row in self._rows.items() if controller == NET and row.size)
        return self.risk.cash + sum((row.size * row.mark - row.cost for row in rows if row.mark is not None), ZERO)

    def unrealised(self) -> Decimal:
        return self.equity() - self.risk.cash

    @contextmanager
    def kept_on_error(self) -> Iterator[None]:
        """Put everything back when the block fails: what did not reach the ledger did not happen."""
        kept = (self.risk, dict(self._rows), set(self._dirty), self._risk_dirty)
        try:
            yield
        except BaseException:
            self.risk, self._rows, self._dirty, self._risk_dirty = kept
            raise

    def leverage(self, market: str) -> int | None:
        """The market's setting as last sent, None when it never was."""
        row = self._rows.get((market, NET))
        return row.leverage if row else None

    def see(self, market: str, price: Decimal, time_ms: int) -> None:
        """Remember the newest mark of a market, for what opens on it next."""
        self._seen[market] = (price, time_ms)

    def set_leverage(self, market: str, leverage: int) -> None:
        self._put(replace(self.net(market), leverage=leverage))

    def set_risk(self, risk: RiskRow) -> None:
        self.risk = risk
        self._risk_dirty = True

    def mark(self, time_ms: int, marks: Mapping[str, Decimal]) -> None:
        """Take new marks at one instant: an equity point, the day, the nav's peak, the excursions of open trades."""
        for key, row in list(self._rows.items()):
            price = marks.get(key[0])
            if price is None or not row.size:
                continue
            trip = row.trip
            if trip is not None:
                followed = trip_in(trip).marked(row.size * price - row.cost)
                trip = trip_out(followed)
            self._put(replace(row, mark=price, mark_ms=time_ms, trip=trip, updated_ms=time_ms))
        self.set_risk(replace(self.risk.marked(self.equity(), time_ms), market_clock_ms=time_ms))

    def settle_clock(self, time_ms: int) -> None:
        """Move the wallet's market clock forward to an instant between bars."""
        if self.risk.market_clock_ms is None or time_ms > self.risk.market_clock_ms:
            self.set_risk(replace(self.risk, market_clock_ms=time_ms))

    def hand_over(self, tx: Connection, row: PositionRow, to: str, now_ms: int) -> None:
        """Give a controller's inventory in one market, its open trade and its resting orders to another controller,
        whose own is on the same side, as all that is held in a market is (ADR 27)."""
        trip, present = trip_in(row.trip) if row.trip else None, self._rows.get((row.market, to))
        if present is not None and present.size:
            if present.trip:
                trip = _joined(trip_in(present.trip), trip) if trip else trip_in(present.trip)
            row = replace(row, size=row.size + present.size, cost=row.cost + present.cost, entries=row.entries + present.entries)
        kept = trip_out(replace(trip, controller_id=to)) if trip else None
        self._put(replace(row, controller_id=to, trip=kept, updated_ms=now_ms))
        self._put(replace(row, size=ZERO, cost=ZERO, entries=0, trip=None, updated_ms=now_ms))
        deployment = _deployment_in(to)
        trading.reassign_orders(tx, self.wallet, row.market, row.controller_id, to, deployment)
        data = {"market": row.market, "size": plain(row.size), "from": row.controller_id, "to": to}
        events.append(tx, EventKind.POSITION_CHANGED, now_ms, wallet=self.wallet, deployment=deployment, subject=row.market, data=data)

    def point(self, tx: Connection, time_ms: int) -> None:
        """Record an equity point, and say so."""
        equity = self.equity()
        trading.add_equity_point(tx, self.wallet, time_ms, equity, self.risk.cash, self.risk.nav.value(equity))
        events.append(tx, EventKind.EQUITY, time_ms, wallet=self.wallet, data={"equity": plain(equity), "cash": plain(self.risk.cash)})

    def flush(self, tx: Connection) -> None:
        """Write what changed in memory."""
        trading.save_positions(tx, [self._rows[key] for key in self._dirty])
        if self._risk_dirty:
            wallets.save_risk(tx, self.risk)
        self._dirty.clear()
        self._risk_dirty = False

    def apply(self, tx: Connection, activity: Sequence[Activity], known: Sequence[OrderRow] = ()) -> Sequence[OrderRow]:
        """Book what the venue reported, in order; the `known` orders as they are then. Knowing it already changes nothing."""
        batch = Batch(tx, self.wallet, activity, known)
        for one in activity:
            self._apply(batch, one)
        batch.write()
        return [batch.order(order.cloid) or order for order in known]

    def _apply(self, batch: Batch, activity: Activity) -> None:
        item = activity.item
        if isinstance(item, Fill):
            self._fill(batch, item)
        elif isinstance(item, FundingPayment):
            self._funding(batch, item)
        elif isinstance(item, CashFlow):
            self._flow(batch, activity.seq, item)
        elif isinstance(item, OrderChange):
            self._order(batch, item)
        else:
            self._liquidated(batch, item)
        self.set_risk(replace(self.risk, activity_cursor=max(self.risk.activity_cursor, activity.seq)))

    def take_partial(self) -> list[str]:
        """Intents whose levels the venue does not keep for what has filled, since this was last asked."""
        taken = list(self._partial)
        self._partial.clear()
        return taken

    def take_doubt(self) -> bool:
        """Whether a needed stop may be missing: something has filled, or the venue dropped a stop that exceeds a position."""
        doubt, self._may_be_bare = self._may_be_bare, False
        return doubt and bool(self.held_markets)

    def adopt(self, tx: Connection, market: str, size: Decimal, cost: Decimal, now_ms: int) -> None:
        """Take over a position that no fill explains, at the venue's cost; nobody manages it."""
        direction = Direction.LONG if size > 0 else Direction.SHORT
        trip = RoundTrip(market, UNMANAGED, direction, now_ms).entered(abs(size), cost / size, ZERO, abs(size))
        mark, mark_ms = self._seen.get(market) or (cost / size, now_ms)
        held = replace(self.net(market), size=size, cost=cost, mark=mark, mark_ms=mark_ms, updated_ms=now_ms)
        self._put(held)
        self._put(replace(held, controller_id=UNMANAGED, entries=1, trip=trip_out(trip), funding=ZERO))
        data = {"market": market, "size": plain(size), "price": plain(cost / size), "controller": UNMANAGED}
        events.append(tx, EventKind.POSITION_OPENED, now_ms, wallet=self.wallet, subject=market, data=data)

    def _put(self, row: PositionRow) -> None:
        key = (row.market, row.controller_id)
        self._rows[key] = row
        self._dirty.add(key)

    def _order(self, batch: Batch, change: OrderChange) -> None:
        report = change.report
        known = batch.order(report.cloid)
        if known is None or (known.state, known.filled, known.reason, known.oid) == (
            report.state.value,
            report.filled,
            report.reason,
            report.oid,
        ):
            return
        state = report.state.value
        batch.change(known, state=state, filled=report.filled, reason=report.reason, oid=report.oid, updated_ms=change.time_ms)
        data = {
            "market": known.market,
            "leg": known.leg,
            "state": state,
            "filled": plain(report.filled),
            "reason": report.reason,
        }
        batch.event(EventKind.ORDER_STATE, change.time_ms, report.cloid, data, known.deployment)
        if known.leg == "entry":
            self._levels_of(batch, known, report)
        is_short = known.leg == "close" and not report.state.is_live and report.filled < known.size
        self._may_be_bare |= is_short or (known.leg == "stop" and report.reason == REDUCE_ONLY_CANCELLED)

    def _levels_of(self, batch: Batch, entry: OrderRow, report: OrderReport) -> None:
        """Remember an entry whose levels the venue does not keep; what is held here for one that ended empty ends with it."""
        is_trigger = OrderType(entry.type).is_trigger
        if report.filled and (is_trigger or entry.filled or report.filled < entry.size):
            self._partial[entry.intent_id] = None
        elif is_trigger and not report.filled and not report.state.is_live:
            for level in filter(is_held, trading.orders_of_intent(batch.tx, entry.intent_id)):
                batch.change(level, state=report.state.value, filled=ZERO, reason=report.reason, oid=None, updated_ms=level.updated_ms)

    def _fill(self, batch: Batch, fill: Fill) -> None:
        tx, owner = batch.tx, batch.order(fill.cloid)
        reason = fill.reason or (_exit_reason(owner) if owner else ExitReason.LIQUIDATION)
        if not trading.add_fill(tx, self.wallet, replace(fill, reason=reason if _reduces(fill, self.net(fill.market)) else None), owner):
            return
        before = self.net(fill.market)
        booked = apply_fill(Position(fill.market, before.size, before.cost), fill.side, fill.size, fill.price)
        self._put(self._net_row(before, booked, fill))
        risk = replace(
            self.risk,
            cash=self.risk.cash + fill.realised_pnl - fill.fee,
            realised=self.risk.realised + fill.realised_pnl,
            fees=self.risk.fees + fill.fee,
        )
        if booked.closed:
            risk = risk.with_penalty(risk.penalty_state.book(fill.realised_pnl - fill.fee, fill.time_ms))
        self.set_risk(risk)
        data = {
            "market": fill.market,
            "side": fill.side.value,
            "size": plain(fill.size),
            "price": plain(fill.price),
            "fee": plain(fill.fee),
            "realised_pnl": plain(fill.realised_pnl),
            "exit_reason": reason.value if booked.closed else None,
        }
        batch.event(EventKind.FILL, fill.time_ms, str(fill.trade_id), data, owner.deployment if owner else None)
        self._position_event(batch, before, booked, fill, owner)
        own = owner.controller_id if owner else UNMANAGED
        self._may_be_bare = True
        fee_left, shares = fill.fee, list(split_fill(self._rows, fill, own))
        for index, (controller, size) in enumerate(shares):
            fee = fee_left if index == len(shares) - 1 else trunc_micro(fill.fee * size / fill.size)
            fee_left -= fee
            self._inventory(tx, controller, replace(fill, size=size, fee=fee), owner, reason)

    def _net_row(self, before: PositionRow, booked: Booked, fill: Fill) -> PositionRow:
        after = booked.position
        mark, mark_ms = self._seen.get(fill.market) or (fill.price, fill.time_ms)
        return replace(
            before,
            size=after.size,
            cost=after.cost,
            mark=mark,
            mark_ms=mark_ms,
            funding=ZERO if before.size == 0 or after.size == 0 else before.funding,
            flat_ms=fill.time_ms if after.size == 0 else before.flat_ms,
            updated_ms=fill.time_ms,
        )

    def _position_event(self, batch: Batch, before: PositionRow, booked: Booked, fill: Fill, owner: OrderRow | None) -> None:
        after = booked.position.size
        kind = EventKind.POSITION_CHANGED
        if before.size == 0:
            kind = EventKind.POSITION_OPENED
        elif after == 0:
            kind = EventKind.POSITION_CLOSED
        data = {"market": fill.market, "size": plain(after), "price": plain(fill.price)}
        batch.event(kind, fill.time_ms, fill.market, data, owner.deployment if owner else None)

    def _inventory(self, tx: Connection, controller: str, fill: Fill, owner: OrderRow | None, reason: ExitReason) -> None:
        """Book one controller's share of a fill: its inventory and its trade."""
        row = self._rows.get((fill.market, controller)) or PositionRow(self.wallet, fill.market, controller)
        booked = apply_fill(Position(fill.market, row.size, row.cost), fill.side, fill.size, fill.price)
        closing_fee = fill.fee if not booked.opened else trunc_micro(fill.fee * booked.closed / fill.size)
        trip = trip_in(row.trip) if row.trip else None
        if booked.closed and trip is not None:
            trip = trip.exited(booked.closed, fill.price, closing_fee, booked.realised_pnl)
            if abs(row.size) == booked.closed:
                self._close_trip(tx, replace(trip, closed_ms=fill.time_ms, exit_reason=reason.value), owner)
                trip = None
        entries = row.entries if row.size and booked.closed < abs(row.size) else 0
        if booked.opened:
            trip = trip or self._new_trip(tx, controller, fill, owner)
            trip = trip.entered(booked.opened, fill.price, fill.fee - closing_fee, abs(booked.position.size))
            entries += self._counts_as_entry(tx, owner)
        self._put(
            replace(
                row,
                size=booked.position.size,
                cost=booked.position.cost,
                entries=entries,
                trip=trip_out(trip) if trip else None,
                mark=fill.price,
                mark_ms=fill.time_ms,
                flat_ms=fill.time_ms if booked.position.size == 0 else row.flat_ms,
                updated_ms=fill.time_ms,
            )
        )

    def _counts_as_entry(self, tx: Connection, owner: OrderRow | None) -> int:
        """1 for the first fill of an entry order, 0 for its later partial fills."""
        return 1 if owner is None or trading.fill_count(tx, owner.cloid) < 2 else 0

    def _new_trip(self, tx: Connection, controller: str, fill: Fill, owner: OrderRow | None) -> RoundTrip:
        stop, why = None, ""
        if owner is not None:
            stop = next((o.trigger for o in trading.orders_of_intent(tx, owner.intent_id) if o.leg == "stop"), None)
            intent = trading.intent(tx, owner.intent_id)
            why = str(intent["proposal"].get("reason", "")) if intent else ""
        direction = Direction.LONG if fill.side is Side.BUY else Direction.SHORT
        return RoundTrip(fill.market, controller, direction, fill.time_ms, first_stop=stop, entry_reason=why)

    def _close_trip(self, tx: Connection, trip: RoundTrip, owner: OrderRow | None) -> None:
        self.set_risk(replace(self.risk, losing_streak=self.risk.losing_streak + 1 if trip.pnl < 0 else 0))
        is_owners = owner is not None and owner.controller_id == trip.controller_id
        deployment = owner.deployment if owner is not None and is_owners else self._deployment_of(trip)
        trading.add_round_trip(tx, {"wallet": self.wallet, "deployment": deployment, **closed_trip(trip)})

    def _deployment_of(self, trip: RoundTrip) -> str | None:
        """A controller that is an agent is named after its deployment, an executor after it and itself."""
        return None if trip.controller_id in (UNMANAGED, "manual") else _deployment_in(trip.controller_id)

    def _funding(self, batch: Batch, payment: FundingPayment) -> None:
        holders = [row for row in self.rows if row.market == payment.market and row.controller_id != NET and row.size]
        owners = {_deployment_in(row.controller_id) for row in holders}
        deployment = owners.pop() if len(owners) == 1 and not owners & {UNMANAGED, "manual"} else None
        if not trading.add_funding(batch.tx, self.wallet, payment, deployment):
            return
        net = self.net(payment.market)
        self._put(replace(net, funding=net.funding + payment.payment, updated_ms=payment.time_ms))
        for row, part in split_funding(holders, payment):
            trip = trip_in(row.trip) if row.trip else None
            if trip is not None:
                self._put(replace(row, trip=trip_out(replace(trip, funding=trip.funding + part))))
        self.set_risk(replace(self.risk, cash=self.risk.cash - payment.payment, funding=self.risk.funding + payment.payment))
        data = {"market": payment.market, "size": plain(payment.size), "rate": plain(payment.rate), "payment": plain(payment.payment)}
        batch.event(EventKind.FUNDING, payment.time_ms, payment.market, data, deployment)

    def _flow(self, batch: Batch, seq: int, flow: CashFlow) -> None:
        kind = "deposit" if flow.amount > 0 else "withdraw"
        now = flow.time_ms or self._clock.now_ms()
        if trading.add_flow(batch.tx, self.wallet, seq, kind, flow.amount, now):
            self.set_risk(self.risk.with_flow(flow.amount, self.equity(), now))
            batch.event(EventKind.FLOW, now, kind, {"amount": plain(flow.amount)})

    def _liquidated(self, batch: Batch, item: Liquidation) -> None:
        if item.kind == "backstop":
            self.set_risk(replace(self.risk, cash=self.risk.cash - item.amount, realised=self.risk.realised - item.amount))
        message = f"{item.market or 'all positions'} liquidated ({item.kind})"
        batch.event(EventKind.LIQUIDATION, item.time_ms, item.market or "", {"kind": item.kind, "amount": plain(item.amount)})
        batch.write()  # the feed tells what happened before what it means
        incident = notes.Incident(IncidentCode.LIQUIDATION, Level.CRITICAL, message, wallet=self.wallet)
        notes.open_incident(batch.tx, self._clock.new_id(), incident, item.time_ms)


def _deployment_in(controller_id: str) -> str:
    return controller_id.partition("/")[0]


def _joined(one: RoundTrip, other: RoundTrip) -> RoundTrip:
    """Two open trades of one market and side as one: the first one's beginning and excursions, the amounts of both."""
    sums = ("entry_size", "entry_value", "exit_size", "exit_value", "largest_size", "realised_pnl", "fees", "funding")
    return replace(one, **{name: getattr(one, name) + getattr(other, name) for name in sums})


def _reduces(fill: Fill, net: PositionRow) -> bool:
    return net.size * fill.side.sign < 0


def _exit_reason(order: OrderRow) -> ExitReason:
    kind = OrderType(order.type)
    return ExitReason.STOP if kind.is_stop else ExitReason.TARGET if kind.is_target else ExitReason.SIGNAL
