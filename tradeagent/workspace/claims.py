"""Who owns a wallet on this machine: its process lock, and whether a deployment that says it runs has a process behind it."""

import fcntl
import os
from pathlib import Path
from typing import Protocol

from tradeagent.domain.names import DeploymentState
from tradeagent.workspace.latch import is_latched
from tradeagent.workspace.paths import Workspace

BOOT_ID_FILE = Path("/proc/sys/kernel/random/boot_id")


class Claim(Protocol):
    """What a deployment's row says of itself."""

    @property
    def state(self) -> str: ...
    @property
    def wallet(self) -> str: ...
    @property
    def boot_id(self) -> str: ...


def boot_id() -> str:
    """Identity of this boot of the machine; a `running` row from another boot has no process."""
    try:
        return BOOT_ID_FILE.read_text().strip()
    except OSError:
        return "unknown"


def is_held(workspace: Workspace, wallet: str) -> bool:
    """Whether some process owns the wallet now. Those who only look share the lock, so they never disturb each other."""
    try:
        descriptor = os.open(wallet_lock(workspace, wallet), os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def wallet_lock(workspace: Workspace, wallet: str) -> Path:
    """The lock file that whoever owns the wallet holds."""
    return workspace.locks_dir / f"wallet-{wallet}.lock"


def live_state(workspace: Workspace, row: Claim) -> DeploymentState:
    """The state as it is: a row that says running, without a process behind it, is `interrupted`."""
    state = DeploymentState(row.state)
    if state.is_live and is_latched(workspace.kill_dir, row.wallet):
        return DeploymentState.HALTED
    if state.is_live and state is not DeploymentState.HALTED and (row.boot_id != boot_id() or not is_held(workspace, row.wallet)):
        return DeploymentState.INTERRUPTED
    return state
