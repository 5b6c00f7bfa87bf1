"""The second half of a kill: cancel and close what is latched, then tell the ledger, when it can be told. And the way back."""

import asyncio
import os
from typing import Any

from tradeagent.domain.clock import Clock
from tradeagent.domain.errors import BusyError, InvalidConfig, TradeAgentError
from tradeagent.domain.money import plain
from tradeagent.domain.names import CommandKind, DeploymentState, IncidentCode, KillPolicy
from tradeagent.execution.halts import killed_incident, note_kill, reopen
from tradeagent.execution.kill import Wiped, wipe_paper
from tradeagent.ledger import notes, runs, wallets
from tradeagent.ledger.store import Ledger, open_ledger
from tradeagent.runtime.control import send
from tradeagent.runtime.latching import Latching, Target, paper_wallets
from tradeagent.runtime.lease import is_held
from tradeagent.runtime.place import Place
from tradeagent.runtime.wallets import owned_door
from tradeagent.workspace import latch
from tradeagent.workspace.config import Config, load_config
from tradeagent.workspace.paths import Workspace

LEDGER_WAIT_S = 1.5
RECORDED, LATER = "recorded", "later"


def wipe(workspace: Workspace, clock: Clock, target: Target, latched: Latching) -> dict[str, Any]:
    """Cancel and close what is latched; what `kill --json` prints."""
    begin, folder, config = clock.monotonic(), workspace.kill_dir, _config(workspace)
    latch.make_room(folder)
    rows = []
    for wallet in [target.wallet] if target.wallet else paper_wallets(workspace):
        policy = latch.policy_of(folder, wallet)
        wiped = asyncio.run(wipe_paper(workspace, config, wallet, policy, clock))
        rows.append(_row(wallet, policy, wiped, round((clock.monotonic() - begin) * 1000)))
    recorded = _record(workspace, config, clock, target, [str(row["wallet"]) for row in rows])
    return {
        "deployment": target.deployment,
        "state": DeploymentState.HALTED.value if target.wallet else None,
        "kill_switch": latch.is_latched(folder, None),
        "latched_ms": latched.took_ms,
        "ended_processes": list(latched.ended),
        "wallets": rows,
        "flat": all(row["flat"] or row["policy"] != KillPolicy.FLATTEN_ALL.value for row in rows),
        "ledger": recorded,
    }


def clear(place: Place, target: Target) -> dict[str, Any]:
    """Undo a kill: each wallet is reconciled first, and an unclean one keeps its latch (RefusedError)."""
    folder = place.workspace.kill_dir
    was_latched = latch.is_latched(folder, target.wallet)
    names = [target.wallet] if target.wallet else paper_wallets(place.workspace)
    for name in names:
        if is_held(place.workspace, name):
            send(place, name, target.deployment, CommandKind.CLEAR_HALT, {"kill": True})
            continue
        with place.ledger.reading() as tx:
            wallet = wallets.find(tx, name)
        if wallet is not None:
            with owned_door(place.workspace, place.config, place.ledger, place.clock, wallet) as door:
                reopen(door.engine, whole=target.wallet is not None)
    latch.clear_latch(folder, target.wallet)
    with place.ledger.transaction() as tx:
        if target.wallet is None:
            notes.put_setting(tx, notes.KILL_SWITCH, False)
            notes.close_incidents(tx, IncidentCode.KILL, place.clock.now_ms(), wallet=None)
        for row in runs.all_deployments(tx):
            if target.wallet == row.wallet and row.state == DeploymentState.HALTED.value and not is_held(place.workspace, row.wallet):
                runs.update_deployment(tx, row.id, state=DeploymentState.STOPPED.value)
    return {
        "deployment": target.deployment,
        "cleared": was_latched,
        "wallets": names,
        "kill_switch": latch.is_latched(folder, None),
    }


def _config(workspace: Workspace) -> Config:
    """The costs and markets to close with; a config.yml that is broken just now is no reason to stay in the market."""
    try:
        return load_config(workspace.config_file, os.environ)
    except InvalidConfig:
        return load_config(workspace.root / "no-such-file", {})


def _row(wallet: str, policy: KillPolicy, wiped: Wiped, elapsed_ms: int) -> dict[str, Any]:
    closed = [
        {"market": one.market, "size": plain(one.size), "price": None if one.price is None else plain(one.price)} for one in wiped.closed
    ]
    return {
        "wallet": wallet,
        "policy": policy.value,
        "cancelled": wiped.cancelled,
        "closed": closed,
        "flat": wiped.flat,
        "elapsed_ms": elapsed_ms,
    }


def _record(workspace: Workspace, config: Config, clock: Clock, target: Target, names: list[str]) -> str:
    """Tell the ledger; when it cannot be told now, the next start and the runner read it from latch and venue."""
    try:
        ledger = open_ledger(workspace.ledger_file, lock_timeout_s=LEDGER_WAIT_S)
    except TradeAgentError:
        return LATER
    try:
        _tell(ledger, clock, target)
        for name in names:
            if not is_held(workspace, name):
                _book(workspace, config, ledger, clock, name, whole=target.wallet is not None)
    except TradeAgentError:
        return LATER
    finally:
        ledger.close()
    return RECORDED


def _tell(ledger: Ledger, clock: Clock, target: Target) -> None:
    now = clock.now_ms()
    with ledger.transaction() as tx:
        if target.wallet is None:
            notes.put_setting(tx, notes.KILL_SWITCH, True)
            notes.open_incident(tx, clock.new_id(), killed_incident(None, None), now)
            return
        notes.open_incident(tx, clock.new_id(), killed_incident(target.wallet, target.deployment), now)
        for row in runs.all_deployments(tx):
            if row.wallet == target.wallet and DeploymentState(row.state).is_live:
                runs.update_deployment(tx, row.id, state=DeploymentState.HALTED.value)


def _book(workspace: Workspace, config: Config, ledger: Ledger, clock: Clock, name: str, *, whole: bool) -> None:
    """Nobody runs this wallet, so its book is brought up to date here."""
    with ledger.reading() as tx:
        wallet = wallets.find(tx, name)
    if wallet is None:
        return
    try:
        with owned_door(workspace, config, ledger, clock, wallet) as door:
            if whole:
                note_kill(door.engine)
    except BusyError:
        return  # a runner took the wallet meanwhile, and books by itself
