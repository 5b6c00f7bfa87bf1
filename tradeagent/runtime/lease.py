"""Owning a wallet: a process lock that dies with its process, and a lease row whose fencing token outlives it.

The lock says who may start; the token, checked in the transaction of every intent, stops a process that lost its wallet without noticing.
"""

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tradeagent.domain.clock import Clock
from tradeagent.domain.errors import BusyError, NotFound
from tradeagent.domain.names import EventKind
from tradeagent.workspace.claims import boot_id, is_held, wallet_lock
from tradeagent.workspace.paths import Workspace

if TYPE_CHECKING:
    from filelock import FileLock

    from tradeagent.ledger.store import Ledger

__all__ = ["Lease", "boot_id", "is_held", "take"]

PROBE_S = 0.01
GRACE_S = 0.2


@dataclass(slots=True)
class Lease:
    """A wallet held by this process until `release`."""

    wallet: str
    token: int
    _lock: "FileLock"
    _ledger: "Ledger"

    def release(self) -> None:
        from tradeagent.ledger import runs

        with self._ledger.transaction(durable=False) as tx:
            runs.release_lease(tx, self.wallet, self.token)
        self._lock.release()


def take(workspace: Workspace, ledger: "Ledger", wallet: str, deployment: str | None, clock: Clock) -> Lease:
    """Own a wallet within a fifth of a second or not at all: BusyError names the deployment that has it, NotFound a removed wallet."""
    from filelock import FileLock, Timeout

    from tradeagent.ledger import events, runs, wallets

    workspace.locks_dir.mkdir(parents=True, exist_ok=True)
    lock = FileLock(wallet_lock(workspace, wallet), thread_local=False)
    try:
        # Longer than somebody takes who only looks whether the wallet is free.
        lock.acquire(timeout=GRACE_S, poll_interval=PROBE_S)
    except Timeout:
        with ledger.reading() as tx:
            held = runs.lease(tx, wallet)
        owner = (held or {}).get("deployment") or "another command"
        raise BusyError(
            f"wallet {wallet!r} is in use by {owner}",
            hint=f"`tradeagent stop {owner}` ends it" if held and held.get("deployment") else "try again in a moment",
            details={"wallet": wallet, "deployment": held.get("deployment") if held else None},
        ) from None
    now = clock.now_ms()
    with ledger.transaction(durable=False) as tx:
        try:
            wallets.require_in_use(tx, wallet)
        except NotFound:
            lock.release()
            raise
        token = runs.take_lease(tx, wallet, f"{boot_id()}/{os.getpid()}", deployment, now)
        events.append(tx, EventKind.LEASE_TAKEN, now, wallet=wallet, deployment=deployment, subject=str(token))
    return Lease(wallet, token, lock, ledger)
