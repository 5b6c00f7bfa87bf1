"""Owning a wallet: a process lock that dies with its process, and a lease row whose fencing token outlives it.

The lock says who may start; the token, checked in the transaction of every intent, stops a process that lost its wallet without noticing.
"""

import fcntl
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tradeagent.domain.clock import Clock
from tradeagent.domain.errors import BusyError
from tradeagent.domain.names import EventKind
from tradeagent.workspace.paths import Workspace

if TYPE_CHECKING:
    from filelock import FileLock

    from tradeagent.ledger.store import Ledger

PROBE_S = 0.01
GRACE_S = 0.2
BOOT_ID_FILE = Path("/proc/sys/kernel/random/boot_id")


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


def boot_id() -> str:
    """Identity of this boot of the machine; a `running` row from another boot has no process."""
    try:
        return BOOT_ID_FILE.read_text().strip()
    except OSError:
        return "unknown"


def take(workspace: Workspace, ledger: "Ledger", wallet: str, deployment: str | None, clock: Clock) -> Lease:
    """Own a wallet within a fifth of a second or not at all: BusyError names the deployment that has it."""
    from filelock import FileLock, Timeout

    from tradeagent.ledger import events, runs

    workspace.locks_dir.mkdir(parents=True, exist_ok=True)
    lock = FileLock(_lock_file(workspace, wallet), thread_local=False)
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
        token = runs.take_lease(tx, wallet, f"{boot_id()}/{os.getpid()}", deployment, now)
        events.append(tx, EventKind.LEASE_TAKEN, now, wallet=wallet, deployment=deployment, subject=str(token))
    return Lease(wallet, token, lock, ledger)


def is_held(workspace: Workspace, wallet: str) -> bool:
    """Whether some process owns the wallet now. Those who only look share the lock, so they never disturb each other."""
    try:
        descriptor = os.open(_lock_file(workspace, wallet), os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _lock_file(workspace: Workspace, wallet: str) -> Path:
    return workspace.locks_dir / f"wallet-{wallet}.lock"
