"""The workspace at a glance, from the ledger alone and without loading what trades: this is what cron and shells ask most."""

from typing import Any

from sqlalchemy import Connection

from tradeagent.domain.clock import Clock, iso
from tradeagent.domain.money import ZERO, plain
from tradeagent.domain.names import DeploymentState, RunMode
from tradeagent.ledger import events, notes, runs, wallets
from tradeagent.ledger.runs import DeploymentRow
from tradeagent.ledger.store import Ledger
from tradeagent.ledger.trading import NET, positions_of
from tradeagent.ledger.wallets import RiskRow
from tradeagent.runtime.lease import boot_id, is_held
from tradeagent.workspace.paths import Workspace


def status_view(workspace: Workspace, ledger: Ledger, clock: Clock) -> dict[str, Any]:
    """The workspace at a glance, as `status --json` prints it: of each agent on each wallet the run that goes on, else the newest."""
    with ledger.reading() as tx:
        newest: dict[tuple[str, str], DeploymentRow] = {}
        for row in runs.all_deployments(tx, limit=500):
            kept = newest.setdefault((row.slug, row.wallet), row)
            if kept.ended_ms is not None and row.ended_ms is None and row.mode != RunMode.DRY_RUN:
                newest[row.slug, row.wallet] = row
        counts = notes.open_incident_counts(tx)
        found = [_status_row(tx, workspace, clock, row, counts.get(row.id, 0)) for row in newest.values()]
        switch = bool(notes.setting(tx, notes.KILL_SWITCH))
        networks = sorted({wallet.network for wallet in wallets.all_wallets(tx)}) or ["paper"]
    return {
        "workspace": str(workspace.root),
        "network": networks[0] if len(networks) == 1 else "mixed",
        "deployments": found,
        "kill_switch": switch,
        "incidents": sum(counts.values()),
    }


def _status_row(tx: Connection, workspace: Workspace, clock: Clock, row: DeploymentRow, incidents: int) -> dict[str, Any]:
    risk = wallets.risk(tx, row.wallet)
    now = risk.now_ms(clock)
    state = live_state(workspace, row)
    held = [position for position in positions_of(tx, row.wallet) if position.controller_id == NET and position.size]
    # Not the last equity point: a fill since then has cost its fee already.
    equity = risk.cash + sum((p.size * p.mark - p.cost for p in held if p.mark is not None), ZERO)
    return {
        "id": row.id,
        "kind": row.kind,
        "slug": row.slug,
        "wallet": row.wallet,
        "network": wallets.get(tx, row.wallet).network,
        "state": state.value,
        "mode": row.mode,
        "model": row.model,
        "ticks": row.ticks,
        "equity": plain(equity),
        "day_pnl": plain(risk.rolled(now, risk.last_equity).day.pnl(equity)),
        "open_positions": len(held),
        "next_tick_at": iso(row.next_tick_ms) if state.is_live else None,
        "last_tick_at": iso(row.last_tick_ms),
        "feed_age_s": _feed_age(risk, now),
        "reconciliation": events.last_phase(tx, row.wallet).value,
        "halt": risk.halt,
        "incidents": incidents,
        "stopped_because": row.stopped_because,
    }


def _feed_age(risk: RiskRow, now: int) -> int | None:
    return None if risk.market_clock_ms is None else max(0, (now - risk.market_clock_ms) // 1000)


def live_state(workspace: Workspace, row: DeploymentRow) -> DeploymentState:
    """The state as it is: a row that says running, without a process behind it, is `interrupted`."""
    state = DeploymentState(row.state)
    if state.is_live and state is not DeploymentState.HALTED and (row.boot_id != boot_id() or not is_held(workspace, row.wallet)):
        return DeploymentState.INTERRUPTED
    return state
