"""Questions to a person: asked once, answered once, told to the feed."""

import pytest
from sqlalchemy import Connection

from tradeagent.domain.errors import NotFound, RefusedError
from tradeagent.domain.names import Actor, ApprovalState, EventKind
from tradeagent.ledger import approvals, events

NOON = 1_767_787_200_000


def ask(tx: Connection, name: str, created_ms: int = NOON) -> None:
    plan = {"market": "BTC", "size": "1"}
    approvals.ask(
        tx, {"id": name, "wallet": "w", "deployment": "d_1", "plan": plan, "created_ms": created_ms, "expires_ms": created_ms + 60_000}
    )


def told(tx: Connection) -> list[tuple[str, str | None, object]]:
    rows = events.read(tx, wallet="w", kinds=(EventKind.APPROVAL_STATE.value,), limit=100)
    return [(row["data"]["state"], row["actor"], row["data"]["plan"]) for row in rows]


def test_what_waits_is_listed_oldest_first_and_told(tx: Connection) -> None:
    ask(tx, "b", NOON + 1)
    ask(tx, "a")
    assert [row["id"] for row in approvals.waiting(tx)] == ["a", "b"]
    plan = {"market": "BTC", "size": "1"}
    assert told(tx) == [("waiting", "agent", plan)] * 2
    assert approvals.get(tx, "a")["expires_ms"] == NOON + 60_000


@pytest.mark.parametrize(("state", "actor"), [(ApprovalState.APPROVED, Actor.MANUAL), (ApprovalState.EXPIRED, Actor.SYSTEM)])
def test_an_answer_is_final(tx: Connection, state: ApprovalState, actor: Actor) -> None:
    ask(tx, "a")
    decided = approvals.decide(tx, "a", state, NOON + 5, actor)
    assert (decided["state"], approvals.waiting(tx)) == (state.value, [])
    kept = approvals.get(tx, "a")
    assert (kept["state"], kept["decided_ms"]) == (state.value, NOON + 5)
    with pytest.raises(RefusedError, match=f"approval a is {state.value} already") as refused:
        approvals.decide(tx, "a", ApprovalState.DECLINED, NOON + 6)
    assert refused.value.code == "gate_failed"
    assert approvals.get(tx, "a")["decided_ms"] == NOON + 5
    assert told(tx)[-1][:2] == (state.value, actor.value)


def test_an_unknown_question_is_not_found(tx: Connection) -> None:
    with pytest.raises(NotFound, match="no approval 'zz'"):
        approvals.decide(tx, "zz", ApprovalState.APPROVED, NOON)
