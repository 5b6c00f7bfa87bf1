"""The one door to the market. Every order of everybody goes through `submit`: checked, recorded, sent, and its outcome recorded.

The protocol (execution.md §4): one transaction writes the intent and what it reserves; then the broker is called; then one transaction
writes the outcome. What is interrupted in between is resolved by asking the venue, never by sending again.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from decimal import Decimal
from itertools import takewhile
from typing import TypeVar

from sqlalchemy import Connection

from tradeagent.brokers.protocol import Activity, Broker
from tradeagent.domain.clock import Clock, day_start_ms
from tradeagent.domain.errors import RefusedError, VenueError
from tradeagent.domain.money import ZERO
from tradeagent.domain.names import (
    Actor,
    DeploymentState,
    ExitReason,
    HaltReason,
    IncidentCode,
    IntentKind,
    IntentState,
    Level,
    OrderState,
    OrderType,
    ReconcilePhase,
    Rule,
    VerdictKind,
)
from tradeagent.domain.order import Proposal, Rejection, RuleCheck, Verdict
from tradeagent.execution.book import AccountBook
from tradeagent.execution.caps import largest_size
from tradeagent.execution.intents import Intents
from tradeagent.execution.orders import fill_dict, is_held, order_dict, order_request, order_rows
from tradeagent.execution.planning import Plan, Unshapely, plan
from tradeagent.execution.rules import judge, unasked
from tradeagent.execution.setup import Setup
from tradeagent.execution.sleep import SleepWatch
from tradeagent.execution.state import RiskState, Spend
from tradeagent.ledger import notes, trading
from tradeagent.ledger.standing import standing
from tradeagent.ledger.store import Ledger
from tradeagent.ledger.trading import OrderRow
from tradeagent.workspace.latch import Latched

T = TypeVar("T")


class ExecutionEngine:
    """The door of one wallet. Its methods that touch the ledger are plain; `submit` runs them off the event loop, one at a time.

    `dry_run`: every rule runs, nothing is recorded or sent, and the answer is DRY_RUN. `after_fills` places the levels that the venue does
    not keep for an entry; `is_unresolved` asks for a comparison with the venue soon, `is_bare` for another look at the next bar, because a
    part of a position could neither get the stop it must have nor be closed. `sleep` is set by who runs by the wall clock.
    """

    def __init__(self, ledger: Ledger, broker: Broker, clock: Clock, setup: Setup) -> None:
        self.ledger = ledger
        self.broker = broker
        self.clock = clock
        self.wall = setup.wall or clock
        self.wallet = setup.wallet
        self.token = setup.token
        self.terms = setup.terms
        self.costs = setup.costs
        self.markets = setup.markets
        self.gate = setup.gate
        self.dry_run = setup.dry_run
        self.entry_times = setup.entry_times  # the door's owner keeps it current
        self.may_have_executors = True  # until somebody has looked; only who owns the wallet makes new ones
        self.intents = Intents(self.wallet.name, self.token, clock, self.wall, lambda actor: self.terms[actor].scope)
        self.phase = ReconcilePhase.CHECKING
        self._in_thread = setup.in_thread
        self._admission = asyncio.Lock()
        self.before_send: Callable[[], None] = _nothing
        self.after_fills: Callable[[], None] = _nothing
        self.is_unresolved = False
        self.is_bare = False
        self.sleep: SleepWatch | None = None
        with ledger.reading() as tx:
            self.book = AccountBook.load(tx, self.wallet.name, clock)

    async def submit(self, proposal: Proposal, actor: Actor) -> Verdict:
        """Judge a proposal and, when it passes, record and send it. Sizes base units, money quote units.

        Never raises for a refusal: the verdict says rule, value, limit and the largest size that would pass.
        """
        approve = self.terms[actor].approve
        approved = False
        if approve is not None and not self.dry_run:
            entry = await self.alone(lambda: self._entry_in(proposal, actor))
            why_not = await approve(entry.as_dict()) if entry is not None else ""
            if why_not:
                return await self.alone(lambda: self._decline(proposal, actor, why_not))
            approved = entry is not None
        return await self.alone(lambda: self.submit_now(proposal, actor, approved=approved))

    def _entry_in(self, proposal: Proposal, actor: Actor) -> Plan | None:
        """What a proposal would open, when that would pass every rule now; a person is asked about nothing else."""
        closing, rest = self._legs(proposal, actor)
        with self.ledger.reading() as tx:
            made = self._judged(tx, rest, actor, flipping=closing is not None, approved=True)[1]
        return made if made is not None and made.is_entry else None

    def _decline(self, proposal: Proposal, actor: Actor, why_not: str) -> Verdict:
        verdict = Verdict(
            VerdictKind.REJECTED, self.clock.new_id(), Rejection(Rule.APPROVAL, why_not), checks=(RuleCheck(Rule.APPROVAL, ok=False),)
        )
        with self.ledger.transaction() as tx:
            self.intents.refuse(tx, verdict.intent_id or "", proposal, actor, verdict)
        return verdict

    async def alone(self, work: Callable[[], T]) -> T:
        """Run blocking work on this wallet, one at a time, in a worker thread (or here, in a replay)."""
        async with self._admission:
            if not self._in_thread:
                return work()
            task = asyncio.ensure_future(asyncio.to_thread(work))
            try:
                return await asyncio.shield(task)
            except asyncio.CancelledError:
                await asyncio.wait([task])
                raise

    def submit_now(self, proposal: Proposal, actor: Actor, *, intent_id: str | None = None, approved: bool = False) -> Verdict:
        """`submit` for a caller without an event loop; the caller owns the lease and is alone.

        `intent_id` is stated by an executor, whose child orders keep their identity over a crash; they never flip. `approved`: a person has
        said yes to the entry.
        """
        closing, rest = self._legs(proposal, actor)
        if closing is None:
            return self._admit(rest, actor, intent_id=intent_id, approved=approved)
        closed = self._admit(closing, actor)
        if closed.kind is not VerdictKind.EXECUTED:
            return closed
        if rest.type is not OrderType.MARKET and self._held(rest, actor):
            return replace(closed, message="the close rests: what lies beyond it is not sent until it has filled")
        return self._admit(rest, actor, flipping=True, approved=approved).after_close(closed)

    def _legs(self, proposal: Proposal, actor: Actor) -> tuple[Proposal | None, Proposal]:
        """The close and the opening of a proposal beyond what is held on the other side; any other proposal is one leg."""
        held = self._held(proposal, actor)
        if proposal.reduce_only or proposal.kind is not IntentKind.OPEN or held * proposal.side.sign >= 0:
            return None, proposal
        proposal = self._in_base(proposal, actor)
        if proposal.size is None or proposal.size <= abs(held):
            return None, proposal
        closing = replace(proposal, kind=IntentKind.CLOSE, size=None, reduce_only=True, stop=None, target=None, exit_reason=ExitReason.FLIP)
        return closing, replace(proposal, size=proposal.size - abs(held))

    def admit_behind_close(self, proposal: Proposal, actor: Actor) -> Verdict:
        """Judge an entry as if what the caller holds were closed already: the opening leg of a flip whose close waits for its open."""
        return self._admit(proposal, actor, flipping=True)

    def _in_base(self, proposal: Proposal, actor: Actor) -> Proposal:
        """An opposite proposal with its size in base units, so that it can be told whether it reduces or flips."""
        if proposal.size is not None:
            return proposal
        with self.ledger.reading() as tx:
            state = self.state(tx, actor)
        try:
            made = plan(proposal, state, lambda draft: largest_size(draft, state))
        except Unshapely:
            return proposal
        return replace(proposal, size=made.size, quote=None, risk_quote=None, pct_of_equity=None, risk_per_trade_pct=None)

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """A ledger transaction; when it fails, the book in memory goes back to what the ledger still says."""
        with self.book.kept_on_error(), self.ledger.transaction() as tx:
            yield tx

    def _held(self, proposal: Proposal, actor: Actor) -> Decimal:
        if actor in (Actor.MANUAL, Actor.SYSTEM):
            return self.book.net(proposal.market).size
        return next((r.size for r in self.book.rows if (r.market, r.controller_id) == (proposal.market, proposal.controller_id)), ZERO)

    def state(self, tx: Connection, actor: Actor) -> RiskState:
        """One consistent view of the wallet for a proposal of `actor`."""
        self.look_for_sleep()
        terms, latched, risk = self.terms[actor], self.gate.latched(), self.book.risk
        if latched is Rule.HALTED:
            risk = replace(risk, halt=HaltReason.KILL.value)
        found = standing(tx, self.wallet.name, terms.scope.deployment, terms.slug, day_start_ms(self.wall.now_ms()))
        return RiskState(
            now_ms=self.clock.now_ms(),
            wallet=self.wallet,
            risk=risk,
            limits=terms.limits,
            scope=terms.scope,
            markets=self.markets,
            positions=self.book.rows,
            orders=tuple(trading.live_orders(tx, self.wallet.name)) if found.has_orders else (),
            reservations=tuple(trading.active_reservations(tx, self.wallet.name)) if found.has_reservations else (),
            fees=self.costs.fees,
            slippage_bps=self.costs.slippage_bps,
            token_is_current=self.dry_run or found.token == self.token,
            deployment_state=DeploymentState(found.deployment_state) if found.deployment_state and not self.dry_run else None,
            kill_switch=found.kill_switch or latched is Rule.KILL_SWITCH,
            phase=self.phase,
            unknown_markets=trading.unknown_markets(tx, self.wallet.name) if found.has_unknown else frozenset(),
            spend=Spend(found.spent if terms.budget_cap is not None else ZERO, terms.budget_cap),
            live_executors=found.live_executors,
            entry_times=self.entry_times,
            waking=self.waking(),
        )

    def look_for_sleep(self) -> bool:
        """Whether the machine has slept since the look before; then nothing is entered until ledger and venue have been compared."""
        if self.sleep is None or not self.sleep.look():
            return False
        self.phase, self.is_unresolved = ReconcilePhase.CHECKING, True
        return True

    def waking(self) -> int | None:
        """Which waking of the machine this is, for a turn that begins to state in its proposals; None in a replay, which never sleeps."""
        return self.sleep.wakings if self.sleep else None

    def _admit(
        self, proposal: Proposal, actor: Actor, *, flipping: bool = False, intent_id: str | None = None, approved: bool = False
    ) -> Verdict:
        if self.dry_run:
            with self.ledger.reading() as tx:
                verdict, _ = self._judged(tx, proposal, actor, flipping, approved)
            return verdict
        with self.transaction() as tx:
            verdict, made = self._judged(tx, proposal, actor, flipping, approved)
            intent_id = intent_id or self.clock.new_id()
            if made is None:
                self.intents.refuse(tx, intent_id, proposal, actor, verdict)
                return replace(verdict, intent_id=intent_id)
            orders = order_rows(intent_id, made, self.wallet.name, self.terms[actor].scope, self.clock.now_ms())
            self.intents.begin(tx, intent_id, made, actor, verdict.checks, orders)
            self.book.flush(tx)
        return self._send(intent_id, made, actor, orders, verdict.checks)

    def _judged(self, tx: Connection, proposal: Proposal, actor: Actor, flipping: bool, approved: bool) -> tuple[Verdict, Plan | None]:
        """The verdict so far, and the plan when every rule passed and it may be sent."""
        state = self.state(tx, actor)
        if flipping:
            state = state.once_closed(proposal.market)
        try:
            made = plan(proposal, state, lambda draft: largest_size(draft, state))
        except Unshapely as error:
            shape = RuleCheck(Rule.SHAPE, ok=False, value=error.rejection.value)
            return Verdict(VerdictKind.REJECTED, rejection=error.rejection, checks=(shape,)), None
        rejection, checks = self._judge(made, state)
        if rejection is not None:
            return Verdict(VerdictKind.REJECTED, rejection=rejection, checks=checks, order=made.as_dict()), None
        if self.dry_run:
            refusal = Rejection(Rule.DRY_RUN, "dry run: this would have been sent")
            return Verdict(VerdictKind.REJECTED, rejection=refusal, checks=checks, order=made.as_dict()), None
        if made.is_entry and not approved and self.terms[actor].approve is not None:
            return unasked(made, checks), None
        return Verdict(VerdictKind.EXECUTED, checks=checks), made

    def _judge(self, made: Plan, state: RiskState) -> tuple[Rejection | None, tuple[RuleCheck, ...]]:
        """Every rule over a plan; the door of a backtest knows fewer."""
        return judge(made, state)

    def _send(self, intent_id: str, made: Plan, actor: Actor, orders: Sequence[OrderRow], checks: tuple[RuleCheck, ...]) -> Verdict:
        at_mark = actor in (Actor.MANUAL, Actor.SYSTEM) and not made.is_entry
        requests = [order_request(order, made.proposal, at_mark=at_mark) for order in orders if not is_held(order)]
        try:
            with self.gate.sending(reduces=not made.is_entry):
                if made.is_entry and self.book.leverage(made.proposal.market) != made.leverage:
                    self.broker.set_leverage(made.proposal.market, made.leverage)
                    self.book.set_leverage(made.proposal.market, made.leverage)
                if made.proposal.type in (OrderType.MARKET, OrderType.LIMIT):
                    self.before_send()
                reports = self.broker.place(requests)
        except Latched as error:
            return self._unsent(intent_id, made, actor, checks, error)
        except RefusedError as error:
            return self._settle(intent_id, made, actor, orders, checks, refused=error.message)
        except VenueError as error:
            return self._unknown(intent_id, made, actor, checks, error)
        refused = next((report.reason for report in reports[:1] if report.state is OrderState.REJECTED), "")
        try:
            return self._settle(intent_id, made, actor, orders, checks, refused)
        except VenueError as error:  # it was sent, and what came of it cannot be read
            return self._unknown(intent_id, made, actor, checks, error)

    def _settle(
        self,
        intent_id: str,
        made: Plan,
        actor: Actor,
        orders: Sequence[OrderRow],
        checks: tuple[RuleCheck, ...],
        refused: str = "",
    ) -> Verdict:
        """Record what the venue said: one transaction with the orders, the fills, the intent's end and its event."""
        state = IntentState.VENUE_REJECTED if refused else IntentState.EXECUTED
        with self.transaction() as tx:
            orders = self.sync(tx, known=orders)
            if refused:
                live = [order.cloid for order in orders if OrderState(order.state).is_live]
                trading.update_orders(tx, [{"the_cloid": c, "state": OrderState.REJECTED.value, "reason": refused} for c in live])
                orders = trading.orders_of_intent(tx, intent_id)
            elif made.is_entry and actor is not Actor.EXECUTOR:  # an executor counts once, when it is created
                self.count_entry(actor)
            self.intents.move(tx, intent_id, made, actor, state, refused)
            self.book.flush(tx)
            fills = trading.fills_of_orders(tx, filled) if (filled := [order.cloid for order in orders if order.filled]) else []
        self.after_fills()
        kind = VerdictKind.REJECTED if refused else VerdictKind.EXECUTED
        entry = next((order_dict(order) for order in orders if order.leg in ("entry", "close")), None)
        return Verdict(
            kind, intent_id, None, f"venue: {refused}" if refused else "", checks, entry, tuple(fill_dict(fill) for fill in fills)
        )

    def count_entry(self, actor: Actor) -> None:
        """One more entry accepted today on the terms of `actor`."""
        kind = self.terms[actor].limits.kind.value
        risk = self.book.risk.rolled(self.clock.now_ms(), self.book.risk.last_equity)
        self.book.set_risk(replace(risk, entries_today={**risk.entries_today, kind: risk.entries_today.get(kind, 0) + 1}))

    def _unknown(self, intent_id: str, made: Plan, actor: Actor, checks: tuple[RuleCheck, ...], error: VenueError) -> Verdict:
        """The venue's answer was lost: keep the reservation, block the market, say so. Reconciliation resolves it."""
        self.is_unresolved = True
        with self.transaction() as tx:
            self.intents.move(tx, intent_id, made, actor, IntentState.UNKNOWN, error.message)
            message = f"{made.proposal.market} order: {error.message}"
            incident = notes.Incident(
                IncidentCode.UNKNOWN_INTENT,
                Level.ERROR,
                message,
                self.wallet.name,
                self.terms[actor].scope.deployment,
                {"intent": intent_id},
            )
            notes.open_incident(tx, self.clock.new_id(), incident, self.clock.now_ms())
            self.book.flush(tx)
        return Verdict(VerdictKind.UNKNOWN, intent_id, message=error.message, checks=checks)

    def _unsent(self, intent_id: str, made: Plan, actor: Actor, checks: tuple[RuleCheck, ...], error: Latched) -> Verdict:
        """A kill came between the checks and the sending: the intent ends without an order."""
        with self.transaction() as tx:
            never = {"state": OrderState.CANCELLED.value, "reason": error.message}
            trading.update_orders(tx, [{"the_cloid": order.cloid, **never} for order in trading.orders_of_intent(tx, intent_id)])
            self.intents.move(tx, intent_id, made, actor, IntentState.CANCELLED, error.message)
            self.book.flush(tx)
        return Verdict(VerdictKind.REJECTED, intent_id, Rejection(Rule(error.code), error.message), checks=checks)

    def sync(self, tx: Connection, activity: Sequence[Activity] | None = None, known: Sequence[OrderRow] = ()) -> Sequence[OrderRow]:
        """Book what the venue did since the cursor, inside `tx`: all of it, or the part the caller has read.

        Orders that the caller knows as they are in the ledger are not read again, and are returned as they are now.
        """
        return self.book.apply(tx, self.news() if activity is None else activity, known)

    def news(self, until_ms: int | None = None) -> Sequence[Activity]:
        """What the venue did since the cursor, up to an instant."""
        activity = self.broker.activity_since(self.book.risk.activity_cursor)
        return activity if until_ms is None else list(takewhile(lambda item: item.time_ms <= until_ms, activity))


def _nothing() -> None:
    return None
