"""Moving stops and targets, and cancelling orders. A new stop rests before the old one goes, so a position is never bare."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from decimal import Decimal
from functools import partial

from sqlalchemy import Connection

from tradeagent.domain.errors import RefusedError, VenueError
from tradeagent.domain.instrument import Instrument
from tradeagent.domain.money import ZERO, plain, protective_price
from tradeagent.domain.names import (
    Actor,
    Direction,
    EventKind,
    IntentKind,
    IntentState,
    OrderState,
    OrderType,
    Rule,
    Side,
    Tif,
    VerdictKind,
)
from tradeagent.domain.order import OrderReport, Proposal, Rejection, RuleCheck, Verdict
from tradeagent.execution.caps import shown
from tradeagent.execution.engine import ExecutionEngine
from tradeagent.execution.loosening import bare_without, judge_change, levels_in_place, only_tightens
from tradeagent.execution.orders import cloid_of, is_held, order_dict, order_request
from tradeagent.execution.planning import Unshapely, check_numbers
from tradeagent.execution.repairs import must_have_stop
from tradeagent.execution.state import MANUAL_CONTROLLER, RiskState
from tradeagent.ledger import events, trading
from tradeagent.ledger.trading import OrderRow


def move_protection(engine: ExecutionEngine, proposal: Proposal, actor: Actor) -> Verdict:
    """Place a new stop and/or target for all the caller holds in a market, then cancel what they replace.

    With `require_stops` a stop only ever tightens; a looser one passes the caps on risk. The verdict's order is the new stop, or the
    target when no stop was stated.
    """
    with engine.transaction() as tx:
        state = engine.state(tx, actor)
        intent_id = engine.clock.new_id()
        rejection, checks = _judged(_refusals(state, proposal))
        placed, replaced = ([], []) if rejection else _change(engine, state, proposal, intent_id)
        if rejection is None:
            kept = [order for order in state.orders if order not in replaced]
            rejection, more = judge_change(state, proposal.market, [*kept, *placed])
            checks += more
        if engine.dry_run and rejection is None:
            rejection = Rejection(Rule.DRY_RUN, "dry run: this would have been sent")
        if rejection is not None:
            return _refused(engine, tx, proposal, actor, rejection, checks)
        _record(engine, tx, intent_id, proposal, actor, checks, placed)
        engine.book.flush(tx)
    return _send(engine, intent_id, proposal, actor, placed, replaced, tuple(checks))


def cancel_order(engine: ExecutionEngine, reference: str, actor: Actor) -> Verdict:
    """Cancel one order by its id or cloid: not a stop that the limits require, nor one without which the risk is above a cap."""
    with engine.transaction() as tx:
        state = engine.state(tx, actor)
        order = next((o for o in state.orders if reference in (o.cloid, str(o.oid))), None)
        proposal = Proposal(order.market if order else "", Side.BUY, state.scope.controller_id, kind=IntentKind.CANCEL, order_id=reference)
        rejection, checks = _judged(_cancel_refusals(engine, tx, state, order, reference))
        if rejection is None and order is not None and order.reduce_only:
            rejection, more = judge_change(state, order.market, [other for other in state.orders if other is not order])
            checks += more
        if engine.dry_run and rejection is None:
            rejection = Rejection(Rule.DRY_RUN, "dry run: this would have been cancelled")
        if rejection is not None or order is None:
            return _refused(engine, tx, proposal, actor, rejection or _unknown(reference), checks)
        intent_id = engine.clock.new_id()
        _record(engine, tx, intent_id, proposal, actor, checks)
    message = "" if is_held(order) else _cancel(engine, order.cloid)
    with engine.transaction() as tx:
        engine.sync(tx)
        if is_held(order):
            trading.update_order(tx, order.cloid, state=OrderState.CANCELLED.value, reason="canceled")
        _end(engine, tx, intent_id, proposal, actor, IntentState.VENUE_REJECTED if message else IntentState.EXECUTED, message)
        engine.book.flush(tx)
        after = trading.order(tx, order.cloid)
    engine.after_fills()
    kind = VerdictKind.REJECTED if message else VerdictKind.EXECUTED
    return Verdict(kind, intent_id, None, f"venue: {message}" if message else "", tuple(checks), order_dict(after) if after else None)


def take_back_entries(engine: ExecutionEngine, market: str, actor: Actor) -> list[Verdict]:
    """Cancel the caller's entries in a market that still wait for an open to fill at, as going flat means; a verdict each.

    A market without trades keeps them waiting (execution.md §7). What rests at a price of its own stays.
    """
    own = engine.terms[actor].scope.controller_id
    with engine.ledger.reading() as tx:
        live = trading.live_orders(tx, engine.wallet.name)
    waiting = [o for o in live if (o.market, o.controller_id, o.leg, o.state) == (market, own, "entry", OrderState.PENDING.value)]
    return [cancel_order(engine, order.cloid, actor) for order in waiting if order.oid is not None]


def cancel_everything(engine: ExecutionEngine, *, but_protection: bool = False) -> int:
    """Cancel every live order of the wallet, entries before protection; how many were asked for.

    With `but_protection` the stops and targets of what is still held stay.
    """
    held = engine.book.held_markets if but_protection else ()
    with engine.ledger.reading() as tx:
        live = sorted(trading.live_orders(tx, engine.wallet.name), key=lambda order: order.reduce_only)
    return _cancel_all(engine, [order for order in live if not (order.reduce_only and order.market in held)])


def cancel_entries(engine: ExecutionEngine, deployment: str) -> int:
    """Cancel the entries of a deployment that may still fill, and leave its protection and what a person placed; how many."""
    with engine.ledger.reading() as tx:
        live = trading.live_orders(tx, engine.wallet.name)
    own = [o for o in live if o.deployment == deployment and not o.reduce_only and o.controller_id != MANUAL_CONTROLLER]
    cancelled = _cancel_all(engine, own)
    engine.after_fills()
    return cancelled


def _cancel_all(engine: ExecutionEngine, live: list[OrderRow]) -> int:
    for order in live:
        try:
            _cancel(engine, order.cloid)
        except VenueError:  # its answer is lost; the others, and the closes after them, do not wait for it
            engine.is_unresolved = True
    if live:
        with engine.transaction() as tx:
            engine.sync(tx)
            engine.book.flush(tx)
    return len(live)


def _cancel(engine: ExecutionEngine, cloid: str) -> str:
    """The venue's words when it would not cancel; an order that is gone already is what was wanted."""
    try:
        with engine.gate.touching():
            engine.broker.cancel(cloid)
    except RefusedError as error:
        return error.message
    return ""


def _own_levels(state: RiskState, market: str) -> list[OrderRow]:
    own = state.scope.controller_id
    everyones = state.scope.actor in (Actor.MANUAL, Actor.SYSTEM)
    return [
        order
        for order in state.orders
        if order.market == market and order.leg in ("stop", "target") and order.reduce_only and (everyones or order.controller_id == own)
    ]


def _judged(found: Iterator[tuple[Rule, Rejection | None]]) -> tuple[Rejection | None, list[RuleCheck]]:
    """Go through rules until one refuses."""
    checks = []
    for rule, rejection in found:
        value, limit = (rejection.value, rejection.limit) if rejection else (None, None)
        checks.append(RuleCheck(rule, rejection is None, value, limit))
        if rejection is not None:
            return rejection, checks
    return None, checks


def _refusals(state: RiskState, proposal: Proposal) -> Iterator[tuple[Rule, Rejection | None]]:
    market, held, allowed = proposal.market, state.inventory(proposal.market), state.scope.markets
    yield Rule.LEASE, _not_owner(state)
    is_foreign = allowed is not None and market not in allowed
    yield (
        Rule.SCOPE,
        Rejection(Rule.SCOPE, f"{market} is not one of this agent's markets: {', '.join(sorted(allowed or ()))}") if is_foreign else None,
    )
    yield Rule.SHAPE, _shape_refusal(state, proposal, held)
    yield Rule.PROTECTION, _stop_refusal(state, proposal, held) or _target_refusal(state, proposal, held)


def _not_owner(state: RiskState) -> Rejection | None:
    return None if state.token_is_current else Rejection(Rule.LEASE, f"another process owns wallet {state.wallet.name} now")


def _shape_refusal(state: RiskState, proposal: Proposal, held: Decimal) -> Rejection | None:
    if proposal.stop is None and proposal.target is None:
        return Rejection(Rule.SHAPE, "state a stop, a target, or both")
    try:
        check_numbers(proposal)
    except Unshapely as error:
        return error.rejection
    if proposal.market not in state.markets or held == 0:
        return Rejection(Rule.SHAPE, f"nothing is held in {proposal.market}, so there is nothing to protect")
    return None


def _stop_refusal(state: RiskState, proposal: Proposal, held: Decimal) -> Rejection | None:
    if proposal.stop is None:
        return None
    sign, mark = (1 if held > 0 else -1), state.mark(proposal.market)
    stop = _level(state.markets[proposal.market].instrument, held, proposal.stop, is_stop=True)
    if mark is not None and (mark - stop) * sign <= 0:
        side = "below" if sign > 0 else "above"
        return Rejection(
            Rule.PROTECTION, f"the stop {plain(stop)} must be {side} the mark {plain(mark)}", value=plain(stop), limit=plain(mark)
        )
    present = [o.trigger for o in levels_in_place(state, proposal.market) if OrderType(o.type).is_stop and o.trigger is not None]
    tightest = (max if sign > 0 else min)(present, default=None)
    if tightest is not None and (stop - tightest) * sign > 0:  # less risk than before, wherever the account would be liquidated now
        return None
    liquidation = state.account.liquidation_price(proposal.market)
    if liquidation is not None and (stop - liquidation) * sign <= 0:
        message = f"the stop {plain(stop)} is at or beyond the liquidation price {shown(liquidation)}"
        return Rejection(Rule.PROTECTION, message, value=plain(stop), limit=shown(liquidation))
    if state.limits.flag("require_stops") and tightest is not None and (stop - tightest) * sign < 0:
        return only_tightens(stop, tightest)
    return None


def _target_refusal(state: RiskState, proposal: Proposal, held: Decimal) -> Rejection | None:
    if proposal.target is None:
        return None
    sign, mark = (1 if held > 0 else -1), state.mark(proposal.market)
    target = _level(state.markets[proposal.market].instrument, held, proposal.target, is_stop=False)
    if mark is None or (target - mark) * sign > 0:
        return None
    side = "above" if sign > 0 else "below"
    message = f"the target {plain(target)} must be {side} the mark {plain(mark)}"
    return Rejection(Rule.PROTECTION, message, value=plain(target), limit=plain(mark))


def _cancel_refusals(
    engine: ExecutionEngine, tx: Connection, state: RiskState, order: OrderRow | None, reference: str
) -> Iterator[tuple[Rule, Rejection | None]]:
    yield Rule.LEASE, _not_owner(state)
    if order is None:
        yield Rule.SHAPE, _unknown(reference)
        return
    yield Rule.SHAPE, None
    own = state.scope.controller_id
    is_anothers = state.scope.actor not in (Actor.MANUAL, Actor.SYSTEM) and order.controller_id != own
    message = f"order {reference} belongs to {order.controller_id!r}, not to {own!r}"
    yield Rule.SCOPE, Rejection(Rule.SCOPE, message) if is_anothers else None
    yield Rule.PROTECTION, _required(state, order) or _guards_another(state, order, partial(must_have_stop, engine, tx))


def _unknown(reference: str) -> Rejection:
    return Rejection(Rule.SHAPE, f"no open order {reference!r}", value=reference)


def _required(state: RiskState, order: OrderRow) -> Rejection | None:
    waits = any(other.cloid == order.parent_cloid for other in state.orders)
    if state.limits.flag("require_stops") and order.leg == "stop" and (waits or state.inventory(order.market) != 0):
        word = "a waiting entry stays; cancel the entry" if waits else "an open position stays; move it with modify_protection"
        return Rejection(Rule.PROTECTION, f"the stop of {word}, or close the position", "require_stops")
    return None


def _guards_another(state: RiskState, order: OrderRow, must: Callable[[str], bool]) -> Rejection | None:
    """A stop that somebody else's limits require would be placed again, and the position bare until then."""
    if order.leg == "stop" and must(order.controller_id) and any(other.cloid == order.parent_cloid for other in state.orders):
        message = f"the limits of {order.controller_id} require this stop; cancel the entry, or change them"
        return Rejection(Rule.PROTECTION, message, "require_stops")
    if names := bare_without(state, order, must):
        message = f"the limits of {', '.join(names)} require this stop; close the position, or change them"
        return Rejection(Rule.PROTECTION, message, "require_stops")
    return None


def _level(instrument: Instrument, held: Decimal, price: Decimal, *, is_stop: bool) -> Decimal:
    return protective_price(instrument, Direction.LONG if held > 0 else Direction.SHORT, price, is_stop=is_stop)


def _change(engine: ExecutionEngine, state: RiskState, proposal: Proposal, intent_id: str) -> tuple[list[OrderRow], list[OrderRow]]:
    """The levels to place, and those that they replace; the stop of an entry that still waits stays with its entry."""
    placed = _levels(state, proposal, intent_id, engine)
    legs, live = {new.leg for new in placed}, {order.cloid for order in state.orders}
    return placed, [o for o in _own_levels(state, proposal.market) if o.leg in legs and o.parent_cloid not in live]


def _levels(state: RiskState, proposal: Proposal, intent_id: str, engine: ExecutionEngine) -> list[OrderRow]:
    held, now = state.inventory(proposal.market), engine.clock.now_ms()
    instrument = state.markets[proposal.market].instrument
    base = OrderRow(
        cloid="",
        intent_id=intent_id,
        wallet=engine.wallet.name,
        deployment=state.scope.deployment,
        controller_id=state.scope.controller_id,
        oid=None,
        market=proposal.market,
        side=(Side.SELL if held > 0 else Side.BUY).value,
        type="",
        leg="",
        size=abs(held),
        filled=ZERO,
        price=None,
        trigger=None,
        tif=Tif.GTC.value,
        reduce_only=True,
        parent_cloid=None,
        state=OrderState.PENDING.value,
        reason="",
        created_ms=now,
        updated_ms=now,
    )
    wanted = (("stop", OrderType.STOP_MARKET, proposal.stop), ("target", OrderType.TAKE_PROFIT_MARKET, proposal.target))
    return [
        replace(
            base,
            cloid=cloid_of(intent_id, leg),
            type=kind.value,
            leg=leg,
            trigger=_level(instrument, held, price, is_stop=leg == "stop"),
        )
        for leg, kind, price in wanted
        if price is not None
    ]


def _refused(
    engine: ExecutionEngine, tx: Connection, proposal: Proposal, actor: Actor, rejection: Rejection, checks: Sequence[RuleCheck]
) -> Verdict:
    """The verdict on what is not done, kept with its checks; nothing is kept of a dry run."""
    verdict = Verdict(VerdictKind.REJECTED, engine.clock.new_id(), rejection, checks=tuple(checks))
    if not engine.dry_run:
        engine.intents.refuse(tx, verdict.intent_id or "", proposal, actor, verdict)
    return verdict


def _record(
    engine: ExecutionEngine,
    tx: Connection,
    intent_id: str,
    proposal: Proposal,
    actor: Actor,
    checks: Sequence[RuleCheck],
    placed: Sequence[OrderRow] = (),
) -> None:
    values = {
        **engine.intents.values(intent_id, proposal, actor, checks),
        "state": IntentState.PENDING.value,
        "cloid": placed[0].cloid if placed else None,
    }
    trading.add_intent(tx, values, None, placed)
    _tell(engine, tx, intent_id, proposal, actor, IntentState.PENDING)


def _end(engine: ExecutionEngine, tx: Connection, intent_id: str, proposal: Proposal, actor: Actor, state: IntentState, why: str) -> None:
    trading.set_intent_state(tx, intent_id, state, engine.clock.now_ms(), {"message": why} if why else None)
    _tell(engine, tx, intent_id, proposal, actor, state)


def _tell(engine: ExecutionEngine, tx: Connection, intent_id: str, proposal: Proposal, actor: Actor, state: IntentState) -> None:
    data = {"state": state.value, "kind": proposal.kind.value, "market": proposal.market}
    wallet, deployment, now = engine.wallet.name, engine.terms[actor].scope.deployment, engine.clock.now_ms()
    events.append(tx, EventKind.INTENT_STATE, now, wallet=wallet, deployment=deployment, actor=actor, subject=intent_id, data=data)


def _send(
    engine: ExecutionEngine,
    intent_id: str,
    proposal: Proposal,
    actor: Actor,
    placed: list[OrderRow],
    replaced: list[OrderRow],
    checks: tuple[RuleCheck, ...],
) -> Verdict:
    reports: list[OrderReport] = []
    message, state = "", IntentState.EXECUTED
    try:
        for order in placed:
            with engine.gate.touching():
                reports += engine.broker.place([order_request(order, proposal)])
        message = next((r.reason for r in reports if r.state is OrderState.REJECTED), "")
        if not message:
            for old in replaced:
                _cancel(engine, old.cloid)
    except VenueError as error:
        message, state = error.message, IntentState.UNKNOWN
    if message and state is IntentState.EXECUTED:
        state = IntentState.VENUE_REJECTED
    with engine.transaction() as tx:
        engine.sync(tx)
        _end(engine, tx, intent_id, proposal, actor, state, message)
        engine.book.flush(tx)
        after = trading.order(tx, placed[0].cloid)
    engine.after_fills()  # the venue trims the oldest reduce-only orders of a market, whoever they protect
    kinds = {IntentState.EXECUTED: VerdictKind.EXECUTED, IntentState.UNKNOWN: VerdictKind.UNKNOWN}
    kind = kinds.get(state, VerdictKind.REJECTED)
    return Verdict(kind, intent_id, None, f"venue: {message}" if message else "", checks, order_dict(after) if after else None)
