"""Ledger and venue made one: repair, then verify, at most twice; entries wait until the answer is `consistent`."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from tradeagent.domain.names import Actor, EventKind, IncidentCode, Level, ReconcilePhase
from tradeagent.execution.adoption import in_flight, venue_key
from tradeagent.execution.engine import ExecutionEngine
from tradeagent.execution.orders import is_held
from tradeagent.execution.repairs import naked, repair
from tradeagent.ledger import events, notes, trading

CYCLES = 2
MOST_WORDS = 50


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """How a comparison ended: `repairs` and `differences` in words, `cycles` of repairing and verifying."""

    phase: ReconcilePhase
    cycles: int
    repairs: tuple[str, ...]
    differences: tuple[str, ...]
    elapsed_s: float

    def as_dict(self) -> dict[str, Any]:
        return {
            "phase": self.phase.value,
            "cycles": self.cycles,
            "repaired": len(self.repairs),
            "repairs": list(self.repairs[:MOST_WORDS]),
            "differences": list(self.differences[:MOST_WORDS]),
            "elapsed_s": round(self.elapsed_s, 3),
        }


def reconcile(engine: ExecutionEngine, *, routine: bool = False) -> Reconciliation:
    """Compare ledger and venue and put right what differs. A `routine` check that finds nothing writes one event and no phases.

    Raises VenueError when the venue cannot be read; entries are blocked until a later comparison succeeds.
    """
    began = engine.clock.monotonic()
    engine.phase = ReconcilePhase.CHECKING
    engine.is_unresolved = False
    repairs: list[str] = []
    differences: list[str] = []
    suspects: dict[str, tuple[Decimal, Decimal]] = {}
    cycles = 0
    if not (routine and _is_in_order(engine)):
        _tell(engine, ReconcilePhase.CHECKING)
        while cycles < CYCLES:
            cycles += 1
            _tell(engine, ReconcilePhase.RECONCILING)
            repairs += repair(engine, suspects)
            _tell(engine, ReconcilePhase.VERIFYING)
            differences = verify(engine)
            if not differences:
                break
    phase = ReconcilePhase.FAILED if differences else ReconcilePhase.CONSISTENT
    done = Reconciliation(phase, cycles, tuple(repairs), tuple(differences), engine.clock.monotonic() - began)
    _conclude(engine, done)
    return done


def compare(engine: ExecutionEngine) -> list[str]:
    """Differences of cash and positions between ledger and venue, in words; none when they agree to the last unit."""
    venue = engine.broker.account()
    found = []
    if venue.cash != engine.book.risk.cash:
        found.append(f"cash {engine.book.risk.cash} in the ledger, {venue.cash} at the venue")
    for market in sorted(set(venue.positions) | set(engine.book.held_markets)):
        net = engine.book.net(market)
        there = venue.positions.get(market)
        if there is None or there != (net.size, net.cost):
            found.append(f"{market} {net.size} (cost {net.cost}) in the ledger, {there[0] if there else 0} at the venue")
    return found


def verify(engine: ExecutionEngine) -> list[str]:
    """What still differs after repairing: cash, positions, open orders, and positions without the stop they must have."""
    there = engine.broker.open_orders()
    found = compare(engine)
    with engine.ledger.reading() as tx:
        live = trading.live_orders(tx, engine.wallet.name)
        waiting = {intent["id"] for intent in trading.open_intents(tx, engine.wallet.name)}
        bare = naked(engine, tx, there)
    here = {o.cloid for o in live if not (is_held(o) or o.intent_id in waiting or in_flight(engine, o.created_ms))}
    open_there = {venue_key(order) for order in there}
    found += [f"order {cloid} is open in the ledger and not at the venue" for cloid in sorted(here - open_there)]
    found += [f"order {cloid} is open at the venue and not in the ledger" for cloid in sorted(open_there - {o.cloid for o in live})]
    return found + [f"{lack.market} {lack.size} of {lack.controller_id} has no stop" for lack in bare]


def _is_in_order(engine: ExecutionEngine) -> bool:
    with engine.ledger.reading() as tx:
        is_open = bool(trading.open_intents(tx, engine.wallet.name))
    return not is_open and not engine.news() and not verify(engine)


def _tell(engine: ExecutionEngine, phase: ReconcilePhase) -> None:
    engine.phase = phase
    with engine.ledger.transaction(durable=False) as tx:
        _event(engine, tx, {"phase": phase.value})


def _event(engine: ExecutionEngine, tx: Any, data: dict[str, Any]) -> None:
    deployment = engine.terms[Actor.SYSTEM].scope.deployment
    events.append(tx, EventKind.RECONCILE_PHASE, engine.clock.now_ms(), wallet=engine.wallet.name, deployment=deployment, data=data)


def _conclude(engine: ExecutionEngine, done: Reconciliation) -> None:
    """Say how it ended, with an incident while ledger and venue differ."""
    wallet, now = engine.wallet.name, engine.clock.now_ms()
    engine.phase = done.phase
    with engine.transaction() as tx:
        engine.book.flush(tx)
        _event(engine, tx, done.as_dict())
        if done.differences:
            message = "ledger and venue differ: " + "; ".join(done.differences[:MOST_WORDS])
            incident = notes.Incident(IncidentCode.RECONCILE_MISMATCH, Level.CRITICAL, message, wallet)
            notes.open_incident(tx, engine.clock.new_id(), incident, now)
        else:
            notes.close_incidents(tx, IncidentCode.RECONCILE_MISMATCH, now, wallet=wallet, level=Level.CRITICAL)
        if not trading.open_intents(tx, wallet):
            notes.close_incidents(tx, IncidentCode.UNKNOWN_INTENT, now, wallet=wallet)
