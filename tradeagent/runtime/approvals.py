"""Copilot: each entry waits for a person, at most two minutes; silence is a no."""

from typing import Any

from tradeagent.domain.clock import Clock
from tradeagent.domain.errors import RefusedError
from tradeagent.domain.names import Actor, ApprovalState
from tradeagent.execution.setup import Approve
from tradeagent.ledger import approvals
from tradeagent.ledger.store import Ledger

WAIT_MS = 120_000
POLL_S = 0.1


def approver(ledger: Ledger, wall: Clock, wallet: str, deployment: str) -> Approve:
    """Asks about a plan through a row that the screen and the command line answer."""

    async def approve(plan: dict[str, Any]) -> str:
        now = wall.now_ms()
        approval_id = wall.new_id()
        row = {"id": approval_id, "wallet": wallet, "deployment": deployment, "plan": plan, "created_ms": now, "expires_ms": now + WAIT_MS}
        with ledger.transaction() as tx:
            approvals.ask(tx, row)
        until = wall.monotonic() + WAIT_MS / 1000
        while wall.monotonic() < until:
            with ledger.reading() as tx:
                state = ApprovalState(approvals.get(tx, approval_id)["state"])
            if state is not ApprovalState.WAITING:
                return "" if state is ApprovalState.APPROVED else "a person declined it"
            await wall.sleep(POLL_S)
        return _expire(ledger, wall, approval_id)

    return approve


async def nobody_watches(_plan: dict[str, Any]) -> str:
    """The answer in a replay at full speed."""
    return "approval: copilot needs a person, and nobody can answer in a replay at full speed (use --speed)"


def _expire(ledger: Ledger, wall: Clock, approval_id: str) -> str:
    try:
        with ledger.transaction() as tx:
            approvals.decide(tx, approval_id, ApprovalState.EXPIRED, wall.now_ms(), Actor.SYSTEM)
    except RefusedError:
        with ledger.reading() as tx:
            if approvals.get(tx, approval_id)["state"] == ApprovalState.APPROVED.value:
                return ""
    return f"nobody answered within {WAIT_MS // 1000} s"
