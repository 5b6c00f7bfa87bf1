"""Halts without a model: every mark is judged, a breach latches, and the account is flattened at once."""

from dataclasses import replace
from decimal import Decimal

from sqlalchemy import Connection

from tradeagent.domain.errors import RefusedError
from tradeagent.domain.instrument import max_market_value
from tradeagent.domain.money import ZERO, plain, size_down
from tradeagent.domain.names import (
    Actor,
    DeploymentState,
    EventKind,
    ExitReason,
    HaltReason,
    IncidentCode,
    IntentKind,
    KillPolicy,
    Level,
    OrderType,
    ReconcilePhase,
    Rule,
    Side,
    VerdictKind,
)
from tradeagent.domain.order import Proposal, Verdict
from tradeagent.execution.caps import shown
from tradeagent.execution.engine import ExecutionEngine
from tradeagent.execution.executors.desk import end_all
from tradeagent.execution.protection import cancel_everything
from tradeagent.execution.recover import recover
from tradeagent.execution.rules import daily_loss_cap
from tradeagent.ledger import events, notes, runs, trading


def judge_marks(engine: ExecutionEngine) -> HaltReason | None:
    """Latch the lockout, and halt and flatten on a daily loss or drawdown at its limit (equality trips it)."""
    risk, limits = engine.book.risk, engine.terms[Actor.SYSTEM].limits
    if engine.dry_run or risk.nav_units <= 0:
        return None
    if engine.gate.latched() is not None:
        if engine.gate.policy is KillPolicy.FLATTEN_ALL and engine.book.held_markets:  # the kill command died before it had closed
            flatten(engine, Actor.SYSTEM, ExitReason.KILL)
        return None
    equity = engine.book.equity()
    drawdown = risk.nav.drawdown(equity) * 100
    lock = limits.number("max_drawdown_pct")
    if lock is not None and drawdown >= lock and risk.lockout_ms is None:
        _lock(engine, drawdown, lock)
    if risk.halt is not None:
        if engine.book.held_markets:  # a crash or an outage came between the latch and the closes
            flatten(engine, Actor.SYSTEM, ExitReason.HALT)
        return None
    cap, key = daily_loss_cap(limits, risk)
    halt = limits.number("halt_drawdown_pct")
    if cap is not None and risk.day.pnl(equity) <= -cap:
        return _halt(engine, HaltReason.DAILY_LOSS, f"day PnL {shown(risk.day.pnl(equity))} USDC reached {key} −{shown(cap)}")
    if halt is not None and drawdown >= halt:
        return _halt(engine, HaltReason.DRAWDOWN, f"drawdown {shown(drawdown)} % reached halt_drawdown_pct {shown(halt)}")
    return None


def flatten(engine: ExecutionEngine, actor: Actor, reason: ExitReason) -> list[Verdict]:
    """Cancel every order, close every position at the market, and end every executor. One verdict a position.

    A position keeps its stop until it is closed: when the venue refuses the close, it is not left bare.
    """
    engine.gate.make_room()
    cancel_everything(engine, but_protection=True)
    verdicts = [close_market(engine, market, actor, reason) for market in engine.book.held_markets]
    cancel_everything(engine, but_protection=True)
    end_all(engine, reason.value)
    return verdicts


def close_market(engine: ExecutionEngine, market: str, actor: Actor, reason: ExitReason) -> Verdict:
    """Close the whole net position of a market, once: a close that waits out an outage for all of it is left to wait.

    More than the venue takes in one order is closed in parts; the verdict is the one of the last that was tried.
    """
    size = engine.book.net(market).size
    open_size = abs(size) - _waiting_to_close(engine, market)
    if size and open_size <= 0:
        return Verdict(VerdictKind.NOOP, message=f"a close of {market} {plain(abs(size))} waits for the next trade")
    part = _largest_close(engine, market)
    while part is not None and open_size > part:
        verdict = close_once(engine, market, actor, reason, part)
        if verdict.kind is not VerdictKind.EXECUTED:
            return verdict
        open_size -= part
    is_rest = abs(engine.book.net(market).size) <= open_size
    return close_once(engine, market, actor, reason, None if is_rest else open_size)


def close_once(engine: ExecutionEngine, market: str, actor: Actor, reason: ExitReason, size: Decimal | None = None) -> Verdict:
    """One order against the net position of a market, for all of it or for `size` base units."""
    proposal = Proposal(
        market=market,
        side=Side.SELL if engine.book.net(market).size > ZERO else Side.BUY,
        controller_id=engine.terms[actor].scope.controller_id,
        kind=IntentKind.CLOSE,
        size=size,
        reduce_only=True,
        whole_position=size is None,
        exit_reason=reason,
        reason=reason.value,
    )
    return engine.submit_now(proposal, actor)


def _largest_close(engine: ExecutionEngine, market: str) -> Decimal | None:
    """Base units of the largest market order at the last mark; None without a mark."""
    known = engine.markets[market]
    if not known.mark:
        return None
    return size_down(known.instrument, max_market_value(known.instrument.max_leverage) / known.mark)


def _waiting_to_close(engine: ExecutionEngine, market: str) -> Decimal:
    """Base units of closes that would have filled at the mark by now if the market traded: a person's and the system's."""
    at_mark = {terms.scope.controller_id for actor, terms in engine.terms.items() if actor in (Actor.MANUAL, Actor.SYSTEM)}
    with engine.ledger.reading() as tx:
        live = trading.live_orders(tx, engine.wallet.name)
    closes = (o for o in live if o.market == market and o.leg == "close" and o.type == OrderType.MARKET.value and o.oid is not None)
    return sum((o.size - o.filled for o in closes if o.controller_id in at_mark), ZERO)


def killed_incident(wallet: str | None, deployment: str | None) -> notes.Incident:
    """One text for whoever records a kill first."""
    what = f"wallet {wallet}" if wallet else "every wallet"
    message = f"{what} was killed by a person; `tradeagent kill --clear` undoes it"
    return notes.Incident(IncidentCode.KILL, Level.CRITICAL, message, wallet, deployment)


def note_kill(engine: ExecutionEngine) -> None:
    """Book what a kill did at the venue, and be halted in the ledger too until a person clears it."""
    now, deployment = engine.clock.now_ms(), engine.terms[Actor.SYSTEM].scope.deployment
    with engine.transaction() as tx:
        engine.sync(tx)
        if engine.gate.latched() is Rule.HALTED and engine.book.risk.halt != HaltReason.KILL.value:
            engine.book.set_risk(replace(engine.book.risk, halt=HaltReason.KILL.value, halt_ms=now))
            _move_deployment(engine, tx, DeploymentState.HALTED, Actor.MANUAL)
            data = {"state": "halted", "reason": HaltReason.KILL.value, "message": "killed by a person"}
            events.append(tx, EventKind.HALT, now, wallet=engine.wallet.name, deployment=deployment, actor=Actor.MANUAL, data=data)
            notes.open_incident(tx, engine.clock.new_id(), killed_incident(engine.wallet.name, deployment), now)
        engine.book.flush(tx)


def reopen(engine: ExecutionEngine, *, whole: bool) -> None:
    """A person's word after a kill, once ledger and venue agree (RefusedError otherwise); `whole` also forgets the wallet's own halt."""
    if recover(engine) is not ReconcilePhase.CONSISTENT:
        raise RefusedError(
            f"wallet {engine.wallet.name}: ledger and venue differ, so the kill stays",
            hint="`tradeagent incidents` says where they differ",
            code=Rule.RECONCILING.value,
        )
    now, deployment = engine.clock.now_ms(), engine.terms[Actor.SYSTEM].scope.deployment
    if not whole:
        return
    engine.gate.clear()
    with engine.transaction() as tx:
        if engine.book.risk.halt == HaltReason.KILL.value:
            engine.book.set_risk(replace(engine.book.risk, halt=None, halt_ms=None))
        engine.book.flush(tx)
        _move_deployment(engine, tx, DeploymentState.RUNNING, Actor.MANUAL)
        notes.close_incidents(tx, IncidentCode.KILL, now, wallet=engine.wallet.name)
        data = {"state": "cleared", "rebased": []}
        events.append(tx, EventKind.HALT, now, wallet=engine.wallet.name, deployment=deployment, actor=Actor.MANUAL, data=data)


def clear_halt(engine: ExecutionEngine) -> list[str]:
    """A person's word: forget the halt and lockout, and re-base what was breached to now. What was re-based, in words."""
    if engine.gate.latched() is not None:
        raise RefusedError(
            f"wallet {engine.wallet.name} was killed: clear-halt does not undo that",
            hint="`tradeagent kill --clear` does",
            code=Rule.HALTED.value,
        )
    limits, equity, now = engine.terms[Actor.SYSTEM].limits, engine.book.equity(), engine.clock.now_ms()
    before = engine.book.risk
    risk = before.rolled(now, before.last_equity)
    cap, _ = daily_loss_cap(limits, risk)
    halt = limits.number("halt_drawdown_pct")
    done = []
    if risk.halt == HaltReason.DAILY_LOSS.value or (cap is not None and risk.day.pnl(equity) <= -cap):
        risk = replace(risk, day_start_equity=equity, day_flows=ZERO)
        done.append(f"day start := {shown(equity)} USDC")
    is_deep = halt is not None and risk.nav.drawdown(equity) * 100 >= halt
    if risk.halt == HaltReason.DRAWDOWN.value or risk.lockout_ms is not None or is_deep:
        risk = risk.with_nav(risk.nav.rebased(equity))
        done.append(f"peak nav := now (equity {shown(equity)} USDC)")
    deployment = engine.terms[Actor.SYSTEM].scope.deployment
    with engine.transaction() as tx:
        engine.book.set_risk(replace(risk, halt=None, halt_ms=None, lockout_ms=None))
        engine.book.flush(tx)
        _move_deployment(engine, tx, DeploymentState.RUNNING, Actor.MANUAL)
        for code in (IncidentCode.HALT_DAILY_LOSS, IncidentCode.HALT_DRAWDOWN, IncidentCode.LOCKOUT):
            notes.close_incidents(tx, code, now, wallet=engine.wallet.name)
        data = {"state": "cleared", "rebased": done}
        events.append(tx, EventKind.HALT, now, wallet=engine.wallet.name, deployment=deployment, actor=Actor.MANUAL, data=data)
    return done


def _move_deployment(engine: ExecutionEngine, tx: Connection, to: DeploymentState, actor: Actor) -> None:
    """Halt the run that has the wallet, or let a halted one go on; one that has ended stays as it ended."""
    deployment = engine.terms[Actor.SYSTEM].scope.deployment
    found = runs.find_deployment(tx, deployment) if deployment is not None else None
    if found is None or found.state == to.value:
        return
    if found.state == DeploymentState.HALTED.value or (to is DeploymentState.HALTED and DeploymentState(found.state).is_live):
        runs.change_state(tx, found, to, engine.clock.now_ms(), actor=actor)


def _lock(engine: ExecutionEngine, drawdown: Decimal, cap: Decimal) -> None:
    message = f"drawdown {shown(drawdown)} % reached max_drawdown_pct {shown(cap)}: entries are locked"
    now, deployment = engine.clock.now_ms(), engine.terms[Actor.SYSTEM].scope.deployment
    with engine.transaction() as tx:
        engine.book.set_risk(replace(engine.book.risk, lockout_ms=now))
        engine.book.flush(tx)
        events.append(tx, EventKind.LOCKOUT, now, wallet=engine.wallet.name, deployment=deployment, data={"message": message})
        incident = notes.Incident(IncidentCode.LOCKOUT, Level.WARNING, message, engine.wallet.name, deployment)
        notes.open_incident(tx, engine.clock.new_id(), incident, now)


def _halt(engine: ExecutionEngine, reason: HaltReason, message: str) -> HaltReason:
    now, deployment = engine.clock.now_ms(), engine.terms[Actor.SYSTEM].scope.deployment
    code = IncidentCode.HALT_DAILY_LOSS if reason is HaltReason.DAILY_LOSS else IncidentCode.HALT_DRAWDOWN
    with engine.transaction() as tx:
        engine.book.set_risk(replace(engine.book.risk, halt=reason.value, halt_ms=now))
        engine.book.flush(tx)
        _move_deployment(engine, tx, DeploymentState.HALTED, Actor.SYSTEM)
        data = {"state": "halted", "reason": reason.value, "message": message}
        events.append(tx, EventKind.HALT, now, wallet=engine.wallet.name, deployment=deployment, data=data)
        notes.open_incident(tx, engine.clock.new_id(), notes.Incident(code, Level.CRITICAL, message, engine.wallet.name, deployment), now)
    flatten(engine, Actor.SYSTEM, ExitReason.HALT)
    return reason
