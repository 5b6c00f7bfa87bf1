"""Which deployments should be running: what was deployed and has neither ended by itself nor been stopped by a person."""

from typing import Any

from sqlalchemy import Connection

from tradeagent.domain.errors import BusyError
from tradeagent.domain.names import DeploymentState, RunMode
from tradeagent.ledger import runs, wallets
from tradeagent.ledger.runs import DeploymentRow
from tradeagent.runtime.stops import StopReason


def is_wanted(row: DeploymentRow) -> bool:
    """Whether a deployment goes on when its process has gone. Ctrl-C and a crash end a process, not a deployment."""
    if not row.source.get("deployed") or row.mode != RunMode.LOOP.value or row.state == DeploymentState.ERROR.value:
        return False
    return (row.ended_ms is None and row.stopped_because is None) or row.stopped_because == StopReason.INTERRUPTED.value


def wanted(tx: Connection) -> list[DeploymentRow]:
    """The deployment of each wallet that should run, by id."""
    found = (wanted_on(tx, wallet.name) for wallet in wallets.all_wallets(tx))
    return sorted((row for row in found if row is not None), key=lambda row: row.id)


def wanted_on(tx: Connection, wallet: str) -> DeploymentRow | None:
    """The deployment that fills a wallet's slot; a dry run never does."""
    rows = (row for row in runs.all_deployments(tx, wallet=wallet, limit=20) if row.mode != RunMode.DRY_RUN.value)
    newest = next(rows, None)
    return newest if newest is not None and is_wanted(newest) else None


def require_free(tx: Connection, wallet: str, mine: str | None = None) -> None:
    """BusyError when another deployment than `mine` fills the slot of the wallet, NotFound when the wallet was removed."""
    wallets.require_in_use(tx, wallet)
    row = wanted_on(tx, wallet)
    if row is None or row.id == mine:
        return
    details: dict[str, Any] = {"wallet": wallet, "deployment": row.id}
    raise BusyError(f"wallet {wallet!r} is deployed to {row.id}", hint=f"`tradeagent stop {row.id}` frees it", details=details)
