"""The workspace at a glance, from the ledger file alone and without loading what trades: this is what cron and shells ask most."""

from typing import Any

from tradeagent.domain.clock import Clock, iso
from tradeagent.domain.money import ZERO, plain
from tradeagent.domain.names import HaltReason, ReconcilePhase, RunMode
from tradeagent.ledger.glance import LedgerGlance, RunGlance, glance
from tradeagent.workspace.claims import live_state
from tradeagent.workspace.latch import is_latched
from tradeagent.workspace.paths import Workspace

__all__ = ["live_state", "status_view"]


def status_view(workspace: Workspace, clock: Clock) -> dict[str, Any]:
    """The workspace at a glance, as `status --json` prints it: of each agent on each wallet the run that goes on, else the newest."""
    seen = glance(workspace.ledger_file)
    newest: dict[tuple[str, str], RunGlance] = {}
    for row in seen.runs:
        kept = newest.setdefault((row.slug, row.wallet), row)
        if kept.ended_ms is not None and row.ended_ms is None and row.mode != RunMode.DRY_RUN:
            newest[row.slug, row.wallet] = row
    networks = sorted(seen.networks) or ["paper"]
    return {
        "workspace": str(workspace.root),
        "network": networks[0] if len(networks) == 1 else "mixed",
        "deployments": [_status_row(seen, workspace, clock, row) for row in newest.values()],
        "kill_switch": seen.kill_switch or is_latched(workspace.kill_dir, None),
        "incidents": sum(seen.incidents.values()),
    }


def _status_row(seen: LedgerGlance, workspace: Workspace, clock: Clock, row: RunGlance) -> dict[str, Any]:
    wall = clock.now_ms()
    now = wall if row.clock_ms is None else row.clock_ms
    feed_now = wall if row.replay is None else now
    state = live_state(workspace, row)
    held = seen.held.get(row.wallet, [])
    # Not the last equity point: a fill since then has cost its fee already.
    equity = row.cash + sum((p.size * p.mark - p.cost for p in held if p.mark is not None), ZERO)
    return {
        "id": row.id,
        "kind": row.kind,
        "slug": row.slug,
        "wallet": row.wallet,
        "network": row.network,
        "state": state.value,
        "mode": row.mode,
        "model": row.model,
        "ticks": row.ticks,
        "equity": plain(equity),
        "day_pnl": plain(row.day.at(now, row.last_equity).pnl(equity)),
        "open_positions": len(held),
        "next_tick_at": iso(row.next_tick_ms) if state.is_live else None,
        "last_tick_at": iso(row.last_tick_ms),
        "feed_age_s": None if row.market_clock_ms is None else max(0, (feed_now - row.market_clock_ms) // 1000),
        "reconciliation": seen.phases.get(row.wallet, ReconcilePhase.CONSISTENT).value,
        "halt": HaltReason.KILL.value if is_latched(workspace.kill_dir, row.wallet) else row.halt,
        "incidents": seen.incidents.get(row.id, 0),
        "stopped_because": row.stopped_because,
    }
