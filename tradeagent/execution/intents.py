"""What the door writes down of a proposal: the intent with what it reserves, each of its states, and the events that tell of them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection

from tradeagent.domain.clock import Clock
from tradeagent.domain.names import Actor, EventKind, IncidentCode, IntentState, Level, Rule
from tradeagent.domain.order import Proposal, RuleCheck, Verdict
from tradeagent.execution.orders import proposal_dict
from tradeagent.execution.planning import Plan
from tradeagent.execution.state import Scope
from tradeagent.ledger import events, nonces, notes, runs, trading
from tradeagent.ledger.trading import OrderRow, Reservation


@dataclass(frozen=True, slots=True)
class Intents:
    """The intents of one wallet, written with the fencing token of who owns it. Nonces follow the real time, `wall`.

    `refused_closes` are the markets where the venue would not close last.
    """

    wallet: str
    token: int
    clock: Clock
    wall: Clock
    scope_of: Callable[[Actor], Scope]
    refused_closes: set[str] = field(default_factory=set)

    def refuse(self, tx: Connection, intent_id: str, proposal: Proposal, actor: Actor, verdict: Verdict) -> None:
        """Keep a refused proposal with the whole list of its checks."""
        detail = verdict.rejection.as_dict() if verdict.rejection else {}
        rule = verdict.rule.value if verdict.rule else None
        base = self.values(intent_id, proposal, actor, verdict.checks)
        trading.add_intent(tx, {**base, "state": IntentState.REJECTED.value, "rule": rule, "detail": detail}, None, ())
        data = {"market": proposal.market, "side": proposal.side.value, **detail}
        self._tell(tx, EventKind.PROPOSAL_REJECTED, intent_id, actor, data)
        if verdict.rule is Rule.LEASE:
            self._tell_lost(tx)

    def beat(self, tx: Connection) -> None:
        """Say that the owner of the wallet lives, or that it is its owner no more."""
        if not runs.beat(tx, self.wallet, self.token, self.clock.now_ms()):
            self._tell_lost(tx)

    def begin(
        self, tx: Connection, intent_id: str, made: Plan, actor: Actor, checks: Sequence[RuleCheck], orders: Sequence[OrderRow]
    ) -> None:
        """The write-ahead: intent, nonce, reservation and orders, before anything is sent (execution.md §4)."""
        values = {
            **self.values(intent_id, made.proposal, actor, checks),
            "kind": made.kind.value,
            "state": IntentState.PENDING.value,
            "plan": made.as_dict(),
            "cloid": orders[0].cloid,
            "nonce": nonces.take(tx, self.wallet, self.wall.now_ms()),
        }
        trading.add_intent(tx, values, self._reservation(intent_id, made, actor), orders)
        self._tell_state(tx, intent_id, made, IntentState.PENDING, actor)

    def move(self, tx: Connection, intent_id: str, made: Plan, actor: Actor, state: IntentState, message: str = "") -> None:
        """Its next state, with the words of whoever decided it."""
        trading.set_intent_state(tx, intent_id, state, self.clock.now_ms(), {"message": message} if message else None)
        self._tell_state(tx, intent_id, made, state, actor)
        if not made.is_entry and not made.proposal.type.is_trigger:
            self._follow_close(tx, made, state, message)

    def values(self, intent_id: str, proposal: Proposal, actor: Actor, checks: Sequence[RuleCheck] = ()) -> dict[str, Any]:
        """What every intent says of itself; its state is for the caller to add."""
        scope, now = self.scope_of(actor), self.clock.now_ms()
        return {
            "id": intent_id,
            "wallet": self.wallet,
            "deployment": scope.deployment,
            "controller_id": scope.controller_id,
            "actor": actor.value,
            "kind": proposal.kind.value,
            "market": proposal.market,
            "proposal": proposal_dict(proposal),
            "checks": [check.as_dict() for check in checks],
            "fencing_token": self.token,
            "created_ms": now,
            "updated_ms": now,
        }

    def _reservation(self, intent_id: str, made: Plan, actor: Actor) -> Reservation | None:
        if not made.is_entry:
            return None
        scope = self.scope_of(actor)
        return Reservation(
            intent_id=intent_id,
            wallet=self.wallet,
            market=made.proposal.market,
            controller_id=scope.controller_id,
            deployment=scope.deployment,
            side=made.proposal.side.value,
            size=made.size,
            price=made.entry,
            risk=made.risk if made.risk is not None else made.notional,
            leverage=made.leverage,
        )

    def _follow_close(self, tx: Connection, made: Plan, state: IntentState, message: str) -> None:
        """An incident while the venue refuses to close in a market; over when it has closed there again."""
        market, now = made.proposal.market, self.clock.now_ms()
        if state is IntentState.VENUE_REJECTED:
            told = f"the venue refused to close {market}: {message}"
            incident = notes.Incident(IncidentCode.VENUE_REJECTED_CLOSE, Level.ERROR, told, self.wallet, details={"market": market})
            notes.open_incident(tx, self.clock.new_id(), incident, now)
            self.refused_closes.add(market)
        elif state is IntentState.EXECUTED and market in self.refused_closes:
            self.refused_closes.discard(market)
            if not self.refused_closes:
                notes.close_incidents(tx, IncidentCode.VENUE_REJECTED_CLOSE, now, wallet=self.wallet)

    def _tell_lost(self, tx: Connection) -> None:
        """Another process owns the wallet: said once for each token that was lost."""
        message = f"another process has taken wallet {self.wallet}; the one that held token {self.token} sends nothing more"
        incident = notes.Incident(IncidentCode.LEASE_LOST, Level.ERROR, message, self.wallet, self.scope_of(Actor.SYSTEM).deployment)
        if notes.open_incident(tx, self.clock.new_id(), incident, self.clock.now_ms()):
            self._tell(tx, EventKind.LEASE_LOST, str(self.token), Actor.SYSTEM, {"token": self.token})

    def _tell_state(self, tx: Connection, intent_id: str, made: Plan, state: IntentState, actor: Actor) -> None:
        data = {"state": state.value, "market": made.proposal.market, "side": made.proposal.side.value, "kind": made.kind.value}
        self._tell(tx, EventKind.INTENT_STATE, intent_id, actor, data)

    def _tell(self, tx: Connection, kind: EventKind, intent_id: str, actor: Actor, data: dict[str, Any]) -> None:
        deployment, now = self.scope_of(actor).deployment, self.clock.now_ms()
        events.append(tx, kind, now, wallet=self.wallet, deployment=deployment, actor=actor, subject=intent_id, data=data)
