"""What an algo's run came to, as `deploy algo --json` prints it."""

from typing import Any

from tradeagent.domain.bars import interval_text
from tradeagent.runtime.algo_assembly import AlgoRun
from tradeagent.runtime.algo_mind import Step
from tradeagent.runtime.report import account_part
from tradeagent.runtime.stops import StopReason
from tradeagent.runtime.tally import Tally
from tradeagent.turns.record import TickState


def algo_report(run: AlgoRun, tally: Tally[Step], why: StopReason) -> dict[str, Any]:
    """The document of a run. `ticks` are the bars decided on since the deployment began."""
    row, stage = run.row, run.stage
    blocked = tally.last is not None and tally.last.state is TickState.BLOCKED
    return {
        "mode": row.mode,
        "network": stage.wallet.network,
        "algo": run.launch.algo,
        "deployment": row.id,
        "wallet": stage.wallet.name,
        "market": run.launch.market,
        "interval": interval_text(run.launch.interval_ms),
        "ticks": tally.ticks,
        "blocked": {"rule": tally.last.rule, "message": tally.last.action} if blocked and tally.last is not None else None,
        "failed": {"reason": "tick_failed", "message": tally.error} if tally.failures_in_row else None,
        "proposals": tally.proposals,
        "executed": tally.executed,
        "rejected": dict(tally.rejected),
        **account_part(run, run.baseline),
        "stopped_because": why.value,
    }
