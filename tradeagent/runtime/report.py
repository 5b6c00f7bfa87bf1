"""What a run came to, as `run --json` and `demo --json` print it."""

import json
from typing import TYPE_CHECKING, Any

from tradeagent.domain.money import plain
from tradeagent.domain.names import Rule, RunMode
from tradeagent.ledger import notes, trading
from tradeagent.runtime.ground import R, Runnable
from tradeagent.runtime.stops import StopReason
from tradeagent.runtime.tally import Tally
from tradeagent.turns.record import Baseline, TickRecord, TickState

if TYPE_CHECKING:
    from tradeagent.runtime.assembly import Run


def run_report(run: "Run", tally: Tally[TickRecord], why: StopReason) -> dict[str, Any]:
    """The document of an agent's run."""
    row, stage = run.row, run.stage
    with stage.ledger.reading() as tx:
        calls, tokens, cost = notes.usage_totals(tx, row.id)
    blocked = tally.last if tally.last is not None and tally.last.state is TickState.BLOCKED else None
    return {
        "mode": row.mode,
        "network": stage.wallet.network,
        "agent": stage.agent.slug,
        "agent_id": row.id,
        "deployment": row.id,
        "session": run.session.number if run.session else None,
        "wallet": stage.wallet.name,
        "ticks": tally.ticks,
        "blocked_ticks": tally.blocked,
        "blocked": {"rule": blocked.rule, "message": blocked.action} if blocked else None,
        "failed": _failure(tally),
        "would_have": _would_have(tally),
        "proposals": tally.proposals,
        "executed": tally.executed,
        "rejected": dict(tally.rejected),
        **account_part(run, run.baseline),
        "model": {
            "id": row.model,
            "rule_based": row.model.startswith("offline/"),
            "calls": calls,
            "tokens": tokens,
            "cost_usd": None if cost is None else plain(cost),
        },
        "files": _files(run),
        "stopped_because": why.value,
    }


def account_part(run: Runnable[R], base: Baseline) -> dict[str, Any]:
    """What a run made. `realised_pnl` is gross and `funding` positive = paid, so the parts add up to the change of equity."""
    book = run.door.engine.book
    with run.stage.ledger.reading() as tx:
        trips = trading.count_round_trips(tx, run.row.id)
    return {
        "round_trips": trips,
        "equity_start": plain(base.equity),
        "equity_end": plain(book.equity()),
        "realised_pnl": plain(book.risk.realised - base.realised),
        "unrealised_pnl": plain(book.unrealised()),
        "fees": plain(book.risk.fees - base.fees),
        "funding": plain(book.risk.funding - base.funding),
        "flows": plain(book.risk.flows - base.flows),
        "open_positions": len(book.held_markets),
    }


def _failure(tally: Tally[TickRecord]) -> dict[str, str] | None:
    """Why the newest tick came to nothing: the model's fault, or an error of the tick itself."""
    last = tally.last
    if tally.failures_in_row:
        return {"reason": "tick_failed", "message": tally.error}
    if last is not None and last.state in (TickState.FAILED, TickState.TIMEOUT):
        return {"reason": last.reason, "message": last.detail or last.reason}
    return None


def _would_have(tally: Tally[TickRecord]) -> list[dict[str, Any]]:
    """The orders that a dry run would have sent."""
    snapshot = tally.last.snapshot if tally.last is not None else None
    calls = [json.loads(call.result) for call in snapshot.tool_calls if Rule.DRY_RUN in call.verdict] if snapshot else []
    return [call["order"] for call in calls if "order" in call]


def _files(run: "Run") -> dict[str, str | None]:
    if run.session is not None:
        return {"journal": str(run.session.folder / "journal.md"), "snapshots": str(run.session.folder / "snapshots")}
    return {"journal": None, "snapshots": str(run.files.experiment_file) if run.files.experiment_file else None}


def exit_code(run: Runnable[R], tally: Tally[R], why: StopReason) -> int:
    """0, or 3 when the only tick of an experiment was blocked, 1 when it failed, 130 after Ctrl-C."""
    if why is StopReason.INTERRUPTED:
        return 130
    if run.stage.pace.mode is not RunMode.LOOP:
        if tally.last is None:
            return 1
        if tally.last.state is TickState.BLOCKED:
            return 3
        return 5 if tally.last.state in (TickState.FAILED, TickState.TIMEOUT) else 0
    return 1 if why is StopReason.FAILED else 0
