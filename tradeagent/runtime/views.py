"""What the front doors show: wallets, deployments and their state, each read from the ledger alone."""

from typing import Any

from sqlalchemy import Connection

from tradeagent.agents.pinned import Pinned
from tradeagent.domain.clock import Clock, iso
from tradeagent.domain.names import Actor
from tradeagent.domain.session_hours import parse_session_hours
from tradeagent.execution.entry_times import HOURS_KEY, LOCKOUT_KEY
from tradeagent.execution.opening import network_of
from tradeagent.execution.reading import read_state, tenant_of
from tradeagent.execution.state import RiskState
from tradeagent.execution.usage import entry_time_rows, limit_usage
from tradeagent.ledger import runs, wallets
from tradeagent.ledger.runs import DeploymentRow
from tradeagent.ledger.store import Ledger
from tradeagent.ledger.wallets import WalletRow
from tradeagent.runtime.status import live_state
from tradeagent.turns.health import Surroundings, health_of, hours_of
from tradeagent.turns.snapshot import runtime_snapshot
from tradeagent.workspace.config import Config
from tradeagent.workspace.paths import Workspace


def wallet_view(workspace: Workspace, config: Config, ledger: Ledger, clock: Clock, name: str) -> dict[str, Any]:
    """One wallet in full, as `wallet show --json` prints it."""
    with ledger.reading() as tx:
        wallet = wallets.get(tx, name)
        newest = next(iter(runs.all_deployments(tx, wallet=name, limit=1)), None)
        state = read_state(tx, config, wallet, clock, tenant_of(newest) if newest else None)
        removed = iso(wallets.removed_ms(tx, name))
        around = surroundings(tx, workspace, config, state, newest, clock)
    running = newest.id if newest and live_state(workspace, newest).is_live else None
    head = {"name": name, "venue": wallet.venue, "network": wallet.network, "group": wallet.kind, "deployment": running}
    return {**head, **runtime_snapshot(state, around).as_dict(), "limits": wallet.limits, "removed_at": removed}


def surroundings(
    tx: Connection, workspace: Workspace, config: Config, state: RiskState, deployment: DeploymentRow | None, clock: Clock
) -> Surroundings:
    """What a wallet's figures rest on: health, hours, and what the user has pinned for the agent there."""
    hours = config.text(HOURS_KEY)
    return Surroundings(
        health=health_of(tx, state, deployment, clock.now_ms()),
        hours=hours_of(parse_session_hours(hours, HOURS_KEY) if hours else None, config.whole(LOCKOUT_KEY), state.now_ms),
        notes=Pinned(workspace.agent_dir(deployment.slug)).read() if deployment and deployment.kind == Actor.AGENT.value else "",
    )


def wallet_rows(workspace: Workspace, config: Config, ledger: Ledger, clock: Clock) -> list[dict[str, Any]]:
    """Every wallet in short."""
    with ledger.reading() as tx:
        names = [row.name for row in wallets.all_wallets(tx)]
    keep = ("name", "venue", "network", "group", "deployment", "cash", "equity", "day_pnl", "drawdown_pct", "lockout", "halt")
    views = (wallet_view(workspace, config, ledger, clock, name) for name in names)
    return [{key: view[key] for key in keep} for view in views]


def limits_view(config: Config, tx: Connection, wallet: WalletRow, clock: Clock, deployment: DeploymentRow | None) -> list[dict[str, Any]]:
    """Each cap of a deployment (or of a person on a wallet): value, used, left, origin, ceiling; then when entries are placed."""
    state = read_state(tx, config, wallet, clock, tenant_of(deployment) if deployment else None)
    network = network_of(wallet)
    rows = [use.as_dict() for use in limit_usage(state, network, config.section("ceilings", network))]
    return rows + entry_time_rows(config)


def state_of(config: Config, tx: Connection, clock: Clock, deployment: DeploymentRow) -> RiskState:
    """The RiskState of a deployment's wallet, for whoever only looks."""
    return read_state(tx, config, wallets.get(tx, deployment.wallet), clock, tenant_of(deployment))
