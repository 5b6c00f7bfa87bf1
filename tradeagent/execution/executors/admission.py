"""How an executor comes to be: judged at the door as one entry of its whole planned total, recorded, reserved, and set going."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection

from tradeagent.domain.names import Actor, EventKind, ExecutorStatus, ExecutorType, IntentKind, IntentState, Rule, VerdictKind
from tradeagent.domain.order import Proposal, Rejection, RuleCheck, Verdict
from tradeagent.execution.engine import ExecutionEngine
from tradeagent.execution.entry_levels import against, on_the_other_side
from tradeagent.execution.executors.design import Design
from tradeagent.execution.executors.desk import drive
from tradeagent.execution.executors.records import announce, controller_of, reservation_of
from tradeagent.execution.executors.specs import Spec
from tradeagent.execution.executors.types import MACHINES
from tradeagent.execution.planning import Plan, Unshapely
from tradeagent.execution.rules import judge, unasked
from tradeagent.execution.state import RiskState
from tradeagent.ledger import events, executors, trading
from tradeagent.ledger.executors import ExecutorRow
from tradeagent.ledger.trading import Reservation


@dataclass(frozen=True, slots=True)
class Order:
    """What somebody wants to be carried out: a type, its checked specification, and why. `controller_id` is who they say they are,
    `waking` as in a proposal."""

    type: ExecutorType
    spec: Spec
    reason: str = ""
    confidence: Decimal | None = None
    controller_id: str | None = None
    waking: int | None = None


async def create(engine: ExecutionEngine, wanted: Order, actor: Actor) -> tuple[Verdict, ExecutorRow | None]:
    """Judge an executor as one entry of its whole planned total; when it passes, record it, reserve the total and take its first step.

    In copilot mode a person is asked about the whole, once; its child orders ask nobody.
    """
    approve = engine.terms[actor].approve
    approved = False
    if approve is not None and not engine.dry_run:
        made = await engine.alone(lambda: _preview(engine, wanted, actor))
        why_not = await approve(made.as_dict()) if made is not None and made.is_entry else ""
        if why_not:
            return await engine.alone(lambda: _declined(engine, wanted, actor, why_not)), None
        approved = made is not None
    return await engine.alone(lambda: create_now(engine, wanted, actor, approved=approved))


def create_now(engine: ExecutionEngine, wanted: Order, actor: Actor, *, approved: bool = False) -> tuple[Verdict, ExecutorRow | None]:
    """`create` for a caller without an event loop; the caller owns the lease and is alone. `approved`: a person has said yes."""
    if engine.dry_run:
        with engine.ledger.reading() as tx:
            return _judged(engine, tx, wanted, actor, approved)[0], None
    with engine.transaction() as tx:
        verdict, made, design = _judged(engine, tx, wanted, actor, approved)
        executor_id = engine.clock.new_id()
        if made is None or design is None:
            return _refused(engine, tx, executor_id, wanted, actor, verdict), None
        row = _row(engine, executor_id, wanted, made, design, actor)
        executors.add(tx, row)
        engine.may_have_executors = True
        _record(engine, tx, row, wanted, made, actor, verdict.checks)
        if made.is_entry:
            engine.count_entry(actor)
        announce(tx, row, engine.clock.now_ms())
        engine.book.flush(tx)
    return Verdict(VerdictKind.EXECUTED, reservation_of(row), checks=verdict.checks, order=made.as_dict()), drive(engine, row)


def _judged(
    engine: ExecutionEngine, tx: Connection, wanted: Order, actor: Actor, approved: bool
) -> tuple[Verdict, Plan | None, Design | None]:
    """The verdict on the whole, and what would be done when every rule passed and it may be sent."""
    state = engine.state(tx, actor)
    try:
        design = _designed(state, wanted, executors.live(tx, engine.wallet.name))
        made = _plan(state, wanted, design)
    except Unshapely as error:
        shape = RuleCheck(Rule.SHAPE, ok=False, value=error.rejection.value)
        return Verdict(VerdictKind.REJECTED, rejection=error.rejection, checks=(shape,)), None, None
    rejection, checks = judge(made, state)
    if rejection is None and engine.dry_run:
        rejection = Rejection(Rule.DRY_RUN, "dry run: this would have been started")
    if rejection is not None:
        return Verdict(VerdictKind.REJECTED, rejection=rejection, checks=checks, order=made.as_dict()), None, None
    if made.is_entry and not approved and engine.terms[actor].approve is not None:
        return unasked(made, checks), None, None
    return Verdict(VerdictKind.EXECUTED, checks=checks), made, design


def _designed(state: RiskState, wanted: Order, alive: Sequence[ExecutorRow]) -> Design:
    market = state.markets.get(wanted.spec.market)
    if market is None:
        raise Unshapely(f"unknown market {wanted.spec.market!r}; known here: {', '.join(sorted(state.markets)) or 'none'}")
    design = MACHINES[wanted.type].design(wanted.spec, market)
    held = state.inventory(wanted.spec.market) * design.side.sign
    if design.reduce_only:
        if held >= 0:
            raise Unshapely(f"nothing to reduce: you hold no {'short' if design.side.sign > 0 else 'long'} {wanted.spec.market}")
        return design
    others = against(state, wanted.spec.market, design.side)
    others += [row.controller_id for row in alive if row.market == wanted.spec.market and _opposes(row, design)]
    if others:
        raise Unshapely(on_the_other_side(others, wanted.spec.market))
    return design


def _opposes(row: ExecutorRow, design: Design) -> bool:
    return not row.layout["reduce_only"] and row.side != design.side.value


def _plan(state: RiskState, wanted: Order, design: Design) -> Plan:
    """The whole operation as one entry, so that every rule judges its planned total."""
    proposal = _proposal(state, wanted, design)
    kind = IntentKind.REDUCE if design.reduce_only else IntentKind.OPEN
    if kind is IntentKind.OPEN and state.inventory(wanted.spec.market) * design.side.sign > 0:
        kind = IntentKind.INCREASE
    return Plan(
        proposal,
        kind,
        state.markets[wanted.spec.market].instrument,
        design.size,
        design.entry,
        design.price,
        None,
        design.stop,
        design.target,
        design.leverage or state.leverage_of(wanted.spec.market),
        requested=design.size,
        planned_quote=design.quote,
        executor=wanted.type.value,
    )


def _proposal(state: RiskState, wanted: Order, design: Design) -> Proposal:
    return Proposal(
        wanted.spec.market,
        design.side,
        wanted.controller_id or state.scope.controller_id,
        quote=design.quote,
        price=design.price,
        stop=design.stop,
        target=design.target,
        reduce_only=design.reduce_only,
        leverage=design.leverage,
        confidence=wanted.confidence,
        reason=wanted.reason,
        waking=wanted.waking,
    )


def _preview(engine: ExecutionEngine, wanted: Order, actor: Actor) -> Plan | None:
    with engine.ledger.reading() as tx:
        return _judged(engine, tx, wanted, actor, approved=True)[1]


def _declined(engine: ExecutionEngine, wanted: Order, actor: Actor, why_not: str) -> Verdict:
    checks = (RuleCheck(Rule.APPROVAL, ok=False),)
    verdict = Verdict(VerdictKind.REJECTED, rejection=Rejection(Rule.APPROVAL, why_not), checks=checks)
    with engine.transaction() as tx:
        return _refused(engine, tx, engine.clock.new_id(), wanted, actor, verdict)


def _row(engine: ExecutionEngine, executor_id: str, wanted: Order, made: Plan, design: Design, actor: Actor) -> ExecutorRow:
    scope, now = engine.terms[actor].scope, engine.clock.now_ms()
    deployment = scope.deployment or scope.controller_id
    return ExecutorRow(
        id=executor_id,
        wallet=engine.wallet.name,
        deployment=deployment,
        controller_id=scope.controller_id if design.reduce_only else controller_of(deployment, executor_id),
        type=wanted.type.value,
        market=wanted.spec.market,
        side=design.side.value,
        status=ExecutorStatus.CREATED.value,
        close_type=None,
        detail="",
        spec=wanted.spec.model_dump(mode="json", exclude_none=True),
        layout=design.layout(_risk(made)) | {"leverage": None if design.reduce_only else made.leverage},
        amount_quote=design.quote,
        created_ms=now,
        updated_ms=now,
    )


def _risk(made: Plan) -> Decimal:
    return made.risk if made.risk is not None else made.notional


def _values(engine: ExecutionEngine, intent_id: str, wanted: Order, actor: Actor, checks: tuple[RuleCheck, ...]) -> dict[str, Any]:
    scope = engine.terms[actor].scope
    controller = wanted.controller_id or scope.controller_id
    proposal = Proposal(wanted.spec.market, wanted.spec.direction, controller, confidence=wanted.confidence, reason=wanted.reason)
    spec = wanted.spec.model_dump(mode="json", exclude_none=True)
    base = engine.intents.values(intent_id, proposal, actor, checks)
    return {**base, "proposal": {**base["proposal"], "executor": wanted.type.value, "spec": spec}}


def _record(
    engine: ExecutionEngine, tx: Connection, row: ExecutorRow, wanted: Order, made: Plan, actor: Actor, checks: tuple[RuleCheck, ...]
) -> None:
    """The intent of the whole, which no order answers, and its reservation, which lives as long as the executor."""
    intent_id = reservation_of(row)
    values = _values(engine, intent_id, wanted, actor, checks)
    reservation = None
    if made.is_entry:
        reservation = Reservation(
            intent_id,
            row.wallet,
            row.market,
            row.controller_id,
            row.deployment,
            row.side,
            made.size,
            made.entry,
            _risk(made),
            made.leverage,
        )
    trading.add_intent(
        tx, {**values, "kind": made.kind.value, "state": IntentState.EXECUTED.value, "plan": made.as_dict()}, reservation, ()
    )


def _refused(engine: ExecutionEngine, tx: Connection, executor_id: str, wanted: Order, actor: Actor, verdict: Verdict) -> Verdict:
    detail = verdict.rejection.as_dict() if verdict.rejection else {}
    rule = verdict.rule.value if verdict.rule else None
    values = _values(engine, executor_id, wanted, actor, verdict.checks)
    trading.add_intent(tx, {**values, "state": IntentState.REJECTED.value, "rule": rule, "detail": detail}, None, ())
    scope = engine.terms[actor].scope
    data = {"market": wanted.spec.market, "executor": wanted.type.value, **detail}
    events.append(
        tx,
        EventKind.PROPOSAL_REJECTED,
        engine.clock.now_ms(),
        wallet=engine.wallet.name,
        deployment=scope.deployment,
        actor=actor,
        subject=executor_id,
        data=data,
    )
    return Verdict(verdict.kind, executor_id, verdict.rejection, checks=verdict.checks, order=verdict.order)
