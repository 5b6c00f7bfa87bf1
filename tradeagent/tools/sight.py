"""What of the user's accounts a mode of the desk may see. Every tool that names a wallet, a run or a trade asks here.

`research` sees wallets of group algo and what algos did on them, nothing that a person or an agent did; `coach` and `ops` see everything;
`authoring` sees no account.
What may not be seen is answered like what does not exist.
"""

from sqlalchemy import Connection

from tradeagent.domain.errors import NotFound, RefusedError
from tradeagent.domain.names import Mode
from tradeagent.ledger import runs, wallets
from tradeagent.ledger.runs import DeploymentRow
from tradeagent.ledger.wallets import WalletRow
from tradeagent.tools.desk import DeskContext

ALGO_GROUP = "algo"
_HINT = "get_account_overview lists the wallets that this mode sees"
MOST_RUNS = 500


def sees_agents(mode: Mode) -> bool:
    """Whether agents, their wallets and what was done by hand may be seen."""
    return mode in (Mode.COACH, Mode.OPS)


def wallets_seen(tx: Connection, context: DeskContext) -> list[WalletRow]:
    """By name. RefusedError in a mode that sees no account at all."""
    if context.mode is Mode.AUTHORING:
        raise RefusedError(
            "mode authoring sees the draft and reference data, no accounts",
            hint="ask the user to change to mode research, coach or ops",
            code="not_in_this_mode",
        )
    return [row for row in wallets.all_wallets(tx) if row.kind == ALGO_GROUP or sees_agents(context.mode)]


def wallet_seen(tx: Connection, context: DeskContext, name: str) -> WalletRow:
    """NotFound for one that is not there or not to be seen, which read the same."""
    found = next((row for row in wallets_seen(tx, context) if row.name == name), None)
    if found is None:
        raise NotFound(f"wallet: there is no {name!r} that mode {context.mode} sees", hint=_HINT)
    return found


def runs_seen(tx: Connection, context: DeskContext) -> list[DeploymentRow]:
    """Deployments on the wallets that may be seen, newest first."""
    seen = {row.name for row in wallets_seen(tx, context)}
    found = [row for row in runs.all_deployments(tx, limit=MOST_RUNS) if row.wallet in seen]
    return [row for row in found if row.kind == ALGO_GROUP or sees_agents(context.mode)]


def run_seen(tx: Connection, context: DeskContext, name: str) -> DeploymentRow:
    """A deployment by its id, or the newest of an agent or algo; NotFound as `wallet_seen`."""
    rows = runs_seen(tx, context)
    found = next((row for row in rows if row.id == name), None) or next((row for row in rows if row.slug == name), None)
    if found is None:
        raise NotFound(f"deployment: there is no {name!r} that mode {context.mode} sees", hint="show_deployments lists them")
    return found


def run_name(row: DeploymentRow) -> str:
    """`sma_cross@3`, the version that runs; a built-in algorithm has no version."""
    return f"{row.slug}@{row.version}" if row.version else row.slug


def owners_seen(tx: Connection, context: DeskContext) -> frozenset[str] | None:
    """Whose positions, orders and trades may be seen: ids of runs; None for everybody's."""
    return None if sees_agents(context.mode) else frozenset(row.id for row in runs_seen(tx, context))


def is_hidden(owners: frozenset[str] | None, controller_id: str) -> bool:
    """Whether what a controller holds or did is left out; an executor is the run's that made it."""
    return owners is not None and controller_id.partition("/")[0] not in owners
