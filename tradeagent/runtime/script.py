"""A person's script of orders, played over imported bars through the same door that single orders go through."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from tradeagent.domain.clock import iso
from tradeagent.domain.names import IntentKind, VerdictKind
from tradeagent.domain.order import Proposal, Verdict
from tradeagent.execution.engine import ExecutionEngine
from tradeagent.ledger import wallets
from tradeagent.market.replay import parse_replay, require_stored
from tradeagent.market.warehouse import Warehouse
from tradeagent.runtime.control import execute_proposal
from tradeagent.runtime.hand import begin, clock_for
from tradeagent.runtime.place import Place
from tradeagent.runtime.wallets import owned_door


@dataclass(frozen=True, slots=True)
class Step:
    """One line of a script: an order to place under the name `ref`, or a cancel of the one that has this name."""

    at_ms: int
    ref: str | None
    proposal: Proposal

    @property
    def cancels(self) -> bool:
        return self.proposal.kind is IntentKind.CANCEL


def play_script(place: Place, wallet_name: str, replay: str, steps: Sequence[Step], to_ms: int | None) -> list[dict[str, Any]]:
    """The verdict of every step in its turn; then the bars up to `to_ms`. A refused step does not end the script.

    `steps` are in the order of time. BusyError while a runner owns the wallet, InvalidInput when the wallet's clock is beyond the first.
    """
    sources = parse_replay(replay)
    for source in sources:
        require_stored(Warehouse(place.workspace.warehouse_dir), source)
    with place.ledger.reading() as tx:
        wallet, risk = wallets.get(tx, wallet_name), wallets.risk(tx, wallet_name)
    clock = clock_for(risk, steps[0].at_ms, "at")
    rows: list[dict[str, Any]] = []
    orders: dict[str, str] = {}
    with owned_door(place.workspace, place.config, place.ledger, clock, wallet) as door:
        tape = begin(place, door, clock, sources)
        for step in steps:
            if tape is not None:
                tape.play(step.at_ms)
            verdict = _taken(door.engine, step, orders)
            cloid = (verdict.order or {}).get("cloid")
            if step.ref is not None and cloid is not None:
                orders[step.ref] = cloid
            rows.append(_row(step, verdict))
        if tape is not None and to_ms is not None:
            tape.play(to_ms)
        with door.engine.transaction() as tx:
            door.engine.book.flush(tx)
    return rows


def _taken(engine: ExecutionEngine, step: Step, orders: dict[str, str]) -> Verdict:
    if not step.cancels:
        return execute_proposal(engine, step.proposal)
    cloid = orders.get(step.ref or "")
    if cloid is None:
        return Verdict(VerdictKind.NOOP, message=f"{step.ref} was refused: there is nothing to cancel")
    return execute_proposal(engine, replace(step.proposal, order_id=cloid))


def _row(step: Step, verdict: Verdict) -> dict[str, Any]:
    said = verdict.as_dict()
    order = verdict.order or {}
    return {
        "ref": step.ref,
        "verdict": said["verdict"],
        "rule": said["rule"],
        "order_id": order.get("order_id"),
        "at": iso(step.at_ms),
        "op": "cancel" if step.cancels else "place",
        "detail": said["detail"],
        "fills": said["fills"],
    }
