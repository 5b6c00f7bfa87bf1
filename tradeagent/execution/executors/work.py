"""One executor at work: what its state machine sees, and the few things it may do. Every step is written down before it is done.

A child order has an identity that follows from the executor and its own number (`ID.7`), so that after a crash the same child is found,
or sent for the first time, and never twice. What became of it is read from the ledger, not remembered.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from decimal import Decimal
from functools import cached_property
from typing import Any

from sqlalchemy import Connection

from tradeagent.domain.instrument import Instrument
from tradeagent.domain.money import ZERO
from tradeagent.domain.names import (
    Actor,
    CloseType,
    ExecutorStatus,
    ExitReason,
    IntentKind,
    OrderState,
    OrderType,
    Side,
    Tif,
    VerdictKind,
)
from tradeagent.domain.order import Proposal, Verdict
from tradeagent.execution.engine import ExecutionEngine
from tradeagent.execution.executors.children import Child, Path
from tradeagent.execution.executors.records import announce, reservation_of, terms_for
from tradeagent.execution.protection import cancel_order, move_protection
from tradeagent.execution.setup import Terms
from tradeagent.ledger import executors, trading
from tradeagent.ledger.executors import ExecutorRow
from tradeagent.ledger.trading import OrderRow, PositionRow

ENTRY_PAUSE_MS = 300_000


class Work:
    """An executor during one step. `path` is (open time, low, high) of the bar that just closed, when there is one."""

    def __init__(self, engine: ExecutionEngine, row: ExecutorRow, unsent: Callable[["Work"], Decimal], path: Path | None = None) -> None:
        self.engine = engine
        self.row = row
        self.terms: Terms = terms_for(engine, row)
        self.path = path
        self.changed = False
        self._unsent = unsent
        self.children: list[Child] = []

    # --- what it sees -----------------------------------------------------------------------------------------------------

    @property
    def layout(self) -> dict[str, Any]:
        return self.row.layout

    @property
    def state(self) -> dict[str, Any]:
        return self.row.state

    @property
    def now_ms(self) -> int:
        return self.engine.clock.now_ms()

    @property
    def elapsed_ms(self) -> int:
        return self.now_ms - self.row.created_ms

    @cached_property
    def side(self) -> Side:
        return Side(self.row.side)

    @property
    def sign(self) -> int:
        return self.side.sign

    @property
    def instrument(self) -> Instrument:
        return self.engine.markets[self.row.market].instrument

    @property
    def mark(self) -> Decimal:
        return self.engine.markets[self.row.market].mark or Decimal(self.layout["entry"])

    @property
    def position(self) -> PositionRow:
        key = (self.row.market, self.row.controller_id)
        found = next((row for row in self.engine.book.rows if (row.market, row.controller_id) == key), None)
        return found or PositionRow(self.row.wallet, *key)

    @property
    def held(self) -> Decimal:
        """Base units held on the executor's own side, never negative; of an executor that closes, what it may still close."""
        return max(ZERO, self.position.size * (-self.sign if self.layout["reduce_only"] else self.sign))

    @property
    def is_stopping(self) -> bool:
        return "stopping" in self.state

    @property
    def is_waiting(self) -> bool:
        """Whether entries pause after a refusal, so that a closed door is not knocked at every bar."""
        return self.now_ms < int(self.state.get("blocked_until", 0))

    def level(self, name: str) -> Decimal | None:
        """A price or size of the layout."""
        value = self.layout.get(name)
        return None if value is None else Decimal(value)

    def amount(self, name: str) -> Decimal:
        """A running amount of the state, zero before it was written."""
        return Decimal(self.state.get(name, "0"))

    def child(self, tag: str) -> Child | None:
        return next((child for child in self.children if child.tag == tag), None)

    def refresh(self) -> None:
        """Read what became of the children, after handing over those that a crash kept from the door."""
        self._read()
        late = [child for child in self.children if child.intent is None]
        for child in late:
            self._send(child.plan)
        if late:
            self._read()

    def _read(self) -> None:
        with self.engine.ledger.reading() as tx:
            self.children = [self._child(tx, plan) for plan in self.state.get("children", [])]

    def _child(self, tx: Connection, plan: dict[str, Any]) -> Child:
        intent_id = f"{self.row.id}.{plan['seq']}"
        intent = trading.intent(tx, intent_id)
        return Child(plan, intent, tuple(trading.orders_of_intent(tx, intent_id)) if intent else ())

    def levels(self, leg: str) -> list[OrderRow]:
        """The executor's own live stops or targets, without those that still wait for their entry."""
        with self.engine.ledger.reading() as tx:
            live = trading.live_orders(tx, self.row.wallet)
        names = {order.cloid for order in live}
        own = (order for order in live if (order.market, order.controller_id) == (self.row.market, self.row.controller_id))
        return [order for order in own if order.leg == leg and order.parent_cloid not in names]

    def value_filled(self, child: Child) -> Decimal:
        """Σ size × price of a child's fills, quote units."""
        if child.order is None or not child.filled:
            return ZERO
        with self.engine.ledger.reading() as tx:
            fills = trading.fills_of_orders(tx, [child.order.cloid])
        return sum((fill["size"] * fill["price"] for fill in fills), ZERO)

    # --- what it does -----------------------------------------------------------------------------------------------------

    def save(self, *forgotten: Child, **changes: Any) -> None:
        """Write the state down with what it still reserves; children that are done with are forgotten in the same transaction."""
        gone = {child.plan["seq"] for child in forgotten}
        kept = [plan for plan in self.state.get("children", []) if plan["seq"] not in gone]
        self.row = replace(self.row, state={**self.state, "children": kept, **changes}, updated_ms=self.now_ms)
        self.children = [child for child in self.children if child.plan["seq"] not in gone]
        self.changed = True
        with self.engine.transaction() as tx:
            self._write(tx)

    def _plan(self, seq: int, plan: dict[str, Any], noting: Mapping[str, Any]) -> None:
        children = [*self.state.get("children", []), plan]
        self.row = replace(self.row, state={**self.state, **noting, "seq": seq, "children": children}, updated_ms=self.now_ms)
        self.changed = True
        with self.engine.transaction() as tx:
            self._write(tx)

    def _write(self, tx: Connection) -> None:
        executors.save(tx, self.row.id, state=self.state, updated_ms=self.row.updated_ms)
        if not self.layout["reduce_only"]:
            left = ZERO if self.is_stopping else max(ZERO, self._unsent(self))
            whole = Decimal(self.layout["size"])
            executors.keep_reserved(tx, reservation_of(self.row), left, Decimal(self.layout["risk"]) * left / whole)

    def place(self, tag: str, size: Decimal, noting: Mapping[str, Any] | None = None, **order: Any) -> None:
        """Plan a child, write it down (and what else it means for the state, `noting`, with it), then hand it to the door.

        `order`: type, price, tif, stop, target, kind, exit_reason.
        """
        seq = int(self.state.get("seq", 0)) + 1
        texts = {name: f"{value:f}" if isinstance(value, Decimal) else str(value) for name, value in order.items() if value is not None}
        plan = {"seq": seq, "tag": tag, "size": f"{size:f}", **texts}
        self._plan(seq, plan, noting or {})
        verdict = self._send(plan)
        self._read()
        if verdict.kind is not VerdictKind.REJECTED and self.row.status == ExecutorStatus.CREATED:
            self.row = replace(self.row, status=ExecutorStatus.ACTIVE.value)
            with self.engine.transaction() as tx:
                executors.save(tx, self.row.id, status=self.row.status)
                announce(tx, self.row, self.now_ms)

    def _send(self, plan: dict[str, Any]) -> Verdict:
        with self.acting():
            return self.engine.submit_now(self._proposal(plan), Actor.EXECUTOR, intent_id=f"{self.row.id}.{plan['seq']}")

    def _proposal(self, plan: dict[str, Any]) -> Proposal:
        kind = IntentKind(plan.get("kind", IntentKind.REDUCE if self.layout["reduce_only"] else IntentKind.OPEN))
        reduces = kind in (IntentKind.REDUCE, IntentKind.CLOSE)
        leaves = kind is IntentKind.CLOSE
        return Proposal(
            market=self.row.market,
            side=self.side.opposite if leaves else self.side,
            controller_id=self.row.controller_id,
            kind=kind,
            type=OrderType(plan.get("type", OrderType.MARKET)),
            size=None if leaves else Decimal(plan["size"]),
            price=Decimal(plan["price"]) if "price" in plan else None,
            tif=Tif(plan.get("tif", Tif.GTC)),
            stop=Decimal(plan["stop"]) if "stop" in plan else None,
            target=Decimal(plan["target"]) if "target" in plan else None,
            reduce_only=reduces,
            leverage=None if reduces else self.layout.get("leverage"),
            reason=f"{self.row.type} executor {self.row.id}, {plan['tag']}",
            exit_reason=ExitReason(plan.get("exit_reason", ExitReason.SIGNAL)),
        )

    def cancel(self, child: Child) -> None:
        """Take a child's order back; one that is gone already is what was wanted."""
        if child.order is not None:
            self.cancel_order(child.order.cloid)
            self._read()

    def cancel_order(self, cloid: str) -> None:
        self.changed = True
        with self.acting():
            cancel_order(self.engine, cloid, Actor.EXECUTOR)

    def protect(self, stop: Decimal | None, target: Decimal | None) -> Verdict:
        """Put stop and target where they belong for all that is held; the new ones rest before the old ones go."""
        self.changed = True
        others = self._foreign_stops()
        proposal = Proposal(self.row.market, self.side.opposite, self.row.controller_id, kind=IntentKind.UPDATE, stop=stop, target=target)
        with self.acting(freely=True):
            verdict = move_protection(self.engine, proposal, Actor.EXECUTOR)
        for order in others:
            self._restore(order)
        return verdict

    def _foreign_stops(self) -> list[OrderRow]:
        with self.engine.ledger.reading() as tx:
            live = trading.live_orders(tx, self.row.wallet)
        names = {order.cloid for order in live}
        stops = (o for o in live if o.leg == "stop" and o.market == self.row.market and o.parent_cloid not in names)
        return [order for order in stops if order.controller_id != self.row.controller_id]

    def _restore(self, before: OrderRow) -> None:
        """The venue trims the oldest reduce-only orders of a market whoever owns them: put back what it took from somebody else."""
        with self.engine.ledger.reading() as tx:
            now = trading.order(tx, before.cloid)
        if now is None or OrderState(now.state).is_live or now.filled:
            return
        scope = replace(self.terms.scope, controller_id=before.controller_id, deployment=before.deployment)
        proposal = Proposal(before.market, Side(before.side), before.controller_id, kind=IntentKind.UPDATE, stop=before.trigger)
        with self.acting(freely=True, terms=replace(self.terms, scope=scope)):
            move_protection(self.engine, proposal, Actor.EXECUTOR)

    def end(self, close_type: CloseType, detail: str = "", *, keep: bool = False, exit_reason: ExitReason = ExitReason.SIGNAL) -> None:
        """Begin to end: what is left is unwound, or kept by whoever made the executor. Written first, then done by `winding`."""
        if not self.is_stopping:
            order = {"type": close_type.value, "keep": keep, "detail": detail, "exit_reason": exit_reason.value}
            self.save(stopping=order)

    @contextmanager
    def acting(self, *, freely: bool = False, terms: Terms | None = None) -> Iterator[None]:
        """Stand at the door as this executor; `freely` may also loosen a stop, which follows the average entry of a dca."""
        terms = terms or self.terms
        if freely:
            limits = replace(terms.limits, values={**terms.limits.values, "require_stops": False})
            terms = replace(terms, limits=limits)
        self.engine.terms[Actor.EXECUTOR] = terms
        try:
            yield
        finally:
            self.engine.terms[Actor.EXECUTOR] = self.terms
